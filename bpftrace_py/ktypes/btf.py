"""The running kernel's types, from its BTF: `host.KernelTypes` on a `BtfImage`.

Nothing is read ahead: a name is looked for when it is asked for, a record's members when they are.

Names of records: as in C ("struct path", "union bpf_attr"). A record without a name has that of its typedef
("atomic_t"), or else `struct (anonymous 1234)`, where 1234 is its number in the BTF; where the kernel has several
records of one name, those met after the first have their number behind it (`struct cache#1234`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from bpftrace_py.ktypes import btf_image
from bpftrace_py.ktypes.bitfields import bitfield
from bpftrace_py.ktypes.btf_image import BtfImage
from bpftrace_py.types import (
    VOID,
    ArrayType,
    Field,
    FunctionType,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
    Type,
)

_MAX_DEPTH = 32  # of typedefs, qualifiers, pointers and arrays around one type, and of anonymous records in one another
_MAX_MEMBERS = 1 << 16  # of a record: a damaged one may hold itself, twice
_KEYWORDS = {
    "struct": (btf_image.STRUCT,),
    "union": (btf_image.UNION,),
    "enum": (btf_image.ENUM, btf_image.ENUM64),
}
_RECORD_KINDS = {btf_image.STRUCT: "struct", btf_image.UNION: "union"}
_QUALIFIER_KINDS = {btf_image.CONST: "const", btf_image.VOLATILE: "volatile", btf_image.RESTRICT: "restrict"}
_UNTYPED = (*_QUALIFIER_KINDS, btf_image.TYPE_TAG)
_FORWARD_UNION = 1 << 31
_KFLAG = btf_image.KIND_FLAG


class Btf:
    """`host.KernelTypes` of one BTF image: the kernel's or, with `module`, a module's. A module's own records have its name
    behind theirs ("struct ovl_fs of overlay"), since two modules may have records of one name."""

    def __init__(self, image: BtfImage, module: str = "") -> None:
        self.image = image
        self._suffix = f" of {module}" if module else ""
        self._types: dict[str, Type | None] = {}
        self._converted: dict[int, Type] = {}
        self._fields: dict[str, tuple[Field, ...] | None] = {}
        self._members_left = 0
        self._named: dict[tuple[str, int], int | None] = {}  # (name, kind) -> the type that we know by that name

    # --- names

    def find(self, name: str) -> Type | None:
        """The type of "struct path", "union x", "enum y", of a typedef ("pid_t") or a base type ("long int")."""
        if name not in self._types:
            number = self._number(name)
            self._types[name] = None if number is None else self._type(number)
        return self._types[name]

    def _number(self, name: str) -> int | None:
        """The number of the type that a name of ours stands for."""
        if self._suffix:
            name = name.removesuffix(self._suffix)
        keyword, space, tag = name.partition(" ")
        if space and keyword in _KEYWORDS:
            if tag.startswith("(anonymous ") and tag.endswith(")"):
                return self._numbered(tag[11:-1], keyword)
            tag, hash_, number = tag.partition("#")
            return self._numbered(number, keyword) if hash_ else self._named_type(tag, _KEYWORDS[keyword])
        return self._named_type(name, (btf_image.TYPEDEF, btf_image.INT))

    def _numbered(self, text: str, keyword: str) -> int | None:
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            return None
        record = self.image.record(int(text))
        return int(text) if record is not None and record[0] in _KEYWORDS[keyword] else None

    def _named_type(self, name: str, kinds: tuple[int, ...]) -> int | None:
        key = (name, kinds[0])
        if key not in self._named:
            self._named[key] = self.image.find(name, kinds)
        return self._named[key]

    def enumerator(self, name: str) -> int | None:
        """The value of an enum constant such as "TCP_ESTABLISHED"."""
        found = self.image.find_enumerator(name)
        if found is None:
            return None
        number, at = found
        record = self.image.record(number)
        assert record is not None
        kind, _, info, _, _ = record
        wide = kind == btf_image.ENUM64
        value = self.image.bytes_at(at + 4, 8 if wide else 4)
        return int.from_bytes(value, "little", signed=bool(info & _KFLAG))

    def record_names(self) -> Iterable[str]:
        """The names of all structs and unions, with their keyword."""
        names: dict[str, None] = {}
        for number in range(1, self.image.count):
            record = self.image.record(number)
            assert record is not None
            kind, name, _, _, _ = record
            if name and kind in _RECORD_KINDS:
                names[f"{_RECORD_KINDS[kind]} {self.image.string(name)}"] = None
        return list(names)

    def named(self, keyword: str, name: str | None = None) -> dict[str, list[int]]:
        """The numbers of all that is a `struct`, `union` or `enum` with a body and a name, or with this name, by name. Of a module
        those that the kernel does not have."""
        kinds = _KEYWORDS[keyword]
        if name is not None:
            numbers = sorted({number for number in self.image.find_all(name, kinds) if number >= self.image.first})
            return {name: numbers} if numbers else {}
        found: dict[str, list[int]] = {}
        for number in range(self.image.first, self.image.count):
            record = self.image.record(number)
            if record is not None and record[0] in kinds and record[1]:
                found.setdefault(self.image.string(record[1]), []).append(number)
        return found

    def definition(self, number: int) -> list[str]:
        """A struct, union or enum in C, line by line, indented with tabs."""
        from bpftrace_py.ktypes.btf_text import definition

        return definition(self.image, number)

    # --- functions

    def func_id(self, name: str) -> int | None:
        """The BTF number of a kernel function, which fentry programs are attached by."""
        return self._named_type(name, (btf_image.FUNCTION,))

    def function(self, name: str) -> tuple[tuple[tuple[str, Type], ...], Type] | None:
        """The named parameters and the return type of a kernel function. A nameless parameter is `arg0`, `arg1`, ..."""
        prototype = self._prototype(name)
        if prototype is None:
            return None
        parameters, result = prototype
        return tuple((name, self._type(number)) for name, number in parameters), self._type(result)

    def function_listing(self, name: str) -> list[str] | None:
        """What `-lv` prints under a function: its parameters in C, then `retval` unless it returns nothing."""
        prototype = self._prototype(name)
        if prototype is None:
            return None
        parameters, result = prototype
        lines = [f"    {_declaration(self._c_name(number), name)}" for name, number in parameters]
        if result:
            lines.append(f"    {_declaration(self._c_name(result), 'retval')}")
        return lines

    def raw_tracepoint(self, event: str) -> list[str] | None:
        """The types of the arguments of a tracepoint, in C. The kernel counts them by the same typedef, a pointer to a function
        with a `void *` of the tracepoint's own before them (TRACE_EVENT in include/trace/bpf_probe.h)."""
        number = self._named_type(f"btf_trace_{event}", (btf_image.TYPEDEF,))
        prototype = None
        for _ in range(2):  # the typedef, the pointer
            record = None if number is None else self.image.record(number)
            number = None if record is None else record[3]
        if number is not None:
            prototype = self._parameters(number)
        return None if prototype is None else [self._c_name(type_) for _, type_ in prototype[0][1:]]

    def _prototype(self, name: str) -> tuple[list[tuple[str, int]], int] | None:
        number = self.func_id(name)
        function = None if number is None else self.image.record(number)
        return None if function is None else self._parameters(function[3])

    def _parameters(self, number: int) -> tuple[list[tuple[str, int]], int] | None:
        """Names and types of the parameters, and the type of the result, of a function's type."""
        prototype = self.image.record(number)
        if prototype is None or prototype[0] != btf_image.PROTOTYPE:
            return None
        _, _, info, result, at = prototype
        parameters: list[tuple[str, int]] = []
        for i in range(info & 0xFFFF):
            name_at, number = self.image.words(at + 12 + 8 * i, 2)
            if number or name_at:  # both 0: the `...` of a variadic function
                parameters.append((self.image.string(name_at) or f"arg{i}", number))
        return parameters, result

    # --- types

    def _type(self, number: int, depth: int = 0) -> Type:
        """Our type for a BTF type. What is broken or too deep is `void`, which cannot be read."""
        known = self._converted.get(number)
        if known is None:
            known = self._convert(number, depth)
            if depth == 0:  # below, it may have been cut for its depth
                self._converted[number] = known
        return known

    def _convert(self, number: int, depth: int) -> Type:
        record = self.image.record(number)
        if record is None or depth > _MAX_DEPTH:
            return VOID
        kind, name, info, size, at = record
        if kind == btf_image.INT:
            return self._integer(size, self.image.words(at + 12, 1)[0], name)
        if kind == btf_image.POINTER:
            return self._pointer(size, depth)
        if kind == btf_image.ARRAY:
            element, _, count = self.image.words(at + 12, 3)
            return self._array(element, count, depth)
        if kind in _RECORD_KINDS:
            return self._record(number, kind, name, size)
        if kind in (btf_image.ENUM, btf_image.ENUM64):
            width = size if size in (1, 2, 4, 8) else 4
            return IntegerType(width, bool(info & _KFLAG), f"enum {self.image.string(name)}".rstrip())
        if kind == btf_image.FORWARD:
            return self._forward(name, btf_image.UNION if info & _FORWARD_UNION else btf_image.STRUCT)
        if kind == btf_image.TYPEDEF:
            return self._typedef(name, size, depth)
        if kind in _UNTYPED or kind in (btf_image.DECLARATION_TAG, btf_image.VARIABLE):
            return self._type(size, depth + 1)
        if kind in (btf_image.PROTOTYPE, btf_image.FUNCTION):
            return FunctionType()
        if kind == btf_image.FLOAT and size <= 16:
            return ArrayType(IntegerType(1, False), size)
        return VOID

    def _integer(self, size: int, encoding: int, name: int) -> Type:
        if size not in (1, 2, 4, 8):
            return ArrayType(IntegerType(1, False), size if size <= 64 else 0)  # __int128: not a number of ours
        # The kernel is compiled with -funsigned-char, but a program that says `char` gets C's.
        signed = bool(encoding >> 24 & 1) or (size == 1 and self.image.string(name) == "char")
        return IntegerType(size, signed)

    def _pointer(self, target: int, depth: int) -> Type:
        """A pointer to the type `target`, whose tags tell the address space."""
        space = "kernel"
        for _ in range(_MAX_DEPTH):
            record = self.image.record(target)
            if record is None or record[0] not in _UNTYPED:
                break
            if record[0] == btf_image.TYPE_TAG and self.image.string(record[1]) == "user":
                space = "user"
            target = record[3]
        return PointerType(self._type(target, depth + 1), space)

    def _array(self, element: int, count: int, depth: int) -> Type:
        type_ = self._type(element, depth + 1)
        if count and isinstance(type_, IntegerType) and type_.width == 1 and self._is_char(element):
            return StringType(count)
        return ArrayType(type_, count)

    def _is_char(self, number: int) -> bool:
        """`char`, by whatever name; not `unsigned char` or `u8`."""
        record = self.image.record(self._unqualified(number, (*_UNTYPED, btf_image.TYPEDEF)))
        return record is not None and record[0] == btf_image.INT and self.image.string(record[1]) == "char"

    def _unqualified(self, number: int, through: tuple[int, ...] = _UNTYPED) -> int:
        for _ in range(_MAX_DEPTH):
            record = self.image.record(number)
            if record is None or record[0] not in through:
                return number
            number = record[3]
        return 0

    def _record(self, number: int, kind: int, name: int, size: int) -> RecordType:
        keyword = _RECORD_KINDS[kind]
        if name:
            tag = self.image.string(name)
            # The name alone must lead back to this record, without a search for each that we come across.
            first = self._named.setdefault((tag, kind), number) == number
            text = f"{keyword} {tag}" if first else f"{keyword} {tag}#{number}"
        else:
            text = f"{keyword} (anonymous {number})"
        return RecordType(text + self._suffix_of(number), size, _largest_alignment(size))

    def _suffix_of(self, number: int) -> str:
        """What stands behind the name of a record."""
        image = self.image
        return self._suffix if isinstance(image, btf_image.ModuleImage) and image.is_own(number) else ""

    def _forward(self, name: int, kind: int) -> RecordType:
        """A declared record: the full one, if some part of the kernel has it."""
        tag = self.image.string(name)
        number = self._named_type(tag, (kind,))
        record = None if number is None else self.image.record(number)
        size = record[3] if record is not None else 0
        suffix = "" if number is None else self._suffix_of(number)
        return RecordType(f"{_RECORD_KINDS[kind]} {tag}{suffix}", size, _largest_alignment(size))

    def _typedef(self, name: int, target: int, depth: int) -> Type:
        record = self.image.record(self._unqualified(target))
        if record is not None and record[0] in _RECORD_KINDS and not record[1]:
            return RecordType(self.image.string(name) + self._suffix_of(target), record[3], _largest_alignment(record[3]))
        return self._type(target, depth + 1)

    # --- members

    def fields(self, record: RecordType) -> tuple[Field, ...] | None:
        """The members of a record, those of its anonymous members among them; None if BTF has no such record."""
        name = record.name
        if name not in self._fields:
            self._fields[name] = self._read_fields(name)
        return self._fields[name]

    def _read_fields(self, name: str) -> tuple[Field, ...] | None:
        number = self._number(name)
        if number is None:
            return None
        number = self._unqualified(number, (*_UNTYPED, btf_image.TYPEDEF))
        record = self.image.record(number)
        if record is None or record[0] not in _RECORD_KINDS:
            return None
        fields: list[Field] = []
        self._members_left = _MAX_MEMBERS
        self._add_members(number, 0, record[3], fields, 0)
        return tuple(fields)

    def _add_members(self, number: int, base: int, whole: int, fields: list[Field], depth: int) -> None:
        """Append the members of the record `number`, which stands `base` bits into one of `whole` bytes."""
        record = self.image.record(number)
        if record is None or record[0] not in _RECORD_KINDS or depth > _MAX_DEPTH:
            return
        _, _, info, _, at = record
        for i in range(info & 0xFFFF):
            self._members_left -= 1
            if self._members_left < 0:
                return
            name, member, offset = self.image.words(at + 12 + 12 * i, 3)
            width = offset >> 24 if info & _KFLAG else 0
            first = base + (offset & 0xFFFFFF if info & _KFLAG else offset)
            if not name:
                self._add_members(self._unqualified(member), first, whole, fields, depth + 1)
                continue
            field = self._member(self.image.string(name), member, first, width, whole)
            if field is not None:
                fields.append(field)

    def _member(self, name: str, member: int, first: int, width: int, whole: int) -> Field | None:
        type_ = self._type(member)
        if not width and isinstance(type_, IntegerType):
            first, width = self._old_bitfield(member, first, type_.width)
        if width and isinstance(type_, IntegerType):
            return bitfield(name, type_, first, width, whole)
        return None if first % 8 else Field(name, type_, first // 8)

    def _old_bitfield(self, member: int, first: int, width: int) -> tuple[int, int]:
        """Before `kflag` (Linux 4.20), a bit-field's width and place were in an integer type of its own."""
        record = self.image.record(self._unqualified(member, (*_UNTYPED, btf_image.TYPEDEF)))
        if record is None or record[0] != btf_image.INT:
            return first, 0
        encoding = self.image.words(record[4] + 12, 1)[0]
        bits = encoding & 0xFF
        if bits in (0, 8 * width):
            return first, 0
        return first + (encoding >> 16 & 0xFF), bits

    # --- C text

    def _c_name(self, number: int, depth: int = 0) -> str:
        """The type in C, as a cast would name it: `const char *`, `struct file *`, `u32[4]`."""
        if number == 0:
            return "void"
        record = self.image.record(number)
        if record is None or depth > _MAX_DEPTH:
            return "?"
        kind, name, info, size, at = record
        if kind == btf_image.POINTER:
            target = self._c_name(size, depth + 1)
            return f"{target}*" if target.endswith("*") else f"{target} *"
        if kind in _QUALIFIER_KINDS:
            target, qualifier = self._c_name(size, depth + 1), _QUALIFIER_KINDS[kind]
            return f"{target} {qualifier}" if target.endswith("*") else f"{qualifier} {target}"
        if kind in (btf_image.TYPE_TAG, btf_image.DECLARATION_TAG):
            return self._c_name(size, depth + 1)
        if kind == btf_image.ARRAY:
            element, _, count = self.image.words(at + 12, 3)
            return f"{self._c_name(element, depth + 1)}[{count}]"
        if kind == btf_image.PROTOTYPE:
            return "void"  # a pointer to a function reads as a pointer
        text = self.image.string(name) or "(anonymous)"
        keyword = {**_RECORD_KINDS, btf_image.ENUM: "enum", btf_image.ENUM64: "enum"}.get(kind)
        if kind == btf_image.FORWARD:
            keyword = "union" if info & _FORWARD_UNION else "struct"
        return f"{keyword} {text}" if keyword else text


def _declaration(type_: str, name: str) -> str:
    """`u32[4]`, `x` -> `u32 x[4]`."""
    base, bracket, dimensions = type_.partition("[")
    return f"{base} {name}{bracket}{dimensions}"


def _largest_alignment(size: int) -> int:
    """BTF has no alignments. A size is a multiple of its type's, so its lowest bit is an upper bound of it."""
    return min(size & -size, 8) or 1


def load(path: str | None = None) -> Btf | None:
    """The types of the running kernel, or those in a file (raw BTF, or an ELF file such as a vmlinux with debug
    information). None if there are none."""
    trusted = path is None
    try:
        with open(path or btf_image.KERNEL, "rb") as file:
            data = file.read(4)
            data = _elf_section(file.name) if data == b"\x7fELF" else data + file.read(btf_image.MAX_BYTES)
    except OSError:
        return None
    image = btf_image.parse(data, trusted)
    return None if image is None else Btf(image)


def load_module(kernel: Btf, module: str) -> Btf | None:
    """The types of a loaded kernel module; None if it has none."""
    try:
        with open(f"{btf_image.DIRECTORY}/{module}", "rb") as file:
            data = file.read()
    except OSError:
        return None
    image = btf_image.parse_module(data, kernel.image)
    return None if image is None else Btf(image, module)


def modules() -> list[str]:
    """The loaded modules that have types."""
    try:
        return sorted(name for name in os.listdir(btf_image.DIRECTORY) if name != "vmlinux")
    except OSError:
        return []


def _elf_section(path: str) -> bytes:
    """The `.BTF` section of an ELF file; empty if it has none."""
    from bpftrace_py.symbols.elf import ElfError, ElfFile

    try:
        elf = ElfFile(path)
        section = elf.section(".BTF")
        return elf.data(section) if section is not None else b""
    except ElfError:
        return b""
