"""Calls that might not end: their results, their errors, and the limits around them."""

from __future__ import annotations

import resource
import threading

import pytest

from bpftrace_py.ktypes.bounded import Exceeded, bounded


def test_results_and_errors_come_through() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert bounded(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: 1 // 0)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_what_takes_too_much_memory_gets_none() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert before[0] == resource.RLIM_INFINITY, "the tests run without a limit on memory"
    with pytest.raises(MemoryError):
        bounded(lambda: bytearray(64 << 20), memory=32 << 20)
    assert len(bounded(lambda: bytearray(64 << 20), memory=1 << 30)) == 64 << 20
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_what_takes_too_long_is_left_alone() -> None:
    go_on = threading.Event()
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        with pytest.raises(Exceeded):
            bounded(go_on.wait, seconds=0.1)
        assert resource.getrlimit(resource.RLIMIT_AS) != before
    finally:
        go_on.set()
        resource.setrlimit(resource.RLIMIT_AS, before)
