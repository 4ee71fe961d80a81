"""The package as a type checker sees it from a program of somebody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import asyncio
from typing import assert_type
import bpftrace_py
from bpftrace_py import Event, Histogram, NoHost, trace, transpile

unit = transpile("BEGIN { exit(); }", parameters=[1, "x"], host=NoHost(), strlen=100)
assert_type(unit.c_source, str)

def heard(event: Event) -> None:
    assert_type(event.text, str)

with trace("BEGIN { exit(); }", on_event=heard) as session:
    assert_type(session.run(seconds=1.5), bool)
    for event in session:
        assert_type(event, Event)

async def main() -> None:
    async with trace("BEGIN { exit(); }") as session:
        async for event in session:
            assert_type(event, Event)
        await session.read("x")

def show(histogram: Histogram) -> float | None:
    return histogram.quantile(0.99)

try:
    transpile("")
except bpftrace_py.BpftraceError as error:
    print([diagnostic.code for diagnostic in error.diagnostics])
"""
WRONG = """
import bpftrace_py
bpftrace_py.trace(1)
bpftrace_py.transpile("").no_such_field
bpftrace_py.Nothing
"""


def check(program: str, directory: Path) -> list[str]:
    path = directory / "program.py"
    path.write_text(program)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir",
        str(directory / "cache"),
        str(path),
    ]
    # Not from the checkout: an installed package is typed by its py.typed alone.
    environment = {"MYPYPATH": str(ROOT), "PATH": "/usr/bin"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, timeout=300, env=environment)
    return [line for line in done.stdout.splitlines() if line.startswith("program.py")]


def test_a_right_program_passes(tmp_path: Path) -> None:
    assert (ROOT / "bpftrace_py" / "py.typed").exists()
    assert check(PROGRAM, tmp_path) == []


def test_a_wrong_one_does_not(tmp_path: Path) -> None:
    assert [line.split(":")[1] for line in check(WRONG, tmp_path)] == ["3", "4", "5"]
