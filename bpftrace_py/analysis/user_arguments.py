"""`args` in a `uprobe`: the parameters of a function by name, from the debug information of the traced program."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.records import Records
from bpftrace_py.codegen import unit
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.host import Host
from bpftrace_py.probes.calling_convention import places
from bpftrace_py.symbols.elf import ElfError, open_elf
from bpftrace_py.syntax import ast
from bpftrace_py.types import Field, PointerType, RecordType

# What compilers put behind the name of a copy of a function whose parameters they have changed.
_CHANGED = (".isra.", ".constprop.", ".part.")


def user_arguments(
    target: unit.Uprobe, host: Host, records: Records, point: ast.AttachPoint, diagnostics: Diagnostics
) -> tuple[RecordType | None, dict[str, str]]:
    """The record of the arguments, and for each that cannot be read the reason.

    A field's offset is 8 times the number of the word that the argument is in, counted as `arg0`, `arg1`, ... are. None
    if the arguments are not known, which is then in `diagnostics`.
    """
    shown = target.name.split(":", 1)[1]
    binary, _, function = shown.rpartition(":")
    types = records.of_binary(target.path)
    if types is None:
        hint = "arg0, arg1, ... can be used without it"
        diagnostics.error(messages.NO_DEBUG_INFORMATION, point.span, binary=binary, function=function, hint=hint)
        return None, {}
    try:
        file = open_elf(target.path)
        address = file.address_of(target.offset)
        starts = {symbol.address for symbol in file.functions_named(target.function)}
    except ElfError:
        address, starts = None, set()
    if address is None or address not in starts:
        diagnostics.error(messages.ARGS_NOT_AT_START, point.span, name=f"`{target.name}`")
        return None, {}
    found = None if any(mark in target.function for mark in _CHANGED) else types.function(address, target.function)
    placed = None if found is None else places(host.architecture, *found)
    if found is None or placed is None:
        hint = "arg0, arg1, ... can be used without it"
        diagnostics.error(messages.NO_DEBUG_FUNCTION, point.span, binary=binary, function=target.function, hint=hint)
        return None, {}
    fields, unreadable = [], {}
    for parameter, place in zip(found[0], placed, strict=True):
        if place.unreadable:
            unreadable[parameter.name] = place.unreadable
        else:
            type_ = PointerType(parameter.type, "user") if place.by_address else parameter.type
            fields.append(Field(parameter.name, type_, 8 * place.word))
    # Functions with the same arguments share a program.
    record = RecordType(f"args of {target.name}", 0)
    return records.define(record, tuple(fields)), unreadable
