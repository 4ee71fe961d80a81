"""JSON output: the peer's lines where they are valid, valid lines where they are not."""

from __future__ import annotations

import json

import pytest

from bpftrace_py import types as t
from bpftrace_py.output.json import JsonOutput
from bpftrace_py.output.maps import Element
from bpftrace_py.output.values import Texts
from tests.unit.test_histogram import linear_counts, log2_counts
from tests.unit.test_text import Collected, make_map
from tests.unit.test_values import FIELDS, POINT, Names

TEXT = t.StringType(8)


def make() -> JsonOutput:
    return JsonOutput(Collected(), Texts(Names(), FIELDS))


def lines(output: JsonOutput) -> str:
    written: str = output.writer.data.decode()  # type: ignore[attr-defined]
    for line in written.splitlines():
        assert set(json.loads(line)) == {"type", "data"}
    return written


@pytest.mark.parametrize(
    ("value_type", "keys", "elements", "line"),
    [
        (t.INT64, (), [((), -3)], '{"type": "map", "data": {"@x": -3}}'),
        (t.INT64, (t.INT64,), [((1,), 2), ((2,), 1)], '{"type": "map", "data": {"@x": {"2": 1, "1": 2}}}'),
        (TEXT, (), [((), b"zstr")], '{"type": "map", "data": {"@x": "zstr"}}'),
        (t.INT64, (t.INT64, TEXT, t.INT64), [((1, b"k", 2), 3)], '{"type": "map", "data": {"@x": {"1,k,2": 3}}}'),
        (t.INT64, (TEXT, t.INT64), [((b'a"b', 1), 1)], '{"type": "map", "data": {"@x": {"a\\"b,1": 1}}}'),
        (t.INT64, (t.PointerType(t.VOID),), [((66,), 1)], '{"type": "map", "data": {"@x": {"0x42": 1}}}'),
        (t.TupleType((t.INT64, TEXT, t.TupleType((t.INT64, t.INT64)))), (), [((), (1, b"hello", (2, 3)))],
         '{"type": "map", "data": {"@x": [1,"hello",[2,3]]}}'),
        (POINT, (), [((), (-1, 3, 5, b"ab"))],
         '{"type": "map", "data": {"@x": { "x": -1, "low": 3, "high": 5, "c": "ab" }}}'),
        (t.ArrayType(t.INT32, 2), (), [((), (1, 2))], '{"type": "map", "data": {"@x": [1,2]}}'),
        (t.BufferType(4), (), [((), b'a\x01"')], '{"type": "map", "data": {"@x": "a\\\\x01\\""}}'),
        (t.COUNT, (t.StackType(False),), [((4,), 1)],
         '{"type": "map", "data": {"@x": {"\\n    f4+1\\n    p0.0+2\\n": 1}}}'),
        (t.StatsType(), (), [((), (1, 5))], '{"type": "stats", "data": {"@x": {"count": 1, "average": 5, "total": 5}}}'),
        (t.StatsType(), (t.INT64,), [((1,), (1, 4))],
         '{"type": "stats", "data": {"@x": {"1": {"count": 1, "average": 4, "total": 4}}}}'),
        (t.AvgType(), (t.INT64,), [((1,), (1, 7))], '{"type": "stats", "data": {"@x": {"1": 7}}}'),
        (t.HIST, (), [((), log2_counts(5))], '{"type": "hist", "data": {"@x": [{"min": 4, "max": 7, "count": 1}]}}'),
        (t.HIST, (), [((), log2_counts(-1, 0, 1, 2))],
         '{"type": "hist", "data": {"@x": [{"max": -1, "count": 1}, {"min": 0, "max": 0, "count": 1}, '
         '{"min": 1, "max": 1, "count": 1}, {"min": 2, "max": 3, "count": 1}]}}'),
        (t.HIST, (t.INT64,), [((2,), log2_counts(4, 4)), ((1,), log2_counts(5))],
         '{"type": "hist", "data": {"@x": {"1": [{"min": 4, "max": 7, "count": 1}], '
         '"2": [{"min": 4, "max": 7, "count": 2}]}}}'),
        (t.LhistType(0, 10, 5), (t.INT64,), [((1,), linear_counts(t.LhistType(0, 10, 5), 3, -3, 13))],
         '{"type": "hist", "data": {"@x": {"1": [{"max": -1, "count": 1}, {"min": 0, "max": 4, "count": 1}, '
         '{"min": 5, "max": 9, "count": 0}, {"min": 10, "count": 1}]}}}'),
        (t.HIST, (), [((), [0] * 65)], '{"type": "hist", "data": {"@x": []}}'),
    ],
)  # fmt: skip
def test_maps(value_type: t.Type, keys: tuple[t.Type, ...], elements: list[Element], line: str) -> None:
    output = make()
    output.map(make_map("x", value_type, *keys), elements)
    assert lines(output) == line + "\n"


def test_empty_maps_print_nothing() -> None:
    output = make()
    for kind in (t.INT64, t.HIST, t.StatsType()):
        output.map(make_map("x", kind), [])
        output.map(make_map("x", kind, t.INT64), [])
    assert lines(output) == ""


def test_top_and_divisor() -> None:
    output = make()
    output.map(make_map("b", t.INT64, t.INT64), [((1,), 5), ((2,), 4)], 1)
    output.map(make_map("b", t.INT64, t.INT64), [((1,), 5), ((2,), 4)], 0, 2)
    output.map(make_map("h", t.HIST), [((), log2_counts(5))], 0, 2)
    assert lines(output).splitlines() == [
        '{"type": "map", "data": {"@b": {"1": 5}}}',
        '{"type": "map", "data": {"@b": {"2": 2, "1": 2}}}',
        '{"type": "hist", "data": {"@h": [{"min": 4, "max": 7, "count": 0}]}}',
    ]


def test_the_rest_of_the_interface() -> None:
    output = make()
    output.attached(1)
    output.printf([b"hi 3\n", b"\x01\r\x7f"])
    output.time(b"2026\n")
    output.join(b"ls -l")
    output.cat(b"vm\n")
    output.system(b"hi\n")
    output.value(t.INT64, -5)
    output.value(t.INET, (2, b"\x7f\0\0\x01" + bytes(12)))
    output.value(t.TupleType((t.INT64, TEXT)), (1, b'a"b'))
    output.lost(7)
    output.helper_error("map_delete_elem", -2, 1, 9, "rendered")
    output.end_of_events()
    assert lines(output).splitlines() == [
        '{"type": "attached_probes", "data": {"probes": 1}}',
        '{"type": "printf", "data": "hi 3\\n"}',
        '{"type": "printf", "data": "\\u0001\\r\\u007f"}',
        '{"type": "time", "data": "2026\\n"}',
        '{"type": "join", "data": "ls -l"}',
        '{"type": "cat", "data": "vm\\n"}',
        '{"type": "syscall", "data": "hi\\n"}',
        '{"type": "value", "data": -5}',
        '{"type": "value", "data": "127.0.0.1"}',
        '{"type": "value", "data": [1,"a\\"b"]}',
        '{"type": "lost_events", "data": {"events": 7}}',
        '{"type": "helper_error", "data": {"msg": "No such file or directory", "helper": "map_delete_elem", '
        '"retcode": -2, "line": 1, "col": 9}}',
    ]


def test_text_that_is_not_ascii_or_not_utf8_stays_valid() -> None:
    output = make()
    output.value(TEXT, "é\\/".encode())
    output.value(TEXT, b"\xff\xfe")
    assert [json.loads(line)["data"] for line in lines(output).splitlines()] == ["é\\/", "\\xff\\xfe"]
