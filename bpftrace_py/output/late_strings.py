"""Strings that the kernel could not read when the event happened, read from the process a moment later.

A BPF program must not wait for a page: a string on a page that the process has not touched yet (a path in a program's
read-only data, say, on its way into a system call) cannot be read by it, though the kernel itself reads it a microsecond
later. Such a string travels as a mark, its address, and whose it is; the program wakes user space at once.
"""

from __future__ import annotations

import os
import struct

MARK = b"\0late\0s\1"  # in the place of the string: no string that was read starts so
_LAYOUT = struct.Struct("=8sQII")  # mark, address, process, bytes with the NUL
SIZE = _LAYOUT.size


def read(raw: bytes) -> bytes:
    """The string that `raw`, which starts with `MARK`, stands for; empty if the process has gone or has no such memory."""
    if len(raw) < SIZE:
        return b""
    _, address, process, size = _LAYOUT.unpack_from(raw)
    try:
        memory = os.open(f"/proc/{process}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(memory, min(size, len(raw)) - 1, address).split(b"\0", 1)[0]
    except (OSError, OverflowError, ValueError):
        return b""
    finally:
        os.close(memory)
