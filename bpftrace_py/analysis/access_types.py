"""The types of fields, elements, and of what is behind a pointer."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.merge import stored_type
from bpftrace_py.analysis.typing_state import TypingState, is_args
from bpftrace_py.diagnostics import did_you_mean
from bpftrace_py.source import Span
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    UINT64,
    UNKNOWN,
    AggregateType,
    ArrayType,
    FunctionType,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
    TupleType,
    Type,
    VoidType,
)

_MAX_TUPLE = 1 << 15  # bytes; the kernel keeps no larger value for each CPU, and names of types stay readable

_NO_TYPES = {
    **dict.fromkeys(("float", "double"), "there are no floating-point numbers in BPF"),
    **dict.fromkeys(("string", "str"), "str() reads the string at an address"),
}


class AccessTypes(TypingState):
    """Types what reaches into records, arrays, tuples and memory."""

    def loaded(self, type_: Type, space: str, span: Span) -> Type:
        """The type of a value that is read from memory in `space`: where pointers found there point to."""
        if isinstance(type_, PointerType):
            if space in ("user", "any"):
                return PointerType(type_.pointee, "user" if "user" in (space, type_.space) else "any")
            return type_
        if isinstance(type_, (VoidType, FunctionType)):
            return self.error(messages.CANNOT_READ, span, type=type_)
        return type_

    def named_type(self, name: ast.TypeName) -> Type:
        """The type that a cast or sizeof names."""
        base = self.records.find(name.name, self.context.binary)
        if base is None:
            keyword, blank, word = name.name.rpartition(" ")
            words = [known.rpartition(" ")[2] for known in self.records.names() if known.startswith(keyword + blank)]
            close = _NO_TYPES.get(name.name) or did_you_mean(word, words, keyword + blank + "{}")
            if close is None and self.records.kernel is None:
                close = "the kernel's own types are not known, since it has no BTF: declare the type, or include its header"
            return self.error(messages.UNKNOWN_TYPE, name.span, name=name.name, hint=close)
        for _ in range(name.pointers):
            base = PointerType(base, self.context.space)
        for count in reversed(name.dimensions):
            base = ArrayType(base, count or 0)
        return base

    def location_space(self, node: ast.Expression) -> str:
        """Where a record or array that an expression names is kept: `direct` if it is a copy of our own."""
        match node:
            case ast.FieldAccess() if isinstance(node.operand.type, PointerType):
                return node.operand.type.space
            case ast.FieldAccess():
                return self.location_space(node.operand)
            case ast.Unary(operator="*") if isinstance(node.operand.type, PointerType):
                return node.operand.type.space
            case ast.Unary(operator="*"):
                return self.context.space
            case ast.ArrayAccess() if isinstance(node.operand.type, PointerType):
                return node.operand.type.space
            case ast.ArrayAccess():
                return self.location_space(node.operand)
            case _:
                return "direct"

    def _field(self, node: ast.FieldAccess) -> Type:
        of_args = is_args(node.operand)
        operand = self.identifier_type(node.operand) if is_args(node.operand) else self.visit(node.operand)
        node.operand.type = operand
        if operand is UNKNOWN:
            return UNKNOWN
        record = operand.pointee if isinstance(operand, PointerType) else operand
        if not isinstance(record, RecordType):
            return self.error(
                messages.NOT_A_RECORD,
                node.span,
                field=node.name,
                type=operand,
                hint=self._record_hint(node, operand),
            )
        if not of_args and node.arrow != isinstance(operand, PointerType):
            wanted = "->" if isinstance(operand, PointerType) else "."
            return self.error(
                messages.ARROW_OR_DOT,
                Span(node.operand.span.end, node.span.end),
                type=operand,
                which="a pointer" if isinstance(operand, PointerType) else "a record and no pointer to one",
                what=f"`{self._text_of(node.operand)}`",
                hint=f"write `{wanted}{node.name}`",
            )
        fields = self.records.fields(record)
        if fields is None:
            return self.error(messages.INCOMPLETE_RECORD, node.operand.span, record=record.name)
        for member in fields:
            if member.name == node.name:
                return self._member(node, member.type, member.data_loc)
        form = ("args->{}" if node.arrow else "args.{}") if of_args else "{}"
        if of_args and node.name in self.context.unreadable:
            reason = self.context.unreadable[node.name]
            return self.error(messages.UNREADABLE_ARGUMENT, node.span, name=node.name, reason=reason)
        hint = did_you_mean(node.name, [f.name for f in fields], form)
        if of_args and node.name.startswith("common_") and self.context.probe_type == "tracepoint":
            hint = "a BPF program is not given the fields that all tracepoints have; `tid` is what common_pid would be"
        if hint is None and fields:
            hint = f"it has {', '.join(f.name for f in fields[:12])}{', ...' if len(fields) > 12 else ''}"
        whose = f"`args` of {self._instance.targets[0].name}" if of_args else record.name
        return self.error(
            messages.UNKNOWN_FIELD,
            Span(node.name_span.start, node.name_span.end) if node.name_span.end else node.span,
            record=whose,
            field=node.name,
            hint=hint,
        )

    def _record_hint(self, node: ast.FieldAccess, operand: Type) -> str | None:
        if isinstance(operand, IntegerType):
            return f"if it is the address of one, cast it: ((struct name *){self._text_of(node.operand)})->{node.name}"
        if isinstance(operand, TupleType):
            return "the elements of a tuple are .0, .1, ..."
        return None

    def _text_of(self, node: ast.Expression) -> str:
        text = " ".join(self.source.text[node.span.start : node.span.end].split())
        return text if len(text) <= 40 else text[:37] + "..."

    def _member(self, node: ast.FieldAccess, type_: Type, data_loc: bool) -> Type:
        space = self.location_space(node)
        if space == "direct":
            space = "any"
        if data_loc and not isinstance(type_, PointerType):
            return PointerType(IntegerType(1, True), "kernel")
        if isinstance(type_, (RecordType, ArrayType, StringType)):
            return type_
        return self.loaded(type_, space, node.span)

    def _array(self, node: ast.ArrayAccess) -> Type:
        operand, index = self.visit(node.operand), self.visit(node.index)
        if index is not UNKNOWN and not isinstance(index, IntegerType):
            self.error(messages.INDEX_TYPE, node.index.span, type=index)
        if operand is UNKNOWN:
            return UNKNOWN
        if isinstance(operand, PointerType):
            return self.loaded(operand.pointee, operand.space, node.span)
        if isinstance(operand, ArrayType):
            if isinstance(node.index, ast.Integer) and not 0 <= node.index.value < operand.count:
                return self.error(messages.INDEX_RANGE, node.index.span, index=node.index.value, count=operand.count)
            space = self.location_space(node)
            if isinstance(operand.element, (RecordType, ArrayType, StringType)):
                return operand.element
            return self.loaded(operand.element, "any" if space == "direct" else space, node.span)
        return self.error(messages.NOT_AN_ARRAY, node.operand.span, type=operand)

    def _tuple(self, node: ast.TupleLiteral) -> Type:
        elements = [stored_type(self.visit(element)) for element in node.elements]
        for element, type_ in zip(node.elements, elements, strict=True):
            if isinstance(type_, (AggregateType, VoidType, FunctionType)):
                return self.error(messages.TUPLE_ELEMENT, element.span, type=type_)
        if UNKNOWN in elements:
            return UNKNOWN
        type_ = TupleType(tuple(elements))
        if type_.size > _MAX_TUPLE:
            return self.error(messages.TUPLE_TOO_LARGE, node.span, size=type_.size, limit=_MAX_TUPLE)
        return type_

    def _tuple_access(self, node: ast.TupleAccess) -> Type:
        operand = self.visit(node.operand)
        if operand is UNKNOWN:
            return UNKNOWN
        if not isinstance(operand, TupleType):
            hint = "there are no floating-point numbers in BPF" if isinstance(node.operand, ast.Integer) else None
            return self.error(messages.NOT_A_TUPLE, node.operand.span, type=operand, hint=hint)
        if node.index >= len(operand.elements):
            return self.error(messages.TUPLE_RANGE, node.span, index=node.index, count=len(operand.elements))
        return operand.elements[node.index]

    def _sizeof(self, node: ast.SizeOf) -> Type:
        type_ = self.named_type(node.operand) if isinstance(node.operand, ast.TypeName) else self.visit(node.operand)
        if isinstance(type_, (VoidType, FunctionType)) or (type_ is not UNKNOWN and not type_.size):
            return self.error(messages.NO_SIZE, node.operand.span, type=type_)
        return UINT64

    def _offsetof(self, node: ast.OffsetOf) -> Type:
        type_ = self.named_type(node.record) if isinstance(node.record, ast.TypeName) else self.visit(node.record)
        if type_ is UNKNOWN:
            return UINT64
        fields = self.records.fields(type_) if isinstance(type_, RecordType) else None
        if fields is None:
            return self.error(messages.NOT_A_RECORD, node.record.span, field=node.field_name, type=type_)
        if node.field_name not in [f.name for f in fields]:
            at = self.source.text.rfind(node.field_name, node.span.start, node.span.end)
            return self.error(
                messages.UNKNOWN_FIELD,
                Span(at, at + len(node.field_name)) if at >= 0 else node.span,
                record=type_,
                field=node.field_name,
                hint=did_you_mean(node.field_name, [f.name for f in fields]),
            )
        return UINT64
