"""`arg0`, `arg1`, ... of raw tracepoints: the kernel refuses to attach a program that reads beyond the last one, for no more
reason than "Invalid argument". Where its BTF tells how many there are, it is said at the place."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.wording import counted
from bpftrace_py.codegen import unit
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.host import Host
from bpftrace_py.probes.resolve import ResolvedPoint
from bpftrace_py.probes.tracepoint import raw_arguments
from bpftrace_py.syntax import ast
from bpftrace_py.syntax.visitor import walk

_NAMED = 3  # tracepoints that a warning names


def last_argument(probe: ast.Probe) -> ast.Identifier | None:
    """Where the block reads the `argN` of the largest N."""
    read = [node for node in walk(probe) if isinstance(node, ast.Identifier) and _number(node.name) is not None]
    return max(read, key=lambda node: _number(node.name) or 0, default=None)


def _number(name: str) -> int | None:
    digits = name.removeprefix("arg")
    return int(digits) if digits != name and digits.isdecimal() else None


def with_argument(
    resolved: ResolvedPoint, read: ast.Identifier, host: Host, diagnostics: Diagnostics
) -> tuple[unit.Target, ...]:
    """The targets that have the argument `read`, or may have it. A wildcard's others are left out with a warning, unless it
    is all of them: that is an error, as it is for a tracepoint that was named."""
    number = int(read.name[3:])
    known = {
        target.name: raw_arguments(host, target.event)
        for target in resolved.targets
        if isinstance(target, unit.RawTracepoint)
    }
    without = {name: types for name, types in known.items() if types is not None and len(types) <= number}
    if not without:
        return resolved.targets
    if len(without) == len(resolved.targets):
        name, types = next(iter(without.items()))
        diagnostics.error(
            messages.NO_NUMBERED_ARGUMENT, read.span, name=name, count=counted(len(types), "argument"),
            number=number, hint=_shown(types),
        )  # fmt: skip
    else:
        names = [name.partition(":")[2] for name in without]
        shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} others" if len(names) > _NAMED else "")
        diagnostics.warning(messages.RAW_LEFT_OUT, resolved.point.span, names=shown, number=number)
    return tuple(target for target in resolved.targets if target.name not in without)


def _shown(types: list[str]) -> str | None:
    return ", ".join(f"arg{i} is of type `{type_}`" for i, type_ in enumerate(types)) or None
