"""Text output. The expected bytes are those of Debian's bpftrace 0.17, but for the order of equal values (by key)."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftrace_py import types as t
from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.output.base import Writer
from bpftrace_py.output.maps import Element, _has_few_values, arrange
from bpftrace_py.output.text import TextOutput
from bpftrace_py.output.values import Texts
from tests.unit.test_histogram import linear_counts, log2_counts
from tests.unit.test_values import Names


class Collected(Writer):
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def make_map(name: str, value: t.Type, *keys: t.Type) -> ScriptMap:
    return ScriptMap(name, "table", keys, value, "hash", 100)


def printed(
    script_map: ScriptMap, elements: list[Element], top: int = 0, divisor: int = 0, *, escape: bool = False
) -> str:
    output = TextOutput(Collected(), Texts(Names(), escape=escape))
    output.map(script_map, elements, top, divisor)
    return output.writer.data.decode("latin-1")  # type: ignore[attr-defined]


FULL_BAR = "@" * 52


@pytest.mark.parametrize(
    ("value_type", "value", "text"),
    [
        (t.INT64, 5, "@x: 5\n"),
        (t.IntegerType(1, True), -3, "@x: -3\n"),
        (t.UINT64, (1 << 64) - 1, "@x: 18446744073709551615\n"),
        (t.StringType(8), b"zstr", "@x: zstr\n"),
        (t.TupleType((t.INT64, t.StringType(8), t.TupleType((t.INT64, t.INT64)))), (1, b"hello", (2, 3)),
         "@x: (1, hello, (2, 3))\n"),
        (t.PointerType(t.VOID), 10, "@x: 10\n"),
        (t.COUNT, 1, "@x: 1\n"),
        (t.AvgType(), (2, -15), "@x: -7\n\n"),
        (t.StatsType(), (2, 30), "@x: count 2, average 15, total 30\n\n"),
        (t.StatsType(), (0, 0), "@x: count 0, average 0, total 0\n\n"),
        (t.HIST, log2_counts(5), f"@x: \n[4, 8)                 1 |{FULL_BAR}|\n\n"),
        (t.HIST, [0] * 65, "@x: \n\n"),
        (t.StackType(False), 4, "@x: \n        f4+1\n        p0.0+2\n\n"),
    ],
)  # fmt: skip
def test_maps_without_a_key(value_type: t.Type, value: object, text: str) -> None:
    assert printed(make_map("x", value_type), [((), value)]) == text


@pytest.mark.parametrize(
    ("value_type", "text"),
    [(t.INT64, "\n"), (t.COUNT, "\n"), (t.HIST, "\n"), (t.AvgType(), "\n\n"), (t.StatsType(), "\n\n")],
)
def test_empty_maps(value_type: t.Type, text: str) -> None:
    assert printed(make_map("x", value_type), []) == text
    assert printed(make_map("x", value_type, t.INT64), []) == text


def test_the_nameless_map_and_keys_of_every_kind() -> None:
    assert printed(make_map("", t.INT64, t.StringType(4)), [((b"a",), 1)]) == "@[a]: 1\n"
    assert printed(make_map("d", t.INT64, t.INT64, t.StringType(4), t.INT64), [((1, b"k", 2), 3)]) == "@d[1, k, 2]: 3\n"
    assert printed(make_map("p", t.INT64, t.PointerType(t.VOID)), [((66,), 1)]) == "@p[0x42]: 1\n"
    assert printed(make_map("k", t.COUNT, t.INT64, t.StackType(False), t.StringType(4)), [((1, 4, b"z"), 1)]) == (
        "@k[1, \n    f4+1\n    p0.0+2\n, z]: 1\n"
    )
    assert printed(make_map("s", t.COUNT, t.StackType(True)), [(((0, 1, 1),), 1)]) == "@s[]: 1\n"
    assert printed(make_map("b", t.INT64, t.BufferType(2), t.USERNAME), [((b"a\1", 0), 1)]) == "@b[a\\x01, root]: 1\n"


INT_MAP = make_map("i", t.INT64, t.INT64)


def test_numbers_come_by_value_then_key() -> None:
    elements = [((3,), 1), ((1,), 5), ((2,), 1), ((9,), -20)]
    assert printed(INT_MAP, elements) == "@i[9]: -20\n@i[2]: 1\n@i[3]: 1\n@i[1]: 5\n"
    assert printed(INT_MAP, elements, 2) == "@i[3]: 1\n@i[1]: 5\n"
    assert printed(INT_MAP, elements, 3, 2) == "@i[2]: 0\n@i[3]: 0\n@i[1]: 2\n"
    assert printed(INT_MAP, [((1,), -7)], 0, 2) == "@i[1]: -3\n"
    unsigned = make_map("u", t.UINT64, t.INT64)
    assert printed(unsigned, [((1,), (1 << 64) - 5), ((2,), 6)]) == "@u[2]: 6\n@u[1]: 18446744073709551611\n"


@given(
    st.dictionaries(
        st.integers(-5, 5) | st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from([-3, 0, 7, 1 << 62]), min_size=40
    )
)
def test_maps_of_few_values_print_as_others_do(numbers: dict[int, int]) -> None:
    """What stands under many keys takes a way of its own."""
    elements: list[Element] = [((key,), number) for key, number in numbers.items()]
    assert _has_few_values(elements) and not _has_few_values(elements[:5])
    ordered = sorted(numbers.items(), key=lambda item: (item[1], item[0] % (1 << 64)))
    assert printed(INT_MAP, elements) == "".join(f"@i[{key}]: {number}\n" for key, number in ordered)
    assert printed(INT_MAP, elements, 3) == "".join(f"@i[{key}]: {number}\n" for key, number in ordered[-3:])


def test_averages_come_by_average_and_stats_are_always_whole() -> None:
    average = make_map("a", t.AvgType(), t.INT64)
    elements = [((1,), (2, 30)), ((2,), (1, 12)), ((3,), (4, 4))]
    assert printed(average, elements, 2) == "@a[2]: 12\n@a[1]: 15\n\n"
    assert printed(average, elements, 0, 2) == "@a[3]: 0\n@a[2]: 6\n@a[1]: 7\n\n"
    stats = make_map("s", t.StatsType(), t.INT64)
    assert printed(stats, [((1,), (4, 40)), ((2,), (1, 20)), ((3,), (2, -15))], 1, 3) == (
        "@s[3]: count 2, average -7, total -15\n"
        "@s[1]: count 4, average 10, total 40\n"
        "@s[2]: count 1, average 20, total 20\n\n"
    )


def test_histograms_come_by_their_total() -> None:
    hist = make_map("h", t.HIST, t.INT64)
    elements = [((1,), log2_counts(9, 9, 9)), ((2,), log2_counts(1)), ((3,), log2_counts(2, 3))]
    first, second, third = (
        f"@h[2]: \n[1]                    1 |{FULL_BAR}|\n",
        f"@h[3]: \n[2, 4)                 2 |{FULL_BAR}|\n",
        f"@h[1]: \n[8, 16)                3 |{FULL_BAR}|\n",
    )
    assert printed(hist, elements) == f"{first}\n{second}\n{third}\n"
    assert printed(hist, elements, 2) == f"{second}\n{third}\n"
    linear = t.LhistType(0, 100, 10)
    assert printed(make_map("l", linear, t.INT64), [((7,), linear_counts(linear, 100))], 0, 2) == (
        f"@l[7]: \n[100, ...)             1 |{FULL_BAR}|\n\n"
    )


def test_everything_else_comes_by_key() -> None:
    text = t.StringType(4)
    signed = make_map("s", text, t.INT64)
    elements = [((key,), b"x") for key in (1000, -1, 1, 256, -5)]
    assert [key[0] for key, _ in arrange(signed, elements)] == [1, 256, 1000, -5, -1]
    pairs = make_map("t", text, text, t.INT64)
    keys = [(b"b", 2), (b"b", 1), (b"a", 3), (b"B", 3), (b"b", -1)]
    assert [key for key, _ in arrange(pairs, [(key, b"x") for key in keys])] == [
        (b"B", 3), (b"a", 3), (b"b", 1), (b"b", 2), (b"b", -1)
    ]  # fmt: skip
    tuples = make_map("t", t.TupleType((t.INT64, t.INT64)), t.INT64)
    assert printed(tuples, [((2,), (1, 5)), ((1,), (3, -7))], 0, 2) == "@t[1]: (1, -3)\n@t[2]: (0, 2)\n"


def test_traced_text_is_escaped_on_a_terminal_only() -> None:
    hostile = make_map("c", t.StringType(8), t.StringType(8))
    elements: list[Element] = [((b"\x1b[2J",), b"\rx")]
    assert printed(hostile, elements) == "@c[\x1b[2J]: \rx\n"
    assert printed(hostile, elements, escape=True) == "@c[\\x1b[2J]: \\x0dx\n"
    output = TextOutput(Collected(), Texts(Names(), escape=True))
    output.join(b"a \x1b[2J")
    output.cat(b"\x9b\n")
    output.system(b"\x1b[H")
    output.printf([b"\x1b[1m"])
    output.value(t.StringType(4), b"\x07")
    assert output.writer.data == b"a \\x1b[2J\n\\x9b\n\x1b[H\x1b[1m\\x07\n"  # type: ignore[attr-defined]


def test_the_rest_of_the_interface(capfd: pytest.CaptureFixture[str]) -> None:
    output = TextOutput(Writer(1, "full"), Texts(Names()))
    output.attached(1)
    output.attached(2)
    output.printf([b"a", b"b\n"])
    output.time(b"12:00\n")
    output.join(b"ls -l")
    output.cat(b"content\n")
    output.system(b"out\n")
    output.value(t.TupleType((t.INT64, t.StringType(4))), (1, b"a"))
    output.helper_error("map_delete_elem", -2, 1, 9, "WARNING: it failed")
    output.end_of_events()
    output.finish()
    output.lost(7)
    assert capfd.readouterr() == (
        "Attaching 1 probe...\nAttaching 2 probes...\nab\n12:00\nls -l\ncontent\nout\n(1, a)\nWARNING: it failed\n\n\n",
        "Lost 7 events\n",
    )


# --- the writer


def read_all(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""


@pytest.fixture
def pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError as error:
            assert error.errno == errno.EBADF


def test_when_each_mode_writes(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    for mode, at_once, settled in (("line", b"", b"ab"), ("none", b"ab", b""), ("full", b"", b"")):
        writer = Writer(fd, mode)
        writer.write(b"a")
        writer.write(b"b")
        assert read_all(reader) == at_once
        writer.settle()
        assert read_all(reader) == settled
        writer.flush()
        assert read_all(reader) == (b"ab" if mode == "full" else b"")


def test_a_full_buffer_is_written(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    fcntl.fcntl(fd, 1031, 1 << 20)  # F_SETPIPE_SZ: so that nothing blocks
    writer = Writer(fd, "full")
    writer.write(b"x" * 65535)
    assert read_all(reader) == b""
    writer.write(b"y")
    assert read_all(reader) == b"x" * 65535 + b"y"


def test_a_slow_non_blocking_reader_gets_everything(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    os.set_blocking(fd, False)
    os.set_blocking(reader, True)
    got = bytearray()

    def read() -> None:
        while len(got) < 1 << 20:
            got.extend(os.read(reader, 1 << 12))

    thread = threading.Thread(target=read)
    thread.start()
    data = os.urandom(1 << 20)
    Writer(fd).write(data)
    thread.join(30)
    assert bytes(got) == data


def test_errors_surface_once(pipe: tuple[int, int], tmp_path: Path) -> None:
    reader, fd = pipe
    os.close(reader)
    writer = Writer(fd)
    writer.write(b"lost")
    with pytest.raises(BrokenPipeError):
        writer.flush()
    writer.flush()  # nothing is left to fail again
    full = os.open("/dev/full", os.O_WRONLY)
    writer = Writer(full)
    writer.write(b"x")
    with pytest.raises(OSError) as raised:
        writer.settle()
    assert raised.value.errno == errno.ENOSPC
    os.close(full)
