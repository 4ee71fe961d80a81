"""`uaddr()`: objects of the traced binary, found in its ELF file when compiling."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.program import ProbeInstance
from bpftrace_py.codegen import unit
from bpftrace_py.diagnostics import Diagnostics, did_you_mean
from bpftrace_py.record import record
from bpftrace_py.source import Span
from bpftrace_py.symbols.elf import ElfError, ElfFile, open_elf


@record(frozen=True)
class UserObject:
    """An object of a binary. `address` is as the file has it; where the file may be loaded anywhere, the object is
    `from_probe` bytes behind the probed instruction, otherwise that is None."""

    address: int
    size: int
    from_probe: int | None


def find_object(instance: ProbeInstance, name: str, span: Span, diagnostics: Diagnostics) -> UserObject | None:
    """The object that `uaddr(name)` names; None if it cannot be told, which is then in `diagnostics`."""
    targets = [t for t in instance.targets if isinstance(t, unit.Uprobe)]
    target = targets[0]
    try:
        file = open_elf(target.path)
        found = [*file.objects_named(name), *file.functions_named(name)]
        if not found:
            hint = did_you_mean(name, file.object_names())
            diagnostics.error(messages.NO_USER_SYMBOL, span, path=target.path, name=name, hint=hint)
            return None
        symbol = found[0]
        if file.fixed:
            return UserObject(symbol.address, symbol.size, None)
        if target.on_return or len({(t.path, t.offset) for t in targets}) > 1:
            diagnostics.error(messages.UADDR_MOVES, span, path=target.path)
            return None
        return _relative(file, target, symbol.address, symbol.size)
    except ElfError as error:
        diagnostics.error(messages.NO_USER_SYMBOL, span, path=target.path, name=name, hint=f"the file {error}")
        return None


def _relative(file: ElfFile, target: unit.Uprobe, address: int, size: int) -> UserObject | None:
    probed = file.address_of(target.offset)
    return None if probed is None else UserObject(address, size, address - probed)
