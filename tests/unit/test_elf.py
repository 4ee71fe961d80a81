"""The ELF reader: against pyelftools on real files, and with files that lie."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from bpftrace_py.symbols import usdt_notes
from bpftrace_py.symbols.elf import ElfError, ElfFile, Symbol, open_elf
from bpftrace_py.symbols.instructions import instruction_starts
from tests.testprogs import build

FUNCTIONS = ["eight_arguments", "greet", "large_unsigned", "local_function", "no_result", "recursive", "small_signed",
             "take_array", "take_point", "take_union", "wild_one", "wild_three", "wild_two"]  # fmt: skip


def reference_functions(path: Path) -> set[tuple[str, int, int]]:
    """(name, address, size) of the functions in a file, by pyelftools."""
    found = {}
    with open(path, "rb") as file:
        for section in ELFFile(file).iter_sections():
            if section.header.sh_type not in ("SHT_SYMTAB", "SHT_DYNSYM"):
                continue
            for symbol in section.iter_symbols():
                if symbol["st_info"]["type"] in ("STT_FUNC", "STT_LOOS") and symbol["st_value"]:
                    name, address = symbol.name.partition("@")[0], symbol["st_value"]
                    found[name, address] = max(symbol["st_size"], found.get((name, address), 0))
    return {(name, address, size) for (name, address), size in found.items()}


@pytest.mark.parametrize("name", ["functions", "functions_fixed", "functions_static", "libtestprogs.so", "overloads"])
def test_functions_as_pyelftools_reads_them(name: str) -> None:
    file = ElfFile(str(build.program(name)))
    ours = {(s.name, s.address, s.size) for s in file.functions}
    theirs = reference_functions(build.program(name))
    assert ours <= theirs
    # What is left out lies in no code: a static program's symbols of discarded sections.
    assert all(file.file_offset(address) is None for _, address, _ in theirs - ours)
    assert [s.name for s in file.functions] == sorted(s.name for s in file.functions)


@pytest.mark.parametrize("name", ["functions", "functions_fixed", "functions_static"])
def test_a_function_is_at_its_place_in_the_file(name: str) -> None:
    """Its bytes there are the ones that objdump shows."""
    path = build.program(name)
    file = ElfFile(str(path))
    assert file.fixed == (name != "functions")
    (symbol,) = file.functions_named("recursive")
    offset = file.file_offset(symbol.address)
    assert offset is not None
    listing = subprocess.run(
        ["objdump", "-d", "--no-addresses", "--disassemble=recursive", str(path)], capture_output=True, text=True, check=True
    ).stdout
    lines = listing.partition("<recursive>:")[2].splitlines()
    shown = b"".join(bytes.fromhex(line.split("\t")[1]) for line in lines if line.count("\t") > 1)
    assert path.read_bytes()[offset : offset + symbol.size] == shown[: symbol.size]
    assert file.address_of(offset) == symbol.address
    assert file.code(symbol.address, symbol.size) == shown[: symbol.size]


def test_symbol_at() -> None:
    file = ElfFile(str(build.program("functions")))
    for name in FUNCTIONS:
        (symbol,) = file.functions_named(name)
        assert symbol.size
        for offset in (0, 1, symbol.size - 1):
            found = file.symbol_at(symbol.address + offset)
            assert found is not None and found.name == name
        behind = file.symbol_at(symbol.address + symbol.size)
        assert behind is None or behind.name != name
    assert file.symbol_at(0) is None


def test_objects() -> None:
    file = ElfFile(str(build.program("functions")))
    (symbol,) = file.objects_named("global_counter")
    assert symbol.size == 4
    offset = file.data_offset(symbol.address)
    assert offset is not None
    assert build.program("functions").read_bytes()[offset : offset + 4] == struct.pack("<i", 41)
    assert file.file_offset(symbol.address) is None  # data, not code
    assert file.objects_named("main") == ()
    assert {"global_counter", "global_name", "sink"} <= set(file.object_names())


def test_an_alias_an_indirect_function_and_hidden_ones() -> None:
    file = ElfFile(str(build.program("libtestprogs.so")))
    names = {s.name: s for s in file.functions}
    assert names["library_alias"].address == names["library_function"].address
    assert names["indirect_function"].indirect and not names["library_function"].indirect
    assert {"hidden_function", "local_in_library", "library_caller"} <= set(names)
    found = file.symbol_at(names["library_function"].address)
    assert found is not None and found.name in ("library_alias", "library_function")


def test_a_stripped_program_keeps_what_it_exports() -> None:
    program = ElfFile(str(build.stripped("functions")))
    assert program.stripped and program.functions_named("greet") == ()
    library = ElfFile(str(build.stripped("libtestprogs.so")))
    assert library.stripped
    assert [s.name for s in library.functions_named("library_function")] == ["library_function"]
    assert library.functions_named("hidden_function") == ()


def test_symbols_from_a_file_beside_the_program() -> None:
    original = ElfFile(str(build.program("functions")))
    file = ElfFile(str(build.with_debug_file("functions")))
    assert not any(s.name == ".symtab" for s in file.sections)
    assert not file.stripped
    assert file.functions_named("greet") == original.functions_named("greet")
    assert file.functions == original.functions


def test_a_debug_file_of_another_build_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "functions"
    path.write_bytes(build.with_debug_file("functions").read_bytes())
    debug = build.with_debug_file("functions").with_name("functions.debug").read_bytes()
    (tmp_path / "functions.debug").write_bytes(debug + b"\0")  # the checksum is another
    assert ElfFile(str(path)).debug_file is None
    (tmp_path / "functions.debug").write_bytes(debug)
    assert ElfFile(str(path)).debug_file is not None


@pytest.mark.parametrize("link", [b"", b"\0" * 12, b"name\0", b"name\0" + b"\xff" * 7, b"../name\0\0\0\0\0\0", b"A" * 100])
def test_a_damaged_debug_link_is_none(tmp_path: Path, link: bytes) -> None:
    path = build.with_debug_file("functions")
    content = bytearray(path.read_bytes())
    header = section_header(content, ".gnu_debuglink")
    struct.pack_into("<QQ", content, header + 0x18, len(content), len(link))
    (tmp_path / "linked").write_bytes(content + link)
    file = ElfFile(str(tmp_path / "linked"))
    assert file.debug_file is None and file.stripped and file.functions_named("greet") == ()


def test_build_id() -> None:
    path = build.program("functions")
    with open(path, "rb") as file:
        note = next(n for n in ELFFile(file).get_section_by_name(".note.gnu.build-id").iter_notes())
    assert ElfFile(str(path)).build_id == note["n_desc"]


def test_a_debug_file_by_build_id(tmp_path: Path) -> None:
    """Found below a root: the way by build id is an absolute path."""
    linked = build.with_debug_file("functions", build_id=True)
    build_id = ElfFile(str(linked)).build_id
    assert build_id is not None
    directory = tmp_path / "usr/lib/debug/.build-id" / build_id[:2]
    directory.mkdir(parents=True)
    (directory / f"{build_id[2:]}.debug").write_bytes(linked.with_name("functions.debug").read_bytes())
    program = tmp_path / "bin"
    program.write_bytes(linked.read_bytes())
    file = ElfFile(str(program), str(tmp_path))
    assert file.debug_file is not None and file.functions_named("greet")


def test_open_elf_reads_a_file_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(build.program("functions").read_bytes())
    first = open_elf(str(path))
    first.close()
    assert open_elf(str(path)) is first
    path.unlink()
    path.write_bytes(build.program("overloads").read_bytes())
    os.utime(path, ns=(1, 1))
    assert open_elf(str(path)) is not first
    assert open_elf(str(path)).functions_named("plain_c")


def test_a_closed_file_is_opened_again_but_only_if_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(build.program("functions").read_bytes())
    file, other = ElfFile(str(path)), ElfFile(str(path))
    file.close()
    assert file.functions_named("greet")
    other.close()
    path.write_bytes(build.program("overloads").read_bytes())
    os.utime(path, ns=(1, 1))
    with pytest.raises(ElfError, match="changed"):
        _ = other.functions


def test_files_are_closed(tmp_path: Path) -> None:
    program = build.with_debug_file("functions")
    for path in (program, program.with_name("functions.debug")):
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def open_ones() -> list[str]:
        links = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        return sorted(os.path.basename(link) for link in links if os.path.dirname(link) == str(tmp_path))

    file = ElfFile(str(tmp_path / program.name))
    assert file.functions and open_ones() == [program.name, "functions.debug"]
    file.close()
    assert open_ones() == []
    assert file.code(file.functions[0].address, 1) and open_ones() == [program.name]
    del file  # at once, not when the garbage collector comes by
    assert open_ones() == []


# --- files that are something else, or lie


def test_what_is_not_an_elf_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # opening it the wrong way would wait for ever
    text = tmp_path / "text"
    text.write_text("#!/bin/sh\necho this is a script\n")
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for path, reason in (
        (tmp_path, "not a file"), (fifo, "not a file"), ("/dev/zero", "not a file"), (text, "not an ELF file"),
        (empty, "not an ELF file"), (tmp_path / "missing", "No such file"), ("a\0b", "NUL"),
    ):  # fmt: skip
        with pytest.raises(ElfError, match=reason):
            ElfFile(str(path))


def read_everything(path: str) -> None:
    """Ask an ELF file for all that it has."""
    file = ElfFile(path)
    try:
        for question in (
            lambda: file.functions, lambda: file.build_id, lambda: file.stripped, lambda: usdt_notes.probes(file),
            lambda: file.functions_named("main"), lambda: list(file.object_names()), lambda: file.symbol_at(0x1139),
            lambda: file.code(0x1139, 100), lambda: file.debug_file, lambda: [file.data(s) for s in file.sections],
        ):  # fmt: skip
            try:
                question()
            except ElfError:
                continue
    finally:
        file.close()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_give_an_elf_error_or_a_result(data: st.DataObject) -> None:
    """Bytes of the headers, tables and notes changed at random, and the file cut short."""
    content = bytearray(build.program("tick").read_bytes())
    rng = random.Random(data.draw(st.integers(0, 1 << 32)))
    sections = struct.unpack_from("<Q", content, 0x28)[0]
    places = [rng.randrange(0, 64), rng.randrange(64, 800), rng.randrange(sections, len(content))]
    for _ in range(data.draw(st.integers(1, 12))):
        content[rng.choice(places)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        places = [rng.randrange(0, 64), rng.randrange(64, 800), rng.randrange(sections, len(content))]
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path = f"/dev/shm/bpftrace-py-damaged-{os.getpid()}"
    Path(path).write_bytes(content)
    try:
        read_everything(path)
    except ElfError:
        pass
    finally:
        os.unlink(path)


def test_sizes_are_not_believed(tmp_path: Path) -> None:
    """A section of 512 GB, and one that a sparse file really has, are refused without reading them."""
    content = bytearray(build.program("functions").read_bytes())
    sections = struct.unpack_from("<Q", content, 0x28)[0]
    for index in range(struct.unpack_from("<H", content, 0x3C)[0]):
        if struct.unpack_from("<I", content, sections + 64 * index + 4)[0] == 2:  # .symtab
            struct.pack_into("<Q", content, sections + 64 * index + 0x20, 1 << 39)
    path = tmp_path / "huge"
    path.write_bytes(content)
    with pytest.raises(ElfError, match="too large"):
        _ = ElfFile(str(path)).functions
    os.truncate(path, 1 << 40)
    with pytest.raises(ElfError, match="too large"):
        _ = ElfFile(str(path)).functions


def section_header(content: bytearray, name: str) -> int:
    """Where in a file the header of a section is."""
    index = ELFFile(io.BytesIO(content)).get_section_index(name)
    assert index is not None
    return struct.unpack_from("<Q", content, 0x28)[0] + 64 * index


@pytest.mark.parametrize("lie", ["names without an end", "number of sections", "length of a note", "zeros for notes"])
def test_headers_and_notes_are_not_believed(tmp_path: Path, lie: str) -> None:
    """What would be read for ever, or fill the memory, is refused with a reason."""
    content = bytearray(build.program("tick").read_bytes())
    path, size = tmp_path / "lies", len(content)
    question, reason = (lambda file: file.sections), "too large"
    if lie == "names without an end":
        header = section_header(content, ".shstrtab")
        struct.pack_into("<QQ", content, header + 0x18, size, 64 << 20)
        content += b"A" * (64 << 20)
    elif lie == "number of sections":
        first = struct.unpack_from("<Q", content, 0x28)[0]
        struct.pack_into("<H", content, 0x3C, 0)
        struct.pack_into("<Q", content, first + 0x20, 1 << 32)
        size, reason = 1 << 40, "4294967296 sections, which are too many"
    else:
        header = section_header(content, ".note.stapsdt")
        offset = struct.unpack_from("<Q", content, header + 0x18)[0]
        question = usdt_notes.probes
        if lie == "length of a note":
            struct.pack_into("<I", content, offset, 0xFFFFFF00)
            reason = "damaged"
        else:
            struct.pack_into("<QQ", content, header + 0x18, size, 1 << 39)
            size = 1 << 40
    path.write_bytes(content)
    if size > len(content):
        os.truncate(path, size)
    tracemalloc.start()
    with pytest.raises(ElfError, match=reason):
        question(ElfFile(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 256 << 20


def test_an_odd_section_does_not_spoil_the_file(tmp_path: Path) -> None:
    """A hash table of four billion buckets, and a version table that is linked to none: neither is asked for."""
    content = bytearray(build.program("functions").read_bytes())
    table, versions = section_header(content, ".gnu.hash"), section_header(content, ".gnu.version")
    struct.pack_into("<I", content, struct.unpack_from("<Q", content, table + 0x18)[0], 0xFFFFFFFF)
    struct.pack_into("<I", content, versions + 0x28, 0xFFFF)
    path = tmp_path / "odd"
    path.write_bytes(content)
    assert ElfFile(str(path)).functions == ElfFile(str(build.program("functions"))).functions


def test_32_bit_files(tmp_path: Path) -> None:
    """One that is put together here: a compiler for them may not be there."""
    names, strings = b"\0.symtab\0.strtab\0.text\0", b"\0thirty_two\0data_object\0"
    code = b"\x90" * 16
    symbols = struct.pack("<IIIBBH", 0, 0, 0, 0, 0, 0) + struct.pack("<IIIBBH", 1, 0x8048100, 16, 0x12, 0, 3)
    symbols += struct.pack("<IIIBBH", 12, 0x8048104, 4, 0x11, 0, 3)
    body = b"".join((names, strings, code, symbols))
    at = [0x100, 0x100 + len(names), 0x100 + len(names) + len(strings), 0x100 + len(names) + len(strings) + len(code)]
    headers = struct.pack("<10I", *[0] * 10)
    headers += struct.pack("<10I", 1, 2, 0, 0, at[3], len(symbols), 2, 1, 4, 16)
    headers += struct.pack("<10I", 9, 3, 0, 0, at[1], len(strings), 0, 0, 1, 0)
    headers += struct.pack("<10I", 17, 1, 6, 0x8048100, at[2], 16, 0, 0, 1, 0)
    headers += struct.pack("<10I", 1, 3, 0, 0, at[0], len(names), 0, 0, 1, 0)
    segment = struct.pack("<8I", 1, at[2], 0x8048100, 0x8048100, 16, 16, 5, 1)
    header = b"\x7fELF\1\1\1" + b"\0" * 9 + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x8048100, 52, 0x400, 0, 52, 32, 1, 40, 5, 4)
    path = tmp_path / "thirty_two"
    path.write_bytes((header + segment).ljust(0x100, b"\0") + body.ljust(0x300, b"\0") + headers)
    file = ElfFile(str(path))
    assert (file.machine, file.fixed, file.wide) == ("i386", True, False)
    assert file.functions == (Symbol("thirty_two", 0x8048100, 16),)
    assert file.file_offset(0x8048104) == at[2] + 4
    assert [s.name for s in file.objects_named("data_object")] == ["data_object"]
    assert [s.name for s in file.sections] == ["", ".symtab", ".strtab", ".text", ".symtab"]


# --- instructions


def test_instruction_starts() -> None:
    code = bytes.fromhex("55" "4889e5" "b82a000000" "5d" "c3")  # push, mov, mov, pop, ret
    assert instruction_starts(code, 10, "x86_64") == {0, 1, 4, 9, 10, 11}
    assert instruction_starts(code, 2, "x86_64") == {0, 1, 4}
    assert instruction_starts(b"\x06\x06", 1, "x86_64") is None  # no instruction of 64-bit code
    assert instruction_starts(bytes.fromhex("fd7bbfa9" "fd030091"), 4, "aarch64") == {0, 4, 8}
    assert instruction_starts(code, 2, "vax") is None
