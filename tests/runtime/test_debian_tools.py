"""The tools of Debian's package `bpftrace` that need nothing but tracepoints, uprobes and timers, and BTF for types.

tests/guest/test_debian_tools.py has those that need kprobes; docs/differences.md has a table of all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live import Session

DIRECTORY = Path("/usr/sbin")
STRIPPED = "libcrypto.so.3` is stripped"  # so that the functions that it does not export cannot be found
TOOLS = {
    "bashreadline": "", "bitesize": "", "cpuwalk": "", "execsnoop": "", "gethostlatency": "", "killsnoop": "", "naptime": "",
    "opensnoop": "", "pidpersec": "", "runqlat": "", "setuids": "", "ssllatency": STRIPPED, "sslsnoop": STRIPPED, "statsnoop": "",
    "syncsnoop": "", "syscount": "", "tcpdrop": "", "writeback": "",
}  # fmt: skip


@pytest.mark.parametrize("name", TOOLS)
def test_tool(name: str) -> None:
    path = DIRECTORY / f"{name}.bt"
    assert path.exists(), "the package bpftrace is not installed: run scripts/setup test"
    with Session(str(path)) as session:
        session.wait_attached()
        outcome = session.interrupt()
    assert outcome.status == 0, outcome.stderr
    assert TOOLS[name] in outcome.stderr
    assert TOOLS[name] or outcome.complaints == ""
