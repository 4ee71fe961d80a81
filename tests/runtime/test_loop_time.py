"""The loops of events take a share of a CPU's time and no more, whatever the script and the events are."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.machine import bpf_statistics
from bpftrace_py.codegen.unit import Unit
from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.live_host import LiveHost
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.features import Features
from bpftrace_py.runtime.loader import Loaded, load
from bpftrace_py.source import Source
from tests.live import Session, trace
from tests.runtime.small_units import on_cpu

PRICE, CREDIT, RUN, STEP = 2, 20_000_000, 8_000_000, 4_000_000  # as in the prelude
ROUNDS = "$i = 0; while ($i < 300) { $i++; @rounds = count(); }"


class OlderFeatures(Features):
    """Of a kernel that has no may_goto: the verifier follows every round of a loop."""

    may_goto = False


FORMS = pytest.mark.parametrize("features", [Features(), OlderFeatures()], ids=["by the kernel", "followed"])


@pytest.fixture(autouse=True)
def one_cpu() -> Iterator[None]:
    with on_cpu(min(os.sched_getaffinity(0))):
        yield


class Loops:
    """A loaded block, which runs when it is told to, and what its CPU has paid for loops."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._cpus = loaded.features.possible_cpus

    def run(self, times: int = 1) -> None:
        (program,) = self._loaded.unit.programs
        for _ in range(times):
            self._loaded.run(program.function)

    def _slots(self, table: str, index: int) -> tuple[int, ...]:
        raw = kernel.map_lookup(self._loaded.map_fd(table), struct.pack("=I", index), 8 * self._cpus)
        assert raw is not None
        return struct.unpack(f"={self._cpus}Q", raw)

    def slot(self, table: str, index: int = 0) -> int:
        return sum(self._slots(table, index))

    @property
    def paid(self) -> int:
        """Of the CPU that the block runs on: it only grows, and not on the others."""
        return max(self._slots("loops_paid", 0))

    @paid.setter
    def paid(self, until: int) -> None:
        kernel.map_update(self._loaded.map_fd("loops_paid"), bytes(4), struct.pack("=Q", until) * self._cpus)

    def stopped(self, by_time: bool) -> int:
        unit = self._loaded.unit
        return sum(
            self.slot("lost", 2 + len(unit.maps) + i) for i, loop in enumerate(unit.bounded_loops) if loop.by_time is by_time
        )  # fmt: skip


def block(body: str) -> Unit:
    return compile_source(Source(f"rawtracepoint:sys_enter {{ {body} }}"), Config(), LiveHost())


@FORMS
def test_a_loop_does_not_begin_while_the_time_is_used_up(features: Features):
    with load(block(ROUNDS + "@runs = count();"), features) as loaded:
        loops = Loops(loaded)
        loops.paid = time.monotonic_ns() + CREDIT + 600_000_000_000
        loops.run(3)
        assert (loops.slot("rounds"), loops.slot("runs")) == (0, 3)
        assert (loops.stopped(by_time=True), loops.stopped(by_time=False)) == (3, 0)
        loops.paid = time.monotonic_ns() + CREDIT // 4
        loops.run(3)
        assert (loops.slot("rounds"), loops.slot("runs")) == (900, 6)
        assert (loops.stopped(by_time=True), loops.stopped(by_time=False)) == (3, 0)


@FORMS
def test_every_loop_of_a_block_is_stopped_when_there_is_no_time(features: Features):
    body = ROUNDS + "unroll(2) { while (@x < 5) { @x++; @rounds = count(); } } while (rand) { while (rand) { @rounds = count(); } }"
    with load(block(body), features) as loaded:
        loops = Loops(loaded)
        loops.paid = time.monotonic_ns() + CREDIT + 600_000_000_000
        loops.run()
        assert loops.slot("rounds") == 0 and loops.stopped(by_time=False) == 0 and loops.stopped(by_time=True) >= 3


@FORMS
@pytest.mark.parametrize(
    "body",
    [
        ROUNDS,
        "$i = 0; while (1) { $i++; @rounds = count(); if ($i == 300) { break; } }",
        "$i = 0; while (1) { $i++; @rounds = count(); if ($i < 300) { continue; } return; }",
        "$i = 0; while ($i < 15) { $i++; $j = 0; while ($j < 20) { $j++; @rounds = count(); } }",
        "$i = 0; while (1) { $i++; $j = 0; while ($j < 20) { $j++; @rounds = count(); if ($i == 15 && $j == 20) { return; } } }",
        "unroll(3) { $i = 0; while ($i < 100) { $i++; @rounds = count(); } }",
    ],
    ids=["ends", "break", "return", "loop in a loop", "return from both", "in an unroll"],
)
def test_the_time_of_a_loop_is_paid_once_however_it_is_left(body: str, features: Features):
    with load(block(body), features) as loaded:
        loops = Loops(loaded)
        before = time.monotonic_ns()
        loops.run()
        after = time.monotonic_ns()
        assert loops.slot("rounds") == 300 and loops.stopped(by_time=True) == loops.stopped(by_time=False) == 0
        assert before + PRICE * 300 < loops.paid <= after + (PRICE - 1) * (after - before)
        # behind what is paid already
        loops.paid = ahead = after + CREDIT // 2
        loops.run()
        assert ahead + PRICE * 300 < loops.paid <= ahead + PRICE * (time.monotonic_ns() - after)


@FORMS
def test_one_run_ends_when_it_takes_too_long(features: Features):
    """In each of 20,000 rounds two stacks are read and some 100 KB are copied."""
    body = "while (1) { @rounds = count(); @[kstack, ustack] = count(); @a = str(0); @b = str(1); }"
    unit = compile_source(Source(f"rawtracepoint:sys_enter {{ {body} }}"), Config(strlen=32768), LiveHost())
    with load(unit, features) as loaded:
        loops = Loops(loaded)
        before = time.monotonic_ns()
        loops.run()
        assert 0 < loops.slot("rounds") < 20_000
        assert loops.stopped(by_time=False) + loops.stopped(by_time=True) == 1
        if not loaded.unit.bounded_loops[0].rounds:
            assert loops.stopped(by_time=True) == 1
            assert loops.paid - before > PRICE * RUN
        assert loops.paid - time.monotonic_ns() <= (PRICE - 1) * (RUN + STEP)


def bpf_time(pid: int) -> tuple[int, int]:
    """(ns, runs) of the programs of a process."""
    found = []
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        fields = dict(line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
        if "run_cnt" in fields:
            found.append((int(fields["run_time_ns"]), int(fields["run_cnt"])))
    return sum(ns for ns, _ in found), sum(runs for _, runs in found)


def work(calls: int) -> int:
    """Ask for the parent's id so often, and do a little between; how many ns it took."""
    started = time.monotonic_ns()
    for _ in range(calls):
        os.getppid()
        sum(range(300))
    return time.monotonic_ns() - started


CALLS = 20_000
HEAVY = f"""tracepoint:syscalls:sys_enter_getppid /pid == {os.getpid()}/ {{
    @calls = count();
    $i = 0;
    while ($i < 100000) {{ $i++; @[$i % 7] = count(); }}
}}"""


def test_a_heavy_loop_on_a_frequent_event_takes_its_share_and_no_more():
    """Without a limit, a call would take a hundred times as long, and all of that in the loop."""
    with bpf_statistics(), Session("-e", HEAVY) as session:
        session.wait_attached()
        elapsed = work(CALLS)
        ns, runs = bpf_time(session.pid)
        done = session.interrupt()
    assert runs >= CALLS and f"@calls: {CALLS}\n" in done.stdout
    stops = [int(line.split(" times, ")[0].split()[-1]) for line in done.stderr.splitlines() if "took too much of the CPU's time" in line]
    assert len(stops) == 1 and CALLS / 4 < stops[0] < CALLS
    assert ns < 0.7 * elapsed + PRICE * CREDIT  # the loops' half, and what the rest of each run takes


def test_a_long_loop_on_a_rare_event_is_not_stopped():
    program = "interval:ms:50 { $i = 0; while ($i < 300) { $i++; @rounds = count(); } @runs = count(); printf(\"run %d\\n\", $i); }"
    done = trace(program, lambda: None, until="(run 300\n.*){10}")
    assert "W0911" not in done.stderr
    runs = int(done.stdout.split("@runs: ")[1].split()[0])
    assert runs >= 10 and f"@rounds: {300 * runs}\n" in done.stdout
