"""What a process and its children tell each other through pipes: marshallable data, each with its length before it."""

from __future__ import annotations

import marshal
import os
import sys

from bpftrace_py.runtime import kernel

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # `signal` makes enumerations of all its numbers: 2 ms

_LENGTH_BYTES = 8
_PIECE = 1 << 20
_PR_SET_PDEATHSIG = 1


def send(fd: int, data: Any) -> None:
    """Raises `BrokenPipeError` if nobody will read it."""
    payload = marshal.dumps(data)
    rest = memoryview(len(payload).to_bytes(_LENGTH_BYTES, sys.byteorder) + payload)
    while rest:
        rest = rest[os.write(fd, rest) :]


def receive(fd: int) -> Any:
    """Raises `EOFError` if the other side has closed the pipe."""
    return marshal.loads(_read(fd, int.from_bytes(_read(fd, _LENGTH_BYTES), sys.byteorder)))


def _read(fd: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(fd, min(size - len(data), _PIECE))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def end_with(parent: int) -> None:
    """For a child: it is killed when `parent`'s thread that made it ends. Raises `EOFError` if that has happened already."""
    kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise EOFError
