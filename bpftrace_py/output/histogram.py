"""Histograms as rows of text: what the buckets are, and how long their bars."""

from __future__ import annotations

from bpftrace_py.types import HistType, LhistType

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BAR_WIDTH = 52
_SUFFIXES = " KMGTPE"
_MEMO_MOST = 4096


def buckets(type: HistType | LhistType, counts: Sequence[int]) -> list[tuple[int | None, int | None, int]]:
    """The buckets from the first to the last one that counted something; none if none did.

    Each is (lowest value, the first value above it, events); None where there is no bound.

    `counts` has all slots of the type, in order; one that is too short counts as zeros.
    """
    used = [index for index, count in enumerate(counts) if count]
    if not used:
        return []
    bounds = _log2_bounds if isinstance(type, HistType) else _linear_bounds
    return [(*bounds(type, index), counts[index]) for index in range(used[0], used[-1] + 1)]


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


def renderer(type: HistType | LhistType, divisor: int = 0) -> Callable[[Sequence[int]], bytes]:
    """What makes the lines of a histogram, each with its newline, from its counts.

    Counts, not bars, are divided by `divisor` if it is not 0; those of a linear histogram are not, as in the peer. Maps
    of many keys have many equal histograms: each is made once.
    """
    divide_by = divisor or 1 if isinstance(type, HistType) else 1
    bars = [b" |%-*s|\n" % (BAR_WIDTH, b"@" * length) for length in range(BAR_WIDTH + 1)]
    labels: dict[int, bytes] = {}
    made: dict[tuple[int, ...], bytes] = {}

    def label(index: int) -> bytes:
        text = labels.get(index)
        if text is None:
            text = labels[index] = b"%-16s" % _label(type, index)
        return text

    def render(counts: Sequence[int]) -> bytes:
        key = tuple(counts)
        lines = made.get(key)
        if lines is None:
            used = [index for index, count in enumerate(counts) if count]
            top = max(counts) if used else 0
            shown = range(used[0], used[-1] + 1) if used else range(0)
            lines = b"".join(
                [b"%s%8d%s" % (label(i), counts[i] // divide_by, bars[counts[i] * BAR_WIDTH // top]) for i in shown]
            )
            if len(made) < _MEMO_MOST:
                made[key] = lines
        return lines

    return render


def _label(type: HistType | LhistType, index: int) -> bytes:
    if isinstance(type, HistType):
        return _log2_label(*_log2_bounds(type, index))
    return _linear_label(*_linear_bounds(type, index))


def _log2_label(low: int | None, high: int | None) -> bytes:
    if low is None or high is None:
        return b"(..., 0)"
    if high <= 2:
        return b"[%d]" % low
    return f"[{_short(low)}, {_short(high)})".encode()


def _linear_label(low: int | None, high: int | None) -> bytes:
    begin = "(..." if low is None else f"[{_short(low)}"
    end = "...)" if high is None else f"{_short(high)})"
    return f"{begin}, {end}".encode()


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
    left = fraction * sum(events for _, _, events in used)
    for low, high, count in used:
        if left <= count and count:
            if low is None or high is None:
                bound = high if low is None else low
                return None if bound is None else float(bound)
            return low + (high - low) * left / count
        left -= count
    return None


def upper_bounds(type: HistType | LhistType) -> list[int]:
    """The largest value that each bucket counts, but for the last, which has no bound."""
    if isinstance(type, HistType):
        return [-1, 0, *[(1 << power) - 1 for power in range(1, HistType.BUCKETS - 2)]]
    return [type.low - 1 + number * type.step for number in range(type.buckets - 1)]


def log2_top(counts: Sequence[int]) -> int:
    """The power of two below which all lies that a log2 histogram has counted; 0 for nothing above zero."""
    return max([index - 1 for index, count in enumerate(counts) if count and index > 1], default=0)
