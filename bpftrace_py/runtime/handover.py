"""`Handover`: lets other threads have something done by the session's thread, to which its maps and symbols belong."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import Any


class Handover:
    """`submit` is for any thread; `fd` is then readable, and the session's thread calls `run_waiting`."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._closed = False

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """The result of `function`, or what it raised, comes in the future; it is cancelled if the session ends before."""
        future: Future[Any] = Future()
        self._waiting.append((function, future))
        if self._closed:
            self._cancel()
        else:
            with suppress(OSError):  # closed just now, and then cancelled
                os.eventfd_write(self.fd, 1)
        return future

    def run_waiting(self) -> None:
        """Do what was submitted. Nothing that a function raises is raised here."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        while self._waiting:
            function, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

    def _cancel(self) -> None:
        while self._waiting:
            with suppress(IndexError):
                self._waiting.popleft()[1].cancel()

    def close(self) -> None:
        """What still waits is cancelled, and what comes later is, too."""
        if not self._closed:
            self._closed = True
            os.close(self.fd)
            self._cancel()
