"""Settings that all tests share: which of them are live, and what those need."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.guest.bridge import (  # noqa: F401  (hooks: pytest finds them here)
    pytest_addoption,
    pytest_collection_finish,
    pytest_runtest_protocol,
    pytest_sessionfinish,
)

# A slow machine is no failure, and the same examples every time make a failure one that can be looked at again.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

# Who starts us by nohup, or behind the scenes of a shell, has us ignore these, and all that we start with us: a trap of a shell
# is of no use for them then.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

TESTS = Path(__file__).parent
LIVE = tuple(TESTS / name for name in ("runtime", "differential", "guest"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(directory) for directory in LIVE):
            item.add_marker(pytest.mark.live)


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Not a skip: nothing is missing from the kernel, the tests were started the wrong way.
    if item.get_closest_marker("live") and os.geteuid() != 0:
        pytest.fail("this test attaches to the kernel and needs root: run `make test`", pytrace=False)
