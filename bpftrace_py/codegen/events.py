"""Actions: what the kernel asks user space to do, each a record in the ring buffer.

A record starts with the number of its action. `printf` and the like fill theirs in place; the order in which records
are reserved is the order in which they are handled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bpftrace_py.codegen import unit
from bpftrace_py.codegen.ctypes_text import is_memory
from bpftrace_py.language import builtins
from bpftrace_py.syntax import ast
from bpftrace_py.syntax.visitor import walk
from bpftrace_py.types import IntegerType, Type, integer

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.expressions import ExpressionText

JOIN_STRINGS, JOIN_CAPACITY = 16, 1024


class EventText:
    """Writes calls that are statements: records in the ring buffer, and what the kernel does by itself."""

    def __init__(self, expressions: ExpressionText) -> None:
        self._ex = expressions
        self._fn = expressions.function
        self._generator = expressions.generator
        self._as_int: set[int] = set()  # arguments of the record at hand that are an int in a 64-bit register

    def statement(self, node: ast.Call) -> bool:
        """Write a call that is a statement. True if the program ends with it."""
        getattr(self, f"_{node.name}")(node)
        return node.name == "exit"

    # --- records

    def _line(self, node: ast.Call) -> int:
        return self._generator.line_of(node.span)

    def _send(self, action: unit.Action) -> None:
        """An action without arguments, which is not lost: see `pending` in `Unit`."""
        self._generator.use_control()
        self._fn.line(f"send({self._generator.add_action(action)});")

    def _record(self, action: unit.Action, arguments: list[ast.Expression], types: tuple[Type, ...], stem: str) -> None:
        """A record with arguments, each written straight to its place."""
        number = self._generator.add_action(action)
        name = self._generator.record_struct(stem, types)
        ready = self._evaluated(arguments)
        event = self._fn.fresh("event")
        self._fn.line(f"{name} *{event} = ring_reserve(MAP(events), sizeof(*{event}), 0);")
        with self._fn.block(f"if ({event})"):
            self._fn.line(f"{event}->action = {number};")
            with self._late_strings() as flags:
                for i, (argument, type_) in enumerate(zip(arguments, types, strict=True)):
                    place = f"{event}->arg{i + 1}"
                    if i in ready:
                        self._fn.line(f"{place} = {ready[i]};")
                    elif i in self._as_int:
                        self._fn.line(f"{place} = as_int({self._ex.number(argument).text});")
                    else:
                        self._ex.store(argument, place, type_, pad=False)
            self._fn.line(f"ring_submit({event}, {flags[0]});")
        with self._fn.block("else"):
            self._fn.line("count_lost(0);")

    @contextmanager
    def _late_strings(self) -> Iterator[list[str]]:
        """Around the arguments of a record; the flags it is submitted with are in the list that is given, after it."""
        flags = ["wakeup()"]
        self._ex.late = False
        with self._fn.captured(deeper=0) as lines:
            yield flags
        if self._ex.late:
            flag = self._ex.late_flag()
            self._fn.line(f"{flag} = 0;")
            flags[0] = f"{flag} ? FORCE_WAKEUP : wakeup()"
        self._fn.add(lines)

    def _evaluated(self, arguments: list[ast.Expression]) -> dict[int, str]:
        """Arguments that change something are worked out before: they must, whether or not there is room for the record."""
        ready = {}
        for i, argument in enumerate(arguments):
            if any(isinstance(n, ast.Increment) for n in walk(argument)) and not is_memory(argument.type):
                ready[i] = self._ex.local(self._ex.number(argument), "argument").text
        return ready

    # --- statements

    def _printf(self, node: ast.Call) -> None:
        arguments = node.arguments[1:]
        text = node.arguments[0]
        assert isinstance(text, ast.String)
        arguments, types = self._arguments(text.value, arguments)
        self._record(unit.Printf(self._line(node), text.value, types), arguments, types, "printf")
        self._as_int.clear()

    def _system(self, node: ast.Call) -> None:
        text = node.arguments[0]
        assert isinstance(text, ast.String)
        types = tuple(event_type(a) for a in node.arguments[1:])
        self._record(unit.System(self._line(node), text.value, types), node.arguments[1:], types, "system")

    def _cat(self, node: ast.Call) -> None:
        text = node.arguments[0]
        assert isinstance(text, ast.String)
        types = tuple(event_type(a) for a in node.arguments[1:])
        self._record(unit.Cat(self._line(node), text.value, types), node.arguments[1:], types, "cat")

    def _arguments(self, text: str, arguments: list[ast.Expression]) -> tuple[list[ast.Expression], tuple[Type, ...]]:
        """Arguments and their types. A bare register under %d is an int to C, whose upper half nobody set."""
        from bpftrace_py.output.printf import check_format

        types = []
        conversions = [c for c in check_format(text, len(arguments)) if c.takes]
        for i, (conversion, argument) in enumerate(zip(conversions, arguments, strict=True)):
            type_ = event_type(argument)
            if conversion.letter in "di" and not conversion.length and is_register(argument):
                type_ = integer(8, True)
                self._as_int.add(i)
            types.append(type_)
        return arguments, tuple(types)

    def _print(self, node: ast.Call) -> None:
        value = node.arguments[0]
        line = self._line(node)
        if isinstance(value, ast.Map) and not value.keys:
            numbers = [a.value if isinstance(a, ast.Integer) else 0 for a in node.arguments[1:]] + [0, 0]
            self._send(unit.PrintMap(line, value.name, numbers[0], numbers[1]))
        elif isinstance(value, ast.Map):
            script_map = self._generator.maps[value.name]
            self._record(unit.PrintElement(line, value.name, script_map.keys), value.keys, script_map.keys, "print")
        else:
            type_ = event_type(value)
            self._record(unit.PrintValue(line, type_), [value], (type_,), "print")

    def _time(self, node: ast.Call) -> None:
        text = node.arguments[0] if node.arguments else None
        self._send(unit.Time(self._line(node), text.value if isinstance(text, ast.String) else "%H:%M:%S\n"))

    def _exit(self, node: ast.Call) -> None:
        self._send(unit.Exit(self._line(node)))
        self._fn.line("return 0;")

    def _clear(self, node: ast.Call) -> None:
        target = node.arguments[0]
        assert isinstance(target, ast.Map)
        self._send(unit.Clear(self._line(node), target.name))

    def _zero(self, node: ast.Call) -> None:
        target = node.arguments[0]
        assert isinstance(target, ast.Map)
        self._send(unit.Zero(self._line(node), target.name))

    def _delete(self, node: ast.Call) -> None:
        target = node.arguments[0]
        assert isinstance(target, ast.Map)
        self._ex.maps.delete(target)

    def _join(self, node: ast.Call) -> None:
        delimiter = node.arguments[1] if len(node.arguments) > 1 else None
        action = unit.Join(
            self._line(node), delimiter.value if isinstance(delimiter, ast.String) else " ", JOIN_CAPACITY, JOIN_STRINGS
        )
        number = self._generator.add_action(action)
        source, space = self._ex.calls.address(node.arguments[0])
        read, read_str = self._ex.memory.reader(space), self._ex.memory.reader(space, string=True)
        self._generator.use_join()
        event, i, string = self._fn.fresh("event"), self._fn.fresh("i"), self._fn.fresh("string")
        self._fn.line(f"struct join_event *{event} = ring_reserve(MAP(events), sizeof(*{event}), 0);")
        with self._fn.block(f"if ({event})"):
            self._fn.line(f"{event}->action = {number};")
            self._fn.line(f"{event}->count = 0;")
            with self._fn.block(f"for (u32 {i} = 0; {i} < {JOIN_STRINGS}; {i}++)"):
                self._fn.line(f"u64 {string} = 0;")
                self._fn.line(f"if ({read}(&{string}, 8, (void *)({source} + 8 * {i})) || !{string})")
                self._fn.line("\tbreak;")
                self._fn.line(f"if ({read_str}({event}->strings[{i}], {JOIN_CAPACITY}, (void *){string}) < 0)")
                self._fn.line("\tbreak;")
                self._fn.line(f"{event}->count = {i} + 1;")
            self._fn.line(f"ring_submit({event}, wakeup());")
        with self._fn.block("else"):
            self._fn.line("count_lost(0);")

    def _signal(self, node: ast.Call) -> None:
        import signal

        argument = node.arguments[0]
        if isinstance(argument, ast.String):
            number = str(int(signal.Signals[f"SIG{argument.value.removeprefix('SIG')}"]))
        else:
            number = self._ex.number(argument).text
        self._fn.line(f"send_signal({number});")

    def _override(self, node: ast.Call) -> None:
        self._fn.line(f"override_return(ctx, {self._ex.number(node.arguments[0]).text});")


def event_type(node: ast.Expression) -> Type:
    """The type in which a value travels: as narrow as its values allow."""
    if isinstance(node, ast.Identifier):
        builtin = builtins.find(node.name)
        if builtin is not None and builtin.stored is not None:
            return builtin.stored
    return node.type


def is_register(node: ast.Expression) -> bool:
    """Whether an expression is a bare argument or result of a traced function, whose C type is not known."""
    if isinstance(node, ast.Identifier):
        builtin = builtins.find(node.name)
        return (
            builtin is not None and builtin.needs in ("argN", "sargN", "retval") and isinstance(node.type, IntegerType)
        )
    return isinstance(node, ast.Call) and node.name == "reg"
