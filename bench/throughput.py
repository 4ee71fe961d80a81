"""printf under load: how soon everything is written, at what cost, and what is lost; and the latency of a single line."""

from __future__ import annotations

import os
import pty
import select
import statistics
import subprocess
import time

from bench import workloads
from bench.experiment import Experiment, Figures, Row
from bench.tracers import Run, Tracer

PRINT = 'tracepoint:syscalls:sys_enter_read /comm == "calls"/ { printf("%d %s %d\\n", pid, comm, args->count); }'
_LINE_END = b" calls 1\n"
_LATENCY = 'tracepoint:syscalls:sys_enter_lseek /comm == "calls"/ { printf("%llu\\n", args->offset); }'
_POLL = 0.002
_SETTLED = 1.0  # seconds without another byte: nothing more will come
_RATE = 10  # events a second


# Room for a million events in either program, so that the time for all of them is compared, and not how many each loses.
_LARGE = {"BPFTRACE_RING_BYTES": str(64 << 20), "BPFTRACE_PERF_RB_PAGES": "32768"}
# Events a second from 2 producers; the highest at which none is lost counts.
_RATES = (1_400_000, 1_000_000, 500_000, 200_000, 100_000, 50_000)


def flood(
    tracer: Tracer, events: int, producers: int, rate: int = 0, environment: dict[str, str] | None = None
) -> tuple[float, float, int]:
    """(seconds until all is written, seconds of the tracer's CPU time, lines written) for so many events."""
    path = os.path.join(workloads.scratch(), "events")
    with open(path, "wb") as file, Run(tracer, PRINT, stdout=file, environment=environment) as run:
        run.wait_attached()
        cpu = run.cpu_ns()
        start = time.monotonic()
        with subprocess.Popen(workloads.calls("read", events, producers, rate)) as generator:
            size, grown = 0, start
            while True:
                time.sleep(_POLL)
                new, now = os.fstat(file.fileno()).st_size, time.monotonic()
                if new != size:
                    size, grown = new, now
                elif now - grown > _SETTLED and generator.poll() is not None:
                    break
        cpu = run.cpu_ns() - cpu
    written = 0
    with open(path, "rb") as result:
        while data := result.readlines(1 << 24):
            written += sum(line.endswith(_LINE_END) for line in data)
    os.unlink(path)
    return grown - start, cpu / 1e9, written


def printf_wall(tracer: Tracer, size: int) -> Figures:
    seconds, cpu, written = flood(tracer, size, 1, environment=_LARGE)
    return {"printf-wall": seconds, "printf-cpu": cpu, "printf-lost": size - written}


def sustained(tracer: Tracer, size: int) -> Figures:
    """The first of the rates at which none of `size` seconds of events is lost, with buffers as they are."""
    for rate in _RATES:
        events = rate * size
        if flood(tracer, events, 2, rate // 2)[2] >= events:
            return {"sustained-rate": float(rate)}
    return {"sustained-rate": 0.0}


def latency(tracer: Tracer, size: int) -> Figures:
    """From the system call to the line on a terminal, in microseconds."""
    master, slave = pty.openpty()
    delays: list[float] = []
    try:
        with Run(tracer, _LATENCY, stdout=slave) as run:
            run.wait_attached()
            with workloads.running(workloads.calls("stamp", size, 1, _RATE)) as generator:
                pending = b""
                while len(delays) < size and (generator.poll() is None or select.select([master], [], [], 0.5)[0]):
                    if not select.select([master], [], [], 0.1)[0]:
                        continue
                    pending += os.read(master, 4096)
                    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
                    *lines, pending = pending.split(b"\n")
                    delays += [(now - int(line)) / 1000 for line in lines if line.strip().isdigit()]
    finally:
        os.close(master)
        os.close(slave)
    return {"latency": statistics.median(delays), "latency-worst": max(delays)} if delays else {}


EXPERIMENTS = (
    Experiment(
        "printf", printf_wall,
        (
            Row("printf-wall", "{n} printf events until all are written", "s", 0.15, 0.11),
            Row("printf-cpu", "the same, CPU time of the tracer", "s", 0.20, 0.12),
            Row("printf-lost", "the same, events lost", "events"),
        ), sizes=(200_000, 1_000_000), rounds=(1, 3),
    ),
    Experiment(
        "sustained", sustained,
        (
            Row(
                "sustained-rate", "printf events from 2 producers for {n} s, none lost, buffers as they are", "events/s", 1e6, 1.4e6,
                at_least=True,
            ),
        ), sizes=(1, 7), rounds=(1, 1), peer_rounds=(1, 1),
    ),
    Experiment(
        "latency", latency,
        (
            Row("latency", "printf latency at 10 events/s, median of {n}", "us", 1.0),
            Row("latency-worst", "the same, the worst", "us"),
        ), sizes=(20, 50), rounds=(1, 7),
    ),
)  # fmt: skip
