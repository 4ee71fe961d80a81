"""From the typed program to a `Unit`: the C text, and tables of what is in it."""

from __future__ import annotations

import sys
from functools import partial

from bpftrace_py.analysis.program import ProbeInstance, TypedProgram
from bpftrace_py.codegen import unit
from bpftrace_py.codegen.ctypes_text import NamedStruct, Structs
from bpftrace_py.codegen.expressions import ExpressionText
from bpftrace_py.codegen.function import FunctionText
from bpftrace_py.codegen.key_names import key_names
from bpftrace_py.codegen.machine import machine
from bpftrace_py.codegen.maps import bpf_key, plan, table_text, value_type
from bpftrace_py.codegen.names import LOCALS, RESERVED, c_name
from bpftrace_py.codegen.statements import StatementText
from bpftrace_py.codegen.tables import Scratch, Tables
from bpftrace_py.codegen.values import Number
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.host import Host
from bpftrace_py.source import Span
from bpftrace_py.syntax import ast
from bpftrace_py.types import UINT64, UNKNOWN, ArrayType, Field, PointerType, RecordType, StackType, TupleType, Type

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import Literal

PREEMPTIBLE = frozenset(
    ("uprobe", "uretprobe", "usdt", "kfunc", "kretfunc")
)  # may lose the CPU to another run of themselves
EXCERPT = 100


class Generator:
    """Collects what the functions of one program need, and puts the C together at the end."""

    def __init__(self, program: TypedProgram, host: Host, diagnostics: Diagnostics) -> None:
        self.program = program
        self.host = host
        self.diagnostics = diagnostics
        self.architecture = host.architecture
        self.byte_order: Literal["little", "big"] = sys.byteorder
        self.structs = Structs()
        self.maps: dict[str, unit.ScriptMap] = {}
        self.value_types: dict[str, str] = {}
        self.actions: list[unit.Action] = []
        self._records: dict[tuple[str, tuple[Type, ...]], str] = {}
        self._record_texts: list[str] = []
        self._names: list[str] = []
        self._name_indexes: dict[str, int] = {}  # of the first of each
        self._functions: list[str] = []
        self._contexts: dict[str, str] = {}
        self._scratches: list[Scratch] = []
        self._programs: list[unit.ProgramSpec] = []
        self._function_names: dict[str, int] = {}  # those given, and the number of the last one with the same start
        self._cookies: set[int] = set()  # ids of the instances that ask which of their targets it is
        self._reserved: frozenset[str] = RESERVED  # and the names of the maps
        self._first_names: dict[str, int] = {}  # function -> index of its first name
        self._syscall_bases: dict[int, int] = {}
        self._needs: set[str] = set()
        self._stack_frames = {False: 0, True: 0}
        self._bounded_loops: list[unit.BoundedLoop] = []
        self._preemptible = False

    # --- the whole

    def generate(self) -> unit.Unit:
        self._plan_maps()
        self._reserved = RESERVED.union(m.table for m in self.maps.values())
        for number, instance in enumerate(self.program.instances):
            self._function(instance, number)
        self.diagnostics.raise_errors()
        return self._unit()

    def _plan_maps(self) -> None:
        limit = self.program.config.map_keys_max
        taken = set(RESERVED)
        names = key_names(instance.tree for instance in self.program.instances)
        sums = self.program.config.histogram_sums
        for info in self.program.maps.values():
            if info.value is UNKNOWN:
                continue
            table = c_name(info.name) if info.name else "unnamed"
            if table.startswith("_"):
                table = f"map{table}"  # the compiler's own names start like this
            while table in taken or f"{table}_key" in taken:
                table += "_"
            taken.add(table)
            self.maps[info.name] = script_map = plan(info, table, limit, names.get(info.name, ()), sums)
            self.value_types[info.name] = value_type(script_map, self.structs, [])

    # --- one function

    def _function(self, instance: ProbeInstance, number: int) -> None:
        self._preemptible = instance.context.probe_type in PREEMPTIBLE
        name = self._function_name(instance)
        function = FunctionText(self.structs, self._reserved)
        function.names.add(name)
        expressions = ExpressionText(self, instance, function, number)
        statements = StatementText(expressions)
        if instance.context.syscalls:
            expressions.context.which_syscall()
        self._predicate(instance, expressions, function)
        if not statements.block(instance.tree.body):
            function.line("return 0;")
        scratch = f"scratch_of_{name}"
        lines, members = function.finish(scratch, f"get_{scratch}")
        if members:
            size, cpus = function.scratch_size, self.host.cpu_count()
            self._scratches.append(Scratch(scratch, tuple(members), self._preemptible, size, cpus))
        parameter, definitions = expressions.context.parameter(name)
        for definition in definitions:
            self._contexts[definition.split(" {")[0]] = definition
        shown = ", ".join(t.name for t in instance.targets[:3])
        if len(instance.targets) > 3:
            shown += f", ... ({len(instance.targets)})"
        self._functions.append("\n".join([f"// {clean(shown)}", f"int {name}({parameter})", "{", *lines, "}"]))
        attachments = self._attachments(instance, id(instance) in self._cookies)
        self._programs.append(
            unit.ProgramSpec(name, instance.context.program, attachments, self.line_of(instance.tree.span))
        )

    def _predicate(self, instance: ProbeInstance, expressions: ExpressionText, function: FunctionText) -> None:
        predicate = instance.tree.predicate
        if predicate is None:
            return
        function.comment(f"{self.line_of(predicate.span)}: /{self.excerpt(predicate.span.start, predicate.span.end)}/")
        condition = expressions.condition(predicate)
        function.line(f"if (!({condition}))")
        function.line("\treturn 0;")
        function.release()

    def _function_name(self, instance: ProbeInstance) -> str:
        probe = instance.targets[0].name if len(instance.targets) == 1 else instance.tree.attach_points[0].text
        # No two underscores: BCC attaches `kprobe__something` by itself.
        base = c_name("_".join(filter(None, c_name(probe).split("_"))))[:80]
        name, n = base, self._function_names.get(base, 1)
        while name in self._function_names or name in RESERVED:
            n += 1
            name = f"{base}_{n}"
        self._function_names[base] = n
        self._function_names.setdefault(name, 1)
        return name

    # --- what functions ask for

    def line_of(self, span: Span) -> int:
        return self.program.source.position(span.start)[0]

    def excerpt(self, start: int, end: int) -> str:
        """A piece of the script for a comment: one line, cut."""
        text = " ".join(self.program.source.text[start:end].split())
        return clean(text if len(text) <= EXCERPT else text[: EXCERPT - 3] + "...")

    def variable_name(self, name: str) -> str:
        return f"{name}_" if name in RESERVED | LOCALS or name.startswith("_") else name

    def name_index(self, target: unit.Target) -> int:
        """The index of a target in `Unit.probe_names`."""
        index = self._name_indexes.get(target.name)
        if index is None:
            index = len(self._names)
            self._add_names([target.name])
        return index

    def _add_names(self, names: list[str]) -> None:
        for index, name in enumerate(names, len(self._names)):
            self._name_indexes.setdefault(name, index)
        self._names += names

    def function_index(self, target: unit.Target) -> int:
        """The index of the first name with the target's function: the same for its kprobe, its kretprobe, and places in it."""
        known = target.function if isinstance(target, (unit.Uprobe, unit.Kprobe, unit.Fentry)) else ""
        return self._first_names.setdefault(known or target.name.rpartition(":")[2], self.name_index(target))

    def _attachments(self, instance: ProbeInstance, cookies: bool) -> tuple[unit.Attachment, ...]:
        if instance.context.syscalls:
            name = f"{instance.tree.attach_points[0].text} (by raw_syscalls:{instance.context.syscalls})"
            return (unit.Attachment(unit.RawTracepoint(name, instance.context.syscalls)),)
        targets = instance.targets
        if instance.context.program == "raw_tracepoint":  # attached as such, under the name that the script gave it
            targets = [unit.RawTracepoint(t.name, t.event) if isinstance(t, unit.Tracepoint) else t for t in targets]
        return tuple(
            unit.Attachment(t, self.function_index(t) << 32 | self.name_index(t) if cookies else None) for t in targets
        )

    def syscall_of(self, target: unit.Target) -> int | None:
        """The number of the system call that a target stands for."""
        assert isinstance(target, unit.Tracepoint)
        return self.host.syscall_number(target.event.split("_", 2)[2])

    def syscall_names(self, instance: ProbeInstance) -> int:
        """Where the names of an instance's system calls start in `Unit.probe_names`: each at its number behind it."""
        if id(instance) not in self._syscall_bases:
            named = {self.syscall_of(t): t.name for t in instance.targets}
            self._syscall_bases[id(instance)] = len(self._names)
            self._add_names([named.get(n, "") for n in range(max(n for n in named if n is not None) + 1)])
        return self._syscall_bases[id(instance)]

    def needs_cookie(self, instance: ProbeInstance) -> None:
        self._cookies.add(id(instance))

    def add_action(self, action: unit.Action) -> int:
        self._needs.add("events")
        self.actions.append(action)
        return len(self.actions) - 1

    def record_struct(self, stem: str, types: tuple[Type, ...]) -> str:
        """The struct of a record with these arguments; alike records share one."""
        self._needs.add("records")
        name = self._records.get((stem, types))
        if name is None:
            count = sum(key[0] == stem for key in self._records)
            name = f"struct {stem}_event" + (f"_{count + 1}" if count else "")
            self._records[stem, types] = name
            members = ["u32 action;"] + [f"{self.structs.declare(t, f'arg{i + 1}')};" for i, t in enumerate(types)]
            body = "\n\t".join(members)
            self._record_texts.append(f"{name} {{\n\t{body}\n}};")
        return name

    def key_object(self, function: FunctionText, script_map: unit.ScriptMap) -> str:
        """Memory for a key of a map, as an lvalue."""
        return function.memory(NamedStruct(bpf_key(script_map), f"struct {script_map.table}_key"), "key")

    def count_lost(self, script_map: unit.ScriptMap) -> str:
        self._needs.add("lost")
        return f"count_lost({1 + list(self.maps).index(script_map.name)})"

    def count_stopped(self, loop: ast.While | ast.Unroll, rounds: int, in_time: str) -> str:
        """C that counts that a loop was stopped; one call a loop. `in_time`: C for whether there was time left, if that counts."""
        slot = self._count_of_stops(unit.BoundedLoop(self.line_of(loop.span), rounds))
        if in_time:
            slot = f"{in_time} ? {slot} : {self._count_of_stops(unit.BoundedLoop(self.line_of(loop.span), rounds, True))}"
        return f"count_lost({slot})"

    def _count_of_stops(self, loop: unit.BoundedLoop) -> str:
        self._needs.add("lost")
        self._bounded_loops.append(loop)
        return str(len(self.maps) + 1 + len(self._bounded_loops))

    def loop_run(self, function: FunctionText) -> str:
        """Memory for the time that the loops of one run take, as an lvalue."""
        self._needs.add("loop_run")
        return function.unfollowed(NamedStruct((UINT64, UINT64), "struct loop_run"), "loop_run", None)

    def add_text(self, place: str, amount: str) -> str:
        """Add to a value that is this CPU's own. A program that can lose the CPU half way has to do it in one step."""
        if not self._preemptible:
            return f"{place} += {amount};"
        return f"add_to({place[1:] if place.startswith('*') else '&' + place}, {amount});"

    def use_session(self) -> None:
        self._needs.add("session")

    def use_control(self) -> None:
        self._needs |= {"events", "control"}

    def use_told(self) -> None:
        self._needs |= {"told", "records"}

    def use_late(self) -> None:
        self._needs.add("late")

    def use_join(self) -> None:
        self._needs |= {"join", "records"}

    def use_read_any(self, string: bool) -> None:
        self._needs.add("read_any_str" if string else "read_any")

    def stack_call(self, expressions: ExpressionText, type_: StackType) -> str:
        self._stack_frames[type_.user] = max(self._stack_frames[type_.user], type_.limit)
        self._needs |= {"lost", "stacks"}
        table, flags = ("user_stacks", 256) if type_.user else ("kernel_stacks", 0)
        return f"keep_stack(ctx, MAP({table}), {type_.limit}, {flags}, {expressions.program})"

    def field(self, record: RecordType, name: str) -> Field:
        """A member that analysis has found to be there."""
        return next(f for f in self.program.records.fields(record) or () if f.name == name)

    def named_type(self, name: ast.TypeName, binary: str) -> Type:
        base = self.program.records.find(name.name, binary)
        assert base is not None
        for _ in range(name.pointers):
            base = PointerType(base)
        for count in reversed(name.dimensions):
            base = ArrayType(base, count or 0)
        return base

    def user_address(self, expressions: ExpressionText, node: ast.Call) -> Number:
        """The address of a symbol of the traced binary, at its place in the process that runs."""
        from bpftrace_py.analysis.user_symbols import find_object

        name = node.arguments[0]
        assert isinstance(name, ast.String)
        found = find_object(expressions.instance, name.value, name.span, self.diagnostics)
        if found is None:
            return Number("0", UINT64)
        if found.from_probe is None:
            return Number(f"{hex(found.address)}ULL", node.type)
        here = expressions.context.register(machine(self.architecture).instruction)
        return Number(f"{here.text} + {found.from_probe}LL", node.type, False)

    # --- putting it together

    def _unit(self) -> unit.Unit:
        tables = Tables(
            self._needs, self.program.config, len(self.maps), len(self.actions), self._stack_frames, len(self._bounded_loops)
        )  # fmt: skip
        maps = [partial(table_text, m, self.structs) for m in self.maps.values()]
        text = tables.text(
            self.program.source.name,
            self.structs,
            maps,
            self._record_texts,
            list(self._contexts.values()),
            self._scratches,
            self._functions,
        )
        names = tuple(self._names)
        functions = {index: function for function, index in self._first_names.items()}
        return unit.Unit(
            name=self.program.source.name,
            c_source=text,
            programs=tuple(self._programs),
            maps=tuple(self.maps.values()),
            actions=tuple(self.actions),
            probe_names=names,
            function_names=tuple(functions.get(i, name.rpartition(":")[2]) for i, name in enumerate(names)),
            events="events" if "events" in self._needs else None,
            ring_bytes=tables.ring_bytes,
            want_wakeup="want_wakeup" if "events" in self._needs else None,
            lost="lost" if self._needs & {"events", "lost"} else None,
            pending="pending" if "control" in self._needs else None,
            session="session_values" if "session" in self._needs else None,
            kernel_stacks="kernel_stacks" if self._stack_frames[False] else None,
            user_stacks="user_stacks" if self._stack_frames[True] else None,
            bounded_loops=tuple(self._bounded_loops),
            task_comm=self.host.task_comm() if "read_comm(" in text else None,
            probe_count=self.program.probe_count,
            records=self._printed_records(),
            warnings=tuple(d.text for d in self.diagnostics.warnings),
        )

    def _printed_records(self) -> dict[str, tuple[Field, ...]]:
        """The members of all records that user space may have to print."""
        found: dict[str, tuple[Field, ...]] = {}

        def visit(type_: Type) -> None:
            match type_:
                case RecordType() if type_.name not in found:
                    found[type_.name] = fields = self.program.records.fields(type_) or ()
                    for member in fields:
                        visit(member.type)
                case TupleType():
                    for element in type_.elements:
                        visit(element)
                case ArrayType():
                    visit(type_.element)

        for script_map in self.maps.values():
            for type_ in (*script_map.keys, script_map.value):
                visit(type_)
        for action in self.actions:
            if isinstance(action, unit.PrintValue):
                visit(action.value)
        return found


def clean(text: str) -> str:
    """Text that is safe in a `//` comment."""
    text = "".join(c if 32 <= ord(c) < 127 else "?" for c in text)
    return text.rstrip("\\")
