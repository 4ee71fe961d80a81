"""What the decoder's targets decode and print: actions and maps of every type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bpftrace_py import types as t
from bpftrace_py.codegen import unit
from bpftrace_py.output.base import Output, Writer
from bpftrace_py.output.values import Value
from bpftrace_py.symbols.resolver import Resolver
from tests.records import LINE, POINT

COMM = t.StringType(16)
OTHER = t.RecordType("struct other", 5, 1)  # of which no fields are known
NAMED: tuple[t.Type, ...] = (
    t.KSYM, t.USYM, t.StackType(False), t.StackType(True, "perf", 3), t.INET, t.MAC_ADDRESS, t.USERNAME, t.PROBE_NAME,
    t.FUNCTION_NAME, t.TimestampType("%H:%M:%S.%f %% %"), t.TimestampType("\udcff\ud83d"[:1]), t.CgroupPathType(""),
    t.ERROR_NAME, COMM,
)  # fmt: skip
VALUES: tuple[t.Type, ...] = (
    *NAMED, *(t.IntegerType(width, signed) for width in (1, 2, 4, 8) for signed in (True, False)), t.BufferType(9),
    t.PointerType(t.VOID), t.ArrayType(t.INT32, 3), t.ArrayType(t.ArrayType(COMM, 1), 2), t.ArrayType(t.INT64, 0),
    t.TupleType((t.INT64, COMM, t.TupleType((t.UINT32, t.INT64)))), t.TupleType((t.BufferType(3), t.INET)), POINT, LINE, OTHER,
)  # fmt: skip
KEYS: tuple[tuple[t.Type, ...], ...] = (
    *((type,) for type in VALUES if type.size),
    (t.INT64, COMM),
    (t.USYM, t.UINT64, LINE),
)
INTEGERS = "%d %5i %-5u|%x %#X %08o %p %c %hhd %llu %+.3d %*"
ACTIONS: tuple[unit.Action, ...] = (
    unit.Printf(1, "%d %s %d\n", (t.UINT64, COMM, t.UINT64)),
    unit.Printf(2, "none %% \udcff\n", ()),
    unit.Printf(3, INTEGERS, (t.INT64, t.INT32, t.UINT32, t.IntegerType(1, True), t.UINT64, t.IntegerType(2, False),
                              t.PointerType(t.VOID), t.INT64, t.INT64, t.INT64, t.INT64)),
    unit.Printf(4, "%s " * len(NAMED), NAMED),
    unit.Printf(5, "%r|%rx|%rh|%-9.3r", (t.BufferType(4),) * 4),
    unit.Printf(6, "%10.3s|%-20s", (COMM, COMM)),
    unit.Time(7, "%H:%M:%S\n"),
    unit.System(8, "echo '%s' %d %c", (COMM, t.INT64, t.INT64)),
    unit.Cat(9, "/proc/%d/%s", (t.UINT64, COMM)),
    unit.Join(10, " ", 8, 4),
    unit.PrintMap(11, "x", 3, 2),
    unit.Clear(12, "x"),
    unit.Zero(13, "x"),
    unit.HelperFailed(14, "map_update_elem", 3),
    unit.Exit(15),
    *(unit.PrintValue(20 + i, type) for i, type in enumerate(VALUES)),
    *(unit.PrintElement(80 + i, "x", keys) for i, keys in enumerate(KEYS)),
)  # fmt: skip
MAPS: tuple[unit.ScriptMap, ...] = tuple(unit.ScriptMap("x", "x", keys, t.INT64, "hash", 100) for keys in KEYS)


class Sink(Writer):
    """Nowhere."""

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)


def resolver() -> Resolver:
    """The real one, without a session: no stack is known, and nobody is listened to."""
    return Resolver(
        probe_names=("BEGIN",), function_names=("f",), kernel_stack=lambda stack: bytes([stack & 0xFF]) * 16
    )


class Log:
    """The actions that a decoder asked for, in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, unit.Action | None, Any]] = []

    def printf(self, items: list[Any]) -> None:
        self.seen.append(("printf", None, items))

    def join(self, action: unit.Join, strings: list[bytes]) -> None:
        self.seen.append(("join", action, action.delimiter.encode().join(strings)))

    def cat(self, action: unit.Cat, path: bytes) -> None:
        self.seen.append(("cat", action, path))

    def system(self, action: unit.System, literals: Sequence[bytes], texts: list[bytes]) -> bool:
        assert len(literals) == len(texts) + 1
        self.seen.append(("system", action, b"".join(texts)))
        return False

    def print_value(self, action: unit.PrintValue, value: Value) -> None:
        self.seen.append(("value", action, value))

    def print_element(self, action: unit.PrintElement, key: tuple[Value, ...]) -> None:
        self.seen.append(("element", action, key))

    def helper_failed(self, action: unit.HelperFailed, error: int) -> None:
        self.seen.append(("helper", action, error))

    def time(self, action: unit.Action) -> None:
        self.seen.append(("control", action, None))

    print_map = clear = zero = exit = time

    def replay(self, output: Output, events: bool) -> None:
        """Print it all."""
        for kind, action, what in self.seen:
            if kind == "printf" and not events:
                output.printf(what)
            elif kind in ("join", "cat", "system"):
                getattr(output, kind)(what)
            elif isinstance(action, unit.PrintValue):
                output.value(action.value, what)
            elif isinstance(action, unit.PrintElement):
                output.map(unit.ScriptMap("x", "x", action.keys, t.INT64, "hash", 100), [(what, -1)])
            elif isinstance(action, unit.HelperFailed):
                output.helper_error(action.helper, what, action.line, action.column, "it failed")
