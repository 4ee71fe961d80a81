"""`EventOutput`: output as `Event` objects, for programs that use the library."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from bpftrace_py import types
from bpftrace_py.codegen import unit
from bpftrace_py.output.base import Output, Writer
from bpftrace_py.output.maps import Element, map_text
from bpftrace_py.output.printf import Formatter, compile_format
from bpftrace_py.output.values import Texts, Value, encode, plain
from bpftrace_py.results import Event, map_value

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import Any


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


class _NoWriter(Writer):
    """Nothing is written anywhere."""

    def __init__(self) -> None:
        super().__init__(-1)

    def write(self, data: bytes) -> None:
        raise AssertionError("events are not written")


class EventOutput(Output):
    """Calls `receive` with each event, in their order."""

    def __init__(self, texts: Texts, receive: Callable[[Event], None]) -> None:
        super().__init__(_NoWriter(), texts)
        self._receive = receive
        self._formatters: dict[unit.Printf, Formatter] = {}

    def decoded(self, events: list[tuple[unit.Printf, tuple[Any, ...]]]) -> None:
        """`printf` events as the decoder gives them to a program: with values, not as text."""
        for action, values in events:
            self._receive(Event("printf", self._text(action, values), values, action.line))

    def _text(self, action: unit.Printf, values: tuple[Any, ...]) -> str:
        """What `printf` prints of values that are Python's by now."""
        formatter = self._formatters.get(action)
        if formatter is None:
            # Everything that has become text is formatted as a string; numbers keep their types, which matter.
            stand_ins = [a if isinstance(a, _NUMBERS) else types.StringType(1) for a in action.arguments]
            formatter = self._formatters[action] = compile_format(action.format, stand_ins, self.texts)
        items = [_item(type, value) for type, value in zip(action.arguments, values, strict=True)]
        return _decode(formatter.format(items))

    def attached(self, probes: int) -> None:
        pass

    def printf(self, texts: list[bytes]) -> None:
        raise AssertionError("printf events come through `decoded`")

    def time(self, text: bytes) -> None:
        self._receive(Event("time", _decode(text)))

    def join(self, text: bytes) -> None:
        self._receive(Event("join", _decode(text) + "\n"))

    def cat(self, content: bytes) -> None:
        self._receive(Event("cat", _decode(content)))

    def system(self, content: bytes, traced: bool = False) -> None:
        self._receive(Event("system", _decode(content)))

    def value(self, type: types.Type, value: Value) -> None:
        convert = plain(type, self.texts)
        text = _decode(self.texts.of(type)(value)) + "\n"
        self._receive(Event("print", text, (convert(value) if convert else value,)))

    def map(self, script_map: unit.ScriptMap, elements: Iterable[Element], top: int = 0, divisor: int = 0) -> None:
        elements = list(elements)
        text = _decode(map_text(script_map, elements, self.texts, top, divisor)) if elements else ""
        self._receive(Event("map", text, (script_map.name, map_value(script_map, elements, self.texts))))

    def lost(self, events: int) -> None:
        self._receive(Event("lost", f"Lost {events} events\n", (events,)))

    def warning(self, text: str) -> None:
        self._receive(Event("warning", text + "\n"))

    def helper_error(self, helper: str, error: int, line: int, column: int, text: str) -> None:
        self._receive(Event("helper_error", text + "\n", (helper, error, column), line))

    def end_of_events(self) -> None:
        pass


_NUMBERS = (types.IntegerType, types.PointerType, types.BufferType)


def _item(type: types.Type, value: Any) -> Any:
    """A value as `struct` takes it out of a record, for the formatter."""
    if isinstance(type, types.BufferType):
        return struct.pack("=I", len(value)) + value
    if isinstance(type, types.StackType):
        return encode("\n" + "".join(f"        {frame}\n" for frame in value) if value else "")
    return encode(value) if isinstance(value, str) else value
