"""How types are written in the generated C, and the few structs that they need."""

from __future__ import annotations

from bpftrace_py.record import record
from bpftrace_py.types import (
    ArrayType,
    BufferType,
    InetType,
    IntegerType,
    MacAddressType,
    RecordType,
    StackType,
    StringType,
    TupleType,
    Type,
    UsymType,
)

USER_ADDRESS = "struct user_address"


def is_memory(type_: Type) -> bool:
    """Whether values of a type are bytes in memory rather than one number."""
    if isinstance(type_, StackType):
        return type_.user
    return isinstance(
        type_, (StringType, BufferType, ArrayType, RecordType, TupleType, UsymType, InetType, MacAddressType)
    )


def scalar(type_: Type) -> str:
    """The C type of a number; addresses and numbers of things are u64."""
    if isinstance(type_, IntegerType):
        return f"{'s' if type_.signed else 'u'}{type_.width * 8}"
    return "u64"


@record(frozen=True)
class AggregateSlot(Type):
    """One CPU's value of an aggregate, as an object of its own."""

    c_type: str
    bytes: int

    @property
    def size(self) -> int:
        return self.bytes

    @property
    def alignment(self) -> int:
        return 8


@record(frozen=True)
class NamedStruct(TupleType):
    """A struct of its own name, which is defined with the map that it belongs to: the map's key, for example."""

    c_name: str


class Structs:
    """The struct definitions that a program needs, in the order in which they were first asked for."""

    def __init__(self) -> None:
        self._names: dict[Type, str] = {}
        self.definitions: list[str] = []

    def declare(self, type_: Type, name: str) -> str:
        """`name` declared with a type: "char comm[16]", "u64 key"."""
        if isinstance(type_, AggregateSlot):
            return f"{type_.c_type} {name}"
        if not is_memory(type_):
            return f"{scalar(type_)} {name}"
        if isinstance(type_, StringType):
            return f"char {name}[{type_.capacity}]"
        if isinstance(type_, MacAddressType):
            return f"u8 {name}[6]"
        if isinstance(type_, (ArrayType, RecordType)):
            aligned = f" __attribute__((aligned({type_.alignment})))" if type_.alignment > 1 else ""
            return f"u8 {name}[{max(type_.size, 1)}]{aligned}"
        return f"{self.name(type_)} {name}"

    def name(self, type_: Type) -> str:
        """The C type of a value that is a struct."""
        if isinstance(type_, (UsymType, StackType)):
            self._define(USER_ADDRESS, "u64 value;\n\tu32 pid;\n\tu32 probe;", UsymType())
            return USER_ADDRESS
        if isinstance(type_, InetType):
            self._define("struct inet_address", "u32 family;\n\tu8 bytes[16];", type_)
            return "struct inet_address"
        if isinstance(type_, BufferType):
            name = f"struct buffer_{type_.capacity}"
            self._define(name, f"u32 length;\n\tu8 bytes[{type_.size - 4}];", type_)
            return name
        if isinstance(type_, NamedStruct):
            return type_.c_name
        assert isinstance(type_, TupleType), type_
        if type_ not in self._names:
            members = "\n\t".join(f"{self.declare(element, f'e{i}')};" for i, element in enumerate(type_.elements))
            number = sum(isinstance(t, TupleType) for t in self._names) + 1
            self._define(f"struct tuple_{number}", members, type_)
        return self._names[type_]

    def _define(self, name: str, members: str, key: Type) -> None:
        if key not in self._names:
            self._names[key] = name
            self.definitions.append(f"{name} {{\n\t{members}\n}};")

    def is_array(self, type_: Type) -> bool:
        """Whether the C object decays to its address by itself."""
        return isinstance(type_, (StringType, MacAddressType, ArrayType, RecordType))


def has_padding(type_: Type) -> bool:
    """Whether a key of this type has bytes that no part of it writes."""
    if isinstance(type_, TupleType):
        at = 0
        for offset, element in zip(type_.offsets, type_.elements, strict=True):
            if offset != at or has_padding(element):
                return True
            at = offset + element.size
        return at != type_.size
    return isinstance(type_, BufferType)


def c_string(text: bytes) -> str:
    """A C string literal."""
    out = ""
    for byte in text:
        character = chr(byte)
        if character in '"\\':
            out += "\\" + character
        elif character == "\n":
            out += "\\n"
        elif character == "\t":
            out += "\\t"
        elif character == "?":
            out += "\\?"  # no trigraphs
        elif 32 <= byte < 127:
            out += character
        else:
            out += f"\\{byte:03o}"
    return f'"{out}"'
