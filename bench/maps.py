"""Reading, sorting and printing a large map, from the event that asks for it to the last line."""

from __future__ import annotations

import os
import time

from bench import workloads
from bench.experiment import Experiment, Figures, Row
from bench.tracers import BenchError, Run, Tracer

_DONE = b"-- done\n"
_TIMEOUT = 120.0


def read_map(tracer: Tracer, keys: int, function: str) -> tuple[float, float]:
    """(seconds to print a map of so many keys, seconds of CPU time of the tracer)."""
    program = (
        f'tracepoint:syscalls:sys_enter_lseek /comm == "calls"/ {{ @[args->offset] = {function}; }}'
        f' tracepoint:syscalls:sys_enter_getpriority /pid == {os.getpid()}/ {{ print(@); printf("-- done\\n"); }}'
    )
    path = os.path.join(workloads.scratch(), "map")
    limits = {"BPFTRACE_MAP_KEYS_MAX": str(keys + keys // 4 + 16)}
    with open(path, "w+b") as file, Run(tracer, program, stdout=file, environment=limits) as run:
        run.wait_attached()
        workloads.run(workloads.calls("keys", keys))
        time.sleep(0.2)
        cpu, start = run.cpu_ns(), time.monotonic()
        os.getpriority(os.PRIO_PROCESS, 0)
        while True:
            size = os.fstat(file.fileno()).st_size
            if size > len(_DONE) and os.pread(file.fileno(), len(_DONE), size - len(_DONE)) == _DONE:
                break
            if time.monotonic() - start > _TIMEOUT:
                raise BenchError(f"the map was not printed within {_TIMEOUT:.0f} s")
            time.sleep(0.001)
        seconds, cpu = time.monotonic() - start, run.cpu_ns() - cpu
    with open(path, "rb") as result:
        printed = sum(line.startswith(b"@[") for line in result)
    os.unlink(path)
    if printed != keys:
        raise BenchError(f"{printed} of {keys} keys were printed")
    return seconds, cpu / 1e9


def count_map(tracer: Tracer, size: int) -> Figures:
    return {"map": 1000 * read_map(tracer, size, "count()")[0]}


def hist_map(tracer: Tracer, size: int) -> Figures:
    return {"hist-map": 1000 * read_map(tracer, size, "hist(args->offset)")[0]}


EXPERIMENTS = (
    Experiment(
        "map", count_map, (Row("map", "map of {n} keys, read, sorted, printed", "ms", 0.80, 0.65),),
        sizes=(100_000, 100_000), rounds=(2, 7),
    ),
    Experiment(
        "hist-map", hist_map, (Row("hist-map", "map of {n} keys of hist", "ms", 0.60, 0.4),),
        sizes=(100_000, 100_000), rounds=(1, 5),
    ),
)  # fmt: skip
