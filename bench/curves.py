"""How our cost grows as the work grows: probes, keys, rate of events, length of the script, depth of stacks.

Each curve is measured from small to large. What counts is the marginal cost: the seconds that each further unit of work
takes between two points. It may fall (what is fixed is spread over more) but must not rise: that would be worse than linear.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench import workloads
from bench.attaching import attach_detach, uprobe_program
from bench.machine import describe
from bench.maps import read_map
from bench.steady import count_stacks
from bench.throughput import flood
from bench.tracers import Run, Tracer, ours

_ROUNDS = 3
_TOLERANCE = 0.2  # of the exponent: caches and noise
_NOISE = 0.03  # seconds: a step that adds less than this is not told from noise


@dataclass(frozen=True)
class Curve:
    """`measure(tracer, n)` gives seconds."""

    name: str
    title: str
    unit: str
    points: tuple[int, ...]
    measure: Callable[[Tracer, int], float]


def _attach_uprobes(tracer: Tracer, count: int) -> float:
    return sum(attach_detach(tracer, uprobe_program(count)))


def _blocks(tracer: Tracer, count: int) -> float:
    """Probe blocks of their own, each with its own program: compiled from an empty cache, loaded, attached."""
    program = "\n".join(f"uprobe:{workloads.library(1000)}:bench_{i} {{ @[{i}] = count(); }}" for i in range(count))
    path = os.path.join(workloads.scratch(), "blocks.bt")
    Path(path).write_text(program + "\n")
    with open("/dev/null", "wb") as null, Run(tracer.as_cold(), "", path, stdout=null) as run:
        run.wait_attached()
        return run.interrupt() - run.started


def _script_lines(tracer: Tracer, lines: int) -> float:
    """Parsing, analysis and C of a script: a dry run, which needs neither clang nor the kernel's verifier."""
    per_probe = 500
    parts = []
    for start in range(0, lines, per_probe):
        body = "".join(f"\t@x{i % 50} = pid + {i};\n" for i in range(start, min(lines, start + per_probe)))
        parts.append(f"tracepoint:syscalls:sys_enter_read\n{{\n{body}}}\n")
    path = os.path.join(workloads.scratch(), "long.bt")
    Path(path).write_text("".join(parts))
    with open("/dev/null", "wb") as null, Run(tracer, "", "-d", path, stdout=null) as run:
        return run.wait() - run.started


def _read_keys(tracer: Tracer, keys: int) -> float:
    return read_map(tracer, keys, "count()")[0]


def _read_hist_keys(tracer: Tracer, keys: int) -> float:
    return read_map(tracer, keys, "hist(args->offset)")[0]


def _stack_depth(tracer: Tracer, depth: int) -> float:
    return count_stacks(tracer, 2, depth)[0]


def _events(tracer: Tracer, events: int) -> float:
    return flood(tracer, events, 2)[0]


CURVES = (
    Curve("probes", "uprobes by one wildcard, start to end", "probes", (1, 10, 100, 300, 1000), _attach_uprobes),
    Curve("blocks", "probe blocks, cache empty, start to end", "blocks", (1, 10, 30, 100, 300), _blocks),
    Curve("lines", "script length, to the generated C", "lines", (10, 100, 1000, 3000, 10_000), _script_lines),
    Curve("keys", "print a map", "keys", (10, 1000, 10_000, 100_000, 1_000_000), _read_keys),
    Curve("hist-keys", "print a map of hist", "keys", (10, 1000, 10_000, 100_000, 300_000), _read_hist_keys),
    Curve(
        "depth",
        "stack depth, counting 10k stacks/s for 2 s: CPU of the tracer",
        "frames",
        (5, 20, 60, 110),
        _stack_depth,
    ),
    Curve("events", "printf events until all are written", "events", (10_000, 100_000, 1_000_000, 3_000_000), _events),
)


def _marginal(points: list[tuple[int, float]]) -> list[float | None]:
    """Seconds for each further unit between a point and the one before; None where noise hides it."""
    costs: list[float | None] = [None]
    for (n, seconds), (more, longer) in pairwise(points):
        step = longer - seconds
        costs.append(step / (more - n) if step > _NOISE else None)
    return costs


def verdict(points: list[tuple[int, float]], costs: list[float | None]) -> str:
    """Whether the marginal cost stays where it was: if it grows as n ** e, the whole grows as n ** (1 + e)."""
    known = [(n, cost) for (n, _), cost in zip(points, costs, strict=True) if cost is not None]
    if len(known) < 2:
        return "no growth to speak of" if not known else "linear or less: one step only is above the noise"
    (first, small), (last, large) = known[0], known[-1]
    exponent = 1 + math.log(large / small) / math.log(last / first)
    words = "linear or less" if exponent <= 1 + _TOLERANCE else "**worse than linear**"
    return f"{words}: grows as n to the power of {exponent:.2f} at the upper end"


def _measure(curve: Curve, tracer: Tracer) -> list[str]:
    points = []
    for n in curve.points:
        points.append((n, statistics.median(curve.measure(tracer, n) for _ in range(_ROUNDS))))
    costs = _marginal(points)
    lines = [f"## {curve.title}\n\n| {curve.unit} | seconds | us for each further one |\n|--:|--:|--:|\n"]
    for (n, seconds), cost in zip(points, costs, strict=True):
        lines.append(f"| {n:,} | {seconds:.3f} | {'-' if cost is None else f'{cost * 1e6:.2f}'} |\n")
    lines.append(f"\n{verdict(points, costs)}\n\n")
    return lines


def _saturation(tracer: Tracer) -> list[str]:
    """From a trickle to all that two producers can make: what the tracer's CPU costs, and what is lost."""
    lines = [
        "## rate of printf events, 2 producers\n\n",
        "| asked, events/s | reached, events/s | tracer's CPU, us an event | lost |\n|--:|--:|--:|--:|\n",
    ]
    for rate in (1000, 10_000, 100_000, 0):
        events = 2_000_000 if not rate else 2 * rate
        seconds, cpu, written = flood(tracer, events, 2, rate // 2)
        lines.append(
            f"| {rate or 'all'} | {written / seconds:,.0f} | {cpu / events * 1e6:.2f} | {events - written:,} |\n"
        )
    return [*lines, "\n"]


def main(only: list[str], output: Path | None) -> None:
    """All curves, or those that are named; to standard output and the file."""
    start = time.monotonic()
    tracer = ours()
    machine, warning = describe([tracer])
    text = "".join(f"{line}\n" for line in machine) + "\n" + (f"**{warning}**\n\n" if warning else "")
    sys.stdout.write(text)
    for curve in CURVES:
        if not only or curve.name in only:
            part = "".join(_measure(curve, tracer))
            sys.stdout.write(part)
            sys.stdout.flush()
            text += part
    if not only or "rates" in only:
        part = "".join(_saturation(tracer))
        sys.stdout.write(part)
        text += part
    if output is not None:
        spent = time.monotonic() - start
        heading = f"# Curves\n\nBy `python -m bench curves`, in {spent:.0f} s: medians of {_ROUNDS} rounds.\n\n"
        output.write_text(heading + text)
