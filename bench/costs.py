"""What an event costs in the kernel: nanoseconds per run of the BPF program, by kernel.bpf_stats_enabled.

The kernel's own two readings of the clock are in each figure; the row of the empty program shows how much.
"""

from __future__ import annotations

from bench import workloads
from bench.experiment import Experiment, Figures, Measure, Row
from bench.machine import bpf_statistics
from bench.tracers import BenchError, Run, Tracer

_PROBE = "tracepoint:syscalls:sys_enter_read"
_FILTER = '/comm == "calls"/'
_OTHERS = 1.5  # runs for other processes that are tolerated, as a multiple of the workload's


def _cost_of(key: str, body: str) -> Measure:
    program = f"{_PROBE} {body}"

    def measure(tracer: Tracer, size: int) -> Figures:
        with open("/dev/null", "wb") as null, Run(tracer, program, stdout=null) as run:
            run.wait_attached()
            with bpf_statistics():
                workloads.run(workloads.calls("read", size))
                nanoseconds, runs = run.program_cost()
        if not size <= runs <= _OTHERS * size:
            raise BenchError(f"{program}: {runs} runs for {size} events")
        return {key: nanoseconds / runs}

    return measure


def _experiment(
    key: str, body: str, target: float | None, stretch: float | None, sizes: tuple[int, int] = (200_000, 1_000_000)
) -> Experiment:
    row = Row(key, f"kernel, per event: `{body}`", "ns", target, stretch)
    return Experiment(key, _cost_of(key, body), (row,), sizes=sizes, rounds=(2, 11))


def _keyed() -> list[Experiment]:
    found = []
    for name in ("pid", "comm"):
        for function in ("count()", "sum(args->count)", "hist(args->count)"):
            key = f"ns-{name}-{function.split('(')[0]}"
            found.append(_experiment(key, f"{_FILTER} {{ @[{name}] = {function}; }}", 0.60, 0.52))
    return found


EXPERIMENTS = (
    _experiment("ns-floor", "{ }", None, None),
    _experiment("ns-count", "{ @ = count(); }", 0.70, 0.62),
    _experiment("ns-hist", "{ @ = hist(args->count); }", 0.40, 0.33),
    *_keyed(),
    _experiment("ns-printf", '{ printf("%d %s %d\\n", pid, comm, args->count); }', 0.05, 0.03, (100_000, 300_000)),
)
