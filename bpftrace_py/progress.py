"""`Progress`: one line on a terminal while probes are attached or detached, if that takes long enough to wonder."""

from __future__ import annotations

import os
import time

DELAY = 0.5  # seconds before anything is said
EVERY = 0.1  # seconds between two looks of the line


class Progress:
    """Call it with (done, total); `verb` is what is done. A context manager, at whose end the line is gone."""

    def __init__(self, verb: str, fd: int = 2) -> None:
        self._verb, self._fd = verb, fd
        self._next = time.monotonic() + DELAY
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total:
            self._clear()  # what follows may be a message
        elif now >= self._next:
            self._next = now + EVERY
            self._shown = True
            self._write(f"\r\033[K{self._verb} probes: {done} of {total}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._shown:
            self._shown = False
            self._write("\r\033[K")

    def _write(self, text: str) -> None:
        try:
            os.write(self._fd, text.encode())
        except OSError:
            self._next = float("inf")  # the terminal has gone, which is not our trouble
