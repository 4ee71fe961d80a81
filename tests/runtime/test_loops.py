"""Loops: those that count run in full, others have a bound, and what it cuts short is told."""

from __future__ import annotations

import pytest

from bpftrace_py.runtime.features import Features
from tests.live import run


def test_a_loop_that_counts_runs_in_full():
    done = run(
        "BEGIN { $i = 0; while ($i < 200) { $i++; @ = sum($i); } $j = 9; while ($j > 0) { $j -= 2; @n = count(); } exit(); }"
    )
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


def test_thousands_of_rounds_with_a_printf():
    done = run('BEGIN { $i = 0; while ($i < 5000) { printf("= %d\\n", $i); $i++; } exit(); }')
    numbers = [int(line[2:]) for line in done.lines if line.startswith("= ")]
    assert numbers == list(range(len(numbers))) and len(numbers) > 200
    if Features().may_goto:
        assert len(numbers) == 5000 and "W0911" not in done.stderr
    else:
        assert f"the loop in line 1 was stopped once, after {len(numbers)} rounds" in done.stderr


def test_an_event_has_fewer_rounds():
    done = run("interval:ms:1 { $i = 0; while (1) { $i++; } @x = max($i); exit(); }")
    rounds = int(done.stdout.split("@x: ")[1].split()[0])
    assert 100 < rounds <= 20000
    assert "W0911" in done.stderr


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # what branches change is right, in memory and out of it
        ("$n = 27; $steps = 0; while ($n != 1) { if ($n % 2) { $n = 3 * $n + 1; } else { $n = $n / 2; } $steps++; } print($steps);", "111"),
        ("$i = 0; $odd = 0; while ($i < 50) { $i++; if ($i % 2 == 0) { continue; } $odd += $i; } print(($i, $odd));", "(50, 625)"),
        ("$i = 0; while ($i < 60) { $i++; if ($i == 33) { break; } } print($i);", "33"),
        ("$i = 0; while (1) { if ($i++ == 200) { break; } } print($i);", "201"),
        ("$s = \"\"; $i = 0; while ($i < 150) { $i++; if ($i == 77) { $s = \"there\"; } } print($s);", "there"),
        ("$t = (0, 0); $i = 0; while ($i < 150) { $i++; $t = ($i, $t.0); } print($t);", "(150, 149)"),
        ("$x = (int8)0; $i = 0; while ($i < 130) { $i++; $x++; } print(($x, $i));", "(-126, 130)"),
        ("$k = 0; $i = 0; while ($i < 12) { $i++; $j = 0; while ($j < 11) { $j++; if ($j > $i) { break; } $k++; } } print($k);", "77"),
        ("$k = 0; unroll(100) { $k++; } print($k);", "100"),
        ("$k = 0; unroll(80) { $k += 2; @c[comm, $k % 3] = count(); if ($k > 150) { @d = hist($k); } } print($k);", "160"),
        ("$p = (uint32 *)0; $i = 0; while ($i < 100) { $i++; $p++; } print((uint64)$p);", "400"),
    ],
)  # fmt: skip
def test_what_loops_work_out(body: str, expected: str):
    done = run(f"BEGIN {{ {body} exit(); }}")
    assert done.lines[1] == expected, done.stderr
    assert "W0911" not in done.stderr


def test_a_block_that_is_too_large_is_told():
    """Ten comparisons of long strings are more than the million instructions that the verifier looks at."""
    program = "BEGIN {\n $a = str(0); $b = str(7); " + "@x += $a == $b; " * 10 + "exit(); }"
    done = run(program, env={"BPFTRACE_STRLEN": "65535"})
    assert done.status == 1 and done.stderr.startswith("error[E0717]: the block at stdin:1 is more than")
