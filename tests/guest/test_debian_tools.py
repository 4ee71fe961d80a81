"""The tools of Debian's package `bpftrace`, on the kernel that they were packaged for: docs/differences.md has the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.live import Session, run_command

DIRECTORY = Path("/usr/sbin")
# What is not there, and how we say so. `blk_account_io_start` is inlined; the modules md_mod and xfs are not loaded; glibc has
# had pthread_create in libc since 2.34.
LACKING = {
    "biolatency": "the kernel has no function `blk_account_io_start`",
    "biosnoop": "the kernel has no function `blk_account_io_start`",
    "biostacks": "the kernel has no function `blk_account_io_start`",
    "mdflush": "the kernel has no function `md_flush_request`",
    "threadsnoop": "libpthread.so.0` has no function `pthread_create`",
    "xfsdist": "`xfs_file_read_iter`",
}
# What attaches without a part of what it asks for, and says which.
WARNED = {
    "dcsnoop": "no kernel function matches `lookup_fast.constprop.*`",
    "ssllatency": "libcrypto.so.3` is stripped",
    "sslsnoop": "libcrypto.so.3` is stripped",
}
COMPLETE = """bashreadline bitesize capable cpuwalk execsnoop gethostlatency killsnoop loads naptime oomkill opensnoop pidpersec runqlat
runqlen setuids statsnoop swapin syncsnoop syscount tcpaccept tcpconnect tcpdrop tcplife tcpretrans tcpsynbl undump vfscount vfsstat
writeback""".split()


def tool(name: str) -> str:
    path = DIRECTORY / f"{name}.bt"
    assert path.exists(), "the package bpftrace is not installed: run scripts/setup test"
    return str(path)


@pytest.mark.parametrize("name", [*COMPLETE, *WARNED])
def test_tool_attaches(name):
    with Session(tool(name)) as session:
        session.wait_attached()
        outcome = session.interrupt()
    assert outcome.status == 0, outcome.stderr
    if name in WARNED:
        assert WARNED[name] in outcome.stderr
    assert not re.search(r"error\[", outcome.stderr)
    assert name in WARNED or outcome.complaints == ""


@pytest.mark.parametrize("name", LACKING)
def test_tool_names_what_the_kernel_lacks(name):
    outcome = run_command(tool(name))
    assert outcome.status == 1
    assert LACKING[name] in outcome.stderr
    assert "Traceback" not in outcome.stderr
