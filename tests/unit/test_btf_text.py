"""Definitions in C from BTF that is written here. Against the whole of a kernel: tests/runtime/test_listing_live.py."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest

from bpftrace_py.ktypes import btf_image
from bpftrace_py.ktypes.btf_text import definition
from tests.btf_blob import BtfBlob

INT, CHAR, U16, U64 = 1, 2, 3, 4


@pytest.fixture
def blob() -> BtfBlob:
    """int, char, u16, u64 are 1 to 4."""
    made = BtfBlob()
    made.integer("int", 4, 1)
    made.integer("char", 1)
    made.typedef("u16", 5)
    made.integer("long unsigned int", 8)
    made.integer("short unsigned int", 2)
    return made


def defined(blob: BtfBlob, number: int) -> str:
    image = btf_image.parse(blob.data())
    assert image is not None
    return "\n".join(definition(image, number))


def members(blob: BtfBlob, number: int) -> list[str]:
    """The lines between the braces, without their tab."""
    first, *lines, last = defined(blob, number).split("\n")
    assert first.endswith("{") and last.startswith("}")
    return [line.removeprefix("\t") for line in lines]


def bits(width: int, offset: int) -> int:
    return width << 24 | offset


def test_declarators(blob: BtfBlob) -> None:
    path = blob.forward("path")
    text = blob.pointer(blob.const(CHAR))
    fixed = blob.const(blob.pointer(blob.pointer(blob.const(CHAR))))
    grid = blob.array(blob.array(INT, 3), 2)
    row = blob.pointer(blob.array(INT, 3))
    callback = blob.pointer(blob.prototype([("", blob.pointer(path)), ("", text)], 0))
    returns = blob.pointer(blob.prototype([("", callback), ("", 0)], text))
    callbacks = blob.array(callback, 4)
    tagged = blob.pointer(blob.tag("user", path))
    fields = [("text", text), ("fixed", fixed), ("grid", grid), ("row", row), ("callback", callback),
              ("returns", returns), ("callbacks", callbacks), ("tagged", tagged), ("either", blob.pointer(0)),
              ("other", blob.pointer(blob.forward("u", union=True)))]  # fmt: skip
    sizes = [8, 8, 24, 8, 8, 8, 32, 8, 8, 8]
    places = [8 * sum(sizes[:i]) for i in range(len(sizes))]
    number = blob.record("s", sum(sizes), [(n, t, at) for (n, t), at in zip(fields, places, strict=True)])
    assert members(blob, number) == [
        "const char *text;",
        "const char ** const fixed;",
        "int grid[2][3];",
        "int (*row)[3];",
        "void (*callback)(struct path *, const char *);",
        "const char * (*returns)(void (*)(struct path *, const char *), ...);",
        "void (*callbacks[4])(struct path *, const char *);",
        "struct path *tagged;",
        "void *either;",
        "union u *other;",
    ]


def test_anonymous_members_are_written_where_they_stand(blob: BtfBlob) -> None:
    state = blob.enum("", [("ON", 1)])
    pair = blob.record("", 8, [("a", INT, 0), ("state", state, 32)])
    choice = blob.record("", 8, [("", pair, 0), ("whole", U64, 0)], union=True)
    empty = blob.record("", 0, [])
    number = blob.record("s", 24, [("", choice, 0), ("two", blob.array(pair, 2), 64), ("none", empty, 192)])
    assert defined(blob, number) == "\n".join([
        "struct s {",
        "\tunion {",
        "\t\tstruct {",
        "\t\t\tint a;",
        "\t\t\tenum {",
        "\t\t\t\tON = 1,",
        "\t\t\t} state;",
        "\t\t};",
        "\t\tlong unsigned int whole;",
        "\t};",
        "\tstruct {",
        "\t\tint a;",
        "\t\tenum {",
        "\t\t\tON = 1,",
        "\t\t} state;",
        "\t} two[2];",
        "\tstruct {} none;",
        "};",
    ])  # fmt: skip


def test_what_has_no_members(blob: BtfBlob) -> None:
    assert defined(blob, blob.record("nothing", 0, [])) == "struct nothing {};"
    assert defined(blob, blob.record("either", 4, [("a", INT, 0)], union=True)) == "union either {\n\tint a;\n};"


def test_bit_fields(blob: BtfBlob) -> None:
    near = [("a", U16, bits(1, 0)), ("b", U16, bits(3, 1)), ("c", INT, bits(4, 16))]
    assert members(blob, blob.record("s", 4, near, flag=True)) == ["u16 a: 1;", "u16 b: 3;", "short: 12;", "int c: 4;"]


@pytest.mark.parametrize(("size", "fields", "expected"), [
    (16, [("a", INT, 0), ("b", U64, 64)], ["int a;", "long unsigned int b;"]),  # what the compiler leaves free by itself
    (16, [("a", CHAR, 0), ("b", CHAR, 64)], ["char a;", "long: 0;", "char b;", "long: 0;"]),
    (24, [("a", U64, 0), ("b", U64, 128)], ["long unsigned int a;", "long: 64;", "long unsigned int b;"]),
    (16, [("a", INT, 0)], ["int a;", "long: 64;"]),
    (16, [("a", INT, 0), ("b", CHAR, 104)], ["int a;", "long: 40;", "char b;"]),
    (8, [("a", INT, 0), ("b", U16, 48)], ["int a;", "short: 16;", "u16 b;"]),
])  # fmt: skip
def test_padding(blob: BtfBlob, size: int, fields: list[tuple[str, int, int]], expected: list[str]) -> None:
    assert members(blob, blob.record("s", size, fields)) == expected


def test_a_compiler_lays_it_out_as_btf_says(tmp_path: Path) -> None:
    chosen = random.Random(3)
    blob = BtfBlob()
    scalars = [(blob.integer(f"unsigned {name}", size), size) for name, size in
               (("char", 1), ("short", 2), ("int", 4), ("long", 8))]  # fmt: skip
    checks: list[tuple[int, str]] = []
    for k in range(200):
        end, largest, fields = 0, 1, []
        for i in range(chosen.randrange(1, 6)):
            type_, size = chosen.choice(scalars)
            at = -(-end // size) * size + size * chosen.choice((0, 0, 0, 1, 2, 3))
            fields.append((f"f{i}", type_, 8 * at))
            end, largest = at + size, max(largest, size)
        whole = -(-end // largest) * largest + largest * chosen.choice((0, 0, 1, 2))
        places = "".join(f' && __builtin_offsetof(struct s{k}, {name}) == {place // 8}' for name, _, place in fields)
        check = f'_Static_assert(sizeof(struct s{k}) == {whole}{places}, "s{k}");'
        checks.append((blob.record(f"s{k}", whole, fields), check))
    (tmp_path / "layout.c").write_text("".join(f"{defined(blob, number)}\n{check}\n" for number, check in checks))
    done = subprocess.run(["gcc", "-fsyntax-only", "layout.c"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_packed(blob: BtfBlob) -> None:
    inner = blob.record("inner", 5, [("c", CHAR, 0), ("i", INT, 8)])
    assert defined(blob, inner) == "struct inner {\n\tchar c;\n\tint i;\n} __attribute__((packed));"
    # Its size alone tells.
    assert defined(blob, blob.record("tail", 5, [("i", INT, 0), ("c", CHAR, 32)])).endswith("} __attribute__((packed));")
    # A packed member may stand anywhere.
    assert defined(blob, blob.record("outer", 6, [("c", CHAR, 0), ("i", inner, 8)])) == (
        "struct outer {\n\tchar c;\n\tstruct inner i;\n};"
    )


def test_enums(blob: BtfBlob) -> None:
    assert defined(blob, blob.enum("plain", [("A", 0), ("B", 0xFFFFFFFF)])) == "enum plain {\n\tA = 0,\n\tB = 4294967295,\n};"
    assert members(blob, blob.enum("signed", [("A", -1)], signed=True)) == ["A = -1,"]
    assert members(blob, blob.enum64("wide", [("A", 1 << 63)])) == ["A = 9223372036854775808ULL,"]
    assert members(blob, blob.enum64("less", [("A", -5)], signed=True)) == ["A = -5LL,"]
    narrow = defined(blob, blob.enum("narrow", [("A", 7)], size=1))
    assert narrow == "enum narrow {\n\tA = 7,\n} __attribute__((mode(byte)));"


def test_damaged_records_end() -> None:
    blob = BtfBlob()
    blob.integer("int", 4, 1)
    twice = blob.record("", 8, [("", 2, 0), ("", 2, 32)])  # holds itself, twice
    assert twice == 2
    huge = blob.record("huge", 0xFFFFFFF8, [("a", 1, 0)])
    blob.pointer(4)  # points to itself
    number = blob.record("s", 8, [("nowhere", 999, 0), ("self", 4, 0)])
    assert "/* and more */" in defined(blob, huge)
    text = defined(blob, twice)
    assert "/* and more */" in text and len(text) < 50_000_000
    assert members(blob, number)[0] == "? nowhere;"


def test_any_bytes_end() -> None:
    blob = BtfBlob()
    blob.integer("int", 4, 1)
    pair = blob.record("", 8, [("a", 1, 0), ("b", 1, 32)])
    call = blob.pointer(blob.prototype([("x", pair)], pair))
    blob.record("s", 24, [("", pair, 0), ("call", call, 64), ("e", blob.enum("", [("A", 1)]), 128)])
    whole = bytearray(blob.data())
    chosen = random.Random(7)
    read = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chosen.randrange(1, 4)):
            struct.pack_into("<B", data, chosen.randrange(24, len(data)), chosen.choice((0, 1, 4, 5, 0xFF)))
        image = btf_image.parse(bytes(data))
        if image is None:
            continue
        for number in range(image.count + 1):
            assert definition(image, number)[-1].endswith(";")
            read += 1
    assert read > 300
