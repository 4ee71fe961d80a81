"""Compiled units by the text of their script: a script that ran before starts without lexer, parser and analysis.

A unit depends on the machine, too. What does not change while the kernel and its modules stay is part of the key; a
compilation that asked for anything else (a binary, a cgroup, a header file) is not kept. Units are stored as plain
data, records by name and fields, never pickled: reading one back can make records of these modules and nothing else.
"""

from __future__ import annotations

import os

from bpftrace_py import types
from bpftrace_py.codegen import unit as units
from bpftrace_py.record import names_of
from bpftrace_py.runtime.cache import Cache, digest

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from bpftrace_py.config import Config
    from bpftrace_py.diagnostics import Diagnostics
    from bpftrace_py.host import Host, KernelTypes, UserTypes
    from bpftrace_py.source import Source

# Events that root may define and redefine at any time.
_DYNAMIC = frozenset(("kprobes", "uprobes", "synthetic", "eprobes", "fprobes"))
_NOT_KEPT = ""  # stands for a script that was compiled, but whose unit may be another one next time
_RECORDS: dict[str, type] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in (types, units)
    for name, value in vars(module).items()
    if isinstance(value, type) and hasattr(value, "__record_fields__")
}
_NAMES = {value: name for name, value in _RECORDS.items()}


class Uncacheable(Exception):
    """A value that is not one of the records of a unit."""


class Unbelievable(Exception):
    """Plain data that is not what a unit was stored as."""


def compile_cached(
    source: Source, config: Config, make_host: Callable[[], Host], cache: Cache | None,
    on_warning: Callable[[Diagnostics], None] | None = None, on_new: Callable[[], None] | None = None,
    on_compiled: Callable[[units.Unit], None] | None = None,
) -> units.Unit:  # fmt: skip
    """The unit of a script, from `cache` if it is there and still true. Raises `CompileError`.

    `make_host` is called if the script has to be compiled, and `on_new` before that if it never was, so that there is no
    image of it, either; `on_compiled` with the unit of such a script, before it is kept.
    """
    key = "" if cache is None else _key(source, config)
    found = cache.load(key) if cache is not None and key else None
    if found is None and on_new is not None:
        on_new()
    if cache is not None and found not in (None, _NOT_KEPT):
        try:
            return unit_of(found)
        except Unbelievable as error:
            cache.note = f"{key}: {error}"
    from bpftrace_py.compiler import compile_source

    witness = _Witness(make_host())
    unit = compile_source(source, config, witness, on_warning=on_warning)
    if found is None and on_compiled is not None:
        on_compiled(unit)
    if cache is not None and key:
        kept = not unit.warnings and witness.lasting and _lasting(unit) and "#" not in source.text
        cache.store(key, _encode(unit) if kept else _NOT_KEPT)
    return unit


def _key(source: Source, config: Config) -> str:
    """All that the unit is made from: "" if it cannot be told."""
    system = os.uname()
    modules = sorted(line.split(" ", 1)[0] for line in _lines("/proc/modules"))
    boot = _lines("/proc/sys/kernel/random/boot_id")
    if not boot:
        return ""
    return digest("unit", source.text, source.name, config, system.release, system.version, boot, modules, _own_code())


def _lines(path: str) -> list[str]:
    """The lines of a file; none if it is not there, as /proc/modules is not in a kernel without modules."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _own_code() -> list[tuple[str, int, int]]:
    """The compiler itself: its files, their sizes and ages."""
    found = []
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for room in ("", "analysis", "codegen", "ktypes", "language", "probes", "syntax", "symbols"):
        with os.scandir(os.path.join(package, room)) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    status = entry.stat()
                    found.append((f"{room}/{entry.name}", status.st_size, status.st_mtime_ns))
    return sorted(found)


def _lasting(unit: units.Unit) -> bool:
    """Whether nothing but the kernel stands behind the targets: a binary may be replaced at any time."""
    targets: Iterable[units.Target] = (a.target for p in unit.programs for a in p.attachments)
    return not any(isinstance(target, units.Uprobe) for target in targets)


class _Witness:
    """A host that remembers whether all that was asked of it will be true as long as the key is."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.lasting = True
        self.architecture = host.architecture

    def cpu_count(self) -> int:
        return self._host.cpu_count()

    def tracepoint_events(self) -> Iterable[tuple[str, str]]:
        return self._host.tracepoint_events()

    def tracepoint_format(self, category: str, event: str) -> str | None:
        text = self._host.tracepoint_format(category, event)
        self.lasting = self.lasting and text is not None and category not in _DYNAMIC
        return text

    def syscall_number(self, event: str) -> int | None:
        return self._host.syscall_number(event)

    def kernel_types(self) -> KernelTypes | None:
        return self._host.kernel_types()

    def modules_with_types(self) -> Iterable[str]:
        return self._host.modules_with_types()

    def module_types(self, module: str) -> KernelTypes | None:
        self.lasting = False  # it may be loaded anew, from another file
        return self._host.module_types(module)

    def module_of(self, function: str) -> str:
        return self._host.module_of(function)

    def user_types(self, path: str) -> UserTypes | None:
        self.lasting = False
        return self._host.user_types(path)

    def kernel_functions(self) -> Iterable[str]:
        return self._host.kernel_functions()

    def kernel_symbol(self, name: str) -> int | None:
        address = self._host.kernel_symbol(name)
        self.lasting = self.lasting and bool(address)
        return address

    def fentry_for_kprobes(self) -> bool:
        return self._host.fentry_for_kprobes()

    def task_comm(self) -> int | None:
        return self._host.task_comm()

    def cgroup_id(self, path: str) -> int | None:
        self.lasting = False
        return self._host.cgroup_id(path)


def _encode(value: Any) -> Any:
    """Plain data for a value: records as ("r", name, values), dictionaries as ("d", ...), tuples as ("t", ...)."""
    if value is None or type(value) in (int, str, bytes, bool, float):
        return value
    if type(value) is tuple:
        return ("t", *map(_encode, value))
    if type(value) is dict:
        return ("d", *[(_encode(k), _encode(v)) for k, v in value.items()])
    name = _NAMES.get(type(value))
    if name is None:
        raise Uncacheable(type(value).__name__)
    return ("r", name, *[_encode(getattr(value, field)) for field in names_of(type(value))])


def unit_of(data: object) -> units.Unit:
    """The unit that plain data stands for. Raises `Unbelievable` for anything else."""
    try:
        unit = _decode(data)
    except (Unbelievable, LookupError, TypeError, ValueError, RecursionError) as error:
        raise Unbelievable(f"it is damaged: {error}") from None
    if not isinstance(unit, units.Unit):
        raise Unbelievable("it is no unit")
    return unit


def _decode(data: Any) -> Any:
    if type(data) is not tuple:
        return data
    if data[0] == "t":
        return tuple(map(_decode, data[1:]))
    if data[0] == "d":
        return {_decode(k): _decode(v) for k, v in data[1:]}
    if data[0] != "r":
        raise Unbelievable(str(data[0]))
    return _RECORDS[data[1]](*map(_decode, data[2:]))
