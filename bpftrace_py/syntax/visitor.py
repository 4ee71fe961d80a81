"""Ways over the syntax tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bpftrace_py.syntax.ast import Node

_field_names: dict[type, tuple[str, ...]] = {}

# The declared types of fields that hold no nodes.
_PLAIN = frozenset(("str", "int", "bool", "Span", "Type", "list[str]", "list[Span]", "list[int | None]"))


def child_fields(kind: type[Node]) -> tuple[str, ...]:
    """The names of the fields of a node class that hold nodes, in the order of the program text."""
    names = _field_names.get(kind)
    if names is None:
        fields: dict[str, Any] = kind.__dataclass_fields__
        names = tuple(name for name, field in fields.items() if field.type not in _PLAIN)
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


class Visitor:
    """Calls `visit_<Class>(node)` for nodes of a class, and `generic_visit` where there is no such method."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._methods = {}

    _methods: dict[type, Callable[[Any, Any], Any]] = {}

    def visit(self, node: Node) -> Any:
        """Visit one node; what its method returns."""
        kind = type(node)
        method = self._methods.get(kind)
        if method is None:
            method = getattr(type(self), f"visit_{kind.__name__}", type(self).generic_visit)
            self._methods[kind] = method
        return method(self, node)

    def generic_visit(self, node: Node) -> Any:
        """Visit the nodes below one."""
        for child in children(node):
            self.visit(child)
