"""Loops: those that count run in full, others have a bound, and what it cuts short is told."""

from __future__ import annotations

import pytest

from tests.live import run


def test_a_loop_that_counts_runs_in_full():
    done = run("BEGIN { $i = 0; while ($i < 200) { $i++; @ = sum($i); } $j = 9; while ($j > 0) { $j -= 2; @n = count(); } exit(); }")
    assert "@: 20100" in done.stdout and "@n: 5" in done.stdout
    assert "W0911" not in done.stderr


def test_a_loop_in_a_loop():
    done = run("BEGIN { $i = 0; while ($i < 30) { $j = 0; while ($j < 10) { $j++; @++; } $i++; } exit(); }")
    assert "@: 300" in done.stdout
    assert "W0911" not in done.stderr


@pytest.mark.parametrize("loop", ["while (@x < 10) { @x++ }", "while (1) { @x++; if (@x >= 10) { break } }"])
def test_a_loop_on_a_map_ends_by_itself(loop: str):
    done = run(f"BEGIN {{ {loop} exit(); }}")
    assert "@x: 10" in done.stdout
    assert "W0911" not in done.stderr


def test_a_loop_without_end_is_stopped_and_that_is_told():
    done = run("BEGIN {\n while (1) { @x = count(); }\n exit(); }")
    rounds = int(done.stdout.split("@x: ")[1].split()[0])
    assert rounds > 100
    assert "the loop in line 2 was stopped once, " in done.stderr
    assert f"after {rounds} rounds" in done.stderr or "as the probe's loops ran too long" in done.stderr


def test_a_loop_that_counts_too_far_is_stopped_and_that_is_told():
    done = run("BEGIN { $i = 0; while ($i < 1000000000) { $i++; @x = count(); } exit(); }")
    assert "the loop in line 1 was stopped once" in done.stderr
