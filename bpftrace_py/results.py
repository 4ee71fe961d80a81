"""What the library gives to a program: events, and the values of maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bpftrace_py import types
from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.export.names import label_names
from bpftrace_py.output.histogram import buckets
from bpftrace_py.output.maps import Element
from bpftrace_py.output.values import Texts, Value, plain

if TYPE_CHECKING:
    import pandas

__all__ = ["Average", "Bucket", "Event", "Histogram", "Stats", "Table", "map_value"]


class Bucket(NamedTuple):
    """Values from `low` to below `high`; None where there is no bound."""

    low: int | None
    high: int | None
    events: int


class Event(NamedTuple):
    """Something that a program sent or printed.

    `kind`         `values`                          from
    printf         the arguments                     printf()
    print          (the value,)                      print() of a value
    map            (the map's name, its value)       print() of a map; the value is as in `TraceSession.maps`
    time, cat, join, system   ()                     the function of that name
    lost           (number of events,)               events that found no room since this was last said
    warning        ()                                what the command would write to standard error
    helper_error   (helper, negative errno, column)  with `helper_errors`

    `text` is what the command would print, `line` the script's line where that is known, else 0. Values are int, str,
    bytes (`buf()`), and for stacks, arrays, tuples and records list, list, tuple and dict of those.
    """

    kind: str
    text: str
    values: tuple[Any, ...] = ()
    line: int = 0


@dataclass(frozen=True)
class Average:
    """A value of an `avg()` map."""

    count: int
    total: int

    @property
    def average(self) -> float:
        """The exact average; 0.0 of nothing. What the command prints is this rounded towards zero."""
        return self.total / self.count if self.count else 0.0


@dataclass(frozen=True)
class Stats(Average):
    """A value of a `stats()` map."""


class Histogram:
    """A value of a `hist()` or `lhist()` map.

    `buckets` go from the first to the last that counted something; each has `low` (inclusive), `high` (exclusive) and
    `events`. `low` is None in the first bucket where everything below its `high` was counted, `high` in the last one of
    an `lhist` where everything above was.
    """

    __slots__ = ("buckets",)

    def __init__(self, found: Iterable[Bucket]) -> None:
        self.buckets: tuple[Bucket, ...] = tuple(found)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(bucket.events for bucket in self.buckets)

    def quantile(self, q: float) -> float | None:
        """The value below which a share `q` (0 to 1) of what was counted lies, as if values were even within a bucket.

        None if nothing was counted. In a bucket without a bound it is the bound that there is. Raises `ValueError` for a
        `q` outside [0, 1].
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is asked for by a share from 0 to 1, not {q!r}")
        left = q * self.total
        for bucket in self.buckets:
            if bucket.events and left <= bucket.events:
                if bucket.low is None or bucket.high is None:
                    return float(bucket.high if bucket.low is None else bucket.low)  # type: ignore[arg-type]
                return bucket.low + (bucket.high - bucket.low) * left / bucket.events
            left -= bucket.events
        return None

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each bucket: `low`, `high` (missing where there is no bound), `events`. Needs pandas."""
        from bpftrace_py.frames import histogram_frame

        return histogram_frame(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.buckets == other.buckets

    def __hash__(self) -> int:
        return hash(self.buckets)

    def __repr__(self) -> str:
        return f"Histogram({', '.join(f'{b.low}..{b.high}: {b.events}' for b in self.buckets)})"


class Table(dict[Any, Any]):
    """A map with keys: a dict. `key_names` has a name for each part of the key, as far as the script gives one, else
    `key0`, `key1` and so on."""

    __slots__ = ("key_names",)

    def __init__(self, elements: Iterable[tuple[Any, Any]] = (), key_names: tuple[str, ...] = ("key0",)) -> None:
        super().__init__(elements)
        self.key_names = key_names

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each key, and a column for each part of it. Needs pandas.

        The value is the column `value`; of `avg()` and `stats()` there are `count`, `total` and `average`. A histogram
        has a row for each bucket, with `low`, `high` and `events`.
        """
        from bpftrace_py.frames import table_frame

        return table_frame(self)


def map_value(script_map: ScriptMap, elements: Iterable[Element], texts: Texts) -> Any:
    """A map as a Python value: a `Table` for one with keys, else its value or None if it has none.

    A single key is itself in the dict, several are a tuple. Keys that cannot be looked up in Python become what can:
    lists become tuples.
    """
    convert = _converter(script_map.value, texts)
    if not script_map.keys:
        return next((convert(value) for _, value in elements), None)
    parts = [plain(key, texts) for key in script_map.keys]
    names = label_names(script_map.key_names, len(parts), _COLUMNS)
    if len(parts) == 1:
        part = parts[0]
        return Table([(_hashable(part(key[0]) if part else key[0]), convert(value)) for key, value in elements], names)
    rows = [
        (tuple([_hashable(part(item) if part else item) for part, item in zip(parts, key, strict=True)]), convert(value))
        for key, value in elements
    ]
    return Table(rows, names)


_COLUMNS = ("value", "count", "total", "average", "low", "high", "events")


def _converter(type: types.Type, texts: Texts) -> Callable[[Value], Any]:
    if isinstance(type, types.StatsType):
        return lambda value: Stats(*value)
    if isinstance(type, types.AvgType):
        return lambda value: Average(*value)
    if isinstance(type, types.HISTOGRAMS):
        return lambda counts: Histogram(Bucket(*found) for found in buckets(type, counts))
    return plain(type, texts) or _same


def _same(value: Value) -> Any:
    return value


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple([_hashable(part) for part in value])
    if isinstance(value, dict):
        return tuple([(name, _hashable(part)) for name, part in value.items()])
    return value
