"""Many probes: from the start until all are attached, and until all are detached again and the command has ended."""

from __future__ import annotations

from bench import workloads
from bench.experiment import Experiment, Figures, Row
from bench.tracers import Run, Tracer

_ACTION = "{ @[probe] = count(); }"
_ALL, _SOME = "tracepoint:syscalls:sys_enter_*", "tracepoint:syscalls:sys_enter_s*"


def attach_detach(tracer: Tracer, program: str) -> tuple[float, float]:
    """(seconds from start to attached, from the interrupt to the end)."""
    with open("/dev/null", "wb") as null, Run(tracer, program, stdout=null) as run:
        run.wait_attached()
        before = run.attached_at - run.started
        # The interrupt is sent at once: what it asks for is the detaching.
        asked = run.attached_at
        return before, run.interrupt() - asked


def tracepoints(tracer: Tracer, size: int) -> Figures:
    on, off = attach_detach(tracer, f"{_ALL if size else _SOME} {_ACTION}")
    return {"tracepoints": on + off, "tracepoints-on": on, "tracepoints-off": off}


def uprobe_program(functions: int) -> str:
    return f"uprobe:{workloads.library(functions)}:bench_* {_ACTION}"


def uprobes(tracer: Tracer, size: int) -> Figures:
    on, off = attach_detach(tracer, uprobe_program(size))
    return {"uprobes": on + off, "uprobes-on": on, "uprobes-off": off}


EXPERIMENTS = (
    Experiment(
        "tracepoints", tracepoints,
        (
            Row("tracepoints", "`tracepoint:syscalls:sys_enter_*` with `@[probe] = count()`, start to end", "s", 0.10, 0.03),
            Row("tracepoints-on", "of that, start to attached", "s"),
            Row("tracepoints-off", "of that, Ctrl-C to end", "s"),
        ), sizes=(0, 1), rounds=(2, 5), peer_rounds=(1, 1), warm_up=True,
    ),
    Experiment(
        "uprobes", uprobes,
        (
            Row("uprobes", "{n} uprobes of one library, start to end", "s", 0.10, 0.03),
            Row("uprobes-on", "of that, start to attached", "s"),
            Row("uprobes-off", "of that, Ctrl-C to end", "s"),
        ), sizes=(50, 500), rounds=(2, 5), peer_rounds=(1, 1), warm_up=True,
    ),
)  # fmt: skip
