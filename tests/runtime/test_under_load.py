"""More events than can be printed, more keys than a map has room for: what is lost is counted, told, and told rarely.

docs/reliability.md lists these tests; `make soak` does the first of them for ten minutes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leftovers import Mark
from tests.live import Outcome, Session
from tests.runtime import missed_events
from tests.testprogs.build import program as built

PRODUCERS, EACH = 4, 250_000
SMALL_RING = {"BPFTRACE_RING_BYTES": "65536"}
# The last of the producers to end makes what must not be lost, while the ring is full of its own events.
MILLION = f"""
    BEGIN {{ @gone[1] = 1; @kept = 1; }}
    tracepoint:syscalls:sys_enter_getpgid /comm == "producer"/ {{ MARK = count(); printf("%d\\n", args->pid); }}
    tracepoint:syscalls:sys_enter_exit_group /comm == "producer"/ {{
        @ended++;
        if (@ended == {PRODUCERS}) {{ print(@kept); clear(@gone); zero(@kept); printf("after\\n"); exit(); }}
    }}
    END {{ printf("end\\n"); }}
"""


@pytest.fixture
def mark() -> Iterator[Mark]:
    made = Mark()
    yield made
    made.assert_nothing_left()


def produce() -> None:
    """A million events from several processes at once."""
    running = [
        subprocess.Popen([built("producer"), str(EACH)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(PRODUCERS)
    ]
    for process in running:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in running:
        assert int(process.communicate()[0]) == EACH


def test_exit_print_and_clear_are_not_lost_among_a_million_printfs(mark: Mark) -> None:
    with Session("-q", "-e", MILLION.replace("MARK", mark.map), env={**mark.env, **SMALL_RING}) as session:
        session.wait_attached()
        produce()
        done = session.wait()
    assert done.status == 0
    lines = done.lines
    printed = sum(line.isdigit() for line in lines)
    after = "after" in lines
    (total,) = re.findall(r"W0901\]: lost (\d+) events", done.stderr)
    assert "@kept: 1" in lines, "print()"
    assert not any(line.startswith("@gone[") for line in lines), "clear()"
    assert "@kept: 0" in lines, "zero()"
    assert "end" in lines and f"{mark.map}: {PRODUCERS * EACH}" in lines
    # What filled the ring when exit() found no room in it came before: it is printed, and not thrown away.
    # Four actions without arguments are made up for when their events are lost, and are counted as lost all the same.
    late = PRODUCERS * EACH + 1 - printed - after
    assert 0 < late <= int(total) <= late + 4


def test_losses_are_told_while_it_runs_at_most_once_a_second_and_as_a_total(mark: Mark) -> None:
    program = f"""
        BEGIN {{ @start = nsecs; }}
        tracepoint:syscalls:sys_enter_getpgid /comm == "producer"/ {{ {mark.map} = count(); printf("%d\\n", args->pid); }}
        END {{ printf("milliseconds %d\\n", (nsecs - @start) / 1000000); }}
    """
    with Session("-q", "-e", program, env={**mark.env, **SMALL_RING}) as session:
        session.wait_attached()
        produce()
        produce()
        done = session.interrupt()
    told = [int(count) for count in re.findall(r"^Lost (\d+) events$", done.stderr, re.MULTILINE)]
    (total,) = re.findall(
        r"^warning\[W0901\]: lost (\d+) events: .*\n  hint: BPFTRACE_RING_BYTES", done.stderr, re.MULTILINE
    )
    milliseconds = int(re.findall(r"milliseconds (\d+)", done.stdout)[0])
    assert sum(told) == int(total) == 2 * PRODUCERS * EACH - sum(line.isdigit() for line in done.lines)
    assert 1 <= len(told) <= milliseconds // 1000 + 2


def test_losses_in_json(mark: Mark) -> None:
    with Session("-f", "json", "-e", MILLION.replace("MARK", mark.map), env={**mark.env, **SMALL_RING}) as session:
        session.wait_attached()
        produce()
        done = session.wait()
    lines = [json.loads(line) for line in done.lines]
    lost = sum(line["data"]["events"] for line in lines if line["type"] == "lost_events")
    warnings = [line["data"] for line in lines if line["type"] == "warning"]
    assert lost > 0 and [f"lost {lost} events" in text for text in warnings] == [True]
    assert {"type": "map", "data": {"@kept": 1}} in lines
    assert {"type": "map", "data": {mark.map: PRODUCERS * EACH}} in lines
    assert {"type": "printf", "data": "end\n"} in lines


def test_a_full_map_is_told_once_and_its_losses_are_counted(mark: Mark) -> None:
    program = f"""
        tracepoint:syscalls:sys_enter_getpgid /comm == "producer"/ {{ {mark.map}[args->pid] = 1; @all = count(); }}
        interval:ms:20 {{ @ticks = count(); printf("tick\\n"); }}
    """
    with Session("-q", "-e", program, env={**mark.env, "BPFTRACE_MAP_KEYS_MAX": "100"}) as session:
        session.wait_attached()
        produce()
        session.wait_for("W0902", stream="stderr")
        produce()
        done = session.interrupt()
    sentence = f"warning[W0902]: the map {mark.map} is full: it has room for 100 keys\n  hint: BPFTRACE_MAP_KEYS_MAX=400 gives it more room"
    assert done.stderr.count("W0902") == done.stderr.count(sentence) == 1
    kept = len(re.findall(rf"^{mark.map}\[", done.stdout, re.MULTILINE))
    (refused,) = re.findall(rf"W0903\]: the map {mark.map} lost (\d+) updates, because it was full", done.stderr)
    assert kept == 100
    # Each of the eight producers sets each of the hundred keys that are there once; every other update is refused.
    assert int(refused) == 2 * PRODUCERS * (EACH - kept)


def test_strings_that_cannot_be_read_are_counted(mark: Mark) -> None:
    """-kk tells of each failed read; without it the string is empty."""
    program = f"""tracepoint:syscalls:sys_enter_getpgid /comm == "producer"/ {{
        {mark.map} = count(); printf("<%s>\\n", str(args->pid)); }}"""
    for option, told in (("-q", 0), ("-kk", 50)):
        with Session(option, "-e", program, env=mark.env) as session:
            session.wait_attached()
            subprocess.run([built("producer"), "50"], input=b"\n", check=True, stdout=subprocess.DEVNULL)
            done = session.interrupt()
        assert done.stdout.count("<>\n") == 50
        assert len(re.findall(r"probe_read(?:_user)?_str failed: Bad address", done.stdout + done.stderr)) == told


def test_the_books_of_the_soak_balance(tmp_path: Path) -> None:
    """The script of `make soak`, for two seconds; and it notices books that do not balance."""
    script = Path(__file__).parents[2] / "scripts" / "soak.py"
    environment = {**os.environ, "SOAK_SECONDS": "2"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())
    spoilt = script.read_text().replace(
        "return {str(process.pid).encode(): int(", "return {str(process.pid).encode(): 1 + int("
    )
    spoilt = spoilt.replace("Path(__file__).resolve().parents[1]", f"Path({str(script.parents[1])!r})")
    (tmp_path / "spoilt.py").write_text(spoilt)
    environment["SOAK_SECONDS"] = "1"
    done = subprocess.run(
        [sys.executable, tmp_path / "spoilt.py"], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 1 and "WRONG made " in done.stdout


def end_after_misses(mark: Mark, *options: str) -> tuple[str, int, Outcome]:
    """Run a program until an event was missed: (the probe that missed it, how many events at least, how the run ended)."""
    with Session(*options, "-e", missed_events.PROGRAM.replace("@", mark.map), env=mark.env) as session:
        session.wait_attached()
        missed_events.bring_about(lambda: missed_events.counted(session.pid))
        return missed_events.PROBE, missed_events.counted(session.pid), session.interrupt()


def test_events_that_came_while_the_cpu_was_in_a_program_are_told(mark: Mark) -> None:
    probe, seen, done = end_after_misses(mark)
    told = re.search(r"^warning\[W0915\]: the probes missed (\d+) events: they came while their CPU was at another", done.stderr, re.M)
    assert told and int(told[1]) >= seen
    assert re.search(rf"  hint: (they|\d+ of them) are of {probe}; a quicker block misses fewer\n", done.stderr)


def test_missed_events_are_in_the_totals_of_json(mark: Mark) -> None:
    _, seen, done = end_after_misses(mark, "-f", "json")
    lines = [json.loads(line) for line in done.lines]
    count = lines[-1]["data"]["missed_events"]
    assert count >= seen
    (told,) = [line["data"] for line in lines if line["type"] == "warning" and "W0915" in line["data"]]
    assert f"missed {count} events" in told
