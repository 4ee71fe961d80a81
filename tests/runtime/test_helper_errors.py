"""-k and -kk tell of helper functions that failed, and where in the script."""

from __future__ import annotations

from tests.live import run

PROGRAM = 'BEGIN { print(str(8)); delete(@y["a"]); @y["b"] = 1; exit(); }'


def test_reads_are_told_under_kk() -> None:
    outcome = run(PROGRAM, "-kk")
    assert "line 1, column 15: probe_read_str failed: Bad address" in outcome.stdout + outcome.stderr
    assert "map_delete_elem failed: No such file or directory" in outcome.stdout + outcome.stderr


def test_only_what_acts_is_told_under_k() -> None:
    outcome = run(PROGRAM, "-k")
    assert "probe_read_str" not in outcome.stdout + outcome.stderr
    assert "map_delete_elem failed: No such file or directory" in outcome.stdout + outcome.stderr


def test_nothing_is_told_without() -> None:
    outcome = run(PROGRAM)
    assert "failed" not in outcome.stdout + outcome.stderr
    assert outcome.status == 0 and "@y[b]: 1" in outcome.lines
