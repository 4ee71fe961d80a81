"""Runs a target on one input within limits, and names what went wrong."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tests.fuzz.targets import TARGETS

SECONDS = 20.0  # for one input: a hang, even on a busy machine


class Hang(BaseException):
    """An input took longer than it may."""


@contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    """Raises `Hang` in what takes too long. Only in the main thread."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def signature(error: BaseException) -> str:
    """What tells one bug from another: the error, and the function that raised it (for a recursion: the one most seen)."""
    frames = [
        (Path(frame.filename).stem, frame.name)
        for frame in traceback.extract_tb(error.__traceback__)
        if "/bpftrace_py/" in frame.filename or "/tests/" in frame.filename
    ] or [("outside", "")]
    module, function = Counter(frames).most_common(1)[0][0] if isinstance(error, RecursionError) else frames[-1]
    return f"{type(error).__name__}-{module}-{function}".replace("<", "").replace(">", "")


def verdict(target: str, data: bytes, seconds: float = SECONDS) -> str | None:
    """What is wrong with a target and an input, found out in a child process: None if nothing is."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            with limited(seconds):
                TARGETS[target](data)
        except BaseException as error:
            os.write(writer, signature(error).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read().decode()
    _, status = os.waitpid(child, 0)
    return f"status-{status}" if status else text or None


def minimised(target: str, data: bytes, seconds: float = 60) -> bytes:
    """A shorter input with the same verdict, after so long: pieces are taken out, large ones first."""
    wanted = verdict(target, data)
    end = time.monotonic() + seconds
    piece = len(data) // 2
    while piece and time.monotonic() < end:
        at = 0
        while at < len(data) and time.monotonic() < end:
            shorter = data[:at] + data[at + piece :]
            if verdict(target, shorter) == wanted:
                data = shorter
            else:
                at += piece
        piece //= 2
    return data
