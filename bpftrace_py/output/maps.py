"""Script maps ready to be printed: in the printed order, the top of them, divided, as text.

The elements of a map are `(key values, value)` pairs, decoded as in `values.py`; an unkeyed map has one pair with an
empty key, or none if nothing was stored.
"""

from __future__ import annotations

from operator import itemgetter

from bpftrace_py import types
from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.output.values import Texts, Value, average, divide
from bpftrace_py.types import Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

Element = tuple[tuple[Value, ...], Value]

_NUMBERS = (types.IntegerType, types.CountType, types.SumType, types.MinType, types.MaxType)
_PAIRS = (types.AvgType, types.StatsType)
_UNSIGNED = (1 << 64) - 1
_FEW = 8  # keys a value from which on they are worth grouping


def arrange(script_map: ScriptMap, elements: Iterable[Element], top: int = 0) -> list[Element]:
    """The elements in the order of printing, the last `top` of them if it is not 0.

    Numbers come by value, avg and stats by average, histograms by how much they counted, all ascending and those that
    are equal by key; everything else by key. The integers of keys compare as unsigned, strings by their bytes. All of a
    stats map is printed whatever `top` is.
    """
    arranged = list(elements)
    # Sorting is stable. Comparing one number or string at a time is faster than comparing tuples.
    for index, key in reversed([*enumerate(script_map.keys)]):
        arranged.sort(key=_column(index, key))
    value = script_map.value
    if isinstance(value, _NUMBERS):
        arranged.sort(key=itemgetter(1))
    elif isinstance(value, _PAIRS):
        arranged.sort(key=lambda element: average(element[1]))
    elif isinstance(value, types.HISTOGRAMS):
        total = _once_for_each(sum)
        arranged.sort(key=lambda element: total(element[1]))
    return arranged[-top:] if top and not isinstance(value, types.StatsType) else arranged


def _once_for_each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function, called once for each object: maps of many keys share equal histograms. The objects must stay alive."""
    known: dict[int, Any] = {}

    def answer(counts: Any) -> Any:
        found = known.get(id(counts))
        if found is None:
            found = known[id(counts)] = function(counts)
        return found

    return answer


def _column(index: int, type: Type) -> Callable[[Element], Any]:
    """What the elements are compared by for one part of the key."""
    if isinstance(type, types.IntegerType) and type.signed:
        return lambda element: element[0][index] & _UNSIGNED
    return lambda element: element[0][index]


def map_text(
    script_map: ScriptMap, elements: Iterable[Element], texts: Texts, top: int = 0, divisor: int = 0
) -> bytes:
    """What `print(@map, top, divisor)` prints, down to its empty lines."""
    name, value = b"@" + script_map.name.encode(), script_map.value
    elements = list(elements)
    if _is_number_by_number(script_map) and not top and divisor in (0, 1) and _has_few_values(elements):
        return _grouped_lines(name.decode(), elements)
    arranged = arrange(script_map, elements, top)
    if isinstance(value, types.HISTOGRAMS):
        show_key = _key_printer(name, script_map.keys, texts)
        from bpftrace_py.output import histogram  # for scripts that have some

        render = _once_for_each(histogram.renderer(value, divisor))
        return b"\n".join([b"%s: \n%s" % (show_key(key), render(counts)) for key, counts in arranged]) + b"\n"
    lines = _lines(name, script_map, arranged, texts, divisor)
    return b"\n".join(lines) + (b"\n\n" if isinstance(value, _PAIRS) else b"\n")


# --- the common shape, for maps of a hundred thousand keys: a number by one number


def _is_number_by_number(script_map: ScriptMap) -> bool:
    keys = script_map.keys
    return len(keys) == 1 and isinstance(keys[0], types.IntegerType) and isinstance(script_map.value, _NUMBERS)


def _has_few_values(elements: list[Element]) -> bool:
    """Whether a value stands under many keys, as in most maps of counts."""
    return len({number for _, number in elements}) < len(elements) // _FEW


def _grouped_lines(name: str, elements: list[Element]) -> bytes:
    """The lines of a map of few values. Only the keys of each value need to be sorted, as plain numbers, and one `join`
    makes all lines of a value: two thirds of the time of sorting and formatting line by line."""
    groups: dict[int, list[int]] = {}
    for (key,), number in elements:
        if number in groups:
            groups[number].append(key)
        else:
            groups[number] = [key]
    text = []
    for number in sorted(groups):
        keys = groups[number]
        keys.sort()
        if keys[0] < 0:
            keys.sort(key=lambda key: key & _UNSIGNED)
        text.append(f"{name}[" + f"]: {number}\n{name}[".join(map(str, keys)) + f"]: {number}\n")
    return "".join(text).encode()


def _lines(name: bytes, script_map: ScriptMap, arranged: list[Element], texts: Texts, divisor: int) -> list[bytes]:
    value, keys = script_map.value, script_map.keys
    show = divided_text(value, texts, divisor)
    if len(keys) == 1:
        if _is_number_by_number(script_map) and divisor in (0, 1):
            # One text, encoded at the end: formatting bytes takes longer.
            start = name.decode()
            return ["\n".join([f"{start}[{part}]: {number}" for (part,), number in arranged]).encode()]
        show_part = _key_text(keys[0], texts)
        return [b"%s[%s]: %s" % (name, show_part(key[0]), show(item)) for key, item in arranged]
    show_key = _key_printer(name, keys, texts)
    return [b"%s: %s" % (show_key(key), show(item)) for key, item in arranged]


def _key_printer(name: bytes, keys: tuple[Type, ...], texts: Texts) -> Callable[[tuple[Value, ...]], bytes]:
    if not keys:
        return lambda key: name
    parts = [_key_text(key, texts) for key in keys]
    return lambda key: b"%s[%s]" % (
        name, b", ".join([show(part) for show, part in zip(parts, key, strict=True)])
    )


def _key_text(type: Type, texts: Texts) -> Callable[[Value], bytes]:
    """The printer of one part of a key. The guide shows an empty line behind the frames of a `perf` stack."""
    show = texts.key(type)
    if isinstance(type, types.StackType) and type.mode == "perf":
        return lambda value: text + b"\n" if (text := show(value)) else text
    return show


def key_texts(script_map: ScriptMap, texts: Texts) -> Callable[[tuple[Value, ...]], list[bytes]]:
    """What prints the parts of a key."""
    parts = [texts.key(key) for key in script_map.keys]
    return lambda key: [show(part) for show, part in zip(parts, key, strict=True)]


def divided(type: Type, divisor: int) -> Callable[[Value], Value] | None:
    """What divides a value as `print(@x, top, divisor)` does; None if it leaves values of this type as they are."""
    if divisor in (0, 1):
        return None
    if isinstance(type, (*_NUMBERS, types.PointerType)):
        return lambda value: divide(value, divisor)
    if isinstance(type, types.TupleType):
        parts = [divided(element, divisor) for element in type.elements]
        return lambda value: tuple(
            [part(item) if part else item for part, item in zip(parts, value, strict=True)]
        )
    if isinstance(type, types.ArrayType):
        part = divided(type.element, divisor)
        return (lambda value: tuple([part(item) for item in value])) if part else None
    return None


def divided_text(type: Type, texts: Texts, divisor: int) -> Callable[[Value], bytes]:
    """What prints a value divided by `divisor`. Stats, strings and the like are not divided."""
    show = texts.of(type)
    if isinstance(type, types.AvgType):
        return lambda value: b"%d" % divide(average(value), divisor)
    scale = divided(type, divisor)
    return (lambda value: show(scale(value))) if scale else show
