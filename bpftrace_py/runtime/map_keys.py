"""Keys and values of script maps as bytes: `compile_rows` decodes many at a time, `encode_key` makes one."""

from __future__ import annotations

import struct

from bpftrace_py import types
from bpftrace_py.output.values import Fields, Value, item_decoder, struct_code, struct_layout
from bpftrace_py.types import Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

Rows: TypeAlias = "Callable[[memoryview], list[Any]]"


def compile_rows(elements: Sequence[Type], fields: Fields | None = None) -> Rows:
    """The function that decodes a run of `TupleType(elements)` into tuples, a string cut without a call of its own.

    In keys and values all bytes behind a string's NUL are zero: stripping zeros cuts it.
    """
    unpack = struct.Struct(struct_layout(elements)).iter_unpack
    names: dict[str, Any] = {"unpack": unpack}
    parts = []
    for index, element in enumerate(elements):
        decode = item_decoder(element, fields)
        if decode is None:
            parts.append(f"a{index}")
        elif isinstance(element, types.StringType):
            parts.append(f"a{index}.rstrip(b'\\0')")
        else:
            names[f"f{index}"] = decode
            parts.append(f"f{index}(a{index})")
    if all(part == f"a{index}" for index, part in enumerate(parts)):
        return lambda memory: list(unpack(memory))
    items = "".join(f"a{index}," for index in range(len(parts)))
    # Made of the numbers of the elements; nothing of the script is in it.
    rows: Rows = eval(f"lambda memory: [({','.join(parts)},) for {items} in unpack(memory)]", names)
    return rows


def encode_key(elements: Sequence[Type], key: Sequence[Value], fields: Fields | None = None) -> bytes:
    """The bytes of a key whose parts are as `output/values.py` decodes them. Padding is zero, as in the kernel."""
    layout = struct_layout(elements)
    items = [_encode_item(element, part, fields or {}) for element, part in zip(elements, key, strict=True)]
    return struct.pack(layout, *items)


def _encode_item(element: Type, value: Value, fields: Fields) -> int | bytes:
    """What `struct` packs for one value: a number, or the value's bytes (`struct` fills up with zeros)."""
    if isinstance(element, types.BufferType):
        return struct.pack("=I", len(value)) + bytes(value)
    if isinstance(element, types.InetType):
        return struct.pack("=I16s", *value)
    if isinstance(element, types.UsymType) or (isinstance(element, types.StackType) and element.user):
        return struct.pack("=QII", *value)
    if isinstance(element, types.TupleType):
        return encode_key(element.elements, value, fields)
    if isinstance(element, types.ArrayType):
        return encode_key((element.element,) * element.count, value, fields)
    if isinstance(element, types.RecordType) and element.name in fields:
        return _encode_record(element, value, fields)
    if isinstance(value, int) and struct_code(element).isalpha():
        # A number of the other signedness has the same bytes.
        size, code = element.size, struct_code(element)
        value &= (1 << 8 * size) - 1
        if code.islower() and value >> (8 * size - 1):
            value -= 1 << 8 * size
    assert isinstance(value, (int, bytes)), element
    return value


def _encode_record(element: types.RecordType, value: Sequence[Value], fields: Fields) -> bytes:
    """A record from its members' values. What lies between the members is zero."""
    memory = bytearray(element.size)
    for member, part in zip(fields[element.name], value, strict=True):
        size = member.type.size
        if member.bitfield is not None:
            mask = (1 << member.bitfield.width) - 1
            unit = struct.Struct("=" + struct_code(member.type).upper())
            whole = bytes(memory[member.offset : member.offset + size]).ljust(size, b"\0")
            number = unit.unpack(whole)[0] | (part & mask) << member.bitfield.shift
            raw = unit.pack(number & (1 << 8 * size) - 1)
        else:
            raw = struct.pack("=" + struct_code(member.type), _encode_item(member.type, part, fields))
        end = min(member.offset + size, len(memory))  # a last bit field's unit may reach over the record's end
        memory[member.offset : end] = raw[: end - member.offset]
    return bytes(memory)
