from __future__ import annotations

import random
import re

import pytest

from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.ktypes.tracepoint_format import parse
from bpftrace_py.source import Source
from bpftrace_py.types import (
    INT32,
    INT64,
    UINT32,
    UINT64,
    VOID,
    ArrayType,
    Field,
    FunctionType,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
)
from tests.fake_host import FORMATS, FakeHost, format_text

CHAR = IntegerType(1, True)
UINT8 = IntegerType(1, False)
UINT16 = IntegerType(2, False)


def one(declaration: str, size: int, signed: int = 0, event: str = "event") -> Field | None:
    """The field of a format file that has one of 8 bytes before it."""
    parsed = parse(format_text(event, 1, [("u64 before", 8, 8, 0), (declaration, 16, size, signed)]))
    return None if parsed is None else parsed.fields[1]


def test_a_system_call() -> None:
    openat = parse(FORMATS["syscalls", "sys_enter_openat"])
    assert openat is not None
    assert (openat.id, openat.name, openat.size) == (782, "sys_enter_openat", 48)
    assert openat.fields == (
        Field("__syscall_nr", INT32, 8),
        Field("dfd", INT32, 16),
        Field("filename", PointerType(CHAR, "user"), 24),
        Field("flags", INT32, 32),
        Field("mode", UINT16, 40),
    )
    assert openat.common == ("common_type", "common_flags", "common_preempt_count", "common_pid")
    assert openat.listing() == [
        "    int __syscall_nr;",
        "    int dfd;",
        "    const char * filename;",
        "    int flags;",
        "    umode_t mode;",
    ]
    assert openat.field("flags") == Field("flags", INT32, 32)
    assert openat.field("common_pid") is None


def test_pointers_of_system_calls_are_users() -> None:
    execve = parse(FORMATS["syscalls", "sys_enter_execve"])
    assert execve is not None
    assert execve.field("argv") == Field("argv", PointerType(PointerType(CHAR, "user"), "user"), 24)
    nanosleep = parse(FORMATS["syscalls", "sys_enter_nanosleep"])
    assert nanosleep is not None
    assert nanosleep.field("rqtp") == Field("rqtp", PointerType(RecordType("struct __kernel_timespec"), "user"), 16)


def test_text_and_dynamic_text() -> None:
    switch = parse(FORMATS["sched", "sched_switch"])
    assert switch is not None
    assert switch.field("next_comm") == Field("next_comm", StringType(16), 40)
    assert switch.field("prev_state") == Field("prev_state", INT64, 32)
    executed = parse(FORMATS["sched", "sched_process_exec"])
    assert executed is not None
    assert executed.fields[0] == Field("filename", PointerType(CHAR), 8, data_loc=True)
    assert executed.listing()[0] == "    __data_loc char[] filename;"


@pytest.mark.parametrize(
    ("declaration", "size", "signed", "expected"),
    [
        ("bool on", 1, 0, UINT8),
        ("s8 shift", 1, 1, CHAR),
        ("char c", 1, 0, UINT8),  # the kernel's char has no sign
        ("short n", 2, 1, IntegerType(2, True)),
        ("unsigned short n", 2, 0, UINT16),
        ("unsigned x", 4, 0, UINT32),
        ("dev_t dev", 4, 0, UINT32),
        ("xfs_extlen_t len", 4, 0, UINT32),
        ("sector_t sector", 8, 0, UINT64),
        ("long long x", 8, 1, INT64),
        ("enum zone_type idx", 4, 0, UINT32),
        ("enum xfs_group_type type", 1, 0, UINT8),
        ("const void * ptr", 8, 0, PointerType(VOID)),
        ("const void* ptr", 8, 0, PointerType(VOID)),
        ("void __seg_gs * ptr", 8, 0, PointerType(VOID)),
        ("struct mm_struct * mm", 8, 0, PointerType(RecordType("struct mm_struct"))),
        ("union bpf_attr * attr", 8, 0, PointerType(RecordType("union bpf_attr"))),
        ("struct robust_list_head * * head", 8, 0, PointerType(PointerType(RecordType("struct robust_list_head")))),
        ("sigset_t * set", 8, 0, PointerType(RecordType("sigset_t"))),
        ("uid_t * uid", 8, 0, PointerType(UINT32)),
        ("fl_owner_t owner", 8, 0, PointerType(VOID)),
        ("void (*function)(struct callback_head *)", 8, 0, PointerType(FunctionType())),
        ("__u8 saddr[4]", 4, 0, ArrayType(UINT8, 4)),
        ("unsigned char addr[6]", 6, 0, ArrayType(UINT8, 6)),
        ("unsigned long args[6]", 48, 0, ArrayType(UINT64, 6)),
        ("long mem[3]", 24, 1, ArrayType(INT64, 3)),
        ("u8 m[2][3]", 6, 0, ArrayType(ArrayType(UINT8, 3), 2)),
        ("const void * stack[4]", 32, 0, ArrayType(PointerType(VOID), 4)),
        ("char comm[TASK_COMM_LEN]", 16, 1, StringType(16)),
        ("u32 words[N]", 12, 0, ArrayType(UINT32, 3)),
        ("u32 buf[]", 0, 0, ArrayType(UINT32, 0)),
        ("char buf[]", 0, 0, ArrayType(CHAR, 0)),
        ("struct sockaddr addr", 16, 0, RecordType("struct sockaddr")),
        ("cpumask_t mask", 24, 0, ArrayType(UINT8, 24)),
    ],
)
def test_field_kinds(declaration: str, size: int, signed: int, expected: object) -> None:
    field = one(declaration, size, signed)
    assert field is not None
    assert (field.type, field.offset, field.data_loc) == (expected, 16, False)


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        ("int fd", INT32),
        ("unsigned int fd", UINT32),
        ("pid_t pid", INT32),
        ("u32 val", UINT32),
        ("loff_t offset", INT64),
        ("umode_t mode", UINT16),
        ("const clockid_t which", INT32),
        ("__s32 wd", INT32),
        ("qid_t id", UINT32),
        ("enum landlock_rule_type type", UINT32),
        ("size_t count", UINT64),
        ("unknown_t x", UINT64),
        ("cap_user_header_t header", PointerType(RecordType("struct __user_cap_header_struct"), "user")),
    ],
)
def test_arguments_of_system_calls(declaration: str, expected: object) -> None:
    """The file says 8 unsigned bytes for each of them."""
    field = one(declaration, 8, 0, "sys_enter_something")
    assert field is not None and field.type == expected


def test_enums_keep_their_name() -> None:
    field = one("enum skb_drop_reason reason", 4)
    assert field is not None and isinstance(field.type, IntegerType)
    assert field.type.enum == "enum skb_drop_reason"


@pytest.mark.parametrize(
    ("declaration", "pointee"),
    [
        ("__data_loc u64[] addresses", UINT64),
        ("__data_loc unsigned int[] lengths", UINT32),
        ("__data_loc u8[] bytes", UINT8),
        ("__data_loc cpumask_t mask", RecordType("cpumask_t")),
        ("__data_loc unsigned long[] words", UINT64),
    ],
)
def test_data_locations(declaration: str, pointee: object) -> None:
    field = one(declaration, 4, 0, "sys_enter_something")
    assert field is not None
    assert (field.type, field.data_loc, field.rel_loc) == (PointerType(pointee, "kernel"), True, False)


def test_relative_data_locations() -> None:
    field = one("__rel_loc char[] name", 4)
    assert field is not None
    assert (field.type, field.data_loc, field.rel_loc) == (PointerType(CHAR), True, True)


@pytest.mark.parametrize(("kind", "start"), [("__data_loc", ""), ("__rel_loc", "28 + ")])
def test_what_a_location_counts_from(kind: str, start: str) -> None:
    """From the start of the record, or from the end of the field."""
    host = FakeHost(formats={("sched", "named"): format_text("named", 7, [(f"{kind} char[] name", 24, 4, 0)])})
    unit = compile_source(Source("tracepoint:sched:named { print(str(args->name)); }"), Config(), host)
    (line,) = [line for line in unit.c_source.splitlines() if "0xffff" in line]
    assert re.search(rf"\bcontext \+ {re.escape(start)}\(name & 0xffff\)", line), line


def test_files_without_signs() -> None:
    text = "name: old\nID: 5\nformat:\n\tfield:int a;\toffset:8;\tsize:4;\n\tfield:u32 b;\toffset:12;\tsize:4;\n"
    parsed = parse(text)
    assert parsed is not None
    assert [f.type for f in parsed.fields] == [INT32, UINT32]


def test_what_comes_behind_the_format_is_not_read() -> None:
    parsed = parse(FORMATS["sched", "sched_wakeup"] + "\tfield:int x;\toffset:8;\tsize:4;\tsigned:1;\n")
    assert parsed is not None and parsed.field("x") is None


@pytest.mark.parametrize(
    "line",
    [
        "field:int x;\toffset:8;\tsize:4;\tsigned:2;",
        "field:int x;\toffset:-8;\tsize:4;\tsigned:1;",
        "field:int x;\toffset:8;\tsize:99999999999999999999;\tsigned:1;",
        "field:int x;\toffset:8;\tsize:\N{ARABIC-INDIC DIGIT FOUR};\tsigned:1;",
        "field:int x;\toffset:8;",
        "field:x;\toffset:8;\tsize:4;\tsigned:1;",
        "field:;\toffset:8;\tsize:4;\tsigned:1;",
        "field:int 4x;\toffset:8;\tsize:4;\tsigned:1;",
        "field:__data_loc char[] x;\toffset:8;\tsize:8;\tsigned:1;",
        "field:(*)(int);\toffset:8;\tsize:8;\tsigned:1;",
        "field:int x;\toffset:8;\tsize:4;\tsigned:1; and more",
    ],
)
def test_broken_lines_are_refused(line: str) -> None:
    assert parse(f"name: x\nID: 1\nformat:\n\t{line}\n") is None


@pytest.mark.parametrize("text", ["", "name: x\n", "ID: 1\n", "name: x\nID: one\n", "\0" * 100, "name:\nID: 1\n"])
def test_what_is_no_format_file_is_refused(text: str) -> None:
    assert parse(text) is None


def test_any_text_gives_a_format_or_none() -> None:
    chance = random.Random(3)
    pieces = ["", ";", "[", "]", "(", ")", "*", "\t", "\n", "9", "\0", "struct ", "__data_loc ", "field:", "\u00b2"]
    texts = [text.partition("print fmt")[0] for text in FORMATS.values()]
    parsed = 0
    for _ in range(5000):
        characters = list(chance.choice(texts))
        for _ in range(chance.choice((1, 3, 12))):
            characters[chance.randrange(len(characters))] = chance.choice(pieces)
        found = parse("".join(characters))
        if found is not None:
            parsed += 1
            assert len(found.fields) == len(found.listing())
            assert all(field.name.isidentifier() and str(field.type) for field in found.fields)
    assert parsed > 500
