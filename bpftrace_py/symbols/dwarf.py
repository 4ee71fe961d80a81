"""Debug information (DWARF) of a binary: the entries that describe a function or a type, by address and by name.

pyelftools knows the format, but finds an entry only by parsing all that stand before it: a minute for a large library.
An address, or where a name stands in the string section, is in the bytes of `.debug_info` as it is: we look for those
bytes, and let pyelftools parse what leads to the entry around them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

from elftools.common.exceptions import DWARFError
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.sections import Section as PlainSection

from bpftrace_py.symbols.elf_structure import ERRORS, PlainFile
from bpftrace_py.symbols.file_reader import ElfError, FileReader

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from elftools.dwarf.compileunit import CompileUnit
    from elftools.dwarf.die import DIE
    from elftools.dwarf.typeunit import TypeUnit

    from bpftrace_py.symbols.elf import ElfFile

# What types and parameters are made of, and (the lists) what pyelftools looks into when it meets an entry of clang's.
_NEEDED = frozenset(
    (
        ".debug_info", ".debug_abbrev", ".debug_str", ".debug_line_str", ".debug_str_offsets", ".debug_addr", ".debug_types",
        ".debug_sup", ".gnu_debugaltlink", ".debug_loclists", ".debug_rnglists",
    )
)  # fmt: skip
_LARGEST = 1 << 28  # bytes of a section, unpacked
_MOST_PLACES = 500  # that are looked at for one name, and strings that end in it
_INLINE = 8  # bytes; compilers put shorter names into the entry itself
_MOST_STEPS = 64  # from one entry to another that says more of it, and from the unit to an entry in it


@contextmanager
def guarded() -> Iterator[None]:
    """Around all that reads entries: pyelftools meets damaged ones with errors of many kinds; each is an `ElfError`."""
    try:
        yield
    except ElfError:
        raise
    except (*ERRORS, DWARFError, NotImplementedError, RecursionError, MemoryError):
        raise ElfError("its debug information is damaged, or of a kind that is not known") from None


class _DebugFile(PlainFile):
    """An ELF file that has no sections but those that matter here."""

    def get_section_by_name(self, name: str) -> PlainSection | None:
        section: PlainSection | None = super().get_section_by_name(name) if name in _NEEDED else None
        if section is None or section["sh_type"] == "SHT_NOBITS":
            return None
        if section.data_size > _LARGEST or section["sh_size"] > _LARGEST:
            raise ElfError(f"its debug information is too large ({section.data_size >> 20} MiB)")
        return section


class DebugInformation:
    """The debug information in one file. Raises `ElfError`, as its methods may."""

    def __init__(self, path: str, root: str = "") -> None:
        with guarded():
            main = _load(path)
            if main is None:
                raise ElfError("it has no debug information")
            self._parts = [main]
            shared = _shared_file(main, path, root)
            if shared is not None:
                main.supplementary_dwarfinfo = _load(shared)
                if main.supplementary_dwarfinfo is not None:
                    self._parts.append(main.supplementary_dwarfinfo)

    def function(self, address: int, name: str) -> DIE | None:
        """The entry of the function that begins at an address of the file. One that the compiler has cut into pieces
        has no single address there: it is found by the symbol's name, if that is the name of one function only."""
        main = self._parts[0]
        needle = _word(main, address, main.config.default_address_size)
        for die in self._around(main, needle, main.debug_addr_sec, "DW_AT_addr_base"):
            if die.tag == "DW_TAG_subprogram" and _value(die, "DW_AT_low_pc") == address:
                return die
        found = {die.offset: die for die in self.named(name, ("DW_TAG_subprogram",))}
        return next(iter(found.values())) if len(found) == 1 else None

    def named(self, name: str, tags: tuple[str, ...]) -> Iterator[DIE]:
        """The entries of these kinds that have a name (or, for the linker, such a one), declarations left out."""
        text = name.encode("utf-8", "surrogateescape")
        if not text or b"\0" in text:
            return
        for part in self._parts:
            for die in self._mentioning(part, text):
                names = (_value(die, "DW_AT_name"), _value(die, "DW_AT_linkage_name"))
                if die.tag in tags and text in names and "DW_AT_declaration" not in die.attributes:
                    yield die

    # --- places

    def _mentioning(self, part: DWARFInfo, text: bytes) -> Iterator[DIE]:
        """Entries in which a string stands, or where it stands in the string section."""
        if len(text) < _INLINE:
            yield from self._around(part, text + b"\0")
        for offset in islice(_all(_bytes(part.debug_str_sec), text + b"\0"), _MOST_PLACES):
            needle = _word(part, offset, 4)
            yield from self._around(part, needle, part.debug_str_offsets_sec, "DW_AT_str_offsets_base")

    def _around(self, part: DWARFInfo, needle: bytes, table: object = None, base: str = "") -> Iterator[DIE]:
        """The entries that hold these bytes, and those of the unit that has them in its part of `table`, which begins
        where the unit's attribute `base` says: entries may have just a number in that table."""
        for at in islice(_all(_bytes(part.debug_info_sec), needle), _MOST_PLACES):
            die = _entry_at(part.get_CU_containing(at), at)
            if die is not None:
                yield die
        for at in islice(_all(_bytes(part.debug_types_sec), needle), _MOST_PLACES):
            unit = next((u for u in part.iter_TUs() if u.tu_offset <= at < u.tu_offset + u.size), None)
            die = None if unit is None else _entry_at(unit, at)
            if die is not None:
                yield die
        for at in islice(_all(_bytes(table), needle), _MOST_PLACES):
            indirect = _unit_of(part, at, base)
            if indirect is not None:
                yield from (die for die in indirect.iter_DIEs() if not die.is_null())


def _load(path: str) -> DWARFInfo | None:
    with io.BufferedReader(FileReader(path)) as stream:
        file = _DebugFile(stream)
        if file.get_section_by_name(".debug_info") is None:
            return None
        return file.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)


def _shared_file(part: DWARFInfo, path: str, root: str) -> str | None:
    """The file with what several debug files have in common (dwz makes such), if this one refers to one."""
    link = part.parse_debugsupinfo()
    if link is None:
        return None
    target = os.fsdecode(link)
    place = f"{root}{target}" if target.startswith("/") else os.path.join(os.path.dirname(os.path.realpath(path)), target)
    return place if os.path.isfile(place) else None


def _bytes(section: object) -> bytes:
    """The bytes of a section of pyelftools'; none of one that is not there."""
    stream = getattr(section, "stream", None)
    return stream.getvalue() if isinstance(stream, io.BytesIO) else b""


def _word(part: DWARFInfo, value: int, size: int) -> bytes:
    return value.to_bytes(size, "little" if part.config.little_endian else "big")


def _all(data: bytes, needle: bytes) -> Iterator[int]:
    at = data.find(needle)
    while at >= 0:
        yield at
        at = data.find(needle, at + 1)


def _value(die: DIE, attribute: str) -> object:
    found = die.attributes.get(attribute)
    return None if found is None else found.value


def _entry_at(unit: CompileUnit | TypeUnit, at: int) -> DIE | None:
    """The entry of a unit whose own bytes have a place in the section."""
    die = unit.get_top_DIE()
    for _ in range(_MOST_STEPS):
        if die.offset <= at < die.offset + die.size:
            return die
        inner = None
        for child in unit.iter_DIE_children(die):
            if child.offset > at:
                break
            inner = child
        if inner is None:
            return None
        die = inner
    return None


def _unit_of(part: DWARFInfo, at: int, base: str) -> CompileUnit | None:
    """The unit whose part of a table has a place: the one with the last beginning before it."""
    best, found = -1, None
    for unit in part.iter_CUs():
        start = _value(unit.get_top_DIE(), base)
        if isinstance(start, int) and best < start <= at:
            best, found = start, unit
    return found


def origin(die: DIE, attributes: Iterable[str] = ("DW_AT_abstract_origin", "DW_AT_specification")) -> Iterator[DIE]:
    """An entry, and those that it continues, the nearest first: attributes that it lacks are theirs."""
    for _ in range(_MOST_STEPS):
        yield die
        following = next((a for a in attributes if a in die.attributes), None)
        if following is None:
            return
        die = referenced(die, following)


def referenced(die: DIE, attribute: str) -> DIE:
    """The entry that an attribute of another one refers to."""
    part, found = die.dwarfinfo, die.attributes[attribute]
    if found.form == "DW_FORM_ref_sig8":  # to a type in a unit of its own, which DWARF 5 has among the others
        for at in islice(_all(_bytes(part.debug_info_sec), _word(part, found.raw_value, 8)), _MOST_PLACES):
            unit = part.get_CU_containing(at)
            if unit.header.get("type_signature") == found.raw_value:
                return unit.get_DIE_from_refaddr(unit.cu_offset + unit["type_offset"])
    return die.get_DIE_from_attribute(attribute)


def open_debug_information(file: ElfFile) -> DebugInformation | None:
    """That of a binary, in itself or in its debug file; None if there is none."""
    for candidate in (file, file.debug_file):
        if candidate is None:
            continue
        section = candidate.section(".debug_info")
        if section is not None and section.type != "SHT_NOBITS":
            return DebugInformation(candidate.path, candidate.root)
    return None
