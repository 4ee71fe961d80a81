"""Maps of stacks as folded stacks (`-f folded`), and what the flame graph shares with them.

A folded stack is a line `outermost;...;innermost count`, the common tongue of flame graph tools. Offsets within functions
are left out, so that what was counted in one function stands together. A map's other keys come first, as the outermost
frames (`bash;main;read`); of several stacks the user's are the outer ones; kernel functions are marked `_[k]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bpftrace_py import messages, types
from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.diagnostics import Diagnostic, warning
from bpftrace_py.output.base import Writer
from bpftrace_py.output.maps import Element, arrange, divided
from bpftrace_py.output.text import TextOutput
from bpftrace_py.output.values import Texts, Value, encode, escape_control, plain
from bpftrace_py.record import replace
from bpftrace_py.types import StackType, TupleType, Type

KEY, USER, KERNEL = "key", "user", "kernel"  # kinds of frames
Frame = tuple[str, str]  # kind, text
_ORDER = {KEY: 0, USER: 1, KERNEL: 2}
Stacks = dict[tuple[Frame, ...], int]  # frames, outermost first -> width

UNKNOWN, EMPTY = "[unknown]", "[no stack]"
_SUMMABLE = (types.IntegerType, types.CountType, types.SumType)
_PAIRS = (types.AvgType, types.StatsType)


def stack_maps(maps: Iterable[ScriptMap]) -> list[ScriptMap]:
    """Those that have a stack in their keys, and values that can be added up: the width of a frame is a sum."""
    return [
        m for m in maps if any(map(_has_stack, m.keys)) and isinstance(m.value, (*_SUMMABLE, *_PAIRS, *types.HISTOGRAMS))
    ]


def _has_stack(type: Type) -> bool:
    if isinstance(type, TupleType):
        return any(map(_has_stack, type.elements))
    return isinstance(type, StackType)


def width(type: Type, value: Value) -> int:
    """How wide a value is: a count or sum itself, the total of an average or stats, how much a histogram has counted."""
    if isinstance(type, _PAIRS):
        return int(value[1])
    return sum(value) if isinstance(type, types.HISTOGRAMS) else int(value)


# --- from keys to frames


def frames_of(keys: Sequence[Type], texts: Texts) -> Callable[[tuple[Value, ...]], tuple[Frame, ...]]:
    """What makes the frames of a key's parts."""
    parts = [_part(key, texts.unescaped()) for key in keys]

    def frames(key: tuple[Value, ...]) -> tuple[Frame, ...]:
        found = [frame for part, value in zip(parts, key, strict=True) for frame in part(value)]
        found.sort(key=lambda frame: _ORDER[frame[0]])  # is stable
        return tuple(found)

    return frames


def _part(type: Type, texts: Texts) -> Callable[[Value], Iterable[Frame]]:
    if isinstance(type, TupleType):
        parts = [_part(element, texts) for element in type.elements]
        return lambda value: [frame for part, item in zip(parts, value, strict=True) for frame in part(item)]
    if not isinstance(type, StackType):
        show = texts.key(type)
        return lambda value: ((KEY, show(value).decode("utf-8", "surrogateescape")),)
    kind = USER if type.user else KERNEL
    lines = plain(replace(type, mode="raw" if type.mode == "raw" else "bpftrace"), texts)
    assert lines is not None
    return lambda value: [(kind, function_name(line)) for line in reversed(lines(value))]  # type: ignore[call-overload]


def function_name(line: str) -> str:
    """The function in a frame's text: "read+12" is in `read`. An address without a name is like any other such."""
    if line.startswith("0x") or line == "0":
        return UNKNOWN
    name, plus, offset = line.rpartition("+")
    return name if plus and offset.isdigit() else line


# --- the output


def text(stacks: Stacks) -> bytes:
    """The lines, in alphabetical order."""
    lines: dict[bytes, int] = {}
    for frames, count in stacks.items():
        line = b";".join(map(_frame_text, frames))
        lines[line] = lines.get(line, 0) + count
    return b"".join([b"%s %d\n" % item for item in sorted(lines.items())])


def _frame_text(frame: Frame) -> bytes:
    """A frame may have neither the separator nor the end of a line in it, nor be nothing."""
    kind, name = frame
    shown = escape_control(encode(name.replace(";", ":").replace("\n", " ").replace("\t", " "))) or b"[empty]"
    return shown + b"_[k]" if kind == KERNEL else shown


class StackOutput(TextOutput):
    """Writes what the maps of stacks hold, by way of `render`, to `result` at the end.

    Each of `maps` counts as it was printed last, by print() or at the end of the session. With several, the map's name is
    the outermost frame. All other output is text and goes to `writer`, which is standard error. `warn` is told of stacks
    whose value is no width, being zero or negative, and if there is nothing to show.
    """

    def __init__(
        self, writer: Writer, texts: Texts, result: Writer, maps: Sequence[ScriptMap], render: Callable[[Stacks], bytes],
        warn: Callable[[Diagnostic], None],
    ) -> None:  # fmt: skip
        super().__init__(writer, texts)
        self._result, self._render, self._warn = result, render, warn
        self._left_out = 0
        self._frames = {script_map.name: frames_of(script_map.keys, texts) for script_map in maps}
        self._folded: dict[str, Stacks] = {}

    def map(self, script_map: ScriptMap, elements: Iterable[Element], top: int = 0, divisor: int = 0) -> None:
        frames = self._frames.get(script_map.name)
        if frames is None:
            super().map(script_map, elements, top, divisor)
            return
        arranged = arrange(script_map, elements, top)
        if not arranged:
            return  # cleared after it was printed
        scale = divided(script_map.value, divisor)
        root = ((KEY, f"@{script_map.name}"),) if len(self._frames) > 1 else ()
        folded: Stacks = {}
        for key, value in arranged:
            count = width(script_map.value, scale(value) if scale else value)
            if count <= 0:
                self._left_out += 1
                continue
            stack = root + frames(key) or ((KEY, EMPTY),)
            folded[stack] = folded.get(stack, 0) + count
        self._folded[script_map.name] = folded

    def end_of_events(self) -> None:
        pass

    def finish(self) -> None:
        super().finish()
        stacks: Stacks = {}
        for folded in self._folded.values():
            for stack, count in folded.items():
                stacks[stack] = stacks.get(stack, 0) + count
        if self._left_out:
            self._warn(warning(messages.STACKS_LEFT_OUT, count=self._left_out))
        if not stacks:
            self._warn(warning(messages.NO_STACKS_FOUND))
        self._result.write(self._render(stacks))
        self._result.flush()
