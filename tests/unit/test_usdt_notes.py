"""Static probes' notes: as the assembler made them, and argument strings of every form."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftrace_py.symbols import usdt_notes
from bpftrace_py.symbols.elf import ElfError, ElfFile
from bpftrace_py.symbols.usdt_notes import UsdtArgument, parse_arguments
from tests.testprogs import build


def parse(text: str, machine: str = "x86_64") -> list[UsdtArgument]:
    return list(parse_arguments(text, machine))


def constant(text: str, size: int, signed: bool, value: int) -> UsdtArgument:
    return UsdtArgument(size, signed, "constant", text, value)


def register(text: str, size: int, signed: bool, name: str, shift: int = 0) -> UsdtArgument:
    return UsdtArgument(size, signed, "register", text, 0, name, shift)


def memory(
    text: str, size: int, signed: bool, name: str, value: int = 0, index: str = "", scale: int = 1
) -> UsdtArgument:
    return UsdtArgument(size, signed, "memory", text, value, name, 0, index, scale)


@pytest.mark.parametrize("argument", [
    constant("-4@$-7", 4, True, -7), constant("4@$-7", 4, False, 4294967289), constant("1@$511", 1, False, 255),
    constant("8@$0x10", 8, False, 16), constant("-1@$200", 1, True, -56),
    constant("-8@$-5000000000", 8, True, -5000000000), constant("8@$18446744073709551615", 8, False, (1 << 64) - 1),
    register("-4@%edi", 4, True, "rdi"), register("8@%rax", 8, False, "rax"), register("1@%dil", 1, False, "rdi"),
    register("1@%ah", 1, False, "rax", 8), register("-1@%bl", 1, True, "rbx"), register("2@%cx", 2, False, "rcx"),
    register("1@%r10b", 1, False, "r10"), register("-2@%r8w", 2, True, "r8"), register("4@%r15d", 4, False, "r15"),
    register("8@%rbp", 8, False, "rbp"), register("8@%rip", 8, False, "rip"),
    memory("8@-8(%rbp)", 8, False, "rbp", -8), memory("-4@(%rsp)", 4, True, "rsp"),
    memory("8@0x18(%r13)", 8, False, "r13", 24), memory("4@(%rbx,%rcx,4)", 4, False, "rbx", 0, "rcx", 4),
    memory("4@-4(%rbx,%rcx,8)", 4, False, "rbx", -4, "rcx", 8), memory("2@6(%rax,%rdx)", 2, False, "rax", 6, "rdx"),
    memory("8@16(,%rcx,8)", 8, False, "", 16, "rcx", 8),
], ids=lambda argument: argument.text)  # fmt: skip
def test_x86_64(argument: UsdtArgument) -> None:
    assert parse(argument.text) == [argument]


@pytest.mark.parametrize("argument", [
    register("8@x0", 8, False, "x0"), register("-4@w19", 4, True, "x19"), register("8@x30", 8, False, "x30"),
    register("8@sp", 8, False, "sp"), register("8@xzr", 8, False, "xzr"), register("4@wzr", 4, False, "xzr"),
    constant("-4@5", 4, True, 5), constant("8@-1", 8, False, (1 << 64) - 1),
    memory("-4@[sp, 12]", 4, True, "sp", 12), memory("8@[x0]", 8, False, "x0"),
    memory("8@[x1,-16]", 8, False, "x1", -16), memory("8@[x2, #8]", 8, False, "x2", 8),
    memory("8@[x0, x1]", 8, False, "x0", 0, "x1"), memory("8@[x0, x1, lsl 3]", 8, False, "x0", 0, "x1", 8),
    memory("4@[x0, x1, lsl #2]", 4, False, "x0", 0, "x1", 4),
], ids=lambda argument: argument.text)  # fmt: skip
def test_aarch64(argument: UsdtArgument) -> None:
    assert parse(argument.text, "aarch64") == [argument]


@pytest.mark.parametrize("text", [
    "8f@%xmm0", "8@%xmm1", "3@%eax", "8@", "@%rax", "8@%nonsense", "8@symbol(%rip)", "8@8(%nonsense)", "8@(%rax,%rbx,3)",
    "8@%fs:16", "8@$0x", "8@$symbol", "8@()", "8@(%rax", "--4@%eax", "16@%rax", "8@$99999999999999999999999", "nonsense",
])  # fmt: skip
def test_what_cannot_be_read_is_unknown_and_keeps_its_place(text: str) -> None:
    first, second = parse(f"{text} -4@%edi")
    assert (first.kind, first.text) == ("unknown", text)
    assert second == register("-4@%edi", 4, True, "rdi")


@pytest.mark.parametrize("text", ["8@x31", "8@[x0, w1]", "8@[x0, x1, lsl 9]", "8@[x0", "8@d0", "8@[]", "8@[x0,1,2,3]"])
def test_what_cannot_be_read_on_aarch64(text: str) -> None:
    assert [argument.kind for argument in parse(text, "aarch64")] == ["unknown"]


def test_an_architecture_that_we_do_not_know() -> None:
    assert [a.kind for a in parse("8@%r2 -4@$1", "s390x")] == ["unknown", "unknown"]


def test_no_more_arguments_than_there_can_be() -> None:
    assert len(parse("4@$1 " * 100)) == 12
    assert parse("") == []


@given(st.text("8421-@$%()[],+xab0. \0", max_size=60), st.sampled_from(["x86_64", "aarch64"]))
def test_any_text(text: str, machine: str) -> None:
    for argument in parse(text, machine):
        assert argument.kind in ("constant", "register", "memory", "unknown") and argument.size in (1, 2, 4, 8)


def test_places_in_a_program() -> None:
    path = build.program("tick")
    file = ElfFile(str(path))
    found = usdt_notes.probes(file)
    assert sorted({(p.provider, p.name) for p in found}) == [
        ("tick", "guarded"), ("tick", "loop"), ("tick", "twice"), ("tock", "loop"),
    ]  # fmt: skip
    content = path.read_bytes()
    for probe in found:
        offset = file.file_offset(probe.location)
        assert offset is not None and content[offset] == 0x90  # the nop that the probe is
    semaphores = {s.name: s.address for s in (x for n in ("tick_loop", "tock_loop", "tick_twice", "tick_guarded")
                                             for x in file.objects_named(f"{n}_semaphore"))}  # fmt: skip
    assert {(p.provider, p.name): p.semaphore for p in found} == {
        ("tick", "loop"): semaphores["tick_loop_semaphore"], ("tock", "loop"): semaphores["tock_loop_semaphore"],
        ("tick", "twice"): semaphores["tick_twice_semaphore"], ("tick", "guarded"): semaphores["tick_guarded_semaphore"],
    }  # fmt: skip
    twice = [p for p in found if p.name == "twice"]
    assert len(twice) == 2 and twice[0].location != twice[1].location
    assert [p.arguments[0].size for p in twice] == [4, 8]


def test_every_place_of_the_arguments_program() -> None:
    file = ElfFile(str(build.program("usdt_arguments")))
    found = {(p.provider, p.name): p for p in usdt_notes.probes(file)}
    assert [(a.size, a.signed) for a in found["sizes", "all"].arguments] == [
        (1, True), (1, False), (2, True), (2, False), (4, True), (4, False), (8, True), (8, False),
    ]  # fmt: skip
    assert [a.value for a in found["sizes", "constants"].arguments] == [-3, 250, -5000000000, 65]
    assert [a.value for a in found["sizes", "twelve"].arguments] == list(range(1, 13))
    assert found["sizes", "none"].arguments == ()
    symbols = found["places", "symbols"]
    (number,), (pair,) = file.objects_named("global_number"), file.objects_named("global_pair")
    assert [(a.kind, a.register, symbols.location + a.value) for a in symbols.arguments] == [
        ("memory", "rip", number.address), ("memory", "rip", pair.address), ("memory", "rip", pair.address + 8),
        ("memory", "rip", pair.address + 8),
    ]  # fmt: skip
    assert [a.kind for a in found["places", "unreadable"].arguments] == ["unknown", "register"]


def test_notes_after_prelink(tmp_path: Path) -> None:
    """The base section moved after the note was written: places and semaphores move with it."""
    content = bytearray(build.program("tick").read_bytes())
    file = ElfFile(str(build.program("tick")))
    before = usdt_notes.probes(file)
    section = file.section(".note.stapsdt")
    assert section is not None
    at = section.offset
    while at < section.offset + section.size:
        name_size, size, _ = struct.unpack_from("<III", content, at)
        fields = at + 12 + (name_size + 3 & ~3)
        location, base, semaphore = struct.unpack_from("<QQQ", content, fields)
        struct.pack_into("<QQQ", content, fields, location - 0x1000, base - 0x1000, semaphore - 0x1000)
        at = fields + (size + 3 & ~3)
    path = tmp_path / "prelinked"
    path.write_bytes(content)
    assert [(p.location, p.semaphore) for p in usdt_notes.probes(ElfFile(str(path)))] == [
        (p.location, p.semaphore) for p in before
    ]


def test_damaged_notes(tmp_path: Path) -> None:
    content = bytearray(build.program("tick").read_bytes())
    section = ElfFile(str(build.program("tick"))).section(".note.stapsdt")
    assert section is not None
    path = tmp_path / "damaged"
    for size in (4, 0xFFFFFFF0, 26):
        struct.pack_into("<I", content, section.offset + 4, size)
        path.write_bytes(content)
        with pytest.raises(ElfError):
            usdt_notes.probes(ElfFile(str(path)))


def test_a_program_without_probes() -> None:
    assert usdt_notes.probes(ElfFile(str(build.program("functions")))) == ()
