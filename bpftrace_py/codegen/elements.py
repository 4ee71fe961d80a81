"""Parts of a value in C: fields of records, elements of arrays and tuples."""

from __future__ import annotations

from bpftrace_py.codegen.ctypes_text import is_memory, scalar
from bpftrace_py.codegen.values import Bytes, Number, Value, literal
from bpftrace_py.syntax import ast
from bpftrace_py.types import UINT64, ArrayType, Field, PointerType, RecordType, TupleType, Type

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.expressions import ExpressionText


class ElementText:
    """Writes how a part of a record, an array or a tuple is read, in memory of the program's own or of another."""

    def __init__(self, expressions: ExpressionText) -> None:
        self._ex = expressions
        self._fn = expressions.function

    def element(self, node: ast.FieldAccess | ast.ArrayAccess) -> Value:
        """A field by `.` or `->`, or an element by `[]`."""
        if isinstance(node, ast.ArrayAccess):
            return self._indexed(node)
        operand = node.operand.type
        record = operand.pointee if isinstance(operand, PointerType) else operand
        assert isinstance(record, RecordType)
        member = self._ex.generator.field(record, node.name)
        if isinstance(operand, PointerType):
            if operand.space == "context":
                return self._ex.context.argument(member, node.type)
            return self._field_at(self._ex.number(node.operand), member, node.type, operand.space)
        whole = self._ex.value(node.operand)
        assert isinstance(whole, Bytes)
        if whole.space == "direct" and member.bitfield is None:
            return self._direct_element(whole, member.offset, node.type)
        space = "kernel" if whole.space == "direct" else whole.space
        return self._field_at(Number(whole.address, UINT64, False), member, node.type, space)

    def _field_at(self, base: Number, member: Field, type_: Type, space: str) -> Value:
        value = self._ex.memory.load(base, member.offset, type_, space)
        if member.bitfield is None or isinstance(value, Bytes):
            return value
        return self._ex.memory.bits(value, member.bitfield, type_)

    def _indexed(self, node: ast.ArrayAccess) -> Value:
        operand = node.operand.type
        index = self._ex.number(node.index)
        if isinstance(operand, PointerType):
            base, space, size = self._ex.number(node.operand), operand.space, operand.pointee.size
        else:
            assert isinstance(operand, ArrayType)
            whole = self._ex.value(node.operand)
            assert isinstance(whole, Bytes)
            base, space, size = Number(f"(u64){whole.address}", UINT64, False), whole.space, operand.element.size
            if whole.space == "direct":
                if isinstance(node.index, ast.Integer):
                    return self._direct_element(whole, node.index.value * size, node.type)
                return self._direct_indexed(whole, index, node.type)
        if isinstance(node.index, ast.Integer):
            return self._ex.memory.load(base, node.index.value * size, node.type, space)
        offset = f"{index.wide()} * {size}" if size > 1 else index.wide()
        if isinstance(operand, ArrayType):
            # Outside the array there is nothing: an address of 0 reads as 0.
            at = self._fn.fresh("index")
            self._fn.line(f"u64 {at} = {index.text};")
            moved = Number(f"{at} < {operand.count} ? {base.operand()} + {at} * {size} : 0", UINT64, False)
        else:
            moved = Number(f"{base.operand()} + {offset}", UINT64, False)
        return self._ex.memory.load(moved, 0, node.type, space)

    def _direct_indexed(self, whole: Bytes, index: Number, type_: Type) -> Value:
        """An element of an array of our own, at an index that only the run tells. Outside the array there are zeros."""
        assert isinstance(whole.type, ArrayType)
        count = whole.type.count
        whole = self._ex.memory.present(whole, "whole")
        place = self._fn.memory(type_, "element")
        if is_memory(type_):
            self._ex.memory.zero(place, type_)
        else:
            self._fn.line(f"{place} = 0;")
        at = self._fn.fresh("index")
        self._fn.line(f"u64 {at} = {index.wide()};")
        self._fn.line(f"keep({at}); // or the compiler may know that it is small, and leave out the check")
        with self._fn.block(f"if ({at} < {count})"):
            if type_.size > 1:
                self._fn.line(f"{at} *= {type_.size};")
            # A multiple of the size, which the compiler must not know: it adds 1 to an even address by `|= 1`, and the
            # verifier forbids that for addresses.
            self._fn.line(f"keep({at}); // as the verifier has just seen it")
            address = self._ex.address(place, type_)
            self._ex.memory.read(address, f"((char *){_operand(whole.address)} + {at})", type_.size, "direct")
        return Bytes(address, type_) if is_memory(type_) else Number(place, type_)

    def tuple_element(self, node: ast.TupleAccess) -> Value:
        operand = self._ex.value(node.operand)
        assert isinstance(operand, Bytes) and isinstance(operand.type, TupleType)
        offset = operand.type.offsets[node.index]
        return self._direct_element(operand, offset, node.type)

    def _direct_element(self, whole: Bytes, offset: int, type_: Type) -> Value:
        """A part of bytes that the program can load from by itself."""
        whole = self._ex.memory.present(whole, "whole")
        at = f"((char *){_operand(whole.address)} + {offset})" if offset else whole.address
        if is_memory(type_):
            at = at if offset else f"((char *){_operand(whole.address)})"
            return Bytes(at, type_, whole.space, aligned=min(whole.aligned, (offset & -offset) or 8))
        if whole.aligned % type_.alignment or offset % type_.alignment:  # the verifier wants loads aligned
            return self._ex.memory.load(
                Number(at, UINT64, at == whole.address and at.isidentifier()), 0, type_, "direct"
            )
        return Number(f"*({scalar(type_)} *){_operand(at)}", type_)

    def offset_of(self, node: ast.OffsetOf) -> Number:
        """Where a field is in its record, in bytes."""
        type_ = self._ex.type_of(node.record)
        assert isinstance(type_, RecordType)
        return literal(self._ex.generator.field(type_, node.field_name).offset)


def _operand(text: str) -> str:
    """Text that can stand behind a cast or a unary operator."""
    return (
        text
        if text.replace("->", "").replace("_", "").replace(".", "").replace("\x01", "").isalnum()
        or text.startswith("(")
        else f"({text})"
    )
