"""Replacing expressions of a tree from the leaves up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from bpftrace_py.syntax import ast

_NOT_CHILDREN = frozenset(("span", "type", "name_span", "part_spans"))
_known: dict[type[ast.Node], tuple[str, ...]] = {}


def _fields_of(kind: type[ast.Node]) -> tuple[str, ...]:
    """The names of the fields that may hold nodes."""
    if kind not in _known:
        _known[kind] = tuple(f.name for f in dataclasses.fields(kind) if f.name not in _NOT_CHILDREN)
    return _known[kind]


def map_expressions(node: ast.Node, replace: Callable[[ast.Expression], ast.Expression]) -> None:
    """Replace each expression below `node` by `replace(expression)`, operands before what holds them, in place."""
    for name in _fields_of(type(node)):
        value = getattr(node, name)
        if isinstance(value, ast.Node):
            map_expressions(value, replace)
            if isinstance(value, ast.Expression):
                replaced = replace(value)
                if replaced is not value:
                    setattr(node, name, replaced)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                if isinstance(item, ast.Node):
                    map_expressions(item, replace)
                    if isinstance(item, ast.Expression):
                        value[i] = replace(item)


def walk(node: ast.Node) -> list[ast.Node]:
    """`node` and everything below it, in the order of the source."""
    found = [node]
    for name in _fields_of(type(node)):
        value = getattr(node, name)
        if isinstance(value, ast.Node):
            found += walk(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, ast.Node):
                    found += walk(item)
    return found
