"""Histograms: the expected lines are what Debian's bpftrace 0.17 prints of the same values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftrace_py.output import histogram
from bpftrace_py.results import Bucket
from bpftrace_py.types import HIST, HistType, LhistType


def log2_counts(*values: int) -> list[int]:
    counts = [0] * HIST.BUCKETS
    for value in values:
        counts[0 if value < 0 else 1 + value.bit_length()] += 1
    return counts


def linear_counts(type: LhistType, *values: int) -> list[int]:
    counts = [0] * type.buckets
    for value in values:
        counts[0 if value < type.low else (min(value, type.high) - type.low) // type.step + 1] += 1
    return counts


def lines(type: HistType | LhistType, counts: list[int], divisor: int = 0) -> list[str]:
    return histogram.renderer(type, divisor)(counts).decode().splitlines()


def test_log2_rows() -> None:
    values = [*range(30), *[100] * 30]
    assert lines(HIST, log2_counts(*values)) == [
        "[0]                    1 |@                                                   |",
        "[1]                    1 |@                                                   |",
        "[2, 4)                 2 |@@@                                                 |",
        "[4, 8)                 4 |@@@@@@                                              |",
        "[8, 16)                8 |@@@@@@@@@@@@@                                       |",
        "[16, 32)              14 |@@@@@@@@@@@@@@@@@@@@@@@@                            |",
        "[32, 64)               0 |                                                    |",
        "[64, 128)             30 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|",
    ]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (-1, "(..., 0)"), (0, "[0]"), (1, "[1]"), (3, "[2, 4)"), (1023, "[512, 1K)"), (1024, "[1K, 2K)"),
        (1 << 20, "[1M, 2M)"), (1 << 31, "[2G, 4G)"), ((1 << 40) - 1, "[512G, 1T)"), (1 << 51, "[2P, 4P)"),
        (1 << 62, "[4E, 8E)"), ((1 << 63) - 1, "[4E, 8E)"),
    ],
)  # fmt: skip
def test_log2_labels(value: int, label: str) -> None:
    assert lines(HIST, log2_counts(value)) == [f"{label:<16}       1 |{'@' * 52}|"]


def test_the_divisor_divides_counts_but_not_bars() -> None:
    assert lines(HIST, log2_counts(5, 5, 5, 9), 2) == [
        "[4, 8)                 1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|",
        "[8, 16)                0 |@@@@@@@@@@@@@@@@@                                   |",
    ]
    five = LhistType(0, 10, 5)
    assert lines(five, linear_counts(five, 1, 1), 2)[0].split() == ["[0,", "5)", "2", f"|{'@' * 52}|"]


def test_linear_rows() -> None:
    type = LhistType(3, 20, 4)  # the step does not divide the range
    assert lines(type, linear_counts(type, *[i for i in range(30) if i % 3 == 1])) == [
        "(..., 3)               1 |@@@@@@@@@@@@@                                       |",
        "[3, 7)                 1 |@@@@@@@@@@@@@                                       |",
        "[7, 11)                2 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |",
        "[11, 15)               1 |@@@@@@@@@@@@@                                       |",
        "[15, 19)               1 |@@@@@@@@@@@@@                                       |",
        "[20, ...)              4 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|",
    ]


def test_linear_labels_have_suffixes_only_where_they_are_exact() -> None:
    type = LhistType(0, 10_000_000, 100_000)
    shown = lines(type, linear_counts(type, 3_000_000, 3_100_000, 9_999_999, 99_999_999))
    assert shown[0] == f"[3000000, 3100000)       1 |{'@' * 52}|"
    assert shown[1] == f"[3100000, 3125K)       1 |{'@' * 52}|"
    assert shown[-1] == f"[10000000, ...)        1 |{'@' * 52}|"
    type = LhistType(0, 4096, 1024)
    shown = lines(type, linear_counts(type, 500, 2048))
    assert [row.split("  ")[0] for row in shown] == ["[0, 1K)", "[1K, 2K)", "[2K, 3K)"]


@pytest.mark.parametrize("type", [HIST, LhistType(0, 10, 1)])
def test_nothing_counted_has_no_rows(type: HistType | LhistType) -> None:
    assert lines(type, [0] * 12) == [] and lines(type, []) == []
    assert histogram.quantile(type, [0] * 12, 0.5) is None


@given(st.lists(st.integers(0, 1 << 64), min_size=1, max_size=HIST.BUCKETS), st.integers(0, 1 << 40))
def test_rows_account_for_every_event(counts: list[int], divisor: int) -> None:
    used = [Bucket(*bucket) for bucket in histogram.buckets(HIST, counts)]
    assert sum(bucket.events for bucket in used) == sum(counts)
    shown = lines(HIST, counts, divisor)
    assert [int(row.split(")" if ")" in row else "]")[1].split()[0]) for row in shown] == [
        bucket.events // (divisor or 1) for bucket in used
    ]
    if used:
        assert used[0].events and used[-1].events
        assert any(row.endswith(f"|{'@' * 52}|") for row in shown)


def test_buckets_touch() -> None:
    for type, counts in ((HIST, [1] * HIST.BUCKETS), (LhistType(5, 50, 5), [1] * LhistType(5, 50, 5).buckets)):
        used = [Bucket(*bucket) for bucket in histogram.buckets(type, counts)]
        assert [bucket.high for bucket in used[:-1]] == [bucket.low for bucket in used[1:]]


def test_quantiles_lie_in_their_bucket() -> None:
    counts = log2_counts(*[4] * 50, *[100] * 50)
    assert histogram.quantile(HIST, counts, 0.25) == 6.0
    assert histogram.quantile(HIST, counts, 0.75) == 96.0
    assert histogram.quantile(HIST, log2_counts(-5), 0.5) == 0.0
    type = LhistType(0, 10, 1)
    assert histogram.quantile(type, linear_counts(type, 99), 0.5) == 10.0
