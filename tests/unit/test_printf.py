"""Format strings, compared with the C library's own printf where the language has C's rules."""

from __future__ import annotations

import ctypes
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bpftrace_py import types
from bpftrace_py.output.printf import check_format, compile_format
from bpftrace_py.output.values import Texts

C_TYPES = {
    (1, True): ctypes.c_int8, (2, True): ctypes.c_int16, (4, True): ctypes.c_int32, (8, True): ctypes.c_int64,
    (1, False): ctypes.c_uint8, (2, False): ctypes.c_uint16, (4, False): ctypes.c_uint32, (8, False): ctypes.c_uint64,
}  # fmt: skip
LIBC = ctypes.CDLL(None)
TEXTS = Texts(None)  # type: ignore[arg-type]  # nothing here needs a resolver


def c_printf(format: str, *values: object) -> bytes:
    memory = ctypes.create_string_buffer(8192)
    LIBC.snprintf(memory, ctypes.c_size_t(8192), format.encode(), *values)
    return memory.value


def formatted(format: str, *arguments: tuple[types.Type, bytes | int], texts: Texts = TEXTS) -> bytes:
    """What we print of arguments given as bytes, or as integers of their type."""
    kinds = [kind for kind, _ in arguments]
    formatter = compile_format(format, kinds, texts)
    items = []
    for (kind, value), code in zip(arguments, formatter.codes, strict=True):
        raw = value if isinstance(value, bytes) else (value % (1 << kind.size * 8)).to_bytes(kind.size, "little")
        items.append(struct.unpack("=" + code, raw)[0])
    assert formatter.format(items) == b"".join(
        literal + text for literal, text in zip(formatter.literals, [*formatter.texts(items), b""], strict=True)
    )
    return formatter.format(items)


def string(text: bytes, capacity: int = 16) -> tuple[types.Type, bytes]:
    return types.StringType(capacity), text.ljust(capacity, b"\0")


def buffer(content: bytes) -> tuple[types.Type, bytes]:
    kind = types.BufferType(len(content) + 3)
    return kind, (struct.pack("=I", len(content)) + content).ljust(kind.size, b"\xee")


# --- check_format


def test_a_conversion_tells_all_its_parts() -> None:
    (found,) = check_format("a %-+12.34llx b")
    assert (found.start, found.end) == (2, 13)
    assert (found.flags, found.width, found.precision, found.length, found.letter) == ("+-", 12, 34, "ll", "x")
    assert found.problem is None and found.takes == "integer"


@pytest.mark.parametrize("letter", list("diuxXopcsr"))
@pytest.mark.parametrize("length", ["", "hh", "h", "l", "ll", "z", "j", "t"])
def test_every_letter_and_length_is_known(letter: str, length: str) -> None:
    (found,) = check_format(f"%{length}{letter}")
    assert (found.length, found.letter, found.problem) == (length, letter, None)


def test_hexadecimal_buffers_have_a_suffix() -> None:
    assert [(c.letter, c.suffix, c.end - c.start) for c in check_format("%rx%rh%r%rz")] == [
        ("r", "x", 3), ("r", "h", 3), ("r", "", 2), ("r", "", 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("format", "reason"),
    [
        ("100%", "ends before"), ("%f", "floating point"), ("%*d", "from an argument"), ("%n", "write to memory"),
        ("%5%", "second `%`"), ("%q", "`q`"), ("%\n", "none"), ("%99999d", "over 4096"), ("%.99999999999999d", "over"),
    ],
)  # fmt: skip
def test_what_is_no_conversion_says_why_and_is_text(format: str, reason: str) -> None:
    found = check_format(format)[0]
    assert found.problem and reason in found.problem
    assert (found.letter, found.takes, found.end - found.start) == ("", None, 1)
    assert formatted(format) == format.encode()


def test_text_with_a_percent_sign_needs_no_argument() -> None:
    """`% i` is a conversion if there is an argument for it, and text if there is none."""
    assert formatted("%d% idle", (types.INT64, 7)) == b"7% idle"
    assert formatted("%d% idle", (types.INT64, 7), (types.INT64, 8)) == b"7 8dle"
    assert [c.problem is None for c in check_format("%d% idle")] == [True, True]


def test_accepts_is_by_kind() -> None:
    integer, text, raw = check_format("%d%s%r")
    assert [integer.accepts(t) for t in (types.INT32, types.PointerType(types.VOID), text_type)] == [True, True, False]
    assert [text.accepts(t) for t in (text_type, types.KSYM, types.INET, types.INT64)] == [True, True, True, False]
    assert [raw.accepts(t) for t in (types.BufferType(4), text_type)] == [True, False]


text_type = types.StringType(16)


# --- integers, against C


@given(
    st.sampled_from("diuxXoc"),
    st.sets(st.sampled_from("-+ #0")),
    st.none() | st.integers(1, 30),
    st.none() | st.integers(0, 30),
    st.sampled_from(["", "hh", "h", "l", "ll", "z", "j", "t"]),
    st.sampled_from(sorted(C_TYPES)),
    st.integers(-(1 << 64), 1 << 64) | st.integers(-300, 300),
)
@example("o", {"#"}, None, 0, "", (4, True), 0)
@example("d", {"+", "0"}, 8, 0, "", (1, True), 0)
def test_integers_print_as_in_c(
    letter: str, flags: set[str], width: int | None, precision: int | None, length: str, kind: tuple[int, bool],
    bits: int,
) -> None:
    argument = C_TYPES[kind](bits)
    if letter == "c":  # a byte, whatever the length says; 0 is printed as nothing
        length, precision, flags, argument = "", None, flags & {"-"}, C_TYPES[kind](bits | 1)
    written = "" if precision is None else f".{precision}"
    shape = f"%{''.join(sorted(flags))}{width or ''}{written}"
    promoted = argument.value
    if not length and letter in "di" and kind == (8, False):
        promoted = ctypes.c_int64(promoted).value
    # C's own promotion, apart from 64-bit values, which C reads 32 bits of.
    c_length = length
    if not length and kind[0] == 8 and letter != "c":
        small_negative = kind[1] and -(1 << 31) <= promoted < 0
        c_length = "" if small_negative else "ll"
    if c_length == "ll" or length in ("l", "ll", "z", "j", "t"):
        passed: object = ctypes.c_int64(promoted)
    else:
        passed = ctypes.c_int64(promoted & 0xFFFFFFFF)
    expected = c_printf(f"{shape}{c_length}{letter}", passed)
    integer = types.IntegerType(*kind)
    assert formatted(f"{shape}{length}{letter}", (integer, argument.value)) == expected


def test_64_bit_values_are_printed_whole() -> None:
    assert formatted("%d %u %x", *[(types.INT64, 0x123456789AB)] * 3) == b"1250999896491 1250999896491 123456789ab"
    assert formatted("%d %u", *[(types.UINT64, (1 << 64) - 1)] * 2) == b"-1 18446744073709551615"


def test_narrow_values_are_promoted_to_int() -> None:
    narrow = [(types.IntegerType(1, False), 200), (types.IntegerType(2, False), 65535), (types.UINT32, 0xFFFFFFFF)]
    assert formatted("%d %d %d", *narrow) == b"200 65535 -1"
    assert formatted("%u %u %u", *narrow) == b"200 65535 4294967295"
    assert formatted("%ld %hd %hhd", *narrow[::-1]) == b"4294967295 -1 -56"


def test_small_negative_numbers_print_as_c_prints_an_int() -> None:
    minus_one = (types.IntegerType(1, True), -1)
    assert formatted("%x %X %o %u", *[minus_one] * 4) == b"ffffffff FFFFFFFF 37777777777 4294967295"
    assert formatted("%x", (types.INT64, -1)) == b"ffffffff"
    assert formatted("%x", (types.INT64, -(1 << 31))) == b"80000000"
    assert formatted("%x", (types.INT64, -(1 << 31) - 1)) == b"ffffffff7fffffff"
    assert formatted("%lx", (types.INT64, -1)) == b"ffffffffffffffff"
    assert formatted("%lx", (types.IntegerType(1, True), -1)) == b"ffffffffffffffff"


@pytest.mark.parametrize("format", ["%p", "%20p|", "%-20p|", "%5p", "%020p", "%.10p", "%20.12p"])
@pytest.mark.parametrize("value", [0, 10, 0xFFFFFFFF81000000])
def test_pointers_print_as_in_c(format: str, value: int) -> None:
    pointer = types.PointerType(types.VOID)
    assert formatted(format, (pointer, value)) == c_printf(format, ctypes.c_void_p(value))


def test_a_negative_pointer_has_all_its_bits() -> None:
    assert formatted("%p", (types.IntegerType(1, True), -1)) == b"0xffffffffffffffff"


def test_characters() -> None:
    assert formatted("%c|%3c|%-3c|%c|", *[(types.INT64, c) for c in (65, 66, 67, 0)]) == b"A|  B|C  ||"
    assert formatted("%c%c", (types.INT64, 200), (types.INT64, -1)) == b"\xc8\xff"


# --- strings and buffers


@given(
    st.binary(max_size=15).map(lambda b: b.split(b"\0")[0]),
    st.sampled_from(["", "-"]),
    st.none() | st.integers(0, 30),
    st.none() | st.integers(0, 30),
)
def test_strings_print_as_in_c(text: bytes, minus: str, width: int | None, precision: int | None) -> None:
    format = f"<%{minus}{width or ''}{'' if precision is None else f'.{precision}'}s>"
    assert formatted(format, string(text)) == c_printf(format, text)


def test_a_string_ends_at_its_nul_and_may_fill_its_capacity() -> None:
    assert formatted("%s|%s", string(b"ab\0cd"), (types.StringType(4), b"wxyz")) == b"ab|wxyz"


def test_buffers() -> None:
    assert formatted("%r|%rx|%rh", *[buffer(b"a\x01b\"\\\xff")] * 3) == (
        b'a\\x01b"\\\\xff|\\x61\\x01\\x62\\x22\\x5c\\xff|61 01 62 22 5c ff'
    )
    assert formatted("%r", buffer(b"")) == b""


def test_a_buffer_with_a_damaged_length_ends_with_its_bytes() -> None:
    kind = types.BufferType(4)
    assert formatted("%r", (kind, b"\xff\xff\xff\xffabcd")) == b"abcd"


# --- the rest of a format


def test_the_text_around_conversions_is_kept() -> None:
    assert formatted("100%% \0é\udcff %d%%\n", (types.INT64, 5)) == b"100% \0\xc3\xa9\xff 5%\n"
    formatter = compile_format("a%db%sc", [types.INT64, types.StringType(4)], TEXTS)
    assert formatter.literals == [b"a", b"b", b"c"]
    assert formatter.texts([1, b"%s\0\0"]) == [b"1", b"%s"]


def test_many_arguments() -> None:
    assert formatted(" ".join(["%d"] * 60), *[(types.INT32, i) for i in range(60)]) == " ".join(
        str(i) for i in range(60)
    ).encode()


def test_control_characters_of_traced_strings_do_not_reach_a_terminal() -> None:
    careful = Texts(None, escape=True)  # type: ignore[arg-type]
    text = b"\x1b[2J\r\tx\ny\x7f\xc2\x9b1m\x9b\xe2\x80\xae\xc3\xa9"
    shown = formatted("\x1b[1m%s\x1b[0m", string(text, 32), texts=careful)
    assert shown == b"\x1b[1m\\x1b[2J\\x0d\tx\ny\\x7f\\xc2\\x9b1m\\x9b\\xe2\\x80\\xae\xc3\xa9\x1b[0m"
    assert formatted("%s", string(text, 32)) == text


@given(st.text(alphabet="%-+ #0123456789.hlzjtdiuxXopcsrfn* a", max_size=20))
def test_any_format_is_read_and_its_text_is_whole(format: str) -> None:
    conversions = check_format(format)
    at = 0
    for conversion in conversions:
        assert format[conversion.start] == "%" and at <= conversion.start < conversion.end <= len(format)
        assert (conversion.problem is None) == (conversion.letter != "")
        at = conversion.end
    kinds = {"integer": types.INT64, "string": types.StringType(4), "buffer": types.BufferType(4)}
    arguments = [kinds[c.takes] for c in conversions if c.takes]
    formatted(format, *[(kind, bytes(kind.size)) for kind in arguments])
