"""Output as one JSON object a line, `{"type": ..., "data": ...}`, in the peer's vocabulary.

Every line is valid JSON in UTF-8 whatever was traced: bytes that are not UTF-8 become `\\xNN`. (The peer writes broken
escapes for everything above 127, and two empty lines before the maps.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from bpftrace_py import types
from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.output import histogram
from bpftrace_py.output.base import Output
from bpftrace_py.output.maps import Element, arrange, divided, key_texts
from bpftrace_py.output.values import Value, average, divide
from bpftrace_py.record import names_of
from bpftrace_py.types import HISTOGRAMS, HistType, LhistType, Type

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.runtime.totals import Totals

_quote = json.JSONEncoder(ensure_ascii=False).encode


def quote(text: bytes) -> str:
    """`text` as a JSON string. What could steer a terminal beyond ASCII (U+009B, a change of direction) is escaped, too."""
    quoted = _quote(text.decode("utf-8", "backslashreplace"))
    if quoted.isprintable():
        return quoted
    return "".join([c if c.isprintable() else json.dumps(c)[1:-1] for c in quoted])


class JsonOutput(Output):
    """Output as JSON, an object a line."""

    wants_totals = True

    def attached(self, probes: int) -> None:
        self._line("attached_probes", f'{{"probes": {probes}}}')

    def printf(self, texts: list[bytes]) -> None:
        self.writer.write("".join([f'{{"type": "printf", "data": {quote(text)}}}\n' for text in texts]).encode())

    def time(self, text: bytes) -> None:
        self._line("time", quote(text))

    def join(self, text: bytes) -> None:
        self._line("join", quote(text))

    def cat(self, content: bytes) -> None:
        self._line("cat", quote(content))

    def system(self, content: bytes, traced: bool = False) -> None:
        self._line("syscall", quote(content))

    def value(self, type: Type, value: Value) -> None:
        self._line("value", self._value(type)(value))

    def map(self, script_map: ScriptMap, elements: Iterable[Element], top: int = 0, divisor: int = 0) -> None:
        arranged = arrange(script_map, elements, top)
        if not arranged:
            return
        show = self._map_value(script_map.value, divisor)
        if script_map.keys:
            parts = key_texts(script_map, self.texts)
            members = [f"{quote(b','.join(parts(key)))}: {show(value)}" for key, value in arranged]
            data = f"{{{', '.join(members)}}}"
        else:
            data = show(arranged[0][1])
        kind = "map"
        if isinstance(script_map.value, HISTOGRAMS):
            kind = "hist"
        elif isinstance(script_map.value, (types.AvgType, types.StatsType)):
            kind = "stats"
        self._line(kind, f'{{"@{script_map.name}": {data}}}')

    def lost(self, events: int) -> None:
        self._line("lost_events", f'{{"events": {events}}}')

    def warning(self, text: str) -> None:
        self._line("warning", quote(text.encode("utf-8", "surrogateescape")))

    def helper_error(self, helper: str, error: int, line: int, column: int, text: str) -> None:
        import os

        message = _quote(os.strerror(abs(error) & 0x7FFFFFFF))  # a C int
        self._line(
            "helper_error",
            f'{{"msg": {message}, "helper": {_quote(helper)}, "retcode": {error}, "line": {line}, "col": {column}}}',
        )

    def end_of_events(self) -> None:
        pass

    def totals(self, totals: Totals) -> None:
        members = {name: getattr(totals, name) for name in names_of(type(totals))}
        members["seconds"] = round(totals.seconds, 3)
        members["lost_updates"] = {f"@{name}": count for name, count in totals.lost_updates.items() if count}
        members["stopped_loops"] = {str(line): count for line, count in totals.stopped_loops.items() if count}
        self._line("totals", json.dumps(members))

    def _line(self, kind: str, data: str) -> None:
        self.writer.write(f'{{"type": "{kind}", "data": {data}}}\n'.encode())

    def _map_value(self, type: Type, divisor: int) -> Callable[[Value], str]:
        if isinstance(type, HISTOGRAMS):
            return lambda counts: _histogram(type, counts, divisor)
        if isinstance(type, types.StatsType):
            return lambda value: (
                f'{{"count": {value[0]}, "average": {average(value)}, "total": {value[1]}}}'
            )
        if isinstance(type, types.AvgType):
            return lambda value: str(divide(average(value), divisor))
        show, scale = self._value(type), divided(type, divisor)
        return (lambda value: show(scale(value))) if scale else show

    def _value(self, type: Type) -> Callable[[Value], str]:
        if isinstance(
            type, (types.IntegerType, types.PointerType, types.CountType, types.SumType, types.MinType, types.MaxType)
        ):
            return str
        if isinstance(type, types.TupleType):
            return _list([self._value(element) for element in type.elements])
        if isinstance(type, types.ArrayType):
            return _list([self._value(type.element)] * type.count)
        if isinstance(type, types.RecordType) and type.name in self.texts.fields:
            members = self.texts.fields[type.name]
            names = [f"{_quote(member.name)}: " for member in members]
            shows = [self._value(member.type) for member in members]
            return lambda value: "{ " + ", ".join(
                [name + show(part) for name, show, part in zip(names, shows, value, strict=True)]
            ) + " }"
        text = self.texts.of(type)
        return lambda value: quote(text(value))


def _list(shows: list[Callable[[Value], str]]) -> Callable[[Value], str]:
    return lambda value: f"[{','.join([show(part) for show, part in zip(shows, value, strict=True)])}]"


def _histogram(type: HistType | LhistType, counts: list[int], divisor: int) -> str:
    """Buckets with inclusive bounds; only the outermost ones of a histogram have one bound. Linear counts are not
    divided, as in the text."""
    scale = divisor or 1 if isinstance(type, HistType) else 1
    parts = []
    for low, high, events in histogram.buckets(type, counts):
        bounds = "" if low is None else f'"min": {low}, '
        bounds += "" if high is None else f'"max": {high - 1}, '
        parts.append(f'{{{bounds}"count": {events // scale}}}')
    return f"[{', '.join(parts)}]"
