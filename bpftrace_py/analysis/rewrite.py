"""Replacing expressions of a tree from the leaves up."""

from __future__ import annotations

from collections.abc import Callable

from bpftrace_py.syntax import ast
from bpftrace_py.syntax.visitor import child_fields


def map_expressions(node: ast.Node, replace: Callable[[ast.Expression], ast.Expression]) -> None:
    """Replace each expression below `node` by `replace(expression)`, operands before what holds them, in place."""
    for name in child_fields(type(node)):
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
