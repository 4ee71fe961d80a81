"""The decoder: records laid out as the generated C lays them out, printed and dispatched in order."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftrace_py import types as t
from bpftrace_py.codegen import unit
from bpftrace_py.output.values import Texts
from bpftrace_py.runtime.decoder import Decoder, _Memo
from tests.unit.test_ring_buffer import Kernel
from tests.unit.test_values import FIELDS, LINE, LINE_BYTES, Names

COMM = t.StringType(16)
TABLE: tuple[unit.Action, ...] = (
    unit.Printf(1, "%d %s %d\n", (t.UINT64, COMM, t.UINT64)),
    unit.Printf(2, "none\n", ()),
    unit.Time(3, "%H:%M:%S\n"),
    unit.System(4, "echo '%s' %d", (COMM, t.INT64)),
    unit.Cat(5, "/proc/%d/%s", (t.UINT64, COMM)),
    unit.Join(6, " ", 8, 4),
    unit.PrintMap(7, "x", 3, 2),
    unit.PrintValue(8, t.TupleType((t.INT64, COMM))),
    unit.PrintElement(9, "x", (COMM, t.INT64)),
    unit.Clear(10, "x"),
    unit.Zero(11, "x"),
    unit.HelperFailed(12, "map_update_elem", 3),
    unit.Exit(13),
    unit.Printf(14, "%s|%s|%x|%r|%c|%p\n", (t.KSYM, t.StackType(True), t.INT64, t.BufferType(4), t.INT64, t.INT64)),
)
PRINT, NONE, TIME, SYSTEM, CAT, JOIN, PRINT_MAP, VALUE, ELEMENT, CLEAR, ZERO, FAILED, EXIT, WIDE = range(len(TABLE))


class Log:
    """Receives texts and actions in one list."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def emit(self, items: list[Any]) -> None:
        self.seen += items

    def __getattr__(self, name: str) -> Any:
        return lambda action, *values: self.seen.append((name, action.line, *values))


def record(action: int, arguments: bytes = b"", *, align: int = 8) -> bytes:
    head = struct.pack("=I", action)
    return head.ljust(align, b"\0") + arguments if arguments else head


def decode(
    *payloads: bytes, joined: bool = False, events: bool = False, escape: bool = False, table: tuple[unit.Action, ...] = TABLE
) -> tuple[list[Any], Decoder]:
    kernel, log = Kernel(1 << 20), Log()
    decoder = Decoder(table, Texts(Names(), FIELDS, escape=escape), log.emit, log, joined=joined, events=events)
    for payload in payloads:
        kernel.put(payload)
    kernel.ring().drain(decoder)
    decoder.flush()
    return log.seen, decoder


def line(pid: int, comm: bytes, count: int) -> bytes:
    return record(PRINT, struct.pack("=Q16sQ", pid, comm, count))


def test_printf() -> None:
    seen, decoder = decode(*[line(n, b"dd%d" % (n % 3), n * n) for n in range(500)])
    assert seen == [b"%d dd%d %d\n" % (n, n % 3, n * n) for n in range(500)]
    assert decoder.damaged == 0


@pytest.mark.parametrize("count", [100, 1000])
def test_printf_of_many_at_once(count: int) -> None:
    seen, decoder = decode(*[line(n, b"dd%d" % (n % 3), n * n) for n in range(count)], joined=True)
    assert b"".join(seen) == b"".join([b"%d dd%d %d\n" % (n, n % 3, n * n) for n in range(count)])
    # The first runs are short: how long the next one may be is guessed by the last.
    assert max(text.count(b"\n") for text in seen) == (128 if count == 1000 else 1)
    assert decoder.damaged == 0


@given(st.lists(st.tuples(st.sampled_from([PRINT, NONE, WIDE, TIME]), st.sampled_from([1, 2, 128, 129, 300])), max_size=6))
def test_many_at_once_are_the_same_as_each_by_itself(runs: list[tuple[int, int]]) -> None:
    payloads = []
    for kind, count in runs:
        for n in range(count):
            text = [b"a\x1b", b"b%d" % n, b"0123456789abcdef"][n % 3]
            payloads.append(
                line(n, text, n * n) if kind == PRINT
                else record(WIDE, struct.pack("=QQIIqI4sqq", n, 16, 7, 1, -n, n % 5, b"a\x01zz", 65 + n % 20, n)) if kind == WIDE
                else record(kind)
            )  # fmt: skip
    for escape in (False, True):
        each, together = decode(*payloads, escape=escape)[0], decode(*payloads, joined=True, escape=escape)[0]
        assert _texts_joined(together) == _texts_joined(each)


def _texts_joined(seen: list[Any]) -> list[Any]:
    """Texts that follow each other made one; actions stay where they are."""
    result: list[Any] = []
    for item in seen:
        if isinstance(item, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += item
        else:
            result.append(item)
    return result


def test_printf_of_other_types() -> None:
    arguments = struct.pack("=QQIIqI4sqq", 255, 16, 7, 1, -1, 2, b"a\x01zz", 65, 0)
    seen, _ = decode(record(NONE), record(WIDE, arguments), record(NONE))
    assert seen == [
        b"none\n", b"kff|\n        f16+1\n        p7.1+2\n|ffffffff|a\\x01|A|(nil)\n", b"none\n"
    ]  # fmt: skip


def test_actions_come_in_order_with_the_text_around_them() -> None:
    seen, decoder = decode(
        line(1, b"a", 1),
        record(TIME),
        line(2, b"b", 2),
        record(SYSTEM, struct.pack("=16s4xq", b"'; rm", -5), align=4),
        record(CAT, struct.pack("=Q16s", 7, b"maps")),
        record(JOIN, struct.pack("=I8s8s8s8s", 2, b"ls", b"-l\0junk", b"old", b"old"), align=4),
        record(PRINT_MAP),
        record(VALUE, struct.pack("=q16s", -1, b"x")),
        record(ELEMENT, struct.pack("=16s4xq", b"k", 9), align=4),
        record(CLEAR),
        record(ZERO),
        record(FAILED, struct.pack("=q", -2)),
        line(3, b"c", 3),
        record(EXIT),
        line(4, b"never", 4),
    )
    assert seen == [
        b"1 a 1\n",
        ("time", 3),
        b"2 b 2\n",
        ("system", 4, [b"echo '", b"' ", b""], [b"'; rm", b"-5"]),
        ("cat", 5, b"/proc/7/maps"),
        ("join", 6, [b"ls", b"-l"]),
        ("print_map", 7),
        ("print_value", 8, (-1, b"x")),
        ("print_element", 9, (b"k", 9)),
        ("clear", 10),
        ("zero", 11),
        ("helper_failed", 12, -2),
        b"3 c 3\n",
        ("exit", 13),
    ]
    assert decoder.damaged == 0


def test_a_run_of_actions_is_carried_out_one_by_one() -> None:
    seen, _ = decode(*[record(VALUE, struct.pack("=q16s", n, b"x")) for n in range(20)])
    assert seen == [("print_value", 8, (n, b"x")) for n in range(20)]


def test_join_takes_no_more_strings_than_there_are() -> None:
    strings = struct.pack("=8s8s8s8s", b"a", b"b", b"c", b"12345678")
    for claimed in (4, 5, 1 << 31):
        seen, _ = decode(record(JOIN, struct.pack("=I", claimed) + strings, align=4))
        assert seen == [("join", 6, [b"a", b"b", b"c", b"12345678"])]


def test_damaged_records_are_counted_and_do_no_harm() -> None:
    short = line(1, b"a", 1)[:20]
    seen, decoder = decode(short, short, struct.pack("=I", 999), record(VALUE), record(FAILED), line(2, b"b", 2))
    assert seen == [b"2 b 2\n"] and decoder.damaged == 5


@given(st.lists(st.tuples(st.integers(0, len(TABLE)), st.binary(max_size=120)), max_size=30))
def test_any_bytes_are_decoded_or_counted(records: list[tuple[int, bytes]]) -> None:
    before_exit = [number for number, _ in records]
    if EXIT in before_exit:
        before_exit = before_exit[: before_exit.index(EXIT) + 1]
    seen, decoder = decode(*[struct.pack("=I", number) + rest for number, rest in records])
    assert len(seen) + decoder.damaged == len(before_exit)


def test_a_terminal_is_spared_but_commands_and_files_are_not_changed() -> None:
    seen, _ = decode(
        line(1, b"\x1b[2J", 1),
        record(SYSTEM, struct.pack("=16s4xq", b"\x1b", 1), align=4),
        record(CAT, struct.pack("=Q16s", 7, b"\x1b")),
        escape=True,
    )
    assert seen == [
        b"1 \\x1b[2J 1\n",
        ("system", 4, [b"echo '", b"' ", b""], [b"\x1b", b"1"]),
        ("cat", 5, b"/proc/7/\x1b"),
    ]


def test_events_are_python_values() -> None:
    table = (
        unit.Printf(1, "%d %s %s %s", (t.INT64, COMM, t.KSYM, t.StackType(True))),
        unit.Printf(2, "%d", (t.INT32,)),
    )
    arguments = struct.pack("=q16sQQII", -1, b"caf\xc3\xa9", 255, 16, 7, 1)
    number = struct.pack("=i", -9)
    seen, _ = decode(record(0, arguments), record(1, number, align=4), record(99), events=True, table=table)
    assert seen == [(table[0], (-1, "café", "kff", ["f16+1", "p7.1+2"])), (table[1], (-9,))]


def test_records_are_decoded_by_their_fields() -> None:
    table = (unit.PrintValue(1, LINE),)
    seen, _ = decode(record(0, LINE_BYTES), table=table)
    assert seen == [("print_value", 1, (((-1, 3, 5, b"ab"),) * 2, 66, ((1, 2), (3, 4))))]


def test_long_output_is_handed_on_while_draining() -> None:
    kernel, log = Kernel(1 << 20), Log()
    sizes: list[int] = []
    decoder = Decoder(TABLE, Texts(Names()), lambda items: sizes.append(len(items)), log)
    for n in range(9000):
        kernel.put(line(n, b"dd", n))
    kernel.ring().drain(decoder)
    decoder.flush()
    assert sum(sizes) == 9000 and max(sizes) < 9000
    decoder.flush()
    assert sum(sizes) == 9000


def test_a_memo_is_bounded() -> None:
    calls: list[int] = []
    memo = _Memo(lambda value: calls.append(value) or -value, 4)
    assert [memo[n] for n in (1, 2, 1, 3, 4, 5, 1)] == [-1, -2, -1, -3, -4, -5, -1]
    assert calls == [1, 2, 3, 4, 5, 1] and len(memo) <= 4


@pytest.mark.parametrize("count", [0, 1, 60])
def test_any_number_of_arguments(count: int) -> None:
    table = (unit.Printf(1, " ".join(["%d"] * count), (t.INT64,) * count),)
    payload, text = record(0, struct.pack(f"={count}q", *range(count))), " ".join(str(n) for n in range(count)).encode()
    assert decode(payload, table=table)[0] == [text]
    assert b"".join(decode(*[payload] * 200, joined=True, table=table)[0]) == text * 200
