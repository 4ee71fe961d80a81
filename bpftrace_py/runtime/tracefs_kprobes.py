"""kprobes by writing to tracefs's `kprobe_events`, for kernels without a perf PMU for them (before 4.17).

Such a probe is a tracepoint that belongs to the whole machine: it must be removed by name, which closing its perf event
does not do.
"""

from __future__ import annotations

import os
from itertools import count

_GROUP = "bpftrace_py"
_serial = count()


class TracefsKprobe:
    """A probe that was made; `remove` it after its perf event is closed."""

    __slots__ = ("_tracefs", "_event")

    def __init__(self, tracefs: str, function: str, offset: int, on_return: bool) -> None:
        """Raises `OSError` if the kernel refuses the place."""
        self._tracefs, self._event = tracefs, f"{_GROUP}/probe_{os.getpid()}_{next(_serial)}"
        place = f"{function}+{offset}" if offset else function
        self._write(f"{'r' if on_return else 'p'}:{self._event} {place}\n")

    @property
    def event_id(self) -> int:
        with open(f"{self._tracefs}/events/{self._event}/id", encoding="ascii") as file:
            return int(file.read())

    def remove(self) -> None:
        self._write(f"-:{self._event}\n")

    def _write(self, command: str) -> None:
        fd = os.open(f"{self._tracefs}/kprobe_events", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(fd, command.encode())
        finally:
            os.close(fd)
