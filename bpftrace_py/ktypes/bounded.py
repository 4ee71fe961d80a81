"""Runs a call into a C library that might not end: for libclang, which follows macros that double without any limit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")

SECONDS = 30.0  # a script's own declarations take 0.05; all of a kernel's headers, 1
MEMORY = 1 << 30  # bytes that the process may grow by meanwhile
_LOOK_EVERY = 0.05  # seconds: so soon Ctrl-C is noticed


class Exceeded(Exception):
    """The call takes too long. It goes on in a thread of its own that nobody waits for, and the process keeps its limit on
    memory: it should end soon."""


def bounded(call: Callable[[], Result], seconds: float = SECONDS, memory: int = MEMORY) -> Result:
    """What `call` returns or raises. Raises `Exceeded` after so many seconds.

    `call` must let other threads run, as a call into a C library does. What asks for more than `memory` gets none:
    libclang takes that for a crash of its own, and returns.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised where it is waited for
            errors.append(error)

    lift = _limit_memory(memory)
    thread = Thread(target=work, daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while thread.is_alive():
        if time.monotonic() > end:
            raise Exceeded
        thread.join(_LOOK_EVERY)
    lift()
    if errors:
        raise errors[0]
    return results[0]


def _limit_memory(memory: int) -> Callable[[], None]:
    """Let the process grow by no more than so much. What is returned lifts that limit."""
    try:
        import resource

        with open("/proc/self/statm", "rb") as file:
            limit = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + memory
    except (ImportError, OSError):  # not Unix, or no /proc: then there is only the time
        return lambda: None
    before = resource.getrlimit(resource.RLIMIT_AS)
    if before[0] == resource.RLIM_INFINITY or limit < before[0]:
        resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_AS, before)
