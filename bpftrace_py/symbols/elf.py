"""ELF files: functions and objects by name and by address, places in the file, the build id, notes.

The structure of a file is pyelftools' affair (`elf_structure`). Ours are the symbol tables, in the sections that it
locates, and the look-ups in them: pyelftools makes an object a symbol, 50 ms for the 6,000 of libc, and a wildcard
needs them all. Here a table is unpacked in one go, and a name is looked for in the string table first.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from bpftrace_py.symbols import debug_files
from bpftrace_py.symbols.file_reader import ElfError as ElfError
from bpftrace_py.symbols.file_reader import FileReader, identity

if TYPE_CHECKING:
    from bpftrace_py.symbols.elf_structure import Note, Section, Segment

_STT_OBJECT, _STT_FUNC, _STT_IFUNC = 1, 2, 10


class Symbol(NamedTuple):
    """`address` is the one in the file, before relocation; `size` is 0 where it is not known. An `indirect` function
    (IFUNC) is the resolver: it runs once, when the dynamic linker asks it which implementation to use."""

    name: str
    address: int
    size: int
    indirect: bool = False


class _Table(NamedTuple):
    """A symbol table's bytes, its entries' struct, and its strings."""

    data: bytes
    entry: struct.Struct
    strings: bytes


class ElfFile:
    """One ELF file. Opening it reads the headers; the rest is read when it is asked for. Every member may raise
    `ElfError`. `root` is the directory that the file's own absolute paths start from (`/proc/PID/root`)."""

    def __init__(self, path: str, root: str = "") -> None:
        self.path = path
        self.root = root
        self._reader = FileReader(path)
        try:
            if self._reader.read_at(0, min(4, self._reader.length)) != b"\x7fELF":
                raise ElfError("it is not an ELF file")
            from bpftrace_py.symbols.elf_structure import ElfStructure  # here: scripts and text do not need pyelftools

            self._structure = ElfStructure(self._reader)
        except BaseException:
            self.close()
            raise
        self.machine = self._structure.machine  # in the names of os.uname().machine
        self.wide = self._structure.wide
        self.order = self._structure.order  # of bytes, as the struct module writes it
        self.fixed = self._structure.fixed  # loaded at the addresses that the file says (not position-independent)

    def close(self) -> None:
        """Let go of the file, which would keep its file system busy. What was not read yet opens it again."""
        self._reader.release()
        debug_file: ElfFile | None = self.__dict__.get("debug_file")
        if debug_file is not None:
            debug_file.close()

    def __del__(self) -> None:
        if "_reader" in self.__dict__:
            self.close()  # not when the collector comes by: pyelftools' objects point at each other

    # --- structure

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        return self._structure.segments()

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        return self._structure.sections()

    def section(self, name: str) -> Section | None:
        return next((s for s in self.sections if s.name == name), None)

    def data(self, section: Section) -> bytes:
        """The bytes of a section that has some in the file. Compressed ones (debug information) are refused."""
        if section.type == "SHT_NOBITS":
            return b""
        if section.compressed:
            raise ElfError(f"its section {section.name} is compressed")
        return self._reader.read_at(section.offset, section.size)

    def contents(self) -> Iterator[bytes]:
        """The whole file, in pieces."""
        piece = 1 << 20
        for offset in range(0, self._reader.length, piece):
            yield self._reader.read_at(offset, min(piece, self._reader.length - offset))

    def notes(self, section_name: str) -> list[Note]:
        """The notes in a section."""
        section = self.section(section_name)
        return self._structure.notes(section) if section is not None and section.type == "SHT_NOTE" else []

    @cached_property
    def build_id(self) -> str | None:
        """In hexadecimal digits."""
        for owner, kind, description in self.notes(".note.gnu.build-id"):
            if owner == "GNU" and kind == 3 and description:
                return description.hex()
        return None

    @cached_property
    def debug_link(self) -> tuple[str, int] | None:
        """The name of the separate debug file and its checksum (CRC-32), if the file says them."""
        section = self.section(".gnu_debuglink")
        if section is None or section.size > 4096:
            return None
        try:
            return self._structure.debug_link(self.data(section))
        except ElfError:
            return None  # a program without its debug file is better than none

    # --- addresses

    @cached_property
    def _loaded(self) -> tuple[Segment, ...]:
        return tuple(s for s in self.segments if s.type == "PT_LOAD")

    def data_offset(self, address: int) -> int | None:
        """Where in the file a loaded address is, code or data; None for what has no bytes there (.bss)."""
        return _translate(((s.address, s.offset, s.file_size) for s in self._loaded), address)

    def file_offset(self, address: int) -> int | None:
        """Where in the file the code at an address is; None if it is not in an executable segment."""
        return _translate(((s.address, s.offset, s.file_size) for s in self._loaded if s.executable), address)

    def address_of(self, offset: int) -> int | None:
        """The address of a place in the file; None if it is not loaded. Where segments share a page, code wins."""
        code_first = sorted(self._loaded, key=lambda s: not s.executable)
        return _translate(((s.offset, s.address, s.file_size) for s in code_first), offset)

    def code(self, address: int, size: int) -> bytes | None:
        """`size` bytes of code at an address, fewer at the end of the file."""
        offset = self.file_offset(address)
        if offset is None:
            return None
        return self._reader.read_at(offset, max(0, min(size, self._reader.length - offset)))

    # --- symbols

    @cached_property
    def debug_file(self) -> ElfFile | None:
        """The separate file that the symbols were moved to, if it is installed; itself without a debug file."""
        for path in debug_files.candidates(self):
            try:
                candidate = ElfFile(path, self.root)
                if debug_files.belongs_to(candidate, self):
                    return candidate
            except ElfError:
                continue
        return None

    @property
    def stripped(self) -> bool:
        """No full symbol table, neither in the file nor in a debug file: what is not exported has no name."""
        return not any(
            section.type == "SHT_SYMTAB" for file in (self, self.debug_file) if file for section in file.sections
        )

    def _tables(self) -> Iterator[_Table]:
        entry = struct.Struct(self.order + ("IBBHQQ" if self.wide else "IIIBBH"))
        for section in self.sections:
            if section.type not in ("SHT_SYMTAB", "SHT_DYNSYM") or section.link >= len(self.sections):
                continue
            data = self.data(section)
            yield _Table(data[: len(data) // entry.size * entry.size], entry, self.data(self.sections[section.link]))

    def _symbols(self, types: tuple[int, ...], name: str | None = None) -> Iterator[Symbol]:
        """The defined symbols of this file alone; with `name` only those so called (before an `@version`)."""
        wanted = frozenset(types)
        wide = self.wide
        for data, entry, strings in self._tables():
            at = None if name is None else _places(strings, name)
            # An imported function with an address is a stub in this file (fixed executables that take its address).
            for fields in entry.iter_unpack(data):
                if wide:
                    where, info, _, _, address, size = fields
                else:
                    where, address, size, info, _, _ = fields
                if info & 15 in wanted and address and (at is None or where in at):
                    end = strings.find(b"\0", where)
                    text = strings[where : end if end >= 0 else None].split(b"@", 1)[0]
                    if text:
                        yield Symbol(text.decode("utf-8", "surrogateescape"), address, size, info & 15 == _STT_IFUNC)

    def _with_debug_file(self, types: tuple[int, ...], name: str | None = None) -> Iterator[Symbol]:
        yield from self._symbols(types, name)
        if self.debug_file is not None:
            try:
                yield from self.debug_file._symbols(types, name)
            except ElfError:
                return

    @cached_property
    def functions(self) -> tuple[Symbol, ...]:
        """All functions, of the file and its debug file, sorted by name; each (name, address) once."""
        return self._executable(self._with_debug_file((_STT_FUNC, _STT_IFUNC)))

    def functions_named(self, name: str) -> tuple[Symbol, ...]:
        """The functions of this exact name. There may be several: static ones of different source files, or versions
        of a library's function. The debug file is only read if the file itself does not have the name."""
        types = (_STT_FUNC, _STT_IFUNC)
        found = self._executable(self._symbols(types, name))
        if not found and self.debug_file is not None:
            found = self._executable(self.debug_file._symbols(types, name))
        return found

    def _executable(self, symbols: Iterable[Symbol]) -> tuple[Symbol, ...]:
        unique: dict[tuple[str, int], Symbol] = {}
        for symbol in symbols:
            known = unique.get((symbol.name, symbol.address))
            if known is None or known.size < symbol.size:
                unique[symbol.name, symbol.address] = symbol
        ranges = [(s.address, s.address + s.file_size) for s in self._loaded if s.executable]
        return tuple(unique[key] for key in sorted(unique) if any(low <= key[1] < high for low, high in ranges))

    def objects_named(self, name: str) -> tuple[Symbol, ...]:
        """The variables of this exact name (what `uaddr` looks for). Thread-local ones have no address."""
        found = {(s.name, s.address): s for s in self._with_debug_file((_STT_OBJECT,), name)}
        return tuple(found[key] for key in sorted(found))

    def object_names(self) -> Iterator[str]:
        """The names of all variables, for "did you mean"."""
        return (symbol.name for symbol in self._with_debug_file((_STT_OBJECT,)))

    @cached_property
    def _by_address(self) -> tuple[list[int], list[Symbol]]:
        # Of several names at one address the one with a size and without leading underscores is the one people use.
        ordered = sorted(self.functions, key=lambda s: (s.address, s.size > 0, not s.name.startswith("_"), s.name))
        unique = {symbol.address: symbol for symbol in ordered}
        return list(unique), list(unique.values())

    def symbol_at(self, address: int) -> Symbol | None:
        """The function that an address is in; None between functions."""
        addresses, symbols = self._by_address
        index = bisect_right(addresses, address) - 1
        if index < 0:
            return None
        symbol = symbols[index]
        # Assembly functions often have no size: theirs lasts to the next symbol.
        return symbol if symbol.size == 0 or address < symbol.address + symbol.size else None


def _translate(ranges: Iterable[tuple[int, int, int]], place: int) -> int | None:
    """Where a place is on the other side of the first of (its side's start, other side's start, size) that has it."""
    return next((there + place - here for here, there, size in ranges if here <= place < here + size), None)


def _places(strings: bytes, name: str) -> frozenset[int]:
    """Where in a string table a name starts, alone or followed by a version. Names may share their ends with others."""
    found = []
    text = name.encode("utf-8", "surrogateescape")
    at = strings.find(text) if text else -1
    while at >= 0:
        if strings[at + len(text) : at + len(text) + 1] in (b"\0", b"@", b""):
            found.append(at)
        at = strings.find(text, at + 1)
    return frozenset(found)


_known_files: dict[str, tuple[tuple[int, ...], ElfFile]] = {}


def open_elf(path: str, root: str = "") -> ElfFile:
    """As `ElfFile`, but the tables of a file that is still the same are read once. `close` it as any other."""
    try:
        found = identity(os.stat(path))
    except (OSError, ValueError) as error:
        raise ElfError(f"it cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    known = _known_files.get(path)
    if known is not None and known[0] == found:
        return known[1]
    while len(_known_files) >= 64:  # they hold their symbols
        _known_files.pop(next(iter(_known_files)))
    file = ElfFile(path, root)
    _known_files[path] = found, file
    return file
