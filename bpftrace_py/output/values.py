"""Values of the language in user space: from the bytes that the kernel wrote to a Python value, and from that to text.

A value is decoded in two steps. `struct_code` says how its bytes are taken out of a record or key, one `struct` item a
value; `item_decoder` makes the Python value of that item:

    integer, pointer, enum           int, of the type's own size and sign
    string, buffer                   bytes (a string is cut at its NUL)
    array, tuple, record             tuple of values, a record's in the order of its fields
    kernel symbol, username, probe,
    func, timestamp, cgroup path,
    error name                       int
    kernel stack                     int, its id
    user stack, user symbol          (id or address, pid, probe id)
    inet                             (address family, 16 bytes)
    MAC address                      6 bytes
    count, sum, min, max             int
    avg, stats                       (count, total)
    hist, lhist                      the counts of all buckets

`Texts` turns such a value into what is printed.
"""

from __future__ import annotations

import struct

from bpftrace_py import types
from bpftrace_py.output import late_strings
from bpftrace_py.types import Field, RecordType, Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Protocol, TypeAlias
else:
    Protocol = object

Value: TypeAlias = "Any"  # one of the shapes above
Fields: TypeAlias = "Mapping[str, tuple[Field, ...]]"  # of the records in a unit, by `RecordType.name`

_INTEGER_CODES = {(1, True): "b", (2, True): "h", (4, True): "i", (8, True): "q"}
_INTEGER_CODES |= {(width, False): code.upper() for (width, _), code in _INTEGER_CODES.items()}
_NUMBERED = (
    types.KsymType, types.UsernameType, types.ProbeNameType, types.FunctionNameType, types.TimestampType,
    types.CgroupPathType, types.ErrorNameType, types.PointerType,
)
_RESOLVED: dict[type[Type], str] = {  # the method of `Resolver` that makes text of the number
    types.KsymType: "kernel_symbol",
    types.UsernameType: "username",
    types.ErrorNameType: "error_name",
    types.ProbeNameType: "probe_name",
    types.FunctionNameType: "function_name",
}
AF_INET, AF_INET6 = 2, 10
KEY_INDENT, VALUE_INDENT = 4, 8  # columns before a stack's frames, in a map's key and everywhere else


class Resolver(Protocol):
    """What names the numbers in values. Text that is not UTF-8 comes as surrogate escapes.

    No method raises for a number that nobody knows: it answers with the text to print, such as "0x7f001234".
    """

    def kernel_symbol(self, address: int) -> str: ...

    def user_symbol(self, address: int, pid: int, probe_id: int) -> str: ...

    def stack(self, type: types.StackType, stack_id: int, pid: int, probe_id: int) -> str:
        """The frames, innermost first, one a line in the type's mode; "" if there is none. `pid` and `probe_id` are 0
        for a kernel stack. How far the lines are indented is for the printer to say: blanks around them are dropped."""

    def username(self, uid: int) -> str: ...

    def timestamp(self, format: str, nanoseconds: int) -> str:
        """`nanoseconds` since boot as strftime(3) formats it."""

    def cgroup_path(self, filter: str, cgroup_id: int) -> str: ...

    def error_name(self, number: int) -> str: ...

    def probe_name(self, index: int) -> str: ...

    def function_name(self, index: int) -> str: ...


# --- from bytes to values


def struct_code(type: Type) -> str:
    """How one value of a type is taken out of memory by `struct`: always one item."""
    if isinstance(type, types.IntegerType):
        return _INTEGER_CODES[type.width, type.signed]
    if isinstance(type, _NUMBERED) or (isinstance(type, types.StackType) and not type.user):
        return "Q"
    if isinstance(type, (types.CountType, types.SumType, types.MinType, types.MaxType)):
        return "q" if getattr(type, "signed", False) else "Q"
    return f"{type.size}s"


def struct_layout(elements: Iterable[Type], codes: Iterable[str] | None = None) -> str:
    """The `struct` format of `TupleType(elements)`, its padding included: one item an element.

    `codes` replaces what `struct_code` says of each element, by codes of the same sizes.
    """
    tuple_type = types.TupleType(tuple(elements))
    at, parts = 0, ["="]
    for element, offset, code in zip(
        tuple_type.elements, tuple_type.offsets, codes or map(struct_code, tuple_type.elements), strict=True
    ):
        if offset > at:
            parts.append(f"{offset - at}x")
        parts.append(code)
        at = offset + element.size
    if tuple_type.size > at:
        parts.append(f"{tuple_type.size - at}x")
    return "".join(parts)


def cut_string(raw: bytes) -> bytes:
    """The bytes before the first NUL; see `late_strings` for a string that is still to be read."""
    text = raw.split(b"\0", 1)[0]
    return text if text or raw[:8] != late_strings.MARK else late_strings.read(raw)


def _cut_copied(raw: bytes) -> bytes:
    return raw.split(b"\0", 1)[0]


def _cut_buffer(raw: bytes) -> bytes:
    # The length is what the kernel counted; a damaged one finds the end of the bytes.
    return raw[4 : 4 + _length(raw)[0]]


_length = struct.Struct("=I").unpack_from


def item_decoder(type: Type, fields: Fields | None = None, copied: bool = False) -> Callable[[Any], Value] | None:
    """What makes the Python value of a `struct` item; None where the item is the value.

    A record whose fields are not in `fields` is decoded to its bytes. `copied`: the bytes are a copy of memory of the
    traced, as in records and arrays, so that what looks like a mark of ours (`late_strings`) is none.
    """
    if isinstance(type, types.StringType):
        return _cut_copied if copied else cut_string
    if isinstance(type, types.BufferType):
        return _cut_buffer
    if isinstance(type, types.UsymType) or (isinstance(type, types.StackType) and type.user):
        return struct.Struct("=QII").unpack
    if isinstance(type, types.InetType):
        return struct.Struct("=I16s").unpack
    if isinstance(type, (types.AvgType, types.StatsType)):
        return struct.Struct("=Qq" if type.signed else "=QQ").unpack
    if isinstance(type, types.TupleType):
        return _sequence_decoder(struct_layout(type.elements), type.elements, fields, copied)
    if isinstance(type, types.ArrayType):
        elements = (type.element,) * type.count
        return _sequence_decoder("=" + struct_code(type.element) * type.count, elements, fields, copied=True)
    if isinstance(type, RecordType) and fields and type.name in fields:
        return _record_decoder(fields[type.name], fields)
    return None


def _sequence_decoder(
    layout: str, elements: tuple[Type, ...], fields: Fields | None, copied: bool = False
) -> Callable[[bytes], Value]:
    unpack = struct.Struct(layout).unpack
    decoders = [item_decoder(element, fields, copied) for element in elements]
    if not any(decoders):
        return unpack
    return lambda raw: tuple(
        [decode(item) if decode else item for decode, item in zip(decoders, unpack(raw), strict=True)]
    )


def _record_decoder(members: tuple[Field, ...], fields: Fields) -> Callable[[bytes], Value]:
    steps, needed = [], 0
    for member in members:
        needed = max(needed, member.offset + member.type.size)
        unpack_from = struct.Struct("=" + struct_code(member.type)).unpack_from
        decode = item_decoder(member.type, fields, copied=True) or _same
        if member.bitfield:
            decode = _bits(member.bitfield.shift, (1 << member.bitfield.width) - 1)
        steps.append((unpack_from, member.offset, decode))

    def decode_record(raw: bytes) -> Value:
        whole = raw.ljust(needed, b"\0")  # the unit of a last bit field may reach over the record's end
        return tuple([decode(unpack_from(whole, offset)[0]) for unpack_from, offset, decode in steps])

    return decode_record


def _same(item: Value) -> Value:
    return item


def _bits(shift: int, mask: int) -> Callable[[int], int]:
    return lambda item: item >> shift & mask


# --- from values to text


def divide(value: int, divisor: int) -> int:
    """C's integer division, rounded towards zero; a divisor of 0 counts as 1."""
    if divisor in (0, 1):
        return value
    quotient = abs(value) // abs(divisor)
    return quotient if (value < 0) == (divisor < 0) else -quotient


def average(value: tuple[int, int]) -> int:
    """Of a (count, total) pair, rounded towards zero; 0 of nothing."""
    count, total = value
    return divide(total, count) if count else 0


def encode(text: str) -> bytes:
    """Text as UTF-8; bytes that came as surrogate escapes are themselves again."""
    return text.encode("utf-8", "surrogateescape")


def escape_control(text: bytes) -> bytes:
    """`text` with everything that could steer a terminal as \\xNN: control characters other than tab and newline
    (those above 127, too), characters that change the direction of writing, bytes that are not UTF-8."""
    if text.isascii() and text.decode("ascii").isprintable():
        return text
    parts = []
    for character in text.decode("utf-8", "surrogateescape"):
        raw = character.encode("utf-8", "surrogateescape")
        visible = character.isprintable() or character in "\t\n"
        parts.append(raw if visible else b"".join([b"\\x%02x" % byte for byte in raw]))
    return b"".join(parts)


_BUFFER_ESCAPES = [bytes([byte]) if 32 <= byte < 127 else b"\\x%02x" % byte for byte in range(256)]


def buffer_text(value: bytes) -> bytes:
    """Printable ASCII as it is, other bytes as \\xNN."""
    return b"".join([_BUFFER_ESCAPES[byte] for byte in value])


def inet_text(value: tuple[int, bytes]) -> bytes:
    """An address (family, 16 bytes) as `ntop()` prints it; nothing for another family."""
    import socket

    family, address = value
    if family == AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, address).encode()
    if family == AF_INET:
        return socket.inet_ntop(socket.AF_INET, address[:4]).encode()
    return b""


def mac_text(value: bytes) -> bytes:
    """Six bytes as `macaddr()` prints them."""
    return value.hex(":").upper().encode()


Text: TypeAlias = "Callable[[Value], bytes]"


class Texts:
    """Makes the functions that print values of a type.

    `fields` are those of the records in the unit. With `escape`, text that comes from what is traced cannot steer the
    terminal that it is written to.
    """

    def __init__(self, resolver: Resolver, fields: Fields | None = None, *, escape: bool = False) -> None:
        self._resolver = resolver
        self.fields: Fields = fields or {}
        self.escape = escape

    def of(self, type: Type, indent: int = VALUE_INDENT) -> Text:
        """The printer of a type's values. `indent` is for stacks."""
        if isinstance(type, types.StringType):
            return escape_control if self.escape else _same
        if isinstance(type, types.BufferType):
            return buffer_text
        if isinstance(type, types.InetType):
            return inet_text
        if isinstance(type, types.MacAddressType):
            return mac_text
        if isinstance(type, types.ArrayType):
            return _joined(b"[", b",", b"]", [self.of(type.element, indent)] * type.count)
        if isinstance(type, types.TupleType):
            return _joined(b"(", b", ", b")", [self.of(element, indent) for element in type.elements])
        if isinstance(type, RecordType):
            return self._record(type, lambda member: self.of(member, indent), b"{ %s }", b", ", b" = ")
        if isinstance(type, types.AvgType):
            return lambda value: b"%d" % average(value)
        if isinstance(type, types.StatsType):
            return lambda value: b"count %d, average %d, total %d" % (value[0], average(value), value[1])
        named = self._named(type, indent)
        if named is None:
            return lambda value: b"%d" % value
        if self.escape:
            return lambda value: escape_control(encode(named(value)))
        return lambda value: encode(named(value))

    def key(self, type: Type) -> Text:
        """The printer of a map key's part, in which pointers are hexadecimal."""
        if isinstance(type, types.PointerType):
            return lambda value: b"0x%x" % value
        if isinstance(type, types.ArrayType):
            return _joined(b"[", b",", b"]", [self.key(type.element)] * type.count)
        if isinstance(type, types.TupleType):
            return _joined(b"(", b", ", b")", [self.key(element) for element in type.elements])
        if isinstance(type, RecordType):
            return self._record(type, self.key, b"{%s}", b",", b"=")
        return self.of(type, KEY_INDENT)

    def is_named(self, type: Type) -> bool:
        """Whether values of the type are numbers that the resolver turns into text."""
        return self._named(type, VALUE_INDENT) is not None

    def unescaped(self) -> Texts:
        """The same without `escape`: for text that goes to programs."""
        return Texts(self._resolver, self.fields) if self.escape else self

    def _named(self, type: Type, indent: int) -> Callable[[Value], str] | None:
        resolver = self._resolver
        if isinstance(type, types.StackType):
            return self._stack(type, indent)
        if isinstance(type, types.UsymType):
            return lambda value: resolver.user_symbol(*value)
        if isinstance(type, types.TimestampType):
            return lambda value: resolver.timestamp(type.format, value)
        if isinstance(type, types.CgroupPathType):
            return lambda value: resolver.cgroup_path(type.filter, value)
        method = _RESOLVED.get(type.__class__)
        resolve: Callable[[int], str] | None = getattr(resolver, method) if method else None
        return resolve

    def _stack(self, type: types.StackType, indent: int) -> Callable[[Value], str]:
        stack = self._resolver.stack
        margin = "\t" if type.mode == "perf" else " " * indent

        def text(value: Value) -> str:
            frames = stack(type, *value) if type.user else stack(type, value, 0, 0)
            if not frames:
                return ""
            # Not splitlines(): a symbol may have any other character that ends a line.
            lines = [margin + line.strip(" \t") for line in frames.strip(" \t\n").split("\n")]
            return "\n" + "\n".join(lines) + "\n"

        return text

    def _record(
        self, type: RecordType, text_of: Callable[[Type], Text], around: bytes, between: bytes, equals: bytes
    ) -> Text:
        if type.name not in self.fields:
            return buffer_text
        members = self.fields[type.name]
        names = [b".%s%s" % (encode(member.name), equals) for member in members]
        texts = [text_of(member.type) for member in members]
        return lambda value: around % between.join(
            [name + text(part) for name, text, part in zip(names, texts, value, strict=True)]
        )


def _joined(begin: bytes, separator: bytes, end: bytes, texts: list[Text]) -> Text:
    return lambda value: begin + separator.join([text(part) for text, part in zip(texts, value, strict=True)]) + end


def plain(type: Type, texts: Texts) -> Callable[[Value], object] | None:
    """What makes of a value something that a Python program wants: str for everything that prints as text (stacks as
    lists of frames), bytes for buffers, lists for arrays, dicts for records. None where the value is that already.

    Strings that are not UTF-8 have surrogate escapes, as file names do in Python.
    """
    if isinstance(type, types.BufferType):
        return None
    if isinstance(type, types.ArrayType):
        convert = plain(type.element, texts)
        return (lambda value: [convert(part) for part in value]) if convert else list
    if isinstance(type, types.TupleType):
        parts = [plain(element, texts) or _same for element in type.elements]
        return lambda value: tuple([convert(part) for convert, part in zip(parts, value, strict=True)])
    if isinstance(type, RecordType):
        if type.name not in texts.fields:
            return None
        members = [(member.name, plain(member.type, texts) or _same) for member in texts.fields[type.name]]
        return lambda value: {name: convert(part) for (name, convert), part in zip(members, value, strict=True)}
    text = texts.of(type)
    if isinstance(type, types.StackType):
        return lambda value: [line.strip() for line in _decoded(text(value)).strip("\n").split("\n") if line]
    if isinstance(type, (types.StringType, types.InetType, types.MacAddressType)) or texts.is_named(type):
        return lambda value: _decoded(text(value))
    return None


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
