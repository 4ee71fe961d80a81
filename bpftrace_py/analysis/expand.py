"""From attach points to probe instances: one for each kind of context in which a block will run.

All targets that look alike to the block share one program: a block that does not read `args` is loaded once, however
many tracepoints its wildcard names.
"""

from __future__ import annotations

import copy

from bpftrace_py import messages
from bpftrace_py.analysis.program import Context, ProbeInstance
from bpftrace_py.analysis.records import INTEGERS, Records
from bpftrace_py.codegen import unit
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics, Note
from bpftrace_py.host import Host
from bpftrace_py.language.probe_types import ProbeType
from bpftrace_py.probes.resolve import ResolvedPoint, resolve_all
from bpftrace_py.syntax import ast
from bpftrace_py.syntax.visitor import walk
from bpftrace_py.types import Field, IntegerType, PointerType, RecordType, Type

USER_PROBES = frozenset(("uprobe", "uretprobe", "usdt"))
RAW_SYSCALLS_FROM = 4  # so many calls in one block are cheaper to tell apart than to attach and detach
# Categories whose events have no raw tracepoint of the same name behind them.
NOT_RAW = frozenset(("syscalls", "ftrace", "synthetic", "kprobes", "uprobes"))


class Expander:
    """Expands the probes of one program."""

    def __init__(self, host: Host, config: Config, records: Records, diagnostics: Diagnostics) -> None:
        self._host = host
        self._config = config
        self._records = records
        self._diagnostics = diagnostics
        self._formats: dict[tuple[str, str], tuple[Field, ...] | None] = {}
        self.probe_count = 0
        self._many = self._many_syscalls = False  # of the probe at hand
        self._once: dict[str, ast.AttachPoint] = {}

    def expand(self, program: ast.Program) -> list[ProbeInstance]:
        instances: list[ProbeInstance] = []
        for probe in program.probes:
            instances += self._probe(probe)
        if self.probe_count > self._config.max_probes:
            self._diagnostics.error(
                messages.TOO_MANY_PROBES,
                None,
                count=self.probe_count,
                limit=self._config.max_probes,
                hint="BPFTRACE_MAX_PROBES raises the limit",
            )
        return instances

    def _probe(self, probe: ast.Probe) -> list[ProbeInstance]:
        uses = _uses(probe)
        groups: dict[tuple[object, ...], ProbeInstance] = {}
        points = self._resolve(probe)
        self._many = sum(len(resolved.targets) for resolved in points) > 1
        self._many_syscalls = sum(_is_syscall(t) for resolved in points for t in resolved.targets) >= RAW_SYSCALLS_FROM
        for resolved in points:
            targets = self._targets(probe, resolved, uses)
            self.probe_count += _count(targets)
            self._only_once(resolved)
            for target in targets:
                if isinstance(target, unit.Kprobe):
                    target = self._by_fentry(target, uses) or target
                context = self._context(resolved.probe_type, target, uses, resolved.point)
                self._add(groups, probe, context, target, uses)
        return list(groups.values())

    def _resolve(self, probe: ast.Probe) -> list[ResolvedPoint]:
        """What the attach points stand for. Scripts list the names that a function had in one kernel and another: of several
        attach points, those that do not exist here are left out with a warning as long as there is one that does."""
        found: list[ResolvedPoint] = []
        missing: list[Diagnostics] = []
        for point in probe.attach_points:
            reported = Diagnostics(self._diagnostics.source)
            resolved = resolve_all(point, self._host, self._config, reported)
            found += resolved
            if resolved or not _only_missing(reported):
                self._diagnostics.extend(reported)
            else:
                missing.append(reported)
        for reported in missing:
            self._diagnostics.extend(reported.as_warnings() if found else reported)
        return found

    def _targets(self, probe: ast.Probe, resolved: ResolvedPoint, uses: frozenset[str]) -> tuple[unit.Target, ...]:
        """The targets of an attach point, but for raw tracepoints to which this block cannot be attached."""
        if resolved.probe_type.name == "rawtracepoint" and "argN" in uses:
            from bpftrace_py.analysis.raw_arguments import last_argument, with_argument

            read = last_argument(probe)
            if read is not None:
                return with_argument(resolved, read, self._host, self._diagnostics)
        return resolved.targets

    def _add(
        self,
        groups: dict[tuple[object, ...], ProbeInstance],
        probe: ast.Probe,
        context: Context,
        target: unit.Target,
        uses: frozenset[str],
    ) -> None:
        """Put a target to those that look alike to the block."""
        key: tuple[object, ...] = (
            context.probe_type,
            context.program,
            context.syscalls,
            context.argument_fields,
            context.return_type,
            context.binary,
            context.arguments,
        )
        if isinstance(target, unit.Fentry):
            key += (target.function,)
        elif isinstance(target, unit.Usdt) and uses & {"argN"}:
            key += (target.arguments,)
        group = groups.get(key)
        if group is None:
            tree = copy.deepcopy(probe) if groups else probe
            groups[key] = group = ProbeInstance(tree, context, [])
        group.targets.append(target)

    def _only_once(self, resolved: ResolvedPoint) -> None:
        name = resolved.probe_type.name
        if name in ("BEGIN", "END"):
            if name in self._once:
                notes = (Note(f"the first {name} is here", self._once[name].span),)
                self._diagnostics.error(messages.SPECIAL_PROBE_TWICE, resolved.point.span, name=name, notes=notes)
                return
            self._once[name] = resolved.point

    def _context(
        self, probe_type: ProbeType, target: unit.Target, uses: frozenset[str], point: ast.AttachPoint
    ) -> Context:
        offers = set(probe_type.builtins)
        space = "any"
        if probe_type.name in USER_PROBES:
            space = "user"
            offers.add("uaddr")
        program = probe_type.kind
        fields: tuple[Field, ...] = ()
        arguments: RecordType | None = None
        return_type: Type | None = None
        syscalls = binary = ""
        unreadable: dict[str, str] = {}
        if isinstance(target, unit.Uprobe):
            binary = target.path if uses & {"args", "types"} else ""
            if "args" in uses and "args" in offers:
                from bpftrace_py.analysis.user_arguments import user_arguments

                arguments, unreadable = user_arguments(target, self._host, self._records, point, self._diagnostics)
        if isinstance(target, unit.Tracepoint):
            if "args" in uses:
                known = self._tracepoint_fields(target, point)
                if known is not None:
                    fields, arguments = known, self._records.define(RecordType(f"args of {target.name}", 0), known)
            elif (
                not uses & {"kstack", "ustack"}
                and target.category not in NOT_RAW
                and not (self._many and "probe" in uses)
            ):
                program = "raw_tracepoint"
            elif not uses & {"kstack", "ustack"} and self._by_number(target):
                program, syscalls = "raw_tracepoint", target.event[: target.event.index("_", 4)]
        elif isinstance(target, unit.Fentry):
            program = "fexit" if target.on_return else "fentry"
            offers.add("path")
            known, return_type = self._function(target, point)
            if known is not None:
                size = 8 * len(known)
                fields, arguments = known, self._records.define(RecordType(f"args of {target.name}", size), known)
        return Context(
            probe_type.name, program, space, frozenset(offers), arguments, fields, return_type, binary, unreadable,
            syscalls,
        )  # fmt: skip

    def _by_fentry(self, target: unit.Kprobe, uses: frozenset[str]) -> unit.Fentry | None:
        """The same without a kprobe, where the kernel has none, but fentry, which does for a program that reads no register."""
        if target.offset or uses & {"reg", "sargN"} or not self._host.fentry_for_kprobes():
            return None
        from bpftrace_py.probes.kprobe import typed_in

        place = typed_in(self._host, target.function)
        if place is None:
            return None
        return unit.Fentry(target.name, target.function, target.on_return, "" if place == "vmlinux" else place)

    def _by_number(self, target: unit.Tracepoint) -> bool:
        """Whether a system call is told from the others by its number, in one program for all of them."""
        if not (self._many_syscalls and _is_syscall(target) and self._host.architecture == "x86_64"):
            return False
        return self._host.syscall_number(_call_name(target)) is not None

    def _tracepoint_fields(self, target: unit.Tracepoint, point: ast.AttachPoint) -> tuple[Field, ...] | None:
        """The fields of a tracepoint; None, and reported, if they are not known."""
        from bpftrace_py.ktypes import tracepoint_format

        key = (target.category, target.event)
        if key not in self._formats:
            text = self._host.tracepoint_format(*key)
            parsed = tracepoint_format.parse(text) if text is not None else None
            self._formats[key] = parsed.fields if parsed is not None else None
        fields = self._formats[key]
        if fields is None:
            self._diagnostics.error(messages.NO_FORMAT, point.span, name=target.name)
        return fields

    def _function(self, target: unit.Fentry, point: ast.AttachPoint) -> tuple[tuple[Field, ...] | None, Type | None]:
        """The parameters of a kernel function as fields, 8 bytes apart as the kernel hands them over, and what it returns;
        None for the parameters, and reported, if they are not known."""
        types = self._records.of_module(target.module)
        prototype = types.function(target.function) if types is not None else None
        if prototype is None:
            self._diagnostics.error(messages.NO_PROTOTYPE, point.span, name=target.function)
            return None, None
        parameters, result = prototype
        fields = tuple(Field(name or f"arg{i}", type_, 8 * i) for i, (name, type_) in enumerate(parameters))
        if not target.on_return:
            return fields, None
        return fields, result if isinstance(result, (IntegerType, PointerType)) else None


def _count(targets: tuple[unit.Target, ...]) -> int:
    """As many as bpftrace says that it attaches: functions by name, static probes by place."""
    places = sum(isinstance(target, unit.Usdt) for target in targets)
    return places or len({target.name for target in targets})


def _is_syscall(target: unit.Target) -> bool:
    return (
        isinstance(target, unit.Tracepoint)
        and target.category == "syscalls"
        and target.event.startswith(("sys_enter_", "sys_exit_"))
    )


def _call_name(target: unit.Tracepoint) -> str:
    return target.event.split("_", 2)[2]


def _uses(probe: ast.Probe) -> frozenset[str]:
    """Which of the things that shape a context the block reads."""
    found = set()
    for node in walk(probe):
        name = node.name if isinstance(node, (ast.Identifier, ast.Call)) else ""
        if name in ("args", "kstack", "ustack", "probe", "reg"):
            found.add(name)
        elif name.startswith(("arg", "sarg")):
            found |= {"argN", "sargN"} if name.startswith("sarg") else {"argN"}
        elif isinstance(node, ast.TypeName) and node.name not in INTEGERS and node.name != "void":
            found.add("types")
    return frozenset(found)


def _only_missing(reported: Diagnostics) -> bool:
    """Whether all errors say that there is no such thing on this machine."""
    missing = {
        message.code
        for message in (
            messages.UNKNOWN_TRACEPOINT,
            messages.NO_PROBE_MATCHES,
            messages.UNKNOWN_KERNEL_FUNCTION,
            messages.UNKNOWN_USER_FUNCTION,
            messages.STRIPPED_BINARY,
        )
    }
    return all(diagnostic.code in missing for diagnostic in reported.errors)
