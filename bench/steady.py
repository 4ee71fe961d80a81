"""A tracer over time: what it costs while nothing happens, and what counting stacks costs."""

from __future__ import annotations

import os
import time

from bench import workloads
from bench.experiment import Experiment, Figures, Row
from bench.tracers import Run, Tracer

_QUIET = 'tracepoint:syscalls:sys_enter_swapoff { printf("%d\\n", pid); @[pid] = count(); }'
_SAMPLES_A_SECOND = 10_000


def idle(tracer: Tracer, size: int) -> Figures:
    """CPU time in ms for each minute in which nothing happens."""
    with open("/dev/null", "wb") as null, Run(tracer, _QUIET, stdout=null) as run:
        run.wait_attached()
        time.sleep(0.5)
        before = run.cpu_ns()
        time.sleep(size)
        return {"idle": (run.cpu_ns() - before) / 1e6 * 60 / size}


def count_stacks(tracer: Tracer, seconds: float, depth: int) -> tuple[float, float, bytes]:
    """(CPU seconds of the tracer from attaching to the end, seconds from Ctrl-C to the end, what it printed)."""
    producers = os.cpu_count() or 1
    program = f"profile:hz:{_SAMPLES_A_SECOND // producers} {{ @[kstack, ustack] = count(); }}"
    path = os.path.join(workloads.scratch(), "stacks")
    children = os.times()
    with (
        open(path, "w+b") as file,
        workloads.running([workloads.program("deep"), str(depth), str(producers)]),
        Run(tracer, program, stdout=file, environment={"BPFTRACE_MAP_KEYS_MAX": "100000"}) as run,
    ):
        run.wait_attached()
        attached = run.cpu_ns()
        time.sleep(seconds)
        asked = time.monotonic()
        took = run.interrupt() - asked
        after = os.times()
    # The workload is not waited for until later, so that this is the tracer's alone.
    used = after.children_user + after.children_system - children.children_user - children.children_system
    with open(path, "rb") as result:
        printed = result.read()
    os.unlink(path)
    return used - attached / 1e9, took, printed


def stacks(tracer: Tracer, size: int) -> Figures:
    used, took, _ = count_stacks(tracer, size, 20)
    return {"stacks-cpu": used, "stacks-end": took}


EXPERIMENTS = (
    Experiment(
        "idle", idle, (Row("idle", "CPU time a minute, attached to something quiet", "ms", 1.0),),
        sizes=(4, 20), rounds=(1, 3),
    ),
    Experiment(
        "stacks", stacks,
        (
            Row("stacks-cpu", "`@[kstack, ustack]` at 10k/s for {n} s: CPU time of the tracer, symbols included", "s", 1.0, 0.7),
            Row("stacks-end", "the same, Ctrl-C to end", "s", 1.0, 0.7),
        ), sizes=(2, 10), rounds=(1, 3),
    ),
)  # fmt: skip
