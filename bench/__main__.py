"""`python -m bench`: see the package's text."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bench import attaching, costs, maps, startup, steady, throughput
from bench.experiment import HEADING, Experiment, Outcome, run, table_lines
from bench.machine import describe
from bench.tracers import BenchError, Tracer, ours, peer

HERE = Path(__file__).parent
EXPERIMENTS: tuple[Experiment, ...] = (
    *startup.EXPERIMENTS, *costs.EXPERIMENTS, *throughput.EXPERIMENTS, *maps.EXPERIMENTS, *attaching.EXPERIMENTS,
    *steady.EXPERIMENTS,
)  # fmt: skip


def _report(
    mode: str, outcomes: list[Outcome], tracers: list[Tracer], machine: list[str], warning: str | None, seconds: float
) -> str:
    command = "python -m bench" + ("" if mode == "full" else f" {mode}")
    parts = [
        "# Results\n\n",
        f"By `{command}`, {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, in {seconds:.0f} s. Figures are medians of "
        "several rounds, the two programs in turn; ± is half the span from the smallest to the largest figure. "
        "The ratio is bpftrace-py / bpftrace.\n\n",
        *(f"{line}\n" for line in machine),
        "\n",
    ]
    if warning:
        parts.append(f"**{warning}**\n\n")
    parts.append(HEADING)
    for outcome in outcomes:
        parts += table_lines(outcome, tracers)
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    if problems:
        parts += ["\nNot measured:\n\n", *(f"- {problem.splitlines()[0]}\n" for problem in problems)]
    return "".join(parts)


def _table(mode: str, only: list[str], output: Path | None) -> None:
    start = time.monotonic()
    tracers = [ours(), peer()]
    machine, warning = describe(tracers)
    sys.stdout.write("".join(f"{line}\n" for line in machine))
    if warning:
        sys.stdout.write(f"\n{warning}\n")
    sys.stdout.write(f"\n{HEADING}")
    outcomes = []
    for experiment in EXPERIMENTS:
        if only and experiment.name not in only:
            continue
        outcomes.append(run(experiment, tracers, mode == "full"))
        sys.stdout.write("".join(table_lines(outcomes[-1], tracers)))
        sys.stdout.flush()
    if output is not None:
        output.write_text(_report(mode, outcomes, tracers, machine, warning, time.monotonic() - start))
        sys.stdout.write(f"\nwritten to {os.path.relpath(output)}\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Us and Debian's bpftrace, measured in turn.")
    parser.add_argument("mode", nargs="?", choices=("full", "quick", "curves"), default="full")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this experiment (more than once)")
    parser.add_argument(
        "--output", type=Path, help="default: bench/results.md or bench/curves.md; none for `quick` and with --only"
    )
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.stderr.write("The benchmarks attach to the kernel: run them as root.\n")
        return 1
    name = "curves.md" if arguments.mode == "curves" else "results.md"
    partial = arguments.only or arguments.mode == "quick"
    output = arguments.output or (None if partial else HERE / name)
    try:
        if arguments.mode == "curves":
            from bench import curves

            curves.main(arguments.only, output)
        else:
            _table(arguments.mode, arguments.only, output)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
