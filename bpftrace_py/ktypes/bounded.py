"""Runs a call into a C library that might not end: for libclang, which follows macros that double without any limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")

SECONDS = 30.0  # a script's own declarations take 0.05; all of a kernel's headers, 1
MEMORY = 1 << 30  # bytes that the process may grow by meanwhile
_LOOK_EVERY = 0.05  # seconds


class Exceeded(Exception):
    """The call takes too long or too much memory. It goes on in a thread of its own that nobody waits for: the process
    should end soon."""


def bounded(call: Callable[[], Result], seconds: float = SECONDS, memory: int = MEMORY) -> Result:
    """What `call` returns or raises. Raises `Exceeded` beyond the limits; Ctrl-C works, too, while it runs.

    `call` must let other threads run, as a call into a C library does.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised where it is waited for
            errors.append(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(_LOOK_EVERY)
    if thread.is_alive():
        end, most = time.monotonic() + seconds, _resident() + memory
        while thread.is_alive():
            if time.monotonic() > end or _resident() > most:
                raise Exceeded
            thread.join(_LOOK_EVERY)
    if errors:
        raise errors[0]
    return results[0]


def _resident() -> int:
    """Bytes of memory that this process has; 0 where that cannot be told."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * 4096
    except (OSError, IndexError, ValueError):
        return 0
