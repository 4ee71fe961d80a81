"""Ways over the syntax tree."""

from __future__ import annotations

from collections.abc import Iterator

from bpftrace_py.record import names_of
from bpftrace_py.syntax.ast import Node

_field_names: dict[type, tuple[str, ...]] = {}

# The declared types of fields that hold no nodes.
_PLAIN = frozenset(("str", "int", "bool", "Span", "Type", "list[str]", "list[Span]", "list[int | None]"))


def child_fields(kind: type[Node]) -> tuple[str, ...]:
    """The names of the fields of a node class that hold nodes, in the order of the program text."""
    names = _field_names.get(kind)
    if names is None:
        annotations = {name: text for base in reversed(kind.__mro__) for name, text in getattr(base, "__annotations__", {}).items()}
        names = tuple(name for name in names_of(kind) if annotations[name] not in _PLAIN)
        _field_names[kind] = names
    return names


def children(node: Node) -> list[Node]:
    """The nodes directly below one, in the order of the program text."""
    result: list[Node] = []
    for name in child_fields(type(node)):
        value = getattr(node, name)
        if value is None:
            continue
        if type(value) is list:
            result += value
        else:
            result.append(value)
    return result


def walk(node: Node) -> Iterator[Node]:
    """The node and all nodes below it, each before those below it. Nodes may be changed on the way."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        below = children(current)
        below.reverse()
        stack += below
