"""Settings that all tests share: which of them are live, and what those need."""

from __future__ import annotations

import os
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
