"""Expressions in C.

`value()` gives a number as a C expression, or bytes by their address; what has to happen first is written as statements
before it. `store()` writes an expression straight to where it is wanted (an event, a key), without a copy in between.
"""

from __future__ import annotations

from bpftrace_py.analysis.program import ProbeInstance
from bpftrace_py.codegen import unit
from bpftrace_py.codegen.calls import CallText
from bpftrace_py.codegen.context import ContextText
from bpftrace_py.codegen.ctypes_text import is_memory, scalar
from bpftrace_py.codegen.elements import ElementText
from bpftrace_py.codegen.function import FunctionText
from bpftrace_py.codegen.loops import SHORT, SHORT_WHEN_TOLD, LoopPlan
from bpftrace_py.codegen.map_text import MapText
from bpftrace_py.codegen.memory import MemoryText
from bpftrace_py.codegen.operators import OperatorText
from bpftrace_py.codegen.values import Bytes, Number, Value, literal
from bpftrace_py.language import builtins
from bpftrace_py.source import Span
from bpftrace_py.syntax import ast
from bpftrace_py.syntax.visitor import walk
from bpftrace_py.types import INT64, UINT64, ArrayType, IntegerType, StringType, TupleType, Type

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.generate import Generator

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
        self.operators = OperatorText(self)
        self.elements = ElementText(self)
        self.variables: dict[str, str] = {}
        self.loops = LoopPlan(instance.tree, SHORT_WHEN_TOLD if generator.program.config.helper_errors else SHORT)
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
                return self.materialized(node, "text")
            case ast.Variable():
                return self._variable(node)
            case ast.Map():
                return self.maps.read(node)
            case ast.Identifier():
                return self._builtin(node)
            case ast.Call():
                return self.calls.value(node)
            case ast.FieldAccess() | ast.ArrayAccess():
                return self.elements.element(node)
            case ast.Binary():
                return self.operators.binary(node)
            case ast.Unary():
                return self.operators.unary(node)
            case ast.Cast():
                return self.operators.cast(node)
            case ast.Ternary():
                return self.operators.ternary(node)
            case ast.Increment():
                return self.operators.increment(node)
            case ast.TupleLiteral():
                return self.materialized(node, "tuple")
            case ast.TupleAccess():
                return self.elements.tuple_element(node)
            case ast.SizeOf():
                return literal(self.type_of(node.operand).size)
            case ast.OffsetOf():
                return self.elements.offset_of(node)
            case _:
                raise AssertionError(type(node).__name__)

    def type_of(self, node: ast.TypeName | ast.Expression) -> Type:
        """The type that `sizeof` or `offsetof` is asked of: one that is named, or that of an expression."""
        if isinstance(node, ast.TypeName):
            return self.generator.named_type(node, self.instance.context.binary)
        return node.type

    def materialized(self, node: ast.Expression, stem: str) -> Value:
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
        if pad and type_.capacity != 16:
            self.memory.zero(place, type_)
        if type_.capacity < 16:
            self.function.line(f"current_comm({place}, {type_.capacity});")
        else:
            self.function.line(f"read_comm({place});")

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
            self.function.line(f"read_comm({known});")
            self.function.learn("comm", known)
        return Bytes(known, builtins.COMM)
