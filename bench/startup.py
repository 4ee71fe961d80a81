"""Start-up: from the start of the command to its end, or to the first line that an event makes it print."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import workloads
from bench.experiment import Experiment, Figures, Row
from bench.tracers import BenchError, Run, Tracer, ours

NOTHING = "BEGIN { exit(); }"
OPENAT = "tracepoint:syscalls:sys_enter_openat { @[comm, str(args->filename)] = count(); }"
# The same one-liner, telling that its first event has come.
OPENAT_TOLD = OPENAT.replace("count(); }", 'count(); printf("first\\n"); }')
TOOL = Path(__file__).parent / "programs" / "tool.bt"
_OPENS_A_SECOND = 2000
# What no first compilation can do without: the interpreter, libbcc with LLVM, and one `BPF()`.
_BCC_ALONE = """
import sys
sys.path += sys.argv[1:]
from bpftrace_py.runtime.bcc_backend import compile_image
compile_image("int nothing(void *context) { return 0; }", ["nothing"])
"""


def _warm_and_cold(tracer: Tracer, prefix: str, once: Callable[[Tracer], float]) -> Figures:
    return {f"{prefix}-cold": 1000 * once(tracer.as_cold()), f"{prefix}-warm": 1000 * once(tracer)}


def _until_end(tracer: Tracer) -> float:
    with Run(tracer, NOTHING) as run:
        return run.wait() - run.started


def _until_first_open(tracer: Tracer) -> float:
    with workloads.running(workloads.calls("open", 0, 1, _OPENS_A_SECOND)), Run(tracer, OPENAT_TOLD) as run:
        return run.wait_for(b"first\n") - run.started


def _until_tool_runs(tracer: Tracer) -> float:
    with Run(tracer, "", str(TOOL)) as run:
        return run.wait_for(b"first\n") - run.started


def nothing(tracer: Tracer, size: int) -> Figures:
    return _warm_and_cold(tracer, "nothing", _until_end)


def openat(tracer: Tracer, size: int) -> Figures:
    return _warm_and_cold(tracer, "openat", _until_first_open)


def tool(tracer: Tracer, size: int) -> Figures:
    return _warm_and_cold(tracer, "tool", _until_tool_runs)


def bcc_alone(tracer: Tracer, size: int) -> Figures:
    """The floor under our own start with an empty cache; nothing of the peer's compares."""
    if tracer.name != ours().name:
        return {}
    start = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", "-c", _BCC_ALONE, *filter(None, sys.path)], check=True)
    return {"bcc-alone": 1000 * (time.monotonic() - start)}


def _peak(tracer: Tracer, program: str) -> float:
    """Peak resident memory in MiB."""
    path = os.path.join(workloads.scratch(), "peak")
    with Run(tracer, program, wrapper=[workloads.program("peak"), path]) as run:
        run.wait()
    with open(path, encoding="ascii") as file:
        text = file.read()
    if not text.strip():
        raise BenchError("the peak of memory is not known")
    return int(text) / 1024


def memory(tracer: Tracer, size: int) -> Figures:
    # Something must end the one-liner: half a second of it.
    ending = OPENAT + " interval:ms:500 { exit(); }"
    return {
        f"memory-{name}-{state}": _peak(chosen, program)
        for name, program in (("nothing", NOTHING), ("openat", ending))
        for state, chosen in (("cold", tracer.as_cold()), ("warm", tracer))
    }


EXPERIMENTS = (
    Experiment(
        "nothing", nothing,
        (
            Row("nothing-cold", "start to end of `BEGIN { exit(); }`, cache empty", "ms", 0.7, 0.5),
            Row("nothing-warm", "the same, warm", "ms", 0.4, 0.25),
        ), rounds=(5, 15), warm_up=True,
    ),
    Experiment(
        "openat", openat,
        (
            Row("openat-cold", "start to first event of the `openat` one-liner, cache empty", "ms", 0.5, 0.3),
            Row("openat-warm", "the same, warm", "ms", 0.35, 0.2),
        ), rounds=(3, 11), warm_up=True,
    ),
    Experiment(
        "tool", tool,
        (
            Row("tool-cold", "start to first event of a 100-line tool with 10 probes, cache empty", "ms", 0.6, 0.4),
            Row("tool-warm", "the same, warm", "ms", 0.3, 0.2),
        ), rounds=(2, 7), warm_up=True,
    ),
    Experiment(
        "bcc-alone", bcc_alone,
        (Row("bcc-alone", "the floor of a first start: Python, BCC, and `BPF()` of an empty program, nothing else", "ms"),),
        rounds=(3, 11), warm_up=True,
    ),
    Experiment(
        "memory", memory,
        (
            Row("memory-nothing-cold", "peak memory of `BEGIN { exit(); }`, cache empty", "MiB", 1.0, 0.7),
            Row("memory-nothing-warm", "the same, warm", "MiB", 1.0, 0.7),
            Row("memory-openat-cold", "peak memory of the `openat` one-liner, cache empty", "MiB", 1.0, 0.7),
            Row("memory-openat-warm", "the same, warm", "MiB", 1.0, 0.7),
        ), rounds=(1, 5), warm_up=True,
    ),
)  # fmt: skip
