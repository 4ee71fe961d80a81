"""Values: from bytes, to text, to what a Python program gets."""

from __future__ import annotations

import ctypes
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftrace_py import types as t
from bpftrace_py.output import values
from bpftrace_py.output.values import (
    Fields,
    Texts,
    Value,
    escape_control,
    item_decoder,
    plain,
    struct_code,
    struct_layout,
)
from bpftrace_py.types import Bitfield, Field
from tests.records import FIELDS, LINE, POINT


class Names:
    """A resolver whose texts show what it was asked."""

    def kernel_symbol(self, address: int) -> str:
        return f"k{address:x}"

    def user_symbol(self, address: int, pid: int, probe_id: int) -> str:
        return f"u{address:x}/{pid}/{probe_id}"

    def stack(self, type: t.StackType, stack_id: int, pid: int, probe_id: int) -> str:
        return "" if stack_id == 0 else f"\n    f{stack_id}+1\n    p{pid}.{probe_id}+2\n"

    def username(self, uid: int) -> str:
        return {0: "root"}.get(uid, str(uid))

    def timestamp(self, format: str, nanoseconds: int) -> str:
        return f"{format}@{nanoseconds}"

    def cgroup_path(self, filter: str, cgroup_id: int) -> str:
        return f"{filter}:/{cgroup_id}"

    def error_name(self, number: int) -> str:
        return f"error {number}"

    def probe_name(self, index: int) -> str:
        return ["BEGIN", "interval:s:1"][index]

    def function_name(self, index: int) -> str:
        return f"fn{index}"


TEXTS = Texts(Names(), FIELDS)


def decoded(type: t.Type, raw: bytes, fields: Fields = FIELDS) -> Value:
    """A value out of its `type.size` bytes."""
    (item,) = struct.unpack("=" + struct_code(type), raw)
    decode = item_decoder(type, fields)
    return decode(item) if decode else item


POINT_BYTES = struct.pack("=iI4s", -1, 5 << 29 | 3, b"ab\0z")
LINE_BYTES = POINT_BYTES * 2 + struct.pack("=Q4H", 66, 1, 2, 3, 4)
U = struct.Struct("=QII").pack(0x10, 7, 1)

CASES = [
    # type, bytes, value, text, Python value
    (t.IntegerType(1, True), b"\xff", -1, b"-1", -1),
    (t.IntegerType(2, False), b"\xff\xff", 65535, b"65535", 65535),
    (t.UINT64, b"\xff" * 8, (1 << 64) - 1, b"18446744073709551615", (1 << 64) - 1),
    (t.IntegerType(4, False, "state"), struct.pack("=I", 3), 3, b"3", 3),
    (t.StringType(8), b"abc\0\xff\xff\0\0", b"abc", b"abc", "abc"),
    (t.StringType(2), b"\xff\0", b"\xff", b"\xff", "\udcff"),
    (t.BufferType(5), struct.pack("=I", 3) + b"a\x01\xffzzz"[:5], b"a\x01\xff", b"a\\x01\\xff", b"a\x01\xff"),
    (t.PointerType(t.VOID), struct.pack("=Q", 66), 66, b"66", 66),
    (t.ArrayType(t.INT32, 3), struct.pack("=3i", 1, -2, 3), (1, -2, 3), b"[1,-2,3]", [1, -2, 3]),
    (
        t.TupleType((t.INT64, t.StringType(6), t.TupleType((t.UINT32, t.INT64)))),
        struct.pack("=q6s2xI4xq", 1, b"hello", 2, 3), (1, b"hello", (2, 3)), b"(1, hello, (2, 3))", (1, "hello", (2, 3)),
    ),
    (POINT, POINT_BYTES, (-1, 3, 5, b"ab"), b"{ .x = -1, .low = 3, .high = 5, .c = ab }",
     {"x": -1, "low": 3, "high": 5, "c": "ab"}),
    (LINE, LINE_BYTES, (((-1, 3, 5, b"ab"),) * 2, 66, ((1, 2), (3, 4))),
     b"{ .ends = [{ .x = -1, .low = 3, .high = 5, .c = ab },{ .x = -1, .low = 3, .high = 5, .c = ab }], "
     b".p = 66, .m = [[1,2],[3,4]] }",
     {"ends": [{"x": -1, "low": 3, "high": 5, "c": "ab"}] * 2, "p": 66, "m": [[1, 2], [3, 4]]}),
    (t.RecordType("struct unknown", 2), b"a\0", b"a\0", b"a\\x00", b"a\0"),
    (t.StackType(False), struct.pack("=Q", 4), 4, b"\n        f4+1\n        p0.0+2\n", ["f4+1", "p0.0+2"]),
    (t.StackType(False, "perf"), struct.pack("=Q", 4), 4, b"\n\tf4+1\n\tp0.0+2\n", ["f4+1", "p0.0+2"]),
    (t.StackType(True), U, (16, 7, 1), b"\n        f16+1\n        p7.1+2\n", ["f16+1", "p7.1+2"]),
    (t.StackType(False), bytes(8), 0, b"", []),
    (t.KSYM, struct.pack("=Q", 0xFF), 0xFF, b"kff", "kff"),
    (t.USYM, U, (16, 7, 1), b"u10/7/1", "u10/7/1"),
    (t.INET, struct.pack("=I16s", 2, b"\x7f\0\0\1rest"), (2, b"\x7f\0\0\1rest" + bytes(8)), b"127.0.0.1",
     "127.0.0.1"),
    (t.INET, struct.pack("=I16s", 10, bytes(15) + b"\1"), (10, bytes(15) + b"\1"), b"::1", "::1"),
    (t.INET, struct.pack("=I16s", 99, b""), (99, bytes(16)), b"", ""),
    (t.MAC_ADDRESS, b"\x00\x1a\xff\x0b\x0c\x0d", b"\x00\x1a\xff\x0b\x0c\x0d", b"00:1A:FF:0B:0C:0D", "00:1A:FF:0B:0C:0D"),
    (t.USERNAME, bytes(8), 0, b"root", "root"),
    (t.PROBE_NAME, struct.pack("=Q", 1), 1, b"interval:s:1", "interval:s:1"),
    (t.FUNCTION_NAME, struct.pack("=Q", 2), 2, b"fn2", "fn2"),
    (t.TimestampType("%H"), struct.pack("=Q", 5), 5, b"%H@5", "%H@5"),
    (t.CgroupPathType("unified"), struct.pack("=Q", 5), 5, b"unified:/5", "unified:/5"),
    (t.ERROR_NAME, struct.pack("=Q", 2), 2, b"error 2", "error 2"),
    (t.AvgType(), struct.pack("=Qq", 2, -15), (2, -15), b"-7", (2, -15)),
    (t.StatsType(False), struct.pack("=QQ", 2, 31), (2, 31), b"count 2, average 15, total 31", (2, 31)),
    (t.CountType(), struct.pack("=Q", 9), 9, b"9", 9),
]  # fmt: skip


@pytest.mark.parametrize(
    ("type", "raw", "value", "text", "python"), CASES, ids=lambda v: str(v) if isinstance(v, t.Type) else ""
)
def test_every_type(type: t.Type, raw: bytes, value: object, text: bytes, python: object) -> None:
    raw = raw.ljust(type.size, b"\0")
    assert decoded(type, raw) == value
    assert TEXTS.of(type)(value) == text
    convert = plain(type, TEXTS)
    assert (convert(value) if convert else value) == python


def test_keys_show_pointers_in_hexadecimal_and_stacks_less_indented() -> None:
    assert TEXTS.key(t.PointerType(t.VOID))(66) == b"0x42"
    assert TEXTS.key(t.StackType(False))(4) == b"\n    f4+1\n    p0.0+2\n"
    assert TEXTS.key(t.StackType(False, "perf"))(4) == b"\n\tf4+1\n\tp0.0+2\n"


def test_names_from_outside_are_escaped_for_a_terminal() -> None:
    class Hostile(Names):
        def kernel_symbol(self, address: int) -> str:
            return "a\x1b[31m\udcff"

    assert Texts(Hostile(), escape=True).of(t.KSYM)(1) == b"a\\x1b[31m\\xff"
    assert Texts(Hostile()).of(t.KSYM)(1) == b"a\x1b[31m\xff"
    careful = Texts(Hostile(), escape=True)
    assert careful.of(t.TupleType((t.StringType(4),)))((b"\x07",)) == b"(\\x07)"
    assert careful.unescaped().of(t.StringType(4))(b"\x07") == b"\x07"


def test_a_tuple_is_laid_out_as_c_lays_out_a_struct() -> None:
    class Address(ctypes.Structure):
        _fields_ = [("family", ctypes.c_uint32), ("bytes", ctypes.c_uint8 * 16)]

    class Tuple(ctypes.Structure):
        _fields_ = [
            ("a", ctypes.c_uint32), ("b", ctypes.c_int64), ("c", ctypes.c_int8), ("d", ctypes.c_int16),
            ("e", ctypes.c_char * 3), ("f", Address), ("g", ctypes.c_uint8 * 6),
        ]  # fmt: skip

    small, short = t.IntegerType(1, True), t.IntegerType(2, True)
    elements = (t.UINT32, t.INT64, small, short, t.StringType(3), t.INET, t.MAC_ADDRESS)
    memory = Tuple(1, -2, -3, -4, b"abc", Address(2, (ctypes.c_uint8 * 16)(9)), (ctypes.c_uint8 * 6)(8))
    assert struct.calcsize(struct_layout(elements)) == ctypes.sizeof(Tuple)
    assert decoded(t.TupleType(elements), bytes(memory)) == (
        1, -2, -3, -4, b"abc", (2, b"\x09" + bytes(15)), b"\x08" + bytes(5)
    )  # fmt: skip


def test_the_unit_of_a_last_bit_field_may_reach_over_the_end() -> None:
    record = t.RecordType("struct bits", 5, 1)
    fields = {"struct bits": (Field("a", t.UINT32, 0), Field("b", t.UINT32, 4, Bitfield(2, 3)))}
    assert decoded(record, b"\1\0\0\0\x14", fields) == (1, 5)


@pytest.mark.parametrize(
    ("value", "divisor", "quotient"),
    [(-7, 2, -3), (7, 2, 3), (7, 0, 7), (-7, 1, -7), (1 << 63, 3, (1 << 63) // 3)],
)
def test_division_is_cs(value: int, divisor: int, quotient: int) -> None:
    assert values.divide(value, divisor) == quotient


def test_the_average_of_nothing_is_0() -> None:
    assert values.average((0, 0)) == 0


@given(st.binary(max_size=40))
def test_escaped_text_cannot_steer_a_terminal(raw: bytes) -> None:
    shown = escape_control(raw).decode("utf-8")  # always valid
    assert all(c.isprintable() or c in "\t\n" for c in shown)


@given(st.text(alphabet=st.characters(whitelist_categories=["L", "N", "P", "S"])))
def test_harmless_text_is_left_alone(text: str) -> None:
    assert escape_control(text.encode()) == text.encode()
