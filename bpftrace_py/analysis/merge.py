"""How two types that meet in one place become one: a map's or variable's assignments, the arms of `?:`, keys."""

from __future__ import annotations

from bpftrace_py.types import (
    INT64,
    UNKNOWN,
    AggregateType,
    BufferType,
    IntegerType,
    PointerType,
    StackType,
    StringType,
    SumType,
    TupleType,
    Type,
    integer,
)


def merge(a: Type, b: Type) -> Type | None:
    """The type that holds the values of both; None if there is none. It only grows: merging one again changes nothing."""
    if a == b:
        return a
    if a is UNKNOWN or b is UNKNOWN:
        return b if a is UNKNOWN else a
    match a, b:
        case IntegerType(), IntegerType():
            if a.width == b.width:
                return a  # who was there first has the sign
            return integer(8, a.signed or b.signed)  # a narrow type of one sign does not hold the values of the other
        case StringType(), StringType():
            return StringType(max(a.capacity, b.capacity))
        case BufferType(), BufferType():
            return BufferType(max(a.capacity, b.capacity))
        case PointerType(), PointerType():
            if a.pointee == b.pointee:
                return PointerType(a.pointee, a.space if a.space == b.space else "any")
        case PointerType(), IntegerType():
            return a
        case TupleType(), TupleType() if len(a.elements) == len(b.elements):
            merged = [merge(x, y) for x, y in zip(a.elements, b.elements, strict=True)]
            elements = tuple(m for m in merged if m is not None)
            return TupleType(elements) if len(elements) == len(merged) else None
        case StackType(), StackType() if a.user == b.user and a.mode == b.mode:
            return StackType(a.user, a.mode, max(a.limit, b.limit))
        case SumType(), SumType():
            return a
        case AggregateType(), AggregateType() if type(a) is type(b) and hasattr(a, "signed") and hasattr(b, "signed"):
            return type(a)(a.signed or b.signed)  # type: ignore[call-arg]
    return None


def stored_type(type_: Type, in_map: bool = False) -> Type:
    """The type of a variable or map value that is given such a value: maps keep integers in 8 bytes."""
    if isinstance(type_, IntegerType) and in_map:
        return integer(8, type_.signed)
    if isinstance(type_, PointerType) and type_.space == "context":
        return PointerType(type_.pointee, "kernel")
    return type_


def key_type(type_: Type) -> Type:
    """The type of a part of a key: an integer becomes an int64, whatever its sign; that is how bpftrace prints it."""
    return INT64 if isinstance(type_, IntegerType) else _widened(type_)


def _widened(type_: Type) -> Type:
    """A type whose integers have 8 bytes, all the way down in tuples."""
    if isinstance(type_, IntegerType):
        return integer(8, type_.signed)
    if isinstance(type_, TupleType):
        return TupleType(tuple(_widened(e) for e in type_.elements))
    return stored_type(type_)
