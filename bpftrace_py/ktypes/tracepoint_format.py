"""What a tracepoint's record holds, from the text of its `format` file in tracefs.

The file gives each field's place, size and sign; the declared C type tells the rest: what is a pointer and to what,
what is text, what is an array. Sizes and signs are taken from the file, with one exception: the files of system calls
(`syscalls:sys_enter_*`) give every argument as 8 unsigned bytes, since a register is what the kernel saved. There the
declared type decides: the upper half of a register that holds an int means nothing.
"""

from __future__ import annotations

from bpftrace_py.record import record
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

_MAX_EXTENT = 1 << 16  # of a record; perf's limit is 8 KiB
_QUALIFIERS = frozenset(
    ("const", "volatile", "restrict", "__user", "__kernel", "__percpu", "__rcu", "__iomem", "__seg_gs", "__seg_fs")
)

# The integer types that C, the kernel and its headers have names for: (bytes, signed).
INTEGERS: dict[str, tuple[int, bool]] = {
    "bool": (1, False), "_Bool": (1, False),
    "char": (1, True), "signed char": (1, True), "unsigned char": (1, False),
    "short": (2, True), "short int": (2, True), "unsigned short": (2, False), "unsigned short int": (2, False),
    "int": (4, True), "signed int": (4, True), "unsigned": (4, False), "unsigned int": (4, False), "uint": (4, False),
    "long": (8, True), "long int": (8, True), "unsigned long": (8, False), "unsigned long int": (8, False),
    "long unsigned int": (8, False), "long long": (8, True), "long long int": (8, True),
    "unsigned long long": (8, False), "long long unsigned int": (8, False),
    **{f"{prefix}{sign}{8 * width}": (width, sign == "s")
       for width in (1, 2, 4, 8) for sign in "su" for prefix in ("", "__")},
    **{f"{'' if signed else 'u'}int{8 * width}_t": (width, signed)
       for width in (1, 2, 4, 8) for signed in (False, True)},
    "size_t": (8, False), "ssize_t": (8, True), "loff_t": (8, True), "off_t": (8, True), "ino_t": (8, False),
    "sector_t": (8, False), "dma_addr_t": (8, False), "phys_addr_t": (8, False), "aio_context_t": (8, False),
    "__kernel_old_time_t": (8, True), "time64_t": (8, True),
    "pid_t": (4, True), "uid_t": (4, False), "gid_t": (4, False), "dev_t": (4, False), "gfp_t": (4, False),
    "umode_t": (2, False), "key_t": (4, True), "key_serial_t": (4, True), "mqd_t": (4, True), "clockid_t": (4, True),
    "timer_t": (4, True), "rwf_t": (4, True), "qid_t": (4, False), "sa_family_t": (2, False),
}  # fmt: skip

_POINTER_TYPEDEFS: dict[str, Type] = {
    "cap_user_header_t": RecordType("struct __user_cap_header_struct"),
    "cap_user_data_t": RecordType("struct __user_cap_data_struct"),
    "fl_owner_t": VOID,
    "xfs_failaddr_t": VOID,
    "initcall_t": FunctionType(),
}


@record(frozen=True)
class TracepointFormat:
    """A tracepoint's record.

    `fields` leaves out the `common_` header of 8 bytes, whose names are in `common`; `declarations[i]` is the C text of
    `fields[i]`, such as `const char * filename`; `size` is the number of bytes of the record's fixed part.
    """

    id: int
    name: str
    fields: tuple[Field, ...]
    declarations: tuple[str, ...]
    common: tuple[str, ...]
    size: int

    def field(self, name: str) -> Field | None:
        """The field of that name."""
        return next((f for f in self.fields if f.name == name), None)

    def listing(self) -> list[str]:
        """The fields as `-lv` prints them, one line each: `    const char * filename;`."""
        return [f"    {declaration};" for declaration in self.declarations]


def parse(text: str) -> TracepointFormat | None:
    """The record that a format file describes; None if the text is not that of a format file."""
    name = ""
    identifier: int | None = None
    fields: list[Field] = []
    declarations: list[str] = []
    common: list[str] = []
    size = 0
    for line in text.split("\n"):
        line = line.strip()
        if line.startswith("field:"):
            parts = _split_field(line)
            if parts is None:
                return None
            declaration, offset, width, signed = parts
            field = _parse_field(declaration, offset, width, signed, name.startswith("sys_enter_"))
            if field is None:
                return None
            size = max(size, offset + width)
            if field.name.startswith("common_") and offset < 8:
                common.append(field.name)
            else:
                fields.append(field)
                declarations.append(declaration)
        elif line.startswith("name:") and not name:
            name = line[5:].strip()
        elif line.startswith("ID:") and identifier is None:
            identifier = _number(line[3:].strip(), 1 << 31)
        elif line.startswith("print fmt:"):
            break
    if identifier is None or not name:
        return None
    return TracepointFormat(identifier, name, tuple(fields), tuple(declarations), tuple(common), size)


def _number(text: str, limit: int) -> int | None:
    """A decimal number below `limit`."""
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    value = int(text)
    return value if value < limit else None


def _split_field(line: str) -> tuple[str, int, int, bool | None] | None:
    """(declaration, offset, size, signed) of `field:...;<tab>offset:8;<tab>size:4;<tab>signed:1;`.

    Kernels before 2.6.33 had no `signed`: it is None there.
    """
    parts = [part.strip() for part in line.split(";")]
    if len(parts) < 4 or parts[-1] or not parts[1].startswith("offset:") or not parts[2].startswith("size:"):
        return None
    offset = _number(parts[1][7:], _MAX_EXTENT)
    size = _number(parts[2][5:], _MAX_EXTENT)
    if offset is None or size is None or parts[3] not in ("signed:0", "signed:1", ""):
        return None
    return parts[0][6:].strip(), offset, size, None if not parts[3] else parts[3] == "signed:1"


def _parse_field(declaration: str, offset: int, size: int, signed: bool | None, system_call: bool) -> Field | None:
    space = "user" if system_call else "kernel"
    if "(" in declaration:  # void (*function)(int)
        before, _, after = declaration.partition("(*")
        name = after.partition(")")[0].strip()
        if not before.strip() or not name.isidentifier() or size != 8:
            return None
        return Field(name, PointerType(FunctionType(), space), offset)
    text, dimensions = _take_dimensions(declaration)
    at = len(text)
    while at and (text[at - 1].isalnum() or text[at - 1] == "_"):
        at -= 1
    name, base = text[at:], text[:at].strip()
    if not name.isidentifier() or not base:
        return None
    location, _, rest = base.partition(" ")
    if location in ("__data_loc", "__rel_loc"):
        if size != 4:
            return None
        element, _ = _take_dimensions(rest.strip())
        pointer = PointerType(_pointee(element.strip(), "kernel"), "kernel")
        return Field(name, pointer, offset, data_loc=True, rel_loc=location == "__rel_loc")
    if dimensions is not None:
        type_ = _array(base, dimensions, size, signed, space)
    else:
        type_ = _scalar(base, size, signed, space, system_call)
    return Field(name, type_, offset)


def _take_dimensions(text: str) -> tuple[str, list[str] | None]:
    """`u8 x[4][6]` -> ("u8 x", ["4", "6"]); None where no brackets end the text."""
    text = text.strip()
    dimensions: list[str] = []
    while text.endswith("]"):
        start = text.rfind("[")
        if start < 0:
            break
        dimensions.insert(0, text[start + 1 : -1].strip())
        text = text[:start].strip()
    return text, dimensions or None


def _unqualified(base: str) -> tuple[str, int]:
    """The type's name without qualifiers, and the number of `*` behind it."""
    words = base.replace("*", " ").split()
    return " ".join(word for word in words if word not in _QUALIFIERS), base.count("*")


def _scalar(base: str, size: int, signed: bool | None, space: str, system_call: bool) -> Type:
    name, stars = _unqualified(base)
    if stars and size == 8:
        return PointerType(_pointee(base.rstrip()[: base.rstrip().rfind("*")], space), space)
    if name in _POINTER_TYPEDEFS and size == 8:
        return PointerType(_POINTER_TYPEDEFS[name], space)
    if name.startswith(("struct ", "union ")):
        return RecordType(name, size, min(size & -size, 8) or 1)
    if size not in (1, 2, 4, 8):
        return ArrayType(IntegerType(1, False), size)
    enum = name if name.startswith("enum ") else None
    width, declared_signed = INTEGERS.get(name, (4, False) if enum else (size, False))
    if system_call and size == 8:
        return IntegerType(width, declared_signed, enum)
    return IntegerType(size, declared_signed if signed is None else signed, enum)


def _array(base: str, dimensions: list[str], size: int, signed: bool | None, space: str) -> Type:
    """`size` bytes of elements; `char` is text. The file's size counts, should it not go with the dimensions."""
    name, stars = _unqualified(base)
    if name == "char" and not stars and len(dimensions) == 1 and size:
        return StringType(size)
    counts = [_number(text, _MAX_EXTENT) for text in dimensions]
    known = 1
    for count in counts:
        known *= count or 0
    if known and size % known == 0 and size:  # all dimensions are numbers that go with the size
        element = _element(name, base, size // known, signed, space)
        for count in reversed(counts):
            element = ArrayType(element, count or 0)
        return element
    # `[]`, or the kernel left a macro's name in the brackets: as many elements as there is room for.
    element = _pointee(base, space)
    if element.size == 0 or size % element.size:
        element = IntegerType(1, False)
    return ArrayType(element, size // element.size)


def _element(name: str, base: str, width: int, signed: bool | None, space: str) -> Type:
    if "*" in base or name.startswith(("struct ", "union ")):
        return _scalar(base, width, signed, space, system_call=False)
    if width not in (1, 2, 4, 8):
        return RecordType(name, width, min(width & -width, 8))
    return _scalar(base, width, signed, space, system_call=False)


def _pointee(base: str, space: str) -> Type:
    """The type that `base` names: what a pointer points at. A typedef that is not in our table is taken for a record:
    the kernel's types know it under that name."""
    name, stars = _unqualified(base)
    if stars:
        return PointerType(_pointee(base.rstrip()[: base.rstrip().rfind("*")], space), space)
    if name in INTEGERS:
        return IntegerType(*INTEGERS[name])
    if name.startswith("enum "):
        return IntegerType(4, False, name)
    if name == "void" or not name:
        return VOID
    if name in _POINTER_TYPEDEFS:
        return PointerType(_POINTER_TYPEDEFS[name], space)
    return RecordType(name)
