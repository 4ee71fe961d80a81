"""Names of metrics and labels: made of the script's own, and made unique."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PREFIX = "bpftrace_"
UNNAMED = "unnamed"  # the map `@`

COUNTER, GAUGE, SUMMARY, HISTOGRAM = "counter", "gauge", "summary", "histogram"
# What a metric's samples are called behind its name. The bare name is taken in any case: it is the family's.
_SUFFIXES = {COUNTER: ("_total",), GAUGE: (), SUMMARY: ("_sum", "_count"), HISTOGRAM: ("_bucket", "_sum", "_count")}


class MetricNames:
    """Gives each metric a name of which no sample is another metric's."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str, kind: str) -> str:
        """`name` with the prefix; if that is taken, with `_map`, `_map2` and so on behind it."""
        wanted = PREFIX + plain(name or UNNAMED)
        if kind == COUNTER:
            wanted = wanted.removesuffix("_total")
        found, number = wanted, 1
        while self._taken & (samples := {found, *[found + suffix for suffix in _SUFFIXES[kind]]}):
            found = f"{wanted}_map{number if number > 1 else ''}"
            number += 1
        self._taken |= samples
        return found


def plain(name: str) -> str:
    """A name of ASCII letters, digits and underscores."""
    return "".join([c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name])


def label_names(wanted: Sequence[str], count: int, reserved: Iterable[str] = ()) -> tuple[str, ...]:
    """One name for each of `count` keys: those wanted, else `key0`, `key1` and so on. `reserved` are not given away, nor
    names that begin with two underscores, which are Prometheus' own."""
    taken = set(reserved)
    names = []
    for number in range(count):
        name = plain(wanted[number]) if number < len(wanted) else ""
        if not name or name in taken or name.startswith("__") or name[0].isdigit():
            name = f"key{number}"
            while name in taken:
                name += "_"
        taken.add(name)
        names.append(name)
    return tuple(names)
