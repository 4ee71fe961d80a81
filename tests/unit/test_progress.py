"""The line that tells how far attaching has come."""

from __future__ import annotations

import os

import pytest

from bpftrace_py import progress
from bpftrace_py.progress import Progress


def written(monkeypatch: pytest.MonkeyPatch, *calls: tuple[float, int, int]) -> str:
    """What is written for calls of (time, done, total)."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    reader, writer = os.pipe()
    with Progress("Attaching", writer) as line:
        for now, done, total in calls:  # noqa: B007
            line(done, total)
    os.close(writer)
    with os.fdopen(reader, newline="") as file:
        return file.read()


def test_what_is_quick_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(monkeypatch, (0.1, 1, 3), (0.4, 2, 3), (0.6, 3, 3)) == ""


def test_what_takes_its_time_is_told_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = (0.6, 10, 300), (0.65, 20, 300), (0.75, 30, 300), (2.0, 300, 300)
    clear = "\r\033[K"
    assert (
        written(monkeypatch, *calls) == f"{clear}Attaching probes: 10 of 300{clear}Attaching probes: 30 of 300{clear}"
    )
    assert written(monkeypatch, calls[0]) == f"{clear}Attaching probes: 10 of 300{clear}"  # an error ends it


def test_a_terminal_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY", -1)
    reader, writer = os.pipe()
    os.close(reader)
    with Progress("Attaching", writer) as line:
        line(1, 3)
        line(2, 3)
    os.close(writer)
