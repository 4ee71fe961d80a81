"""An experiment: the same work for both programs, several rounds in turn, and the rows of the table that come out."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.tracers import BenchError, Tracer

Figures = dict[str, float]  # by `Row.key`
Measure = Callable[[Tracer, int], Figures]


@dataclass(frozen=True)
class Row:
    """A row of the table. `target` is the largest ratio us / bpftrace that is good enough; `at_least` turns it into the
    least figure of ours, for rows about throughput; neither: the row is there to be known."""

    key: str
    what: str
    unit: str
    target: float | None = None
    stretch: float | None = None
    at_least: bool = False


@dataclass(frozen=True)
class Experiment:
    """`measure(tracer, size)` does it once. `sizes` and `rounds` are those of (quick, full); `peer_rounds` fewer if the
    peer takes minutes."""

    name: str
    measure: Measure
    rows: tuple[Row, ...]
    sizes: tuple[int, int] = (0, 0)
    rounds: tuple[int, int] = (3, 7)
    peer_rounds: tuple[int, int] | None = None
    warm_up: bool = False  # a round before the first that does not count: what is to be cached then is


@dataclass
class Outcome:
    """What an experiment gave: figures of every round, by row and tracer, and what went wrong."""

    experiment: Experiment
    size: int
    figures: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def median(self, row: Row, tracer: Tracer) -> float | None:
        values = self.figures.get((row.key, tracer.name))
        return statistics.median(values) if values else None

    def spread(self, row: Row, tracer: Tracer) -> float:
        """Half of what lies between the smallest and the largest figure, as a share of the median."""
        values = self.figures.get((row.key, tracer.name), [])
        middle = statistics.median(values) if values else 0
        return (max(values) - min(values)) / 2 / middle if middle else 0.0


def run(experiment: Experiment, tracers: list[Tracer], full: bool) -> Outcome:
    """All rounds, the tracers in turn and each round in the other order, so that neither has the warmer machine."""
    size = experiment.sizes[full]
    outcome = Outcome(experiment, size)
    if experiment.warm_up:
        _once(outcome, tracers[0], keep=False)
    for number in range(experiment.rounds[full]):
        for tracer in tracers if number % 2 == 0 else reversed(tracers):
            limit = experiment.peer_rounds[full] if experiment.peer_rounds and tracer is not tracers[0] else None
            if limit is not None and number >= limit:
                continue
            _once(outcome, tracer)
    return outcome


def _once(outcome: Outcome, tracer: Tracer, keep: bool = True) -> None:
    try:
        figures = outcome.experiment.measure(tracer, outcome.size)
    except BenchError as error:
        outcome.problems.append(f"{outcome.experiment.name}, {tracer.name}: {error}")
        sys.stderr.write(f"{outcome.problems[-1]}\n")
        return
    for key, value in figures.items() if keep else ():
        outcome.figures.setdefault((key, tracer.name), []).append(value)


def ratio_verdict(row: Row, mine: float | None, other: float | None) -> tuple[str, str]:
    """(ratio, verdict) as text."""
    ratio = mine / other if mine is not None and other else None
    shown = f"{ratio:.3f}" if ratio is not None and ratio < 0.1 else f"{ratio:.2f}" if ratio is not None else "-"
    reached = mine if row.at_least else ratio
    if row.target is None or reached is None:
        return shown, ""

    def good(bound: float) -> bool:
        return reached >= bound if row.at_least else reached <= bound

    if row.stretch is not None and good(row.stretch):
        return shown, "stretch"
    return shown, "met" if good(row.target) else "**missed**"


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _bound(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:g}"


HEADING = (
    "| what | unit | bpftrace-py | ± | bpftrace | ± | ratio | target | stretch | |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n"
)


def table_lines(outcome: Outcome, tracers: list[Tracer]) -> list[str]:
    """The Markdown rows of an outcome."""
    ours, peer = tracers
    lines = []
    for row in outcome.experiment.rows:
        mine, other = outcome.median(row, ours), outcome.median(row, peer)
        ratio, verdict = ratio_verdict(row, mine, other)
        spreads = [f"{outcome.spread(row, tracer):.0%}" for tracer in tracers]
        what = row.what.replace("{n}", f"{outcome.size:,}")
        lines.append(
            f"| {what} | {row.unit} | {_figure(mine)} | {spreads[0]} | {_figure(other)} | {spreads[1]} "
            f"| {ratio} | {_bound(row.target)} | {_bound(row.stretch)} | {verdict} |\n"
        )
    return lines
