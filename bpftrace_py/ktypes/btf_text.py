"""Definitions of structs, unions and enums in C, as `-lv` prints them: from BTF, with the kernel's own layout.

BTF has offsets and sizes, but neither alignments nor `packed`. Where the members alone would not bring the next one to its
place, padding is written out as nameless bit-fields (`long: 64;`, or `long: 0;` for "up to the next long").
"""

from __future__ import annotations

from bpftrace_py.ktypes import btf_image
from bpftrace_py.ktypes.btf_image import BtfImage

_MAX_DEPTH = 32  # of types around one type, and of records in one another: a damaged one may hold itself
_MAX_LINES = 1 << 16  # of one definition
_MAX_NAME = 512  # characters: the kernel's own limit
_POINTER_BYTES = 8
_QUALIFIERS = {btf_image.CONST: "const", btf_image.VOLATILE: "volatile", btf_image.RESTRICT: "restrict"}
_TAGS = (btf_image.TYPE_TAG, btf_image.DECLARATION_TAG)
_TRANSPARENT = (*_QUALIFIERS, *_TAGS, btf_image.TYPEDEF, btf_image.VARIABLE)
_SCALARS = (btf_image.INT, btf_image.ENUM, btf_image.ENUM64, btf_image.FLOAT)
_RECORDS = {btf_image.STRUCT: "struct", btf_image.UNION: "union"}
_ENUMS = (btf_image.ENUM, btf_image.ENUM64)
_ENUM_MODES = {1: "mode(byte)", 2: "mode(HI)"}  # of those that are narrower than an int
_FILLERS = (("long", 64), ("int", 32), ("short", 16), ("char", 8))
_CUT = "/* and more */"


def definition(image: BtfImage, number: int) -> list[str]:
    """The lines that define a struct, union or enum, indented with tabs. At most some 65,000: what is longer is cut."""
    writer = _Writer(image)
    return f"{writer.body(number, 0)};".split("\n")


def _up(offset: int, unit: int) -> int:
    """The next multiple of a unit."""
    return -(-offset // unit) * unit


class _Writer:
    """Writes one definition. Offsets and sizes are in bits unless they say so."""

    def __init__(self, image: BtfImage) -> None:
        self._image = image
        self._alignments: dict[int, int] = {}
        self._lines_left = _MAX_LINES

    def body(self, number: int, level: int) -> str:
        """`struct name { ... }`, `level` tabs deep, without what stands behind it."""
        record = self._image.record(number)
        if record is None:
            return "?"
        kind, name_at, info, size, at = record
        keyword = _RECORDS.get(kind, "enum")
        head = f"{keyword} {self._name(name_at)}".rstrip()
        if kind in _ENUMS:
            lines, mark, attribute = self._constants(kind, info, at), ",", _ENUM_MODES.get(size, "")
        else:
            packed = kind == btf_image.STRUCT and self._is_packed(number)
            lines, mark, attribute = self._members(number, level, packed), ";", "packed" if packed else ""
        tabs = "\t" * level
        inner = "".join(f"\n{tabs}\t{line}{mark}" for line in lines)
        end = f"\n{tabs}}}" if lines else "}"
        return f"{head} {{{inner}{end}{f' __attribute__(({attribute}))' if attribute else ''}"

    def _name(self, offset: int) -> str:
        return self._image.string(offset)[:_MAX_NAME]

    # --- enums

    def _constants(self, kind: int, info: int, at: int) -> list[str]:
        signed = bool(info & btf_image.KIND_FLAG)
        wide = kind == btf_image.ENUM64
        suffix = ("LL" if signed else "ULL") if wide else ""
        entry, width = (12, 8) if wide else (8, 4)
        lines: list[str] = []
        for place in range(at + 12, at + 12 + entry * (info & 0xFFFF), entry):
            self._lines_left -= 1
            if self._lines_left < 0:
                lines.append(_CUT)
                break
            value = int.from_bytes(self._image.bytes_at(place + 4, width), "little", signed=signed)
            lines.append(f"{self._name(self._image.words(place, 1)[0])} = {value}{suffix}")
        return lines

    # --- records

    def _members(self, number: int, level: int, packed: bool) -> list[str]:
        """The members and the padding between them, each without its semicolon; a nested record is one of several lines."""
        record = self._image.record(number)
        if record is None or level > _MAX_DEPTH:
            return [_CUT]
        kind, _, info, size, at = record
        flagged = bool(info & btf_image.KIND_FLAG)
        lines: list[str] = []
        end, after_bits = 0, False
        for i in range(info & 0xFFFF):
            self._lines_left -= 1
            if self._lines_left < 0:
                lines.append(_CUT)
                return lines
            name_at, type_, offset = self._image.words(at + 12 + 12 * i, 3)
            bits = offset >> 24 if flagged else 0
            first = offset & 0xFFFFFF if flagged else offset
            if kind == btf_image.STRUCT:
                self._pad(lines, end, first, 1 if packed else self._alignment(type_), after_bits and bits > 0)
            line = self._declare(type_, self._name(name_at), level + 1)
            lines.append(f"{line}: {bits}" if bits else line)
            end = first + (bits or 8 * self._size(type_))
            after_bits = bits > 0
        if kind == btf_image.STRUCT:
            self._pad(lines, end, 8 * size, 1 if packed else self._alignment(number), False)
        return lines

    def _pad(self, lines: list[str], end: int, following: int, alignment: int, between_bits: bool) -> None:
        """Fill from `end` up to `following`, where something of `alignment` bytes stands.

        The filler is the widest type that has a boundary in between: the compiler moves to that by itself if what follows
        needs it, and else is told to by a bit-field of no width. `between_bits`: bit-fields on both sides, so that the
        compiler moves nothing, and each bit is counted.
        """
        if end >= following:
            return
        filler, width = next((f for f in _FILLERS if _up(end, f[1]) <= following), _FILLERS[-1])
        boundary = _up(end, width)
        if end < boundary <= following:
            moves_there = boundary == following and _up(end, 8 * alignment) == boundary
            fits_before = boundary != following and following - boundary <= boundary - end
            if between_bits:
                lines.append(f"{filler}: {boundary - end}")
            elif fits_before or (boundary == following and not moves_there):
                lines.append(f"{filler}: 0")
            end = boundary
        whole, rest = divmod(following - end, width)
        self._lines_left -= whole
        if self._lines_left < 0:
            lines.append(_CUT)
            return
        lines.extend([f"{filler}: {width}"] * whole)
        if rest:
            smallest = next(name for name, bits in reversed(_FILLERS) if rest <= bits)
            lines.append(f"{smallest}: {rest}")

    def _is_packed(self, number: int, depth: int = 0) -> bool:
        """Whether some member stands where its alignment would not allow it, or the size is no multiple of it."""
        record = self._image.record(number)
        if record is None:
            return False
        _, _, info, size, at = record
        largest = 1
        for i in range(info & 0xFFFF):
            _, type_, offset = self._image.words(at + 12 + 12 * i, 3)
            alignment = self._alignment(type_, depth + 1)
            largest = max(largest, alignment)
            bits = offset >> 24 if info & btf_image.KIND_FLAG else 0
            if not bits and offset % (8 * alignment):
                return True
        return size % largest != 0

    def _alignment(self, number: int, depth: int = 0) -> int:
        """The alignment in bytes that a type has unless it is packed."""
        known = self._alignments.get(number)
        if known is None:
            self._alignments[number] = 1  # for a damaged record that holds itself
            known = self._alignments[number] = self._alignment_of(number, depth)
        return known

    def _alignment_of(self, number: int, depth: int) -> int:
        record = self._image.record(number)
        if record is None or depth > _MAX_DEPTH:
            return 1
        kind, _, info, size, at = record
        if kind in _SCALARS:
            return max(1, min(_POINTER_BYTES, size))
        if kind == btf_image.POINTER:
            return _POINTER_BYTES
        if kind in _TRANSPARENT:
            return self._alignment(size, depth + 1)
        if kind == btf_image.ARRAY:
            return self._alignment(self._image.words(at + 12, 1)[0], depth + 1)
        if kind not in _RECORDS:
            return 1
        if self._is_packed(number, depth):
            return 1
        members = (self._image.words(at + 16 + 12 * i, 1)[0] for i in range(info & 0xFFFF))
        return max((self._alignment(type_, depth + 1) for type_ in members), default=1)

    def _size(self, number: int) -> int:
        """The size of a type in bytes; 0 of one that has none."""
        count = 1
        for _ in range(_MAX_DEPTH):
            record = self._image.record(number)
            if record is None:
                return 0
            kind, _, _, size, at = record
            if kind in _SCALARS or kind in _RECORDS:
                return count * size
            if kind == btf_image.POINTER:
                return count * _POINTER_BYTES
            if kind == btf_image.ARRAY:
                number, _, elements = self._image.words(at + 12, 3)
                count *= elements
            elif kind in _TRANSPARENT:
                number = size
            else:
                return 0
        return 0

    # --- declarations

    def _declare(self, number: int, declarator: str, level: int, depth: int = 0) -> str:
        """The declaration of `declarator` (a name, or nothing) as a type: C writes what is around a name from the inside."""
        qualifiers: list[str] = []
        for _ in range(_MAX_DEPTH):
            record = self._image.record(number)
            kind, _, _, target, at = record or (0, 0, 0, 0, 0)
            if kind in _QUALIFIERS:
                qualifiers.append(_QUALIFIERS[kind])
                number = target
            elif kind in _TAGS:
                number = target
            elif kind == btf_image.POINTER:
                words = " ".join(["*", *reversed(qualifiers)])
                declarator = f"{words} {declarator}" if qualifiers and declarator else words + declarator
                qualifiers, number = [], target
            elif kind == btf_image.ARRAY:
                # What is constant are the elements: BTF says so of them as well.
                number, _, count = self._image.words(at + 12, 3)
                declarator = f"({declarator})" if declarator.startswith("*") else declarator
                declarator, qualifiers = f"{declarator}[{count}]", []
            elif kind == btf_image.PROTOTYPE:
                declarator = f" ({declarator})" if declarator else ""  # spaced from the `*` of what it returns, too
                declarator, qualifiers, number = declarator + self._parameters(number, level, depth), [], target
            else:
                break
        text = " ".join([*reversed(qualifiers), self._base(number, level)])
        return f"{text} {declarator.lstrip()}" if declarator else text

    def _parameters(self, number: int, level: int, depth: int) -> str:
        record = self._image.record(number)
        if record is None or depth > _MAX_DEPTH:
            return "()"
        _, _, info, _, at = record
        parameters: list[str] = []
        for i in range(info & 0xFFFF):
            self._lines_left -= 1
            name_at, type_ = self._image.words(at + 12 + 8 * i, 2)
            if self._lines_left < 0 or (type_ == 0 and name_at == 0):
                parameters.append("...")
                break
            parameters.append(self._declare(type_, self._name(name_at), level, depth + 1))
        return f"({', '.join(parameters)})"

    def _base(self, number: int, level: int) -> str:
        """What a declaration begins with: the name of a type, or an anonymous one in full."""
        record = self._image.record(number)
        if record is None:
            return "void" if number == 0 else "?"
        kind, name_at, info, _, _ = record
        name = self._name(name_at)
        if kind in _RECORDS or kind in _ENUMS:
            return f"{_RECORDS.get(kind, 'enum')} {name}" if name else self.body(number, level)
        if kind == btf_image.FORWARD:
            return f"{'union' if info & btf_image.KIND_FLAG else 'struct'} {name}"
        return name or "?"
