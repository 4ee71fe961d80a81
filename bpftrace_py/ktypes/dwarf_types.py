"""Types of a traced program, from its debug information: `host.UserTypes`.

A record is called as in C, followed by the file it is of ("struct point of ./a.out"), since the kernel and other files may
have records of that name; where the file has several of one name, those met after the first have their place behind it
("struct point#2a"). A member's address space is the process's.
"""

from __future__ import annotations

from bpftrace_py.host import Leaf, UserParameter
from bpftrace_py.ktypes.bitfields import bitfield
from bpftrace_py.symbols.dwarf import DebugInformation, guarded, origin, referenced
from bpftrace_py.symbols.file_reader import ElfError
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

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_MAX_DEPTH = 32  # of types around one another
_MAX_MEMBERS = 1 << 16
_MAX_WORDS = 64  # bytes; a larger parameter is in memory whatever it is made of
_RECORDS = {
    "DW_TAG_structure_type": "struct", "DW_TAG_class_type": "class", "DW_TAG_union_type": "union",
}  # fmt: skip
_KEYWORDS = {
    # C++ does not care which of the two words it is.
    "struct": ("DW_TAG_structure_type", "DW_TAG_class_type"), "class": ("DW_TAG_structure_type", "DW_TAG_class_type"),
    "union": ("DW_TAG_union_type",), "enum": ("DW_TAG_enumeration_type",),
}  # fmt: skip
_QUALIFIERS = {
    "DW_TAG_const_type": "const", "DW_TAG_volatile_type": "volatile", "DW_TAG_restrict_type": "restrict",
    "DW_TAG_atomic_type": "_Atomic", "DW_TAG_immutable_type": "", "DW_TAG_packed_type": "",
}  # fmt: skip
_POINTERS = {
    "DW_TAG_pointer_type": "*", "DW_TAG_reference_type": "&", "DW_TAG_rvalue_reference_type": "&&",
}  # fmt: skip
# Encodings of base types (DW_ATE_...).
_COMPLEX, _FLOATS, _SIGNED = 3, (3, 4, 15), (5, 6, 13)
_DW_OP_PLUS_UCONST = 0x23
_PASSED_BY_REFERENCE = 4  # DW_CC_pass_by_reference


class DwarfTypes:
    """The types of one file; `name` is what users call it. Methods give None where the file does not say."""

    def __init__(self, information: DebugInformation, name: str) -> None:
        self._information = information
        self._name = name
        self._known: dict[str, DIE | None] = {}  # record name -> its entry
        self._names: dict[tuple[int, int], str] = {}  # which entry -> record name
        self._fields: dict[str, tuple[Field, ...] | None] = {}

    # --- names

    def find(self, name: str) -> Type | None:
        """The type of "struct point", "union x", "enum y", "class Z", or of a typedef or base type."""
        try:
            with guarded():
                die = self._find(name)
                return None if die is None else self._type(die)
        except ElfError:
            return None

    def _find(self, name: str) -> DIE | None:
        keyword, space, tag = name.partition(" ")
        if space and keyword in _KEYWORDS:
            return next(self._information.named(tag, _KEYWORDS[keyword]), None)
        return next(self._information.named(name, ("DW_TAG_typedef", "DW_TAG_base_type")), None)

    def enumerator(self, name: str) -> int | None:
        """The value of an enum constant."""
        try:
            with guarded():
                die = next(self._information.named(name, ("DW_TAG_enumerator",)), None)
                value = None if die is None else die.attributes["DW_AT_const_value"].value
                return value if isinstance(value, int) else None
        except ElfError:
            return None

    # --- functions

    def function(self, address: int, name: str) -> tuple[tuple[UserParameter, ...], UserParameter | None] | None:
        """The parameters of the function at an address of the file, and its result (None: void)."""
        try:
            with guarded():
                die = self._information.function(address, name)
                if die is None:
                    return None
                parameters = tuple(self._parameter(p, i) for i, p in enumerate(_formal_parameters(die)))
                result = _attribute_type(die)
                return parameters, None if result is None else self._passed("", result)
        except ElfError:
            return None

    def function_listing(self, address: int, name: str) -> list[str] | None:
        """What `-lv` prints under a function: its parameters in C."""
        try:
            with guarded():
                die = self._information.function(address, name)
                if die is None:
                    return None
                return [
                    f"    {_c_name(_attribute_type(p))} {_name(p) or f'arg{i}'}" for i, p in enumerate(_formal_parameters(die))
                ]
        except ElfError:
            return None

    def _parameter(self, die: DIE, index: int) -> UserParameter:
        type_die = _attribute_type(die)
        name = _name(die) or f"arg{index}"
        return UserParameter(name, VOID, 0, 1, ()) if type_die is None else self._passed(name, type_die)

    def _passed(self, name: str, die: DIE) -> UserParameter:
        """A value as it is handed over: what it is made of decides where."""
        bare = _definition(_bare(die), self._information)
        size = _size(bare)
        leaves: list[Leaf] = []
        if size <= _MAX_WORDS:
            _collect_leaves(bare, 0, leaves, 0)
        alignment = max((min(leaf.size, 16) for leaf in leaves), default=1)
        return UserParameter(name, self._type(die), size, alignment, tuple(leaves), self._by_reference(bare, 0))

    def _by_reference(self, die: DIE, depth: int) -> bool:
        """Whether an object is handed over by its address: one that C++ does not let be copied byte by byte, having a
        destructor, a copy constructor, virtual functions, or a part that has. clang says so, gcc does not."""
        if die.tag not in _RECORDS or depth > _MAX_DEPTH:
            return False
        said = _number(die, "DW_AT_calling_convention")
        if said is not None:
            return said == _PASSED_BY_REFERENCE
        for child in die.iter_children():
            if child.tag == "DW_TAG_subprogram" and _forbids_copying(child, _name(die).partition("<")[0]):
                return True
            target = _attribute_type(child) if _member_place(child) is not None else None
            if target is not None and self._by_reference(_definition(_bare(target), self._information), depth + 1):
                return True
        return False

    # --- types

    def _type(self, die: DIE | None, depth: int = 0) -> Type:
        if die is None or depth > _MAX_DEPTH:
            return VOID
        tag = die.tag
        if tag in _QUALIFIERS or tag == "DW_TAG_typedef":
            target = _attribute_type(die)
            if tag == "DW_TAG_typedef" and target is not None and target.tag in _RECORDS and not _name(target):
                return self._record(target, _name(die))
            return self._type(target, depth + 1)
        if tag in _POINTERS:
            return PointerType(self._type(_attribute_type(die), depth + 1), "user")
        if tag in _RECORDS:
            return self._record(_definition(die, self._information), "")
        if tag == "DW_TAG_base_type":
            return _base_type(die)
        if tag == "DW_TAG_enumeration_type":
            underlying = self._type(_attribute_type(die), depth + 1)
            signed = isinstance(underlying, IntegerType) and underlying.signed
            return IntegerType(_width(_size(die)), signed, f"enum {_name(die)}".rstrip())
        if tag == "DW_TAG_array_type":
            return self._array(die, depth)
        return FunctionType() if tag in ("DW_TAG_subroutine_type", "DW_TAG_subprogram") else VOID

    def _array(self, die: DIE, depth: int) -> Type:
        element = _attribute_type(die)
        type_ = self._type(element, depth + 1)
        counts = _dimensions(die)
        if isinstance(type_, IntegerType) and type_.width == 1 and counts and counts[-1] and _is_char(element):
            type_ = StringType(counts.pop())
        for count in reversed(counts):
            type_ = ArrayType(type_, count)
        return type_

    def _record(self, die: DIE, typedef: str) -> RecordType:
        key = (id(die.dwarfinfo), die.offset)
        name = self._names.get(key)
        if name is None:
            tag = _name(die)
            text = f"{_RECORDS[str(die.tag)]} {tag}" if tag else typedef or f"struct (anonymous {die.offset:x})"
            name = f"{text} of {self._name}"
            if name in self._known:
                name = f"{text}#{die.offset:x} of {self._name}"
            self._names[key] = name
            self._known[name] = die
        size = _size(die)
        return RecordType(name, size, min(size & -size, 8) or 1)

    # --- members

    def fields(self, record: RecordType) -> tuple[Field, ...] | None:
        """The members of a record of this file, those of its anonymous members and base classes among them."""
        name = record.name
        if name not in self._fields:
            die = self._known.get(name)
            fields: list[Field] = []
            try:
                with guarded():
                    if die is None or "DW_AT_declaration" in die.attributes:
                        return None
                    self._add_members(die, 0, _size(die), fields, 0)
            except ElfError:
                return None
            self._fields[name] = tuple(fields)
        return self._fields[name]

    def _add_members(self, die: DIE, base: int, whole: int, fields: list[Field], depth: int) -> None:
        """Append the members of the record `die`, which stands `base` bytes into one of `whole` bytes."""
        if depth > _MAX_DEPTH:
            return
        for child in die.iter_children():
            place = _member_place(child)
            if place is None or len(fields) >= _MAX_MEMBERS:
                continue
            type_die = _attribute_type(child)
            name = _name(child)
            if child.tag == "DW_TAG_inheritance" or not name:
                bare = _bare(type_die) if type_die is not None else None
                if bare is not None and bare.tag in _RECORDS:
                    inner = _definition(bare, self._information)
                    self._add_members(inner, base + place // 8, whole, fields, depth + 1)
                continue
            type_ = self._type(type_die)
            width = _number(child, "DW_AT_bit_size")
            if width is not None and isinstance(type_, IntegerType):
                field = bitfield(name, type_, 8 * base + _bit_place(child, place, width, type_), width, whole)
                if field is not None:
                    fields.append(field)
            elif place % 8 == 0:
                fields.append(Field(name, type_, base + place // 8))


# --- entries


def _name(die: DIE) -> str:
    for entry in origin(die):
        if "DW_AT_name" in entry.attributes:
            value = entry.attributes["DW_AT_name"].value
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
    return ""


def _number(die: DIE, attribute: str) -> int | None:
    found = die.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else None


def _attribute_type(die: DIE) -> DIE | None:
    """The type that an entry names, itself or in the entry that it continues."""
    for entry in origin(die):
        if "DW_AT_type" in entry.attributes:
            return referenced(entry, "DW_AT_type")
    return None


def _formal_parameters(die: DIE) -> list[DIE]:
    """Those of the entry itself or, where it lists none, of the one that it is a copy of."""
    for entry in origin(die):
        found = [child for child in entry.iter_children() if child.tag == "DW_TAG_formal_parameter"]
        # What compilers describe destructors with; no caller hands it over.
        found = [child for child in found if _name(child) != "__in_chrg"]
        if found:
            return found
    return []


def _bare(die: DIE) -> DIE:
    """Without qualifiers and typedefs. `void` behind them is the last of them."""
    for _ in range(_MAX_DEPTH):
        if die.tag not in _QUALIFIERS and die.tag != "DW_TAG_typedef":
            return die
        target = _attribute_type(die)
        if target is None:
            return die
        die = target
    return die


def _forbids_copying(function: DIE, record: str) -> bool:
    """Whether a member function of a record is such that its objects cannot be copied byte by byte."""
    if "DW_AT_virtuality" in function.attributes:
        return True
    if "DW_AT_artificial" in function.attributes or "DW_AT_defaulted" in function.attributes:
        return False  # the compiler's own: what the members are decides
    name = _name(function).partition("<")[0]
    if name == f"~{record}":
        return True
    parameters = [p for p in function.iter_children() if p.tag == "DW_TAG_formal_parameter" and not _is_artificial(p)]
    first = _attribute_type(parameters[0]) if name == record and len(parameters) == 1 else None
    if first is None or first.tag not in ("DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"):
        return False
    target = _attribute_type(first)
    return target is not None and _name(_bare(target)).partition("<")[0] == record


def _is_artificial(die: DIE) -> bool:
    return "DW_AT_artificial" in die.attributes


def _definition(die: DIE, information: DebugInformation) -> DIE:
    """The full record of one that is only declared here, if the file has it."""
    if "DW_AT_signature" in die.attributes:
        return referenced(die, "DW_AT_signature")
    if "DW_AT_declaration" not in die.attributes or not _name(die):
        return die
    return next(information.named(_name(die), (str(die.tag),)), die)


def _size(die: DIE, depth: int = 0) -> int:
    """In bytes; 0 if it is not known."""
    if depth > _MAX_DEPTH:
        return 0
    size = _number(die, "DW_AT_byte_size")
    if size is not None:
        return max(size, 0)
    if die.tag in _POINTERS:
        return int(die.cu["address_size"])
    target = _attribute_type(die)
    if target is None:
        return 0
    size = _size(target, depth + 1)
    if die.tag == "DW_TAG_array_type":
        for count in _dimensions(die):
            size *= count
    return size


def _width(size: int) -> int:
    return size if size in (1, 2, 4, 8) else 4


def _base_type(die: DIE) -> Type:
    size, encoding = _size(die), _number(die, "DW_AT_encoding")
    if encoding in _FLOATS or size not in (1, 2, 4, 8):
        return ArrayType(IntegerType(1, False), min(size, _MAX_WORDS))  # not a number of ours
    return IntegerType(size, encoding in _SIGNED)


def _is_char(die: DIE | None) -> bool:
    """`char`, by whatever name; not `unsigned char` or `uint8_t`."""
    return die is not None and _name(_bare(die)) == "char"


def _dimensions(die: DIE) -> list[int]:
    counts = []
    for child in die.iter_children():
        if child.tag == "DW_TAG_subrange_type":
            count, last = _number(child, "DW_AT_count"), _number(child, "DW_AT_upper_bound")
            counts.append(max(count, 0) if count is not None else (last + 1) & 0xFFFFFFFF if last is not None else 0)
    return counts or [0]


def _member_place(die: DIE) -> int | None:
    """Where a member or base class is, in bits; None for what is no part of the object, or moves (virtual bases)."""
    if die.tag not in ("DW_TAG_member", "DW_TAG_inheritance") or "DW_AT_external" in die.attributes:
        return None
    bits = _number(die, "DW_AT_data_bit_offset")
    if bits is not None:
        return bits
    found = die.attributes.get("DW_AT_data_member_location")
    if found is None:
        return 0  # of a union
    if isinstance(found.value, list) and found.value[:1] == [_DW_OP_PLUS_UCONST]:  # up to DWARF 3
        operand: list[int] = found.value[1:]
        return 8 * sum((byte & 0x7F) << 7 * at for at, byte in enumerate(operand))
    return 8 * found.value if isinstance(found.value, int) else None


def _bit_place(die: DIE, place: int, width: int, type_: IntegerType) -> int:
    """The first bit of a bit-field. Up to DWARF 3, it was counted from the other end of its storage."""
    old = _number(die, "DW_AT_bit_offset")
    if old is None:
        return place
    storage = _number(die, "DW_AT_byte_size") or type_.width
    return place + 8 * storage - old - width


def _collect_leaves(die: DIE, base: int, leaves: list[Leaf], depth: int) -> None:
    """Append each scalar in a value."""
    if depth > _MAX_DEPTH or len(leaves) > 4 * _MAX_WORDS:
        return
    if die.tag in _RECORDS:
        for child in die.iter_children():
            place, target = _member_place(child), _attribute_type(child)
            if place is not None and target is not None:
                _collect_leaves(_bare(target), base + place // 8, leaves, depth + 1)
    elif die.tag == "DW_TAG_array_type":
        element = _attribute_type(die)
        if "DW_AT_GNU_vector" in die.attributes:
            leaves.append(Leaf(base, _size(die), "float"))
        elif element is not None:
            bare = _bare(element)
            step = _size(bare)
            for at in range(base, base + _size(die), step) if step else ():
                _collect_leaves(bare, at, leaves, depth + 1)
    elif _size(die):
        encoding, size = _number(die, "DW_AT_encoding"), _size(die)
        kind = "integer" if encoding not in _FLOATS else "extended" if "long double" in _name(die) else "float"
        parts = 2 if encoding == _COMPLEX else 1
        leaves += [Leaf(base + part * size // parts, size // parts, kind) for part in range(parts)]


def _c_name(die: DIE | None, depth: int = 0) -> str:
    """The type in C: `const char*`, `struct point*`, `long int`."""
    if die is None or depth > _MAX_DEPTH:
        return "void"
    target = _attribute_type(die)
    if die.tag in _POINTERS:
        return _c_name(target, depth + 1) + _POINTERS[str(die.tag)]
    if die.tag in _QUALIFIERS:
        inner, word = _c_name(target, depth + 1), _QUALIFIERS[str(die.tag)]
        return f"{inner} {word}" if inner[-1] in "*&" else f"{word} {inner}"
    if die.tag == "DW_TAG_array_type":
        return _c_name(target, depth + 1) + "".join(f"[{count}]" for count in _dimensions(die))
    keyword = {**_RECORDS, "DW_TAG_enumeration_type": "enum"}.get(str(die.tag))
    if die.tag == "DW_TAG_subroutine_type":
        return "void"  # a pointer to a function reads as a pointer
    return f"{keyword} {_name(die) or '(anonymous)'}" if keyword else _name(die) or "(anonymous)"


def load(path: str) -> DwarfTypes | None:
    """The types of a program or library; None if it has no debug information that can be read."""
    from bpftrace_py.symbols.dwarf import open_debug_information
    from bpftrace_py.symbols.elf import open_elf

    try:
        information = open_debug_information(open_elf(path))
    except ElfError:
        return None
    return None if information is None else DwarfTypes(information, path.rpartition("/")[2])
