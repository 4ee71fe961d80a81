"""ELF files: functions and objects by name and by address, places in the file, the build id, notes.

Read here rather than with pyelftools because a start-up that needs one symbol should not pay for its import (20 ms) nor
for an object a symbol (50 ms for libc); the tables are unpacked in one go. Every size and offset in a file is checked
against the file before it is believed, nothing is mapped (a file cut short under a mapping kills the process), and
whatever is wrong becomes an `ElfError` with a reason.
"""

from __future__ import annotations

import os
import stat
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from bpftrace_py.symbols import debug_files

# e_machine, in the names of os.uname().machine
MACHINES = {
    3: "i386", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64", 258: "loongarch64",
}  # fmt: skip

_PT_LOAD, _PT_NOTE = 1, 4
_PF_X = 1
_SHT_SYMTAB, _SHT_NOTE, _SHT_NOBITS, _SHT_DYNSYM = 2, 7, 8, 11
_STT_OBJECT, _STT_FUNC, _STT_TLS, _STT_IFUNC = 1, 2, 6, 10
_ET_EXEC, _ET_DYN = 2, 3
_COMPRESSED = 0x800
_LARGEST_SECTION = 1 << 29  # bytes; the string table of a browser's debug file is about a fifth of this


class ElfError(Exception):
    """A file that cannot be used; the text is a reason that can follow "because"."""


class Section(NamedTuple):
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


class Segment(NamedTuple):
    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


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
        self._descriptor: int | None = None
        self._identity: tuple[int, ...] | None = None
        self._length = 0
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file, which would keep its file system busy. What was not read yet opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        debug_file: ElfFile | None = self.__dict__.get("debug_file")
        if debug_file is not None:
            debug_file.close()

    def __del__(self) -> None:
        if self.__dict__.get("_descriptor") is not None:
            self.close()

    def _open(self) -> int:
        descriptor = _open_regular(self.path)
        status = os.fstat(descriptor)
        identity = _identity(status)
        if self._identity not in (None, identity):
            os.close(descriptor)
            raise ElfError("it changed while it was read")
        self._descriptor, self._identity, self._length = descriptor, identity, status.st_size
        return descriptor

    # --- headers

    def _read(self, offset: int, size: int) -> bytes:
        descriptor = self._open() if self._descriptor is None else self._descriptor
        if size > _LARGEST_SECTION:
            raise ElfError(f"it has a part of {size} bytes, which is too large")
        if offset < 0 or size < 0 or offset + size > self._length:
            raise ElfError("it is cut short or damaged")
        chunks = []
        while size:
            try:
                chunk = os.pread(descriptor, size, offset)
            except OSError as error:
                raise ElfError(f"it cannot be read: {error.strerror}") from None
            if not chunk:
                raise ElfError("it is cut short or damaged")
            chunks.append(chunk)
            offset += len(chunk)
            size -= len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _read_header(self) -> None:
        try:
            ident = self._read(0, 16)
        except ElfError:
            if self._descriptor is None:
                raise
            raise ElfError("it is not an ELF file") from None
        if ident[:4] != b"\x7fELF":
            raise ElfError("it is not an ELF file")
        if ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise ElfError("its ELF header is damaged")
        self.wide = ident[4] == 2
        self.order = "<" if ident[5] == 1 else ">"
        header = struct.Struct(self.order + ("HHIQQQIHHHHHH" if self.wide else "HHIIIIIHHHHHH"))
        (
            self.type, machine, _, _, program_offset, section_offset, _, _, program_size, program_count, section_size,
            section_count, names_index,
        ) = header.unpack(self._read(16, header.size))  # fmt: skip
        self.machine = MACHINES.get(machine, str(machine))
        self._program_table = (program_offset, program_size, program_count)
        self._section_table = (section_offset, section_size, section_count, names_index)

    def _entries(self, offset: int, size: int, count: int, form: str) -> Iterator[tuple[int, ...]]:
        entry = struct.Struct(self.order + form)
        if count == 0 or offset == 0:
            return
        if size < entry.size:
            raise ElfError("its header tables are damaged")
        data = self._read(offset, size * count)
        for at in range(0, size * count, size):
            yield entry.unpack_from(data, at)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        form, flags_at, at = ("IIQQQQQQ", 1, 2) if self.wide else ("IIIIIIII", 6, 1)
        return tuple(
            Segment(e[0], e[flags_at], e[at], e[at + 1], e[at + 3], e[at + 4])
            for e in self._entries(*self._program_table, form)
        )

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        offset, size, count, names_index = self._section_table
        form = "IIQQQQIIQQ" if self.wide else "IIIIIIIIII"
        if offset and not count:
            # More than 65,279 sections: the real number is in the first one's size, the names' index in its link.
            first = next(self._entries(offset, size, 1, form))
            count, names_index = first[5], first[6] if names_index == 0xFFFF else names_index
        headers = list(self._entries(offset, size, count, form))
        names = b""
        if names_index < len(headers) and headers[names_index][1] != _SHT_NOBITS:
            names = self._read(headers[names_index][4], headers[names_index][5])
        return tuple(
            Section(_string(names, h[0]), h[1], h[2], h[3], h[4], h[5], h[6], h[9]) for h in headers
        )

    def section(self, name: str) -> Section | None:
        return next((s for s in self.sections if s.name == name), None)

    def data(self, section: Section) -> bytes:
        """The bytes of a section that has some in the file. Compressed ones (debug information) are refused."""
        if section.type == _SHT_NOBITS:
            return b""
        if section.flags & _COMPRESSED:
            raise ElfError(f"its section {section.name} is compressed")
        return self._read(section.offset, section.size)

    @property
    def fixed(self) -> bool:
        """Loaded at the addresses that the file says (not position-independent)."""
        return bool(self.type == _ET_EXEC)

    # --- addresses

    def file_offset(self, address: int) -> int | None:
        """Where in the file the code at an address is; None if it is not in an executable segment."""
        for segment in self.segments:
            if (
                segment.type == _PT_LOAD and segment.flags & _PF_X
                and segment.address <= address < segment.address + segment.file_size
            ):  # fmt: skip
                return address - segment.address + segment.offset
        return None

    def data_offset(self, address: int) -> int | None:
        """Where in the file a loaded address is, code or data; None for what has no bytes there (.bss)."""
        for segment in self.segments:
            if segment.type == _PT_LOAD and segment.address <= address < segment.address + segment.file_size:
                return address - segment.address + segment.offset
        return None

    def address_of(self, offset: int) -> int | None:
        """The address of a place in the file; None if it is not loaded. Where segments share a page, code wins."""
        found = None
        for segment in self.segments:
            if segment.type == _PT_LOAD and segment.offset <= offset < segment.offset + segment.file_size:
                found = offset - segment.offset + segment.address
                if segment.flags & _PF_X:
                    break
        return found

    def code(self, address: int, size: int) -> bytes | None:
        """`size` bytes of code at an address, fewer at the end of the segment."""
        offset = self.file_offset(address)
        return None if offset is None else self._read(offset, max(0, min(size, self._length - offset)))

    # --- notes

    def notes(self, section_name: str) -> Iterator[tuple[str, int, bytes]]:
        """The (owner, type, description) of each note in a section."""
        section = self.section(section_name)
        if section is None or section.type != _SHT_NOTE:
            return
        data = self.data(section)
        entry = struct.Struct(self.order + "III")
        at = 0
        while at + entry.size <= len(data):
            name_size, size, kind = entry.unpack_from(data, at)
            at += entry.size
            begin = at + (name_size + 3 & ~3)
            end = begin + size
            if end > len(data):
                raise ElfError(f"its notes in {section_name} are damaged")
            yield data[at : at + name_size].split(b"\0", 1)[0].decode("utf-8", "replace"), kind, data[begin:end]
            at = end + 3 & ~3

    @cached_property
    def build_id(self) -> str | None:
        """In hexadecimal digits."""
        for owner, kind, description in self.notes(".note.gnu.build-id"):
            if owner == "GNU" and kind == 3 and description:
                return description.hex()
        return None

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
        return not any(s.type == _SHT_SYMTAB for s in self.sections) and (
            self.debug_file is None or not any(s.type == _SHT_SYMTAB for s in self.debug_file.sections)
        )

    def _tables(self) -> Iterator[_Table]:
        entry = struct.Struct(self.order + ("IBBHQQ" if self.wide else "IIIBBH"))
        for section in self.sections:
            if section.type not in (_SHT_SYMTAB, _SHT_DYNSYM) or section.link >= len(self.sections):
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
        ranges = [(s.address, s.address + s.file_size) for s in self.segments if s.type == _PT_LOAD and s.flags & _PF_X]
        return tuple(
            unique[key] for key in sorted(unique) if any(low <= key[1] < high for low, high in ranges)
        )

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


def _open_regular(path: str) -> int:
    """Open for reading; neither a FIFO nor a device may make us wait or do something."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise ElfError(f"it cannot be opened: {error.strerror}") from None
    except ValueError:
        raise ElfError("its name has a NUL character") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ElfError("it is not a file")
    return descriptor


def _string(strings: bytes, at: int) -> str:
    end = strings.find(b"\0", at)
    return strings[at : end if end >= 0 else None].decode("utf-8", "replace")


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


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


_known_files: dict[str, tuple[tuple[int, ...], ElfFile]] = {}


def open_elf(path: str, root: str = "") -> ElfFile:
    """As `ElfFile`, but the tables of a file that is still the same are read once. `close` it as any other."""
    try:
        identity = _identity(os.stat(path))
    except (OSError, ValueError) as error:
        raise ElfError(f"it cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    known = _known_files.get(path)
    if known is not None and known[0] == identity:
        return known[1]
    while len(_known_files) >= 64:  # they hold their symbols
        _known_files.pop(next(iter(_known_files)))
    file = ElfFile(path, root)
    _known_files[path] = identity, file
    return file
