"""Names for the keys of maps, from the expressions in their brackets: columns for the library, labels for metrics."""

from __future__ import annotations

from collections.abc import Iterable

from bpftrace_py.syntax import ast
from bpftrace_py.syntax.visitor import walk


def key_names(trees: Iterable[ast.Node]) -> dict[str, tuple[str, ...]]:
    """For each map with keys one name a key, "" for one without.

    `@[pid, str(args.filename), $x + 1]` has the names `pid`, `filename` and "". What counts is the first place in the
    script where the map is given something, else the first where it is.
    """
    given: dict[str, tuple[str, ...]] = {}
    seen: dict[str, tuple[str, ...]] = {}
    for tree in trees:
        for node in walk(tree):
            target = node.target if isinstance(node, (ast.Assignment, ast.Increment)) else None
            if isinstance(target, ast.Map):
                given.setdefault(target.name, tuple(map(_name, target.keys)))
            elif isinstance(node, ast.Map) and node.keys:
                seen.setdefault(node.name, tuple(map(_name, node.keys)))
    return {**seen, **given}


def _name(key: ast.Expression) -> str:
    match key:
        case ast.Identifier() | ast.Variable() | ast.Map():
            return key.name
        case ast.FieldAccess():
            return key.name
        case ast.Call():
            if key.name in ("kstack", "ustack"):
                return key.name
            return next(filter(None, map(_name, key.arguments)), "")
        case ast.Cast() | ast.Unary() | ast.ArrayAccess():
            return _name(key.operand) if isinstance(key.operand, ast.Expression) else ""
        case _:
            return ""
