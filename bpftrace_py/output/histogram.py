"""Histograms as rows of text: what the buckets are, and how long their bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bpftrace_py.types import HistType, LhistType

BAR_WIDTH = 52
_SUFFIXES = " KMGTPE"


class Bucket(NamedTuple):
    """Values from `low` to below `high`; None where there is no bound."""

    low: int | None
    high: int | None
    events: int


def buckets(type: HistType | LhistType, counts: Sequence[int]) -> list[Bucket]:
    """The buckets from the first to the last one that counted something; none if none did.

    `counts` has all slots of the type, in order; one that is too short counts as zeros.
    """
    used = [index for index, count in enumerate(counts) if count]
    if not used:
        return []
    bounds = _log2_bounds if isinstance(type, HistType) else _linear_bounds
    return [Bucket(*bounds(type, index), counts[index]) for index in range(used[0], used[-1] + 1)]


def _log2_bounds(type: HistType | LhistType, index: int) -> tuple[int | None, int | None]:
    if index == 0:
        return None, 0
    if index == 1:
        return 0, 1
    return 1 << (index - 2), 1 << (index - 1)


def _linear_bounds(type: HistType | LhistType, index: int) -> tuple[int | None, int | None]:
    assert isinstance(type, LhistType)
    if index == 0:
        return None, type.low
    if index >= type.buckets - 1:
        # Where `step` does not divide the range, the kernel counts the rest of it here, too.
        return type.high, None
    return type.low + (index - 1) * type.step, type.low + index * type.step


def rows(type: HistType | LhistType, counts: Sequence[int], divisor: int = 0) -> list[bytes]:
    """The lines of a histogram without their newlines. Counts, not bars, are divided by `divisor` if it is not 0;
    those of a linear histogram are not, as in the peer."""
    used = buckets(type, counts)
    top = max((bucket.events for bucket in used), default=0)
    divisor = divisor or 1 if isinstance(type, HistType) else 1
    label = _log2_label if isinstance(type, HistType) else _linear_label
    return [
        b"%-16s%8d |%-52s|" % (label(b), b.events // divisor, b"@" * (b.events * BAR_WIDTH // top)) for b in used
    ]


def _log2_label(bucket: Bucket) -> bytes:
    if bucket.low is None:
        return b"(..., 0)"
    assert bucket.high is not None
    if bucket.high <= 2:
        return b"[%d]" % bucket.low
    return f"[{_short(bucket.low)}, {_short(bucket.high)})".encode()


def _linear_label(bucket: Bucket) -> bytes:
    low = "(..." if bucket.low is None else f"[{_short(bucket.low)}"
    high = "...)" if bucket.high is None else f"{_short(bucket.high)})"
    return f"{low}, {high}".encode()


def _short(number: int) -> str:
    """With the largest suffix (1K is 1024) that leaves it whole."""
    suffix = 0
    while number and number % 1024 == 0 and suffix < len(_SUFFIXES) - 1:
        number //= 1024
        suffix += 1
    return f"{number}{_SUFFIXES[suffix]}".rstrip()


def quantile(type: HistType | LhistType, counts: Sequence[int], fraction: float) -> float | None:
    """The value below which `fraction` (0 to 1) of what was counted lies, taken as spread evenly over each bucket.

    None if nothing was counted. In a bucket without a bound, the bound that it has.
    """
    used = buckets(type, counts)
    left = fraction * sum(bucket.events for bucket in used)
    for low, high, count in used:
        if left <= count and count:
            if low is None or high is None:
                bound = high if low is None else low
                return None if bound is None else float(bound)
            return low + (high - low) * left / count
        left -= count
    return None
