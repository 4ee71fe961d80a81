"""From records of the ring buffer to what they ask for: text to print, or an action to carry out.

A record is laid out as `TupleType((UINT32, *argument_types))` behind the ring's own header. For each `printf` of the
script there is one function, compiled when its first record comes, that turns a run of records into a list of texts in
one comprehension: `struct` iterates, `bytes %` formats, and strings are looked up among those already cut. Where the
texts are only written one behind the other, long runs are formatted many records at a time, by a format repeated as
often: no Python is run for each record then. Everything else goes to an `Actions` object, one record at a time, after the
text before it has been printed.
"""

from __future__ import annotations

import struct
import sys

from bpftrace_py import types
from bpftrace_py.codegen import unit
from bpftrace_py.output.late_strings import MARK as LATE
from bpftrace_py.output.printf import Formatter, compile_format
from bpftrace_py.output.values import Texts, Value, cut_string, item_decoder, plain, struct_code, struct_layout
from bpftrace_py.runtime.ring_buffer import HEADER_SIZE
from bpftrace_py.types import Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol, TypeAlias
else:
    Protocol = object

_PENDING = 4096  # events whose texts are kept before they are handed on
_PIECE = 128  # records that are formatted at once
_MEMO_BYTES = 4 << 20  # of strings that a memo keeps
_MEMO_MOST = 1 << 14


class Actions(Protocol):
    """What user space does for a program, apart from `printf`. Called in the order of the events."""

    def time(self, action: unit.Time) -> None: ...

    def join(self, action: unit.Join, strings: list[bytes]) -> None: ...

    def cat(self, action: unit.Cat, path: bytes) -> None: ...

    def system(self, action: unit.System, literals: Sequence[bytes], texts: list[bytes]) -> bool:
        """The command is literals[0] texts[0] literals[1] ...; the texts are the arguments', and not to be trusted."""

    def print_map(self, action: unit.PrintMap) -> None: ...

    def print_value(self, action: unit.PrintValue, value: Value) -> None: ...

    def print_element(self, action: unit.PrintElement, key: tuple[Value, ...]) -> None: ...

    def clear(self, action: unit.Clear) -> None: ...

    def zero(self, action: unit.Zero) -> None: ...

    def exit(self, action: unit.Exit) -> None:
        """Nothing that came after it is handled."""

    def helper_failed(self, action: unit.HelperFailed, error: int) -> None:
        """`error` is a negative errno."""


Item: TypeAlias = "Any"  # of a record, as `struct` took it out
Run: TypeAlias = "Callable[[memoryview], list[Any]]"  # records -> what is emitted for them
# Takes the items out of a record at an offset of the ring buffer's data; makes text of them; the bytes to the next record.
Lone: TypeAlias = "tuple[Callable[[memoryview, int], tuple[Item, ...]], Callable[[tuple[Item, ...]], bytes], int]"
Act: TypeAlias = "Callable[[memoryview], bool]"  # carries out the actions of records; True ends the drain


class Decoder:
    """The handler of a unit's records: a `ring_buffer.Handler`.

    `emit` gets lists of texts, one a `printf` event: `Output.printf`. With `joined` a text may be that of several events, one
    behind the other. With `events` it gets lists of `(action, values)` instead, the values as `values.plain` makes them.
    Call `flush` after each drain.
    """

    def __init__(
        self,
        table: Sequence[unit.Action],
        texts: Texts,
        emit: Callable[[list[Any]], None],
        actions: Actions,
        *,
        joined: bool = False,
        events: bool = False,
    ) -> None:
        self.damaged = 0  # records that were too short or of no action
        self._table = table
        self._texts = texts
        self._emit = emit
        self._actions = actions
        self._joined = joined
        self._events = events
        # By action and stride: an action's records have one size.
        self._runs: dict[tuple[int, int], Run] = {}
        self._acts: dict[tuple[int, int], Act] = {}
        self._pending: list[Any] = []
        self._most_pending = _PENDING // _PIECE if joined else _PENDING

    def run(self, action: int, records: memoryview, count: int) -> bool:
        kind = action, len(records) // count
        run = self._runs.get(kind)
        if run is not None:
            self._pending += run(records)
            if len(self._pending) >= self._most_pending:
                self.flush()
            return False
        act = self._acts.get(kind)
        if act is not None:
            self.flush()
            return act(records)
        if self._prepare(*kind):
            return self.run(action, records, count)
        self.damaged += count
        return False

    def lone(self, number: int, stride: int) -> Lone | None:
        """What formats a record by itself, if it is of a `printf` and has the right size."""
        action = self._table[number] if number < len(self._table) else None
        if not isinstance(action, unit.Printf) or self._events:
            return None
        formatter = compile_format(action.format, action.arguments, self._texts)
        layout = _record_layout(action.arguments, stride, formatter.codes)
        return _compile_lone(formatter, action.arguments, layout) if layout else None

    def flush(self) -> None:
        """Hand on what was decoded."""
        if self._pending:
            pending, self._pending = self._pending, []
            self._emit(pending)

    def _prepare(self, number: int, stride: int) -> bool:
        """Compile what handles records of this action and size; False if they cannot be right."""
        if number >= len(self._table):
            return False
        if len(self._runs) + len(self._acts) > 4 * len(self._table):  # sizes that no program of ours sends
            self._runs.clear()
            self._acts.clear()
        action = self._table[number]
        arguments = _arguments(action)
        if isinstance(action, unit.Printf) and not self._events:
            formatter = compile_format(action.format, arguments, self._texts)
            layout = _record_layout(arguments, stride, formatter.codes)
            if layout:
                compile_run = _compile_joined_run if self._joined else _compile_text_run
                self._runs[number, stride] = compile_run(formatter, arguments, layout)
        elif isinstance(action, unit.Printf):
            layout = _record_layout(arguments, stride)
            if layout:
                self._runs[number, stride] = _compile_event_run(action, layout, self._texts)
        elif isinstance(action, unit.Exit):
            layout = _record_layout(arguments, stride)
            self._acts[number, stride] = lambda records: self._exit(action)
        elif isinstance(action, unit.Join):
            layout = _record_layout((types.UINT32,), stride)
            if layout:
                self._acts[number, stride] = lambda records: self._join(action, records, stride)
        else:
            codes, carry_out = _compile_action(action, self._actions, self._texts.unescaped())
            layout = _record_layout(arguments, stride, codes)
            if layout:
                self._acts[number, stride] = _each(layout, carry_out)
        return layout is not None

    def _exit(self, action: unit.Exit) -> bool:
        self._actions.exit(action)
        return True

    def _join(self, action: unit.Join, records: memoryview, stride: int) -> bool:
        size = action.capacity
        for at in range(HEADER_SIZE + 4, len(records), stride):
            claimed = int.from_bytes(records[at : at + 4], sys.byteorder)
            payload = bytes(records[at + 4 : at + stride - HEADER_SIZE - 4])
            count = min(claimed, action.limit, len(payload) // size)
            strings = [cut_string(payload[i * size : (i + 1) * size]) for i in range(count)]
            self._actions.join(action, strings)
        return False


def _arguments(action: unit.Action) -> tuple[Type, ...]:
    """The types of what a record of the action has behind its number."""
    if isinstance(action, (unit.Printf, unit.System, unit.Cat)):
        return action.arguments
    if isinstance(action, unit.PrintElement):
        return action.keys
    if isinstance(action, unit.PrintValue):
        return (action.value,)
    if isinstance(action, unit.HelperFailed):
        return (types.INT64,)
    return ()


def _record_layout(arguments: tuple[Type, ...], stride: int, codes: Sequence[str] | None = None) -> str | None:
    """The `struct` format of a whole record of `stride` bytes, one item an argument; None if it is too small."""
    payload = struct_layout((types.UINT32, *arguments), ["4x", *(codes or map(struct_code, arguments))])
    rest = stride - HEADER_SIZE - struct.calcsize(payload)
    return f"={HEADER_SIZE}x{payload.removeprefix('=')}{rest}x" if rest >= 0 else None


# --- printf


class _Memo(dict["Any", "Any"]):
    """What `convert` made of the values seen lately: `memo[value]`."""

    def __init__(self, convert: Callable[[Any], Any], most: int) -> None:
        super().__init__()
        self._convert = convert
        self._most = most

    def __missing__(self, value: Any) -> Any:
        if len(self) >= self._most:
            self.clear()
        result = self._convert(value)
        if not isinstance(value, bytes) or value[:8] != LATE:  # what is read from a process is not the same each time
            self[value] = result
        return result


def _compile_text_run(formatter: Formatter, arguments: Sequence[Type], layout: str) -> Run:
    """The function that formats each record of a run, laid out as `layout`."""
    return _text_run(formatter, _converters(formatter, arguments), layout)


def _compile_joined_run(formatter: Formatter, arguments: Sequence[Type], layout: str) -> Run:
    """The function that formats a run in pieces of many records, and what is left at its end record by record."""
    converters = _converters(formatter, arguments)
    each = _text_run(formatter, converters, layout)
    # By the number of the argument: where there is something to do.
    columns = [(index, convert) for index, convert in enumerate(converters) if convert]
    width = len(arguments)
    piece = struct.Struct("=" + layout.removeprefix("=") * _PIECE)
    size, unpack, template = piece.size, piece.unpack_from, formatter.template * _PIECE

    def run(records: memoryview) -> list[bytes]:
        texts = []
        at = 0
        for at in range(size, len(records) + 1, size):
            items = unpack(records, at - size)
            if columns:
                changed = list(items)
                for index, convert in columns:
                    changed[index::width] = map(convert, items[index::width])
                items = tuple(changed)
            texts.append(template % items)
        return texts + each(records[at:]) if at < len(records) else texts

    return run


def _text_run(formatter: Formatter, converters: Sequence[Callable[[Any], Any] | None], layout: str) -> Run:
    names, items, text = _text_expression(formatter, converters)
    names["unpack"] = struct.Struct(layout).iter_unpack
    run: Run = eval(f"lambda records: [{text} for {items} in unpack(records)]", names)
    return run


def _compile_lone(formatter: Formatter, arguments: Sequence[Type], layout: str) -> Lone:
    record = struct.Struct(layout)
    converters = _converters(formatter, arguments)
    if not any(converters):
        return record.unpack_from, formatter.template.__mod__, record.size
    names, items, text = _text_expression(formatter, converters)
    exec(f"def format(items):\n {items} = items\n return {text}", names)
    format: Callable[[tuple[Item, ...]], bytes] = names["format"]
    return record.unpack_from, format, record.size


def _converters(formatter: Formatter, arguments: Sequence[Type]) -> list[Callable[[Any], Any] | None]:
    """Those of the formatter, through a memo where one pays."""
    return [
        _Memo(convert, max(16, min(_MEMO_MOST, _MEMO_BYTES // max(type.size, 1)))).__getitem__ if convert and memoize else convert
        for convert, memoize, type in zip(formatter.converters, formatter.memoize, arguments, strict=True)
    ]


def _text_expression(
    formatter: Formatter, converters: Sequence[Callable[[Any], Any] | None]
) -> tuple[dict[str, Any], str, str]:
    """What formats the items of a record: the names in it, the target for the items, and the expression.

    It is generated: calls are left out where an argument needs none. It is made of the numbers of the arguments; nothing of
    the script is in it.
    """
    names: dict[str, Any] = {"template": formatter.template}
    if not any(converters):
        return names, "items", "template % items"
    parts = []
    for index, convert in enumerate(converters):
        names[f"f{index}"] = convert
        parts.append(f"f{index}(a{index})" if convert else f"a{index}")
    return names, "".join(f"a{index}," for index in range(len(parts))), f"template % ({','.join(parts)},)"


def _compile_event_run(action: unit.Printf, layout: str, texts: Texts) -> Run:
    """The function that makes `(action, values)` of each record of a run."""
    unpack = struct.Struct(layout).iter_unpack
    steps = []
    for type in action.arguments:
        decode, convert = item_decoder(type, texts.fields), plain(type, texts)
        steps.append(_chain(decode, convert))
    if not any(steps):
        return lambda records: [(action, items) for items in unpack(records)]
    return lambda records: [
        (action, tuple([step(item) if step else item for step, item in zip(steps, items, strict=True)]))
        for items in unpack(records)
    ]


def _chain(first: Callable[[Any], Any] | None, second: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if first and second:
        return lambda item: second(first(item))
    return first or second


# --- everything else


def _each(layout: str, carry_out: Callable[[tuple[Item, ...]], bool | None]) -> Act:
    unpack = struct.Struct(layout).iter_unpack

    def act(records: memoryview) -> bool:
        end = False
        for items in unpack(records):
            end = carry_out(items) or end
        return end

    return act


def _compile_action(
    action: unit.Action, to: Actions, texts: Texts
) -> tuple[list[str] | None, Callable[[tuple[Item, ...]], bool | None]]:
    """The `struct` codes of an action's arguments (None: as their types say) and what carries it out; if that answers
    true, the drain ends."""
    if isinstance(action, unit.Time):
        return None, lambda items: to.time(action)
    if isinstance(action, unit.PrintMap):
        return None, lambda items: to.print_map(action)
    if isinstance(action, unit.Clear):
        return None, lambda items: to.clear(action)
    if isinstance(action, unit.Zero):
        return None, lambda items: to.zero(action)
    if isinstance(action, unit.HelperFailed):
        return None, lambda items: to.helper_failed(action, items[0])
    if isinstance(action, unit.System):
        command = compile_format(action.format, action.arguments, texts)
        return command.codes, lambda items: to.system(action, command.literals, command.texts(items))
    if isinstance(action, unit.Cat):
        path = compile_format(action.format, action.arguments, texts)
        return path.codes, lambda items: to.cat(action, path.format(items))
    decoders = [item_decoder(type, texts.fields) for type in _arguments(action)]

    def decode(items: tuple[Item, ...]) -> tuple[Value, ...]:
        return tuple([f(item) if f else item for f, item in zip(decoders, items, strict=True)])

    if isinstance(action, unit.PrintElement):
        return None, lambda items: to.print_element(action, decode(items))
    assert isinstance(action, unit.PrintValue), action
    return None, lambda items: to.print_value(action, decode(items)[0])
