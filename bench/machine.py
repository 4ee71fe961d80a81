"""The machine that figures were measured on, and the kernel switch that counts the time of BPF programs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.tracers import Tracer

_STATS = "/proc/sys/kernel/bpf_stats_enabled"
_BUSY_SHARE = 0.10  # of all CPUs: above it figures are not to be trusted


def _line_of(path: str, start: str) -> str:
    with open(path, encoding="utf-8") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith(start)), "unknown")


def busy_share(seconds: float = 1.0) -> float:
    """The share of all CPUs' time that is used, by whoever."""

    def sample() -> tuple[int, int]:
        with open("/proc/stat", encoding="ascii") as file:
            times = [int(word) for word in file.readline().split()[1:9]]
        return sum(times), times[3] + times[4]

    total, idle = sample()
    time.sleep(seconds)
    total_after, idle_after = sample()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def package_version(name: str) -> str:
    """Of a Debian package, or `unknown`."""
    try:
        command = ["dpkg-query", "-W", "-f", "${Version}", name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _start_ms(*options: str) -> float:
    """What the interpreter alone takes, at best: the floor under our start-up."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    times = []
    for _ in range(5):
        start = time.monotonic()
        subprocess.run([sys.executable, *options, "-c", "pass"], env=environment, check=True)
        times.append(time.monotonic() - start)
    return 1000 * min(times)


def describe(tracers: list[Tracer]) -> tuple[list[str], str | None]:
    """(lines of Markdown about the machine, a warning if it is busy)."""
    load, busy = os.getloadavg(), busy_share()
    memory = int(_line_of("/proc/meminfo", "MemTotal").split()[0]) // 1024
    kernel = os.uname()
    lines = [
        f"- kernel {kernel.release} {kernel.machine}, {platform.freedesktop_os_release()['PRETTY_NAME']}",
        f"- {os.cpu_count()} CPUs, {_line_of('/proc/cpuinfo', 'model name')}, {memory} MiB of memory",
        *(f"- {tracer.name}: {tracer.version()}" for tracer in tracers),
        f"- Python {platform.python_version()}, BCC {package_version('libbpfcc')}",
        f"- start to end of `python -c pass`: {_start_ms():.0f} ms; with -S, without `site`: {_start_ms('-S'):.0f} ms",
        f"- at the start: load average {load[0]:.2f}, {load[1]:.2f}, {load[2]:.2f}; {busy:.0%} of the CPUs' time in use",
    ]
    warning = None
    if busy > _BUSY_SHARE or load[0] > 0.5 * (os.cpu_count() or 1):
        warning = "This machine was busy with other work: the figures are provisional."
    return lines, warning


@contextmanager
def bpf_statistics() -> Iterator[None]:
    """The kernel counts runs and nanoseconds of every BPF program meanwhile (which costs each run some time)."""
    with open(_STATS, encoding="ascii") as file:
        before = file.read().strip()
    with open(_STATS, "w", encoding="ascii") as file:  # anew: it is written from its beginning or not at all
        file.write("1")
    try:
        yield
    finally:
        with open(_STATS, "w", encoding="ascii") as file:
            file.write(before)
