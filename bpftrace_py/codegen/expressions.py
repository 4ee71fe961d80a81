"""Expressions in C.

`value()` gives a number as a C expression, or bytes by their address; what has to happen first is written as statements
before it. `store()` writes an expression straight to where it is wanted (an event, a key), without a copy in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftrace_py.analysis.program import ProbeInstance
from bpftrace_py.codegen import unit
from bpftrace_py.codegen.calls import CallText
from bpftrace_py.codegen.context import ContextText
from bpftrace_py.codegen.ctypes_text import c_string, is_memory, scalar
from bpftrace_py.codegen.function import FunctionText
from bpftrace_py.codegen.loops import LoopPlan
from bpftrace_py.codegen.map_text import MapText
from bpftrace_py.codegen.memory import MemoryText
from bpftrace_py.codegen.values import Bytes, Number, Value
from bpftrace_py.language import builtins
from bpftrace_py.source import Span
from bpftrace_py.syntax import ast
from bpftrace_py.syntax.visitor import walk
from bpftrace_py.types import (
    INT64,
    UINT64,
    ArrayType,
    Field,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
    TupleType,
    Type,
    integer,
)

if TYPE_CHECKING:
    from bpftrace_py.codegen.generate import Generator

COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">="))
_NAMES = {"pid": "pid", "tid": "tid", "uid": "uid", "gid": "gid", "cpu": "cpu", "curtask": "task", "cgroup": "cgroup"}


class ExpressionText:
    """Writes the expressions of one probe instance."""

    def __init__(self, generator: Generator, instance: ProbeInstance, function: FunctionText, program: int) -> None:
        self.generator = generator
        self.instance = instance
        self.function = function
        self.program = program  # its number, to tell the programs of a script apart
        self.context = ContextText(self)
        self.memory = MemoryText(self)
        self.maps = MapText(self)
        self.calls = CallText(self)
        self.variables: dict[str, str] = {}
        self.loops = LoopPlan(instance.tree)
        self._comm_place = self._late = ""
        self._here: Span = instance.tree.span  # of what is being written
        self.late = False  # whether the record at hand may have a late string

    def late_flag(self) -> str:
        """A number that is set where the record at hand has a string that user space must read at once."""
        if not self._late:
            self._late = self.function.scalar("u64", "late")
            self.generator.use_late()
        self.late = True
        return self._late

    # --- numbers

    def number(self, node: ast.Expression) -> Number:
        """A number; a pointer or anything else that is one 64-bit word counts."""
        value = self.value(node)
        assert isinstance(value, Number), node
        return value

    def condition(self, node: ast.Expression) -> str:
        return self.number(node).text

    def local(self, number: Number, stem: str) -> Number:
        """The number in a local variable, so that it is worked out once."""
        if number.text.isidentifier():
            return number
        name = self.function.fresh(stem)
        self.function.line(f"{scalar(number.type)} {name} = {number.text};")
        return Number(name, number.type)

    def told(self, helper: str, call: str) -> str:
        """The call of a kernel helper; under -k (for reads -kk) one that tells user space when it fails."""
        level = self.generator.program.config.helper_errors
        if level < (2 if helper.startswith("probe_read") else 1):
            return call
        line, column = self.generator.program.source.position(self._here.start)
        action = self.generator.add_action(unit.HelperFailed(line, helper, column))
        self.generator.use_told()
        return f"told({action}, {call})"

    def value(self, node: ast.Expression) -> Value:
        """A number, or bytes at an address."""
        outer, self._here = self._here, node.span if node.span.end else self._here
        try:
            return self._value(node)
        finally:
            self._here = outer

    def _value(self, node: ast.Expression) -> Value:
        match node:
            case ast.Integer():
                return literal(node.value)
            case ast.Positional():
                return Number("0", INT64)
            case ast.String():
                return self._materialized(node, "text")
            case ast.Variable():
                return self._variable(node)
            case ast.Map():
                return self.maps.read(node)
            case ast.Identifier():
                return self._builtin(node)
            case ast.Call():
                return self.calls.value(node)
            case ast.FieldAccess() | ast.ArrayAccess():
                return self._element(node)
            case ast.Binary():
                return self._binary(node)
            case ast.Unary():
                return self._unary(node)
            case ast.Cast():
                return self._cast(node)
            case ast.Ternary():
                return self._ternary(node)
            case ast.Increment():
                return self._increment(node)
            case ast.TupleLiteral():
                return self._materialized(node, "tuple")
            case ast.TupleAccess():
                return self._tuple_element(node)
            case ast.SizeOf():
                type_ = (
                    self.generator.named_type(node.operand, self.instance.context.binary)
                    if isinstance(node.operand, ast.TypeName)
                    else node.operand.type
                )
                return literal(type_.size)
            case ast.OffsetOf():
                return self._offset_of(node)
            case _:
                raise AssertionError(type(node).__name__)

    def _materialized(self, node: ast.Expression, stem: str) -> Value:
        """A value that has to be put together in memory of our own."""
        place = self.function.memory(node.type, stem)
        self.store(node, place, node.type)
        return Bytes(self.address(place, node.type), node.type)

    def address(self, place: str, type_: Type) -> str:
        """The address of an object that is declared with a type."""
        return place if self.generator.structs.is_array(type_) else f"&{place}"

    # --- storing

    def store(self, node: ast.Expression, place: str, type_: Type, pad: bool = True) -> None:
        """Write an expression to the object `place`, declared with `type_`. `pad`: the bytes behind the end of a
        string are zeroed, as keys need it."""
        self._here = node.span if node.span.end else self._here
        if not is_memory(type_):
            number = self.number(node)
            self.function.line(f"{place} = {number.text};")
            return
        match node:
            case ast.String():
                self.memory.store_text(node.value.encode("utf-8", "surrogateescape"), place, type_, pad)
            case ast.Identifier(name="comm"):
                self._store_comm(place, type_, pad)
            case ast.Identifier():
                self.calls.store_stack(node, place)
            case ast.Call() if self.calls.stores(node):
                self.calls.store(node, place, type_, pad)
            case ast.TupleLiteral():
                assert isinstance(type_, TupleType)
                for i, (element, element_type) in enumerate(zip(node.elements, type_.elements, strict=True)):
                    self.store(element, f"{place}.e{i}", element_type, pad)
            case ast.Ternary():
                self._store_ternary(node, place, type_, pad)
            case ast.Cast() if isinstance(type_, ArrayType) and isinstance(node.operand.type, IntegerType):
                number = self.local(self.number(node.operand), "number")
                self.function.line(f"__builtin_memcpy({self.address(place, type_)}, &{number.text}, {type_.size});")
            case _:
                value = self.value(node)
                assert isinstance(value, Bytes), node
                self.memory.copy(value, place, type_, pad)

    def replace(self, target: ast.Variable | ast.Map, node: ast.Expression, place: str, type_: Type) -> None:
        """Write an expression to the object of a variable or map, which the expression itself may read."""
        if not is_memory(type_) or not any(isinstance(n, type(target)) and n.name == target.name for n in walk(node)):
            self.store(node, place, type_)
            return
        whole = self.function.memory(type_, "whole")
        self.store(node, whole, type_)
        self.memory.copy(Bytes(self.address(whole, type_), type_), place, type_, True)

    def _store_comm(self, place: str, type_: Type, pad: bool) -> None:
        known = self.function.known("comm")
        if known is not None:
            self.memory.copy(Bytes(known, builtins.COMM), place, type_, pad)
            return
        assert isinstance(type_, StringType)
        if pad and type_.capacity > 16:
            self.memory.zero(place, type_)
        elif pad:  # not every kernel clears what is behind the NUL: seen with 6.1
            self.function.line(f"zero_fill({place}, {min(16, type_.capacity)});")
        self.function.line(f"current_comm({place}, {min(16, type_.capacity)});")

    def _store_ternary(self, node: ast.Ternary, place: str, type_: Type, pad: bool) -> None:
        with self.function.block(f"if ({self.condition(node.condition)})"):
            self.store(node.then, place, type_, pad)
        with self.function.block("else"):
            self.store(node.otherwise, place, type_, pad)

    # --- single kinds

    def _variable(self, node: ast.Variable) -> Value:
        type_ = self.instance.variables[node.name]
        place = self.place_of(node.name)
        return Bytes(self.address(place, type_), type_) if is_memory(type_) else Number(place, type_)

    def place_of(self, name: str) -> str:
        """The C object of a scratch variable; declared at the start of the function."""
        if name not in self.variables:
            type_, stem = self.instance.variables[name], self.generator.variable_name(name)
            if name in self.loops.unfollowed:
                self.variables[name] = self.function.unfollowed(type_, stem)
            elif is_memory(type_):
                self.variables[name] = self.function.memory(type_, stem, kept=True)
                self.function.cleared(self.variables[name])
            else:
                self.variables[name] = self.function.scalar(scalar(type_), stem)
        return self.variables[name]

    def _builtin(self, node: ast.Identifier) -> Value:
        name = node.name
        builtin = builtins.find(name)
        assert builtin is not None
        if name == "comm":
            return self._comm()
        if name == "args":
            return Number(self.context.address(), node.type)
        special = self.context.builtin(node)
        if special is not None:
            return special
        if name in ("kstack", "ustack"):
            return self.calls.stack(node)
        if not builtin.c:
            return self.calls.session_value(name)
        if not builtin.constant:
            return Number(builtin.c, builtin.stored or builtin.type)
        known = self.function.known(name)
        if known is None:
            known = self.function.fresh(_NAMES.get(name, name))
            self.function.line(f"{scalar(builtin.stored or UINT64)} {known} = {builtin.c};")
            self.function.learn(name, known)
        return Number(known, builtin.stored or builtin.type)

    def _comm(self) -> Bytes:
        known = self.function.known("comm")
        if known is None:
            self._comm_place = self._comm_place or self.function.memory(builtins.COMM, "comm", kept=True)
            known = self._comm_place
            self.function.line(f"zero_fill({known}, 16);")
            self.function.line(f"current_comm({known}, 16);")
            self.function.learn("comm", known)
        return Bytes(known, builtins.COMM)

    def _unary(self, node: ast.Unary) -> Value:
        operand = self.number(node.operand)
        if node.operator == "*":
            pointer = node.operand.type
            space = pointer.space if isinstance(pointer, PointerType) else self.instance.context.space
            return self.memory.load(operand, 0, node.type, space)
        if node.operator == "!":
            return Number(f"!{operand.operand()}", INT64, False)
        narrow = node.operand.type
        if isinstance(narrow, IntegerType) and narrow.width < 8 and not narrow.signed:  # wraps around in its own width
            return Number(f"({scalar(narrow)}){node.operator}{operand.operand()}", narrow, False)
        return Number(f"{node.operator}{operand.wide()}", node.type, False)

    def _binary(self, node: ast.Binary) -> Value:
        operator = node.operator
        if operator in ("&&", "||"):
            return self._logical(node)
        if isinstance(node.left.type, StringType):
            equal = self.memory.compare(node.left, node.right)
            return Number(equal if operator == "==" else f"!({equal})", INT64, False)
        if isinstance(node.left.type, ArrayType):
            equal = self.memory.equal_arrays(node.left, node.right)
            return Number(equal if operator == "==" else f"!({equal})", INT64, False)
        left = self.number(node.left)
        with self.function.captured(deeper=0) as lines:
            right = self.number(node.right)
        if lines and not left.text.isidentifier() and not isinstance(node.left, ast.Integer):
            left = self.local(left, "left")  # worked out before what the right side does
        self.function.add(lines)
        return self._arithmetic(operator, node, left, right)

    def _arithmetic(self, operator: str, node: ast.Binary, left: Number, right: Number) -> Number:
        a, b = self._scaled(node.left, node.right, left), self._scaled(node.right, node.left, right)
        if operator in ("/", "%"):
            return self._division(operator, node, left, right)
        if operator in (">>", "<<") and not a.startswith(("(u64)", "(s64)")) and not a.isidentifier():
            a = f"({'s64' if is_signed(left) else 'u64'}){left.operand()}"  # a comparison or a literal is an int to C
        if operator == ">>":
            return Number(f"{a} >> {self._shift(node.right, right)}", node.type, False)
        if operator == "<<":
            return Number(f"{a} << {self._shift(node.right, right)}", node.type, False)
        if operator in COMPARISONS:
            signed = (
                isinstance(left.type, IntegerType)
                and left.type.signed
                and isinstance(right.type, IntegerType)
                and right.type.signed
            )
            if not signed and left.text.lstrip("-").isdigit() and right.text.lstrip("-").isdigit():
                a = f"(u64){a}"
            return Number(f"{a} {operator} {b}", INT64, False)
        return Number(f"{a} {operator} {b}", node.type, False)

    def _division(self, operator: str, node: ast.Binary, left: Number, right: Number) -> Number:
        """BPF divides unsigned numbers; a division that may meet a negative one goes through a routine."""
        may_be_negative = any(
            is_signed(number) and not (isinstance(side, ast.Integer) and side.value >= 0)
            for side, number in ((node.left, left), (node.right, right))
        )
        if may_be_negative and isinstance(node.type, IntegerType) and node.type.signed:
            return Number(f"signed_{'div' if operator == '/' else 'mod'}({left.text}, {right.text})", node.type)
        if isinstance(node.right, ast.Integer):
            return Number(f"(u64){left.operand()} {operator} (u64){right.operand()}", node.type, False)
        return Number(f"unsigned_{'div' if operator == '/' else 'mod'}({left.text}, {right.text})", node.type)

    def _shift(self, node: ast.Expression, number: Number) -> str:
        return str(node.value & 63) if isinstance(node, ast.Integer) else f"({number.operand()} & 63)"

    def _scaled(self, node: ast.Expression, other: ast.Expression, number: Number) -> str:
        """An operand; a number that is added to a pointer counts what is pointed to."""
        pointer = other.type
        if isinstance(pointer, PointerType) and isinstance(node.type, IntegerType) and pointer.pointee.size > 1:
            if isinstance(node, ast.Integer):
                return str(node.value * pointer.pointee.size)
            return f"{number.wide()} * {pointer.pointee.size}"
        return number.wide()

    def _logical(self, node: ast.Binary) -> Number:
        left = self.number(node.left)
        with self.function.captured() as lines:
            right = self.number(node.right)
        if not lines:
            return Number(f"{left.operand()} {node.operator} {right.operand()}", INT64, False)
        result = self.function.fresh("both" if node.operator == "&&" else "either")
        self.function.line(f"s64 {result} = {left.operand()} != 0;")
        with self.function.block(f"if ({'' if node.operator == '&&' else '!'}{result})"):
            self.function.add(lines)
            self.function.line(f"{result} = {right.operand()} != 0;")
        return Number(result, INT64)

    def _ternary(self, node: ast.Ternary) -> Value:
        if is_memory(node.type):
            return self._materialized(node, "chosen")
        condition = self.number(node.condition)
        with self.function.captured() as then_lines:
            then = self.number(node.then)
        with self.function.captured() as else_lines:
            otherwise = self.number(node.otherwise)
        if not then_lines and not else_lines:
            return Number(f"{condition.operand()} ? {then.wide()} : {otherwise.wide()}", node.type, False)
        result = self.function.fresh("chosen")
        self.function.line(f"{scalar(node.type)} {result};")
        with self.function.block(f"if ({condition.text})"):
            self.function.add(then_lines)
            self.function.line(f"{result} = {then.text};")
        with self.function.block("else"):
            self.function.add(else_lines)
            self.function.line(f"{result} = {otherwise.text};")
        return Number(result, node.type)

    def _increment(self, node: ast.Increment) -> Value:
        sign = "+" if node.operator == "++" else "-"
        step = node.type.pointee.size or 1 if isinstance(node.type, PointerType) else 1
        if isinstance(node.target, ast.Map):
            return self.maps.increment(node.target, sign, str(step), wanted="before" if not node.prefix else "after")
        place = self.place_of(node.target.name)
        if node.prefix:
            self.function.line(f"{place} {sign}= {step};")
            return Number(place, node.type)
        before = self.function.fresh("before")
        self.function.line(f"{scalar(node.type)} {before} = {place};")
        self.function.line(f"{place} {sign}= {step};")
        return Number(before, node.type)

    def _cast(self, node: ast.Cast) -> Value:
        target = node.type
        if isinstance(target, ArrayType):
            if isinstance(node.operand.type, ArrayType):
                inner = self.value(node.operand)
                assert isinstance(inner, Bytes)
                return Bytes(inner.address, target, inner.space, inner.maybe)
            return self._materialized(node, "array")
        value = self.value(node.operand)
        if isinstance(value, Bytes):  # an array as one number, or its address as a pointer
            if isinstance(target, PointerType):
                return Number(f"(u64){value.address}", target, False)
            copied = self.function.memory(UINT64, "word", kept=True)
            self.function.line(f"{copied} = 0;")
            self.memory.read(f"&{copied}", value.address, value.type.size, value.space)
            return Number(f"({scalar(target)}){copied}", target, False)
        if isinstance(target, IntegerType):
            narrow = node.operand.type
            if isinstance(narrow, IntegerType) and narrow.width < target.width and narrow.signed != target.signed:
                # A wider type is filled up by its own sign: (int64)(uint8)255 is -1. C goes by the sign of what it is given.
                inner_type = integer(narrow.width, target.signed)
                return Number(f"({scalar(target)})({scalar(inner_type)}){value.operand()}", target, False)
            return Number(f"({scalar(target)}){value.operand()}", target, False)
        return Number(value.wide() if isinstance(value.type, IntegerType) else value.text, target, value.atom)

    def _tuple_element(self, node: ast.TupleAccess) -> Value:
        operand = self.value(node.operand)
        assert isinstance(operand, Bytes) and isinstance(operand.type, TupleType)
        offset = operand.type.offsets[node.index]
        return self._direct_element(operand, offset, node.type)

    def _direct_element(self, whole: Bytes, offset: int, type_: Type) -> Value:
        """A part of bytes that the program can load from by itself."""
        whole = self._present(whole)
        at = f"((char *){operand_text(whole.address)} + {offset})" if offset else whole.address
        if is_memory(type_):
            at = at if offset else f"((char *){operand_text(whole.address)})"
            return Bytes(at, type_, whole.space, aligned=min(whole.aligned, (offset & -offset) or 8))
        if whole.aligned % type_.alignment or offset % type_.alignment:  # the verifier wants loads aligned
            return self.memory.load(Number(at, UINT64, at == whole.address and at.isidentifier()), 0, type_, "direct")
        return Number(f"*({scalar(type_)} *){operand_text(at)}", type_)

    # --- fields and elements

    def _element(self, node: ast.FieldAccess | ast.ArrayAccess) -> Value:
        if isinstance(node, ast.ArrayAccess):
            return self._indexed(node)
        operand = node.operand.type
        record = operand.pointee if isinstance(operand, PointerType) else operand
        assert isinstance(record, RecordType)
        member = self.generator.field(record, node.name)
        if isinstance(operand, PointerType):
            if operand.space == "context":
                return self.context.argument(record, member, node.type)
            return self._field_at(self.number(node.operand), member, node.type, operand.space)
        whole = self.value(node.operand)
        assert isinstance(whole, Bytes)
        if whole.space == "direct":
            inner = self._direct_element(whole, member.offset, node.type) if member.bitfield is None else None
            if inner is not None:
                return inner
        return self._field_at(
            Number(whole.address, UINT64, False),
            member,
            node.type,
            "kernel" if whole.space == "direct" else whole.space,
        )

    def _field_at(self, base: Number, member: Field, type_: Type, space: str) -> Value:
        value = self.memory.load(base, member.offset, type_, space)
        if member.bitfield is None or isinstance(value, Bytes):
            return value
        return self.memory.bits(value, member.bitfield, type_)

    def _indexed(self, node: ast.ArrayAccess) -> Value:
        operand = node.operand.type
        index = self.number(node.index)
        if isinstance(operand, PointerType):
            base, space, size = self.number(node.operand), operand.space, operand.pointee.size
        else:
            assert isinstance(operand, ArrayType)
            whole = self.value(node.operand)
            assert isinstance(whole, Bytes)
            base, space, size = Number(f"(u64){whole.address}", UINT64, False), whole.space, operand.element.size
            if whole.space == "direct":
                if isinstance(node.index, ast.Integer):
                    return self._direct_element(whole, node.index.value * size, node.type)
                return self._direct_indexed(whole, index, node.type)
        if isinstance(node.index, ast.Integer):
            return self.memory.load(base, node.index.value * size, node.type, space)
        offset = f"{index.wide()} * {size}" if size > 1 else index.wide()
        if isinstance(operand, ArrayType):
            # Outside the array there is nothing: an address of 0 reads as 0.
            at = self.function.fresh("index")
            self.function.line(f"u64 {at} = {index.text};")
            moved = Number(f"{at} < {operand.count} ? {base.operand()} + {at} * {size} : 0", UINT64, False)
        else:
            moved = Number(f"{base.operand()} + {offset}", UINT64, False)
        return self.memory.load(moved, 0, node.type, space)

    def _direct_indexed(self, whole: Bytes, index: Number, type_: Type) -> Value:
        """An element of an array of our own, at an index that only the run tells. Outside the array there are zeros."""
        assert isinstance(whole.type, ArrayType)
        count = whole.type.count
        whole = self._present(whole)
        place = self.function.memory(type_, "element")
        if is_memory(type_):
            self.memory.zero(place, type_)
        else:
            self.function.line(f"{place} = 0;")
        at = self.function.fresh("index")
        self.function.line(f"u64 {at} = {index.wide()};")
        self.function.line(f"keep({at}); // or the compiler may know that it is small, and leave out the check")
        with self.function.block(f"if ({at} < {count})"):
            self.function.line(f"keep({at}); // as the verifier has just seen it")
            address = self.address(place, type_)
            self.memory.read(address, f"((char *){operand_text(whole.address)} + {at} * {type_.size})", type_.size, "direct")
        return Bytes(address, type_) if is_memory(type_) else Number(place, type_)

    def _present(self, whole: Bytes) -> Bytes:
        """Bytes that are there: those of a map's element that may be missing are copied, as zeros then."""
        if not whole.maybe:
            return whole
        place = self.function.memory(whole.type, "whole")
        self.memory.copy(whole, place, whole.type, True)
        return Bytes(self.address(place, whole.type), whole.type)

    def _offset_of(self, node: ast.OffsetOf) -> Number:
        if isinstance(node.record, ast.TypeName):
            type_ = self.generator.named_type(node.record, self.instance.context.binary)
        else:
            type_ = node.record.type
        assert isinstance(type_, RecordType)
        return literal(self.generator.field(type_, node.field_name).offset)


def literal(value: int) -> Number:
    """A C literal of 64 bits."""
    if -(1 << 24) < value < 1 << 24:  # with room for sums of ints, which is what C makes of comparisons
        return Number(str(value), INT64, value >= 0)
    if value == -(1 << 63):
        return Number("(s64)(1ULL << 63)", INT64, False)
    return Number(f"{value}LL", INT64, value >= 0)


def is_signed(number: Number) -> bool:
    return isinstance(number.type, IntegerType) and number.type.signed


def operand_text(text: str) -> str:
    """Text that can stand behind a cast or a unary operator."""
    return (
        text
        if text.replace("->", "").replace("_", "").replace(".", "").replace("\x01", "").isalnum()
        or text.startswith("(")
        else f"({text})"
    )


__all__ = ["ExpressionText", "c_string", "literal"]
