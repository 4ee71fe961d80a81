"""From maps to metrics.

    count(), sum()            counter     NAME_total
    avg(), stats()            summary     NAME_sum, NAME_count
    hist(), lhist()           histogram   NAME_bucket{le=...}, NAME_sum, NAME_count
    min(), max(), a number    gauge       NAME
    text, a tuple, ...        gauge       NAME{value="..."} 1

Values are whole numbers, so that "below 8" is "7 and less": the bounds of buckets are exact. So is a histogram's sum,
which the program keeps in the kernel when its maps are exported. Keys that print alike are one label set: what can be added
is added up, of other values the first is taken.

A map shows at most so many label sets: those that it showed last time stay, then come those with the largest values. How
many are left out is a metric of its own. A map whose name begins with an underscore is the script's own business, and not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from bpftrace_py import types
from bpftrace_py.codegen.unit import ScriptMap, Unit
from bpftrace_py.export.names import COUNTER, GAUGE, HISTOGRAM, SUMMARY, MetricNames, label_names
from bpftrace_py.output.folded import frames_of
from bpftrace_py.output.histogram import log2_top, upper_bounds
from bpftrace_py.output.values import Texts, Value
from bpftrace_py.runtime.maps import Maps
from bpftrace_py.runtime.totals import Totals

Labels = tuple[str, ...]
_NUMBERS = (types.IntegerType, types.PointerType, types.MinType, types.MaxType)
_RESERVED = {COUNTER: (), GAUGE: ("value",), SUMMARY: ("quantile",), HISTOGRAM: ("le",)}
_LOG2_STEP = 16  # a log2 histogram shows this many buckets, or twice as many, ...: few changes while it runs


class Sample(NamedTuple):
    """`suffix` is what stands behind the family's name."""

    suffix: str
    labels: dict[str, str]
    value: int | float


class Family(NamedTuple):
    """A metric. `kind` is one of those in `names.py`; a counter's name is without `_total`, its samples have it."""

    name: str
    kind: str
    help: str
    samples: list[Sample]


class Exported:
    """A script's maps, and how its run goes, as families. `most`: label sets of a map."""

    def __init__(self, unit: Unit, texts: Texts, most: int) -> None:
        names = MetricNames()
        self._run = _RunFamilies(unit, names)
        texts = texts.unescaped()
        shown = [script_map for script_map in unit.maps if not script_map.name.startswith("_")]
        self._maps = [_MapFamily(script_map, unit.name, texts, names, most) for script_map in shown]

    def collect(self, maps: Maps, totals: Totals) -> list[Family]:
        """Reads the maps: for the session's own thread. Raises `HostError` if the kernel does not let them be read."""
        families = [exported.family(maps) for exported in self._maps]
        left_out = {exported.map_name: exported.left_out for exported in self._maps}
        return families + self._run.families(totals, left_out)


# --- maps


class _MapFamily:
    def __init__(self, script_map: ScriptMap, script: str, texts: Texts, names: MetricNames, most: int) -> None:
        self.map_name = f"@{script_map.name}"
        self.left_out = 0
        self._map, self._most = script_map, most
        self._kind = _kind(script_map.value)
        self._name = names.take(script_map.name, self._kind)
        self._help = f"{self.map_name} of {script}"
        self._labels = label_names(script_map.key_names, len(script_map.keys), _RESERVED[self._kind])
        self._keys = [_text(key, texts, texts.key(key)) for key in script_map.keys]
        self._value_text: Callable[[Value], str] | None = None
        if self._kind == GAUGE and not isinstance(script_map.value, _NUMBERS):
            self._value_text = _text(script_map.value, texts, texts.of(script_map.value))
        self._shown: dict[Labels, None] = {}
        self._reach = _LOG2_STEP  # log2 buckets that are shown
        self._negative = False

    def family(self, maps: Maps) -> Family:
        found = self._bounded(self._read(maps))
        samples: list[Sample] = []
        if self._kind == HISTOGRAM:
            self._add_histograms(found, samples)
        for labels, value in found.items() if self._kind != HISTOGRAM else ():
            named = dict(zip(self._labels, labels, strict=True))
            if self._kind == SUMMARY:
                samples += (Sample("_count", named, value[0]), Sample("_sum", named, value[1]))
            elif self._value_text is not None:
                samples.append(Sample("", {**named, "value": self._value_text(value)}, 1))
            else:
                samples.append(Sample("_total" if self._kind == COUNTER else "", named, value))
        return Family(self._name, self._kind, self._help, samples)

    def _read(self, maps: Maps) -> dict[Labels, Any]:
        found: dict[Labels, Any] = {}
        elements: Iterable[tuple[tuple[Value, ...], Any]]
        if self._kind == HISTOGRAM:
            elements = [(key, (counts, total)) for key, counts, total in maps.histograms(self._map.name)]
        else:
            elements = maps.read(self._map.name)
        for key, value in elements:
            labels = tuple([show(part) for show, part in zip(self._keys, key, strict=True)])
            found[labels] = self._together(found[labels], value) if labels in found else value
        return found

    def _together(self, one: Any, other: Any) -> Any:
        """The value of two keys that look alike."""
        if self._kind == COUNTER:
            return one + other
        if self._kind == SUMMARY:
            return one[0] + other[0], one[1] + other[1]
        if self._kind == HISTOGRAM:
            return [a + b for a, b in zip(one[0], other[0], strict=True)], one[1] + other[1]
        if isinstance(self._map.value, types.MinType):
            return min(one, other)
        return max(one, other) if isinstance(self._map.value, types.MaxType) else one

    def _bounded(self, found: dict[Labels, Any]) -> dict[Labels, Any]:
        self.left_out = max(0, len(found) - self._most)
        if not self.left_out:
            self._shown = dict.fromkeys(found)
            return found
        kept = {labels: found[labels] for labels in self._shown if labels in found}
        others = [labels for labels in found if labels not in kept]
        others.sort(key=lambda labels: self._weight(found[labels]), reverse=True)
        kept.update((labels, found[labels]) for labels in others[: self._most - len(kept)])
        self._shown = dict.fromkeys(kept)
        return kept

    def _weight(self, value: Any) -> int:
        if self._kind == HISTOGRAM:
            return sum(value[0])
        if self._kind == SUMMARY:
            return int(value[0])
        return 0 if self._value_text is not None else int(value)

    def _add_histograms(self, found: dict[Labels, Any], samples: list[Sample]) -> None:
        """Every label set has the same bounds, and as far as possible the same at each scrape."""
        type_ = self._map.value
        assert isinstance(type_, types.HISTOGRAMS)
        if isinstance(type_, types.HistType):
            top = max((log2_top(counts) for counts, _ in found.values()), default=0)
            self._reach = max(self._reach, -(-top // _LOG2_STEP) * _LOG2_STEP)
            self._negative = self._negative or any(counts[0] for counts, _ in found.values())
        bounds = upper_bounds(type_)
        if isinstance(type_, types.HistType):
            bounds = bounds[: 2 + self._reach]
        for labels, (counts, total) in found.items():
            named = dict(zip(self._labels, labels, strict=True))
            below = 0
            for number, bound in enumerate(bounds):
                below += counts[number]
                if number or self._negative or isinstance(type_, types.LhistType):
                    samples.append(Sample("_bucket", {**named, "le": str(bound)}, below))
            everything = sum(counts)
            samples.append(Sample("_bucket", {**named, "le": "+Inf"}, everything))
            samples += (Sample("_count", named, everything), Sample("_sum", named, total))


def _kind(type_: types.Type) -> str:
    if isinstance(type_, (types.CountType, types.SumType)):
        return COUNTER
    if isinstance(type_, (types.AvgType, types.StatsType)):
        return SUMMARY
    return HISTOGRAM if isinstance(type_, types.HISTOGRAMS) else GAUGE


def _text(type_: types.Type, texts: Texts, show: Callable[[Value], bytes]) -> Callable[[Value], str]:
    """What prints a value on one line. Bytes that are not UTF-8 become `\\xNN`."""
    if isinstance(type_, types.StackType):
        frames = frames_of((type_,), texts)
        return lambda value: _printable(";".join([name for _, name in frames((value,))]))
    return lambda value: show(value).decode("utf-8", "backslashreplace")


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# --- the run


class _RunFamilies:
    """How the run goes. These names come first: a map of such a name gets another."""

    def __init__(self, unit: Unit, names: MetricNames) -> None:
        self._unit = unit
        self._info = names.take("script_info", GAUGE)
        self._uptime = names.take("uptime_seconds", GAUGE)
        self._probes = names.take("probes", GAUGE)
        self._failed = names.take("probes_failed", GAUGE)
        self._events = names.take("events", COUNTER)
        self._lost_events = names.take("lost_events", COUNTER)
        self._missed_events = names.take("missed_events", COUNTER)
        self._lost_updates = names.take("lost_map_updates", COUNTER)
        self._lost_stacks = names.take("lost_stacks", COUNTER)
        self._stopped_loops = names.take("stopped_loops", COUNTER)
        self._left_out = names.take("label_sets_left_out", GAUGE)

    def families(self, totals: Totals, left_out: dict[str, int]) -> list[Family]:
        from bpftrace_py.version import __version__

        script = {"script": _printable(self._unit.name), "version": __version__}
        updates = [({"map": f"@{name}"}, count) for name, count in totals.lost_updates.items()]
        loops = [({"line": str(line)}, count) for line, count in totals.stopped_loops.items()]
        return [
            _gauge(self._info, "The script that runs", [(script, 1)]),
            _gauge(self._uptime, "Seconds since the probes were attached", [({}, totals.seconds)]),
            _gauge(self._probes, "Probes that are attached", [({}, totals.probes)]),
            _gauge(self._failed, "Probes that could not be attached", [({}, totals.probes_failed)]),
            _counter(self._events, "Events that the script has sent: printf() and the like", [({}, totals.events)]),
            _counter(self._lost_events, "Events that found no room in the buffer", [({}, totals.lost_events)]),
            _counter(self._missed_events, "Events for which no program was run", [({}, totals.missed_events)]),
            _counter(self._lost_updates, "Updates that a full map has refused", updates),
            _counter(self._lost_stacks, "Stacks that could not be kept", [({}, totals.lost_stacks)]),
            _counter(self._stopped_loops, "Loops of the script that were stopped", loops),
            _gauge(
                self._left_out, "Label sets of a map that are not shown, as there are too many",
                [({"map": name}, count) for name, count in left_out.items()],
            ),
        ]  # fmt: skip


Values = Sequence[tuple[dict[str, str], int | float]]


def _gauge(name: str, help: str, values: Values) -> Family:
    return Family(name, GAUGE, help, [Sample("", labels, value) for labels, value in values])


def _counter(name: str, help: str, values: Values) -> Family:
    return Family(name, COUNTER, help, [Sample("_total", labels, value) for labels, value in values])
