"""Strings that user space reads in the kernel's place."""

from __future__ import annotations

import ctypes
import os
import struct

from bpftrace_py.output import late_strings
from bpftrace_py.output.values import cut_string


def mark(address: int, process: int, size: int, capacity: int = 64) -> bytes:
    return struct.pack("=8sQII", late_strings.MARK, address, process, size).ljust(capacity, b"\0")


def test_a_string_of_a_process() -> None:
    memory = ctypes.create_string_buffer(b"/etc/hostname")
    assert cut_string(mark(ctypes.addressof(memory), os.getpid(), 64)) == b"/etc/hostname"


def test_no_more_than_was_asked_for() -> None:
    memory = ctypes.create_string_buffer(b"/etc/hostname")
    assert cut_string(mark(ctypes.addressof(memory), os.getpid(), 5)) == b"/etc"


def test_nothing_to_read() -> None:
    assert cut_string(mark(8, os.getpid(), 64)) == b""  # nothing is mapped there
    assert cut_string(mark(1 << 63, os.getpid(), 64)) == b""
    assert cut_string(mark(4096, 0x7FFFFFFF, 64)) == b""  # nobody's


def test_other_strings_are_left_alone() -> None:
    assert cut_string(b"text\0late\0s\1".ljust(32, b"\0")) == b"text"
    assert cut_string(bytes(64)) == b""
    assert cut_string(late_strings.MARK) == b""  # cut short
