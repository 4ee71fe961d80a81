from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from bpftrace_py.ktypes import btf, btf_image
from bpftrace_py.types import (
    INT32,
    UINT32,
    UINT64,
    VOID,
    ArrayType,
    Bitfield,
    Field,
    FunctionType,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
)
from tests.btf_blob import BtfBlob

SIGNED = 1
CHAR_SIGNED = IntegerType(1, True)
UINT8 = IntegerType(1, False)


def load(blob: BtfBlob) -> btf.Btf:
    image = btf_image.parse(blob.data())
    assert image is not None
    return btf.Btf(image)


@pytest.fixture
def blob() -> BtfBlob:
    """int, char, unsigned char, u64 are 1 to 4."""
    made = BtfBlob()
    made.integer("int", 4, SIGNED)
    made.integer("char", 1)
    made.integer("unsigned char", 1)
    made.integer("long unsigned int", 8)
    return made


INT, CHAR, UCHAR, ULONG = 1, 2, 3, 4


def test_base_types_and_typedefs(blob: BtfBlob) -> None:
    pid = blob.typedef("__kernel_pid_t", INT)
    blob.typedef("pid_t", blob.const(pid))
    types = load(blob)
    assert types.find("pid_t") == INT32
    assert types.find("int") == INT32
    assert types.find("long unsigned int") == UINT64
    assert types.find("char") == CHAR_SIGNED  # as C has it, though the kernel's own is unsigned
    assert types.find("unsigned char") == UINT8
    assert types.find("nothing") is None
    assert types.find("") is None


def test_record_members(blob: BtfBlob) -> None:
    name = blob.pointer(blob.const(UCHAR))
    inner = blob.record("", 8, [("hash", INT, 0), ("len", INT, 32)])
    outer = blob.record("", 8, [("", inner, 0), ("hash_len", ULONG, 0)], union=True)
    blob.record("qstr", 16, [("", outer, 0), ("name", name, 64)])
    types = load(blob)
    assert types.find("struct qstr") == RecordType("struct qstr")
    assert types.find("struct qstr").size == 16
    assert types.find("union qstr") is None
    assert types.fields(RecordType("struct qstr")) == (
        Field("hash", INT32, 0),
        Field("len", INT32, 4),
        Field("hash_len", UINT64, 0),
        Field("name", PointerType(UINT8), 8),
    )
    assert types.fields(RecordType("struct other")) is None


def test_anonymous_members_behind_others(blob: BtfBlob) -> None:
    inner = blob.record("", 4, [("", blob.record("", 4, [("x", INT, 0)], union=True), 0)])
    bits = blob.record("", 4, [("b", INT, 3 << 24 | 8)], flag=True)
    blob.record("outer", 24, [("first", ULONG, 0), ("", inner, 96), ("", bits, 160)])
    assert load(blob).fields(RecordType("struct outer")) == (
        Field("first", UINT64, 0),
        Field("x", INT32, 12),
        Field("b", INT32, 20, Bitfield(8, 3)),
    )


def test_a_record_that_points_at_itself(blob: BtfBlob) -> None:
    pointer = blob.pointer(6)  # of the record that comes next
    blob.record("node", 16, [("next", pointer, 0), ("value", INT, 64)])
    types = load(blob)
    fields = types.fields(RecordType("struct node"))
    assert fields is not None
    assert fields[0].type == PointerType(RecordType("struct node"))
    assert fields[0].type.pointee.size == 16


def test_arrays(blob: BtfBlob) -> None:
    row = blob.array(CHAR, 16)
    blob.record(
        "a", 200,
        [("comm", row, 0), ("rows", blob.array(row, 4), 128), ("bytes", blob.array(UCHAR, 6), 640),
         ("matrix", blob.array(blob.array(INT, 3), 2), 704), ("rest", blob.array(CHAR, 0), 1600)],
    )  # fmt: skip
    fields = {f.name: f.type for f in load(blob).fields(RecordType("struct a")) or ()}
    assert fields["comm"] == StringType(16)
    assert fields["rows"] == ArrayType(StringType(16), 4)
    assert fields["bytes"] == ArrayType(UINT8, 6)
    assert fields["matrix"] == ArrayType(ArrayType(INT32, 3), 2)
    assert fields["rest"] == ArrayType(CHAR_SIGNED, 0)


def test_bit_fields(blob: BtfBlob) -> None:
    uint = blob.integer("unsigned int", 4)
    blob.record(
        "flags", 8,
        [("a", uint, 3 << 24 | 0), ("b", uint, 7 << 24 | 3), ("c", INT, 20 << 24 | 10), ("d", uint, 0 << 24 | 32)],
        flag=True,
    )  # fmt: skip
    assert load(blob).fields(RecordType("struct flags")) == (
        Field("a", UINT32, 0, Bitfield(0, 3)),
        Field("b", UINT32, 0, Bitfield(3, 7)),
        Field("c", INT32, 0, Bitfield(10, 20)),
        Field("d", UINT32, 4),
    )


def test_a_bit_field_of_a_packed_record_is_read_within_the_record(blob: BtfBlob) -> None:
    uint = blob.integer("unsigned int", 4)
    members = [("a", uint, 6 << 24 | 0), ("b", uint, 9 << 24 | 28), ("c", uint, 19 << 24 | 37)]
    blob.record("packed", 7, members, flag=True)
    assert load(blob).fields(RecordType("struct packed")) == (
        Field("a", UINT32, 0, Bitfield(0, 6)),
        Field("b", IntegerType(2, False), 3, Bitfield(4, 9)),  # crosses the unit of 4 bytes
        Field("c", UINT32, 3, Bitfield(13, 19)),  # 4 bytes from offset 4 would end behind the record
    )


def test_bit_fields_of_old_kernels_are_in_the_integer(blob: BtfBlob) -> None:
    three = blob.integer("unsigned int", 4, bits=3, offset=5)
    blob.record("old", 4, [("x", three, 0)])
    assert load(blob).fields(RecordType("struct old")) == (Field("x", UINT32, 0, Bitfield(5, 3)),)


def test_enums(blob: BtfBlob) -> None:
    blob.enum("state", [("CLOSED", 0), ("OPEN", 7)])
    blob.enum("mood", [("BAD", -3)], signed=True)
    blob.enum("tiny", [("TINY", 1)], size=1)
    blob.enum64("wide", [("WIDE", 1 << 40), ("LAST", (1 << 64) - 1)])
    blob.enum64("low", [("LOW", -(1 << 40))], signed=True)
    types = load(blob)
    assert [types.enumerator(n) for n in ("CLOSED", "OPEN", "BAD", "TINY", "WIDE", "LAST", "LOW")] == [
        0, 7, -3, 1, 1 << 40, (1 << 64) - 1, -(1 << 40),
    ]  # fmt: skip
    assert types.enumerator("state") is None
    assert types.enumerator("NOTHING") is None
    found = types.find("enum mood")
    assert found == INT32 and isinstance(found, IntegerType) and found.enum == "enum mood"
    assert types.find("enum tiny") == UINT8
    assert types.find("enum wide") == UINT64


def test_a_number_that_looks_like_an_enumerators_name(blob: BtfBlob) -> None:
    offset = blob.string("TRAP")
    blob.record("r", offset, [("x", INT, 0)])  # its size has the bytes of the name's offset
    blob.enum("e", [("OTHER", offset), ("TRAP", 5)])
    assert load(blob).enumerator("TRAP") == 5


def test_pointers_know_user_memory(blob: BtfBlob) -> None:
    buffer = blob.pointer(blob.tag("user", blob.const(CHAR)))
    file = blob.pointer(blob.forward("file"))
    callback = blob.pointer(blob.add(13))
    blob.record(
        "args", 40, [("buf", buffer, 0), ("file", file, 64), ("fn", callback, 128), ("raw", blob.pointer(0), 192)]
    )
    fields = load(blob).fields(RecordType("struct args"))
    assert fields is not None
    assert [f.type for f in fields] == [
        PointerType(CHAR_SIGNED, "user"),
        PointerType(RecordType("struct file")),
        PointerType(FunctionType()),
        PointerType(VOID),
    ]


def test_a_forward_declaration_is_the_full_record(blob: BtfBlob) -> None:
    pointer = blob.pointer(blob.forward("inode"))
    blob.record("file", 8, [("inode", pointer, 0)])
    blob.record("inode", 48, [("ino", ULONG, 320)])
    types = load(blob)
    fields = types.fields(RecordType("struct file"))
    assert fields is not None and fields[0].type.pointee.size == 48
    assert types.fields(fields[0].type.pointee) == (Field("ino", UINT64, 40),)


def test_records_without_a_name(blob: BtfBlob) -> None:
    atomic = blob.record("", 4, [("counter", INT, 0)])
    blob.typedef("atomic_t", atomic)
    member = blob.record("", 8, [("low", INT, 0), ("high", INT, 32)])
    blob.record("holder", 16, [("ref", 6, 0), ("halves", member, 64)])
    types = load(blob)
    assert types.find("atomic_t") == RecordType("atomic_t")
    assert types.fields(RecordType("atomic_t")) == (Field("counter", INT32, 0),)
    fields = types.fields(RecordType("struct holder"))
    assert fields is not None
    assert fields[0].type == RecordType("atomic_t")
    assert fields[1].type == RecordType(f"struct (anonymous {member})")
    assert types.fields(fields[1].type) == (Field("low", INT32, 0), Field("high", INT32, 4))
    # The name alone is enough, for another reader of the same BTF too.
    assert load(blob).fields(RecordType(f"struct (anonymous {member})")) == types.fields(fields[1].type)


def test_two_records_of_one_name(blob: BtfBlob) -> None:
    first = blob.record("cache", 4, [("x", INT, 0)])
    second = blob.record("cache", 8, [("y", ULONG, 0)])
    blob.record("both", 12, [("a", first, 0), ("b", second, 32)])
    types = load(blob)
    fields = types.fields(RecordType("struct both"))
    assert fields is not None
    assert [f.type.size for f in fields] == [4, 8]
    assert [[f.name for f in types.fields(field.type) or ()] for field in fields] == [["x"], ["y"]]


def test_functions(blob: BtfBlob) -> None:
    path = blob.pointer(blob.const(blob.record("path", 16, [])))
    blob.function("vfs_open", [("path", path), ("", INT), ("flags", ULONG)], INT)
    blob.function("printk", [("fmt", blob.pointer(blob.const(CHAR))), ("", 0)], INT)
    schedule = blob.function("schedule", [], 0)
    types = load(blob)
    assert types.function("vfs_open") == (
        (("path", PointerType(RecordType("struct path"))), ("arg1", INT32), ("flags", UINT64)),
        INT32,
    )
    assert types.function("printk") == ((("fmt", PointerType(CHAR_SIGNED)),), INT32)
    assert types.function("schedule") == ((), VOID)
    assert types.function("nothing") is None
    assert types.func_id("schedule") == schedule
    assert types.function_listing("vfs_open") == [
        "    const struct path * path", "    int arg1", "    long unsigned int flags", "    int retval",
    ]  # fmt: skip
    assert types.function_listing("schedule") == []
    assert types.function_listing("nothing") is None


def test_raw_tracepoints(blob: BtfBlob) -> None:
    task = blob.pointer(blob.record("task_struct", 64, []))
    own = blob.pointer(0)
    blob.typedef("btf_trace_sched_switch", blob.pointer(blob.prototype([("", own), ("", INT), ("", task)], 0)))
    blob.typedef("btf_trace_empty", blob.pointer(blob.prototype([("", own)], 0)))
    blob.typedef("btf_trace_odd", INT)
    types = load(blob)
    assert types.raw_tracepoint("sched_switch") == ["int", "struct task_struct *"]
    assert types.raw_tracepoint("empty") == []
    assert types.raw_tracepoint("odd") is None
    assert types.raw_tracepoint("nothing") is None


def test_record_names(blob: BtfBlob) -> None:
    blob.record("a", 0, [])
    blob.record("b", 0, [], union=True)
    blob.record("", 0, [])
    assert list(load(blob).record_names()) == ["struct a", "union b"]


def test_many_lookups_give_what_single_ones_give(blob: BtfBlob) -> None:
    for i in range(300):
        blob.record(f"r{i}", i + 1, [])
    types = load(blob)
    assert [types.find(f"struct r{i}").size for i in range(300)] == list(range(1, 301))
    assert types.find("struct nothing") is None


def test_a_name_that_ends_another(blob: BtfBlob) -> None:
    blob.record("dentry_path", 8, [])
    blob.record("path", 16, [])
    assert load(blob).find("struct path").size == 16


# --- files that are not what they should be


def test_loops_end(blob: BtfBlob) -> None:
    blob.typedef("ring", 5)
    blob.record("twice", 8, [("", 6, 0), ("", 6, 0)])  # holds itself, twice
    blob.pointer(7)
    blob.typedef("pointers", 7)
    types = load(blob)
    assert types.find("ring") == VOID
    assert types.fields(RecordType("struct twice")) == ()
    assert isinstance(types.find("pointers"), PointerType)
    assert str(types.find("pointers"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: b"",
        lambda d: d[:23],
        lambda d: b"\x7fELF" + d[4:],
        lambda d: d[:2] + b"\x02" + d[3:],
        lambda d: d[:-1],
        lambda d: d[:12] + struct.pack("<I", 1 << 31) + d[16:],
        lambda d: d[:8] + struct.pack("<I", 2) + d[12:],
        lambda d: d[:31] + b"\x1f" + d[32:],  # a kind that there is not
        lambda d: d[:28] + struct.pack("<I", 4 << 24 | 0xFFFF) + d[32:],  # more members than bytes
    ],
)
def test_damaged_blobs_are_refused(blob: BtfBlob, damage) -> None:
    assert btf_image.parse(damage(blob.data())) is None


@pytest.mark.parametrize("flag", [False, True])
def test_the_place_of_a_member(blob: BtfBlob, flag: bool) -> None:
    comm = blob.array(CHAR, 16)
    blob.record("other", 64, [("comm", comm, 0)])
    blob.function("task", [("comm", INT)], INT)
    blob.record("task", 64, [("pid", INT, 0), ("comm", comm, 5 << 24 | 320 if flag else 320)], flag=flag)
    data = blob.data()
    assert btf_image.member_offset(data, "task", "comm") == 40
    assert btf_image.member_offset(data, "task", "comma") is None
    assert btf_image.member_offset(data, "tas", "comm") is None
    for size in range(len(data)):
        assert btf_image.member_offset(data[:size], "task", "comm") is None


def test_the_place_of_a_member_of_a_file(blob: BtfBlob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob.record("task", 64, [("comm", blob.array(CHAR, 16), 320)])
    (tmp_path / "btf").write_bytes(blob.data())
    (tmp_path / "empty").touch()

    def place(name: str) -> int | None:
        with open(tmp_path / name, "rb") as file, btf_image.contents(file) as data:
            return btf_image.member_offset(data, "task", "comm")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("a kernel before 6.16 does not map it")

    assert (place("btf"), place("empty")) == (40, None)
    monkeypatch.setattr(btf_image.mmap, "mmap", refuse)
    assert place("btf") == 40


def test_any_bytes_give_types_or_none(blob: BtfBlob) -> None:
    comm = blob.array(CHAR, 16)
    task = blob.record("task", 64, [("pid", INT, 0), ("comm", comm, 32), ("bits", INT, 3 << 24 | 200)], flag=True)
    blob.function("f", [("t", blob.pointer(blob.tag("user", task)))], INT)
    blob.enum("e", [("A", 1)])
    blob.typedef("t", task)
    good = blob.data()
    chance = random.Random(7)
    read = 0
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chance.choice((1, 2, 8))):
            data[chance.randrange(24, len(data))] = chance.choice((0, 1, 255, chance.randrange(256)))
        btf_image.member_offset(bytes(data), "task", "comm")
        image = btf_image.parse(bytes(data))
        if image is None:
            continue
        read += 1
        types = btf.Btf(image)
        for name in ("struct task", "t", "enum e", "int"):
            found = types.find(name)
            if isinstance(found, RecordType):
                for field in types.fields(found) or ():
                    assert field.offset >= 0
                    assert str(field.type)
        types.enumerator("A")
        types.function("f")
        types.function_listing("f")
        list(types.record_names())
    assert read > 500


def test_load_reads_raw_files_and_elf_sections(blob: BtfBlob, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(blob.data())
    types = btf.load(str(raw))
    assert types is not None and types.find("int") == INT32
    elf = tmp_path / "elf"
    elf.write_bytes(_elf(".BTF", blob.data()))
    types = btf.load(str(elf))
    assert types is not None and types.find("int") == INT32
    (tmp_path / "none").write_bytes(_elf(".data", blob.data()))
    assert btf.load(str(tmp_path / "none")) is None
    (tmp_path / "cut").write_bytes(_elf(".BTF", blob.data())[:90])
    assert btf.load(str(tmp_path / "cut")) is None
    assert btf.load(str(tmp_path / "missing")) is None
    assert btf.load(str(tmp_path)) is None


def _elf(section: str, data: bytes) -> bytes:
    """An ELF file of one section and the table of section names."""
    names = b"\0" + section.encode() + b"\0.shstrtab\0"
    names_at = 64 + len(data)
    headers_at = names_at + len(names)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, headers_at, 0, 64, 0, 0, 64, 3, 2
    )
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, 64, len(data), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 2 + len(section), 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
    return header + data + names + sections
