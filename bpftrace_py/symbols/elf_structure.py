"""Headers, sections, segments and notes of an ELF file, by pyelftools.

Imported when a first file is opened: pyelftools takes longer to import than we to start. It believes what a file says
of itself, so it reads through a stream that allows it a budget, and whatever it raises becomes an `ElfError`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_CORE_NOTE_N_TYPE, ENUM_NOTE_N_TYPE
from elftools.elf.notes import iter_notes
from elftools.elf.sections import Section as PlainSection
from elftools.elf.segments import Segment as PlainSegment

from bpftrace_py.symbols.file_reader import ElfError, FileReader

if TYPE_CHECKING:
    from elftools.construct.lib.container import Container

# e_machine in the names of os.uname().machine
_MACHINES = {
    "EM_386": "i386", "EM_PPC64": "ppc64le", "EM_S390": "s390x", "EM_ARM": "arm", "EM_X86_64": "x86_64",
    "EM_AARCH64": "aarch64", "EM_RISCV": "riscv64", "EM_LOONGARCH": "loongarch64",
}  # fmt: skip

_MOST_HEADERS = 10_000  # sections or segments; programs have about 40
# One question may take so many bytes (all headers and their names, or the notes of a section), a read being counted as
# `_SMALLEST_READ` at least, which is what it takes in time: enough for 25,000 notes.
_BUDGET = 8 << 20
_SMALLEST_READ = 64
_LARGEST_READ = 1 << 16  # bytes: a field, a name, or the description of a note


class Section(NamedTuple):
    """`type` is its name ("SHT_SYMTAB"), or a number that has none."""

    name: str
    type: str | int
    address: int
    offset: int
    size: int
    link: int
    compressed: bool


class Segment(NamedTuple):
    """`type` is its name ("PT_LOAD"), or a number that has none."""

    type: str | int
    executable: bool
    offset: int
    address: int
    file_size: int


class Note(NamedTuple):
    """An entry of a note section."""

    owner: str
    type: int
    description: bytes


class _BoundedStream(io.BufferedReader):
    """What pyelftools reads from. A string without an end or a table of four billion entries ends the budget."""

    left = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_READ:
            raise ElfError("it is damaged")
        self.left -= max(size, _SMALLEST_READ)
        if self.left < 0:
            raise ElfError("its headers or notes are too large")
        return super().read(size)


class PlainFile(ELFFile):
    """pyelftools' reader without its special sections and segments: it would read each file's hash tables when it meets
    them, and refuse a whole file for one odd section that nobody asks for."""

    def _make_section(self, section_header: Container) -> PlainSection:
        return PlainSection(section_header, self._get_section_name(section_header), self)

    def _make_segment(self, segment_header: Container) -> PlainSegment:
        return PlainSegment(segment_header, self.stream)


# pyelftools meets a damaged file with any of these.
ERRORS = (
    ELFError, ConstructError, ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError,
)  # fmt: skip


class ElfStructure:
    """What the headers of one file say. All members raise `ElfError`."""

    def __init__(self, reader: FileReader) -> None:
        self._stream = _BoundedStream(reader)
        with self._question():
            self._file = PlainFile(self._stream)
        self.machine = _MACHINES.get(self._file["e_machine"], str(self._file["e_machine"]))
        self.wide = self._file.elfclass == 64
        self.order = "<" if self._file.little_endian else ">"
        self.fixed = self._file["e_type"] == "ET_EXEC"

    @contextmanager
    def _question(self) -> Iterator[None]:
        """Around all that makes pyelftools read."""
        self._stream.left = _BUDGET
        try:
            yield
        except ERRORS as error:
            reason: BaseException | None = error
            while reason is not None and not isinstance(reason, ElfError):
                reason = reason.__context__  # pyelftools wraps what the stream raises into errors of its own
            raise reason or ElfError("it is cut short or damaged") from None

    def sections(self) -> tuple[Section, ...]:
        with self._question():
            _limit(self._file.num_sections(), "sections")
            return tuple(
                Section(
                    s.name, s["sh_type"], s["sh_addr"], s["sh_offset"], s["sh_size"], s["sh_link"], bool(s.compressed)
                )
                for s in self._file.iter_sections()
            )

    def segments(self) -> tuple[Segment, ...]:
        with self._question():
            _limit(self._file.num_segments(), "segments")
            return tuple(
                Segment(s["p_type"], bool(s["p_flags"] & 1), s["p_offset"], s["p_vaddr"], s["p_filesz"])  # 1: PF_X
                for s in self._file.iter_segments()
            )

    def notes(self, section: Section) -> list[Note]:
        """The notes in a section."""
        types = ENUM_CORE_NOTE_N_TYPE if self._file["e_type"] == "ET_CORE" else ENUM_NOTE_N_TYPE
        found = []
        with self._question():
            end = section.offset + section.size
            for note in iter_notes(self._file, section.offset, section.size):
                description, type_ = note["n_descdata"], note["n_type"]
                if len(description) < note["n_descsz"] or note["n_offset"] + note["n_size"] > end:
                    raise ElfError(f"its notes in {section.name} are damaged")
                found.append(Note(note["n_name"] or "", type_ if isinstance(type_, int) else types[type_], description))
        return found

    def debug_link(self, section: bytes) -> tuple[str, int]:
        """File name and checksum (CRC-32 of the debug file) in the bytes of a section `.gnu_debuglink`."""
        with self._question():
            link = self._file.structs.Gnu_debuglink.parse(section)
            return link.filename.decode("utf-8", "surrogateescape"), link.checksum


def _limit(count: int, what: str) -> None:
    if count > _MOST_HEADERS:
        raise ElfError(f"it has {count} {what}, which are too many")
