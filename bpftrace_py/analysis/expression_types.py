"""The types of expressions."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.access_types import AccessTypes
from bpftrace_py.analysis.calls import CallChecker
from bpftrace_py.analysis.fold import wrap
from bpftrace_py.analysis.merge import merge, stored_type
from bpftrace_py.analysis.records import Records
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Note, did_you_mean
from bpftrace_py.language import builtins, functions
from bpftrace_py.source import Source
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    FUNCTION_NAME,
    INT64,
    STACK_MODES,
    UINT64,
    UNKNOWN,
    AggregateType,
    ArrayType,
    IntegerType,
    PointerType,
    RecordType,
    StackType,
    StringType,
    Type,
    VoidType,
)

MOST_COMPARED = 256  # bytes of an array that `==` compares, word by word


class ExpressionTypes(AccessTypes):
    """Gives an expression its type, or says why it has none."""

    def __init__(self, source: Source, config: Config, records: Records) -> None:
        super().__init__(source, config, records)
        self._calls = CallChecker(self)

    def condition(self, node: ast.Expression) -> None:
        type_ = self.visit(node)
        if type_ is not UNKNOWN and not isinstance(type_, (IntegerType, PointerType)):
            hint = None
            if isinstance(type_, StringType):
                hint = f'compare it: {self._text_of(node)} == "..."'
            self.error(messages.CONDITION_TYPE, node.span, type=type_, hint=hint, notes=self._origin(node))

    def visit(self, node: ast.Expression) -> Type:
        """The type of an expression; noted in the node, too."""
        node.type = self._type_of(node)
        return node.type

    def _type_of(self, node: ast.Expression) -> Type:
        match node:
            case ast.Integer():
                node.value = wrap(node.value)
                return INT64
            case ast.String():
                return StringType(len(node.value.encode("utf-8", "surrogateescape")) + 1)
            case ast.Variable():
                return self._variable(node)
            case ast.Map():
                return self._map(node)
            case ast.Identifier():
                return self._identifier(node)
            case ast.Call():
                return self._calls.value(node)
            case ast.FieldAccess():
                return self._field(node)
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
            case ast.ArrayAccess():
                return self._array(node)
            case ast.TupleAccess():
                return self._tuple_access(node)
            case ast.TupleLiteral():
                return self._tuple(node)
            case ast.Positional():
                return self._positional(node)
            case ast.SizeOf():
                return self._sizeof(node)
            case ast.OffsetOf():
                return self._offsetof(node)
            case _:
                raise AssertionError(type(node).__name__)

    def _positional(self, node: ast.Positional) -> Type:
        parameters = self.config.parameters
        if node.number <= len(parameters):
            self.error(
                messages.PARAMETER_NOT_NUMERIC,
                node.span,
                number=node.number,
                text=parameters[node.number - 1],
                limit=" of 64 bits" if parameters[node.number - 1].lstrip("+-").isdecimal() else "",
                hint=f"str(${node.number}) is its text",
            )
        return INT64

    def _variable(self, node: ast.Variable) -> Type:
        known = self._instance.variables.get(node.name)
        if known is None or node.name not in self._assigned:
            return self.error(
                messages.UNDEFINED_VARIABLE,
                node.span,
                name=node.name,
                hint=self._variable_hint(node.name),
            )
        return known

    def _variable_hint(self, name: str) -> str | None:
        own = self._instance.tree.body.span
        hint = did_you_mean(name, self._assigned, "${}")
        if hint is None and self._elsewhere.get(name, own) != own:
            hint = f"a variable is of one probe only: what another one is to read is kept in a map, such as `@{name}`"
        return hint

    def _map(self, node: ast.Map) -> Type:
        if not self._keys(node):
            return UNKNOWN
        info = self._info(node)
        if info.value is UNKNOWN and self.final and not info.assigned:
            others = [name for name, other in self.maps.items() if other.value is not UNKNOWN]
            return self.error(
                messages.UNDEFINED_MAP, node.span, name=node.name, hint=did_you_mean(node.name, others, "@{}")
            )
        return info.value

    def _identifier(self, node: ast.Identifier) -> Type:
        type_ = self.identifier_type(node)
        if node.name == "args" and type_ is not UNKNOWN:
            members = self.records.fields(self.context.arguments) if self.context.arguments is not None else None
            hint = f"write `args->{members[-1].name}`, for example" if members else None
            return self.error(messages.ARGS_AS_VALUE, node.span, hint=hint)
        return type_

    def identifier_type(self, node: ast.Identifier) -> Type:
        builtin = builtins.find(node.name)
        if builtin is None:
            known = [*builtins.BUILTINS, "arg0"]
            hint = did_you_mean(node.name, known)
            if node.name in STACK_MODES:
                hint = f"`{node.name}` is an argument of kstack() and ustack()"
            elif node.name.removeprefix("s").removeprefix("arg").isdigit() and "arg" in node.name:
                hint = f"they go from {node.name.rstrip('0123456789')}0 to {node.name.rstrip('0123456789')}9"
            elif node.name in functions.FUNCTIONS:
                hint = f"`{functions.FUNCTIONS[node.name].signature}` is a function"
            return self.error(messages.UNKNOWN_IDENTIFIER, node.span, name=node.name, hint=hint)
        if builtin.needs and builtin.needs not in self.context.offers:
            return self.error(
                messages.BUILTIN_NOT_HERE,
                node.span,
                name=node.name,
                probe=self.context.probe_type,
                hint=builtins.OFFERED_BY.get(builtin.needs),
            )
        if node.name == "cpid" and not self.config.command:
            return self.error(messages.NO_COMMAND, node.span, hint="-c 'COMMAND' starts one")
        return self.builtin_type(node.name, builtin)

    def builtin_type(self, name: str, builtin: builtins.Builtin) -> Type:
        if name == "args":
            if self.context.arguments is None:
                return UNKNOWN
            return PointerType(self.context.arguments, "context")
        if name == "retval":
            return self.context.return_type or INT64
        if name == "func":
            return FUNCTION_NAME
        if name == "curtask":
            task = self.records.find(builtins.TASK_STRUCT)
            return PointerType(task) if isinstance(task, RecordType) else PointerType(VoidType())
        if name == "ctx":
            return PointerType(VoidType(), "kernel")
        if isinstance(builtin.type, StackType):
            return StackType(builtin.type.user, self.config.stack_mode, 127)
        return builtin.type

    def _unary(self, node: ast.Unary) -> Type:
        type_ = self.visit(node.operand)
        if type_ is UNKNOWN:
            return UINT64 if self._counted_from_nothing and node.operator != "*" else UNKNOWN
        if node.operator == "*":
            if isinstance(type_, PointerType):
                return self.loaded(type_.pointee, type_.space, node.span)
            if isinstance(type_, IntegerType):
                return UINT64
            return self.error(messages.NOT_A_POINTER, node.span, type=type_)
        if node.operator == "!":
            if isinstance(type_, (IntegerType, PointerType)):
                return INT64
        elif isinstance(type_, IntegerType):
            return INT64 if type_.signed else UINT64
        return self.error(messages.NEEDS_INTEGER, node.operand.span, what=f"`{node.operator}`", type=type_)

    def _binary(self, node: ast.Binary) -> Type:
        left, right = self.visit(node.left), self.visit(node.right)
        if left is UNKNOWN or right is UNKNOWN:
            known = UINT64 if self._counted_from_nothing else UNKNOWN
            return INT64 if node.operator in ast.COMPARISONS | ast.LOGICAL else known
        if node.operator in ("==", "!=") and isinstance(left, StringType) and isinstance(right, StringType):
            return INT64
        if node.operator in ("==", "!=") and isinstance(left, ArrayType) and left == right and left.size <= MOST_COMPARED:
            return INT64
        numbers = (IntegerType, PointerType)
        if not (isinstance(left, numbers) and isinstance(right, numbers)):
            return self._bad_operands(node, left, right)
        if node.operator in ast.COMPARISONS | ast.LOGICAL:
            self._check_signs(node, left, right)
            return INT64
        if isinstance(left, PointerType) or isinstance(right, PointerType):
            return self._pointer_arithmetic(node, left, right)
        assert isinstance(left, IntegerType) and isinstance(right, IntegerType)
        if node.operator in ("<<", ">>"):
            return INT64 if left.signed else UINT64
        return INT64 if _signed(node.left, left, right) and _signed(node.right, right, left) else UINT64

    def _check_signs(self, node: ast.Binary, left: Type, right: Type) -> None:
        """Warn where an order is asked of a signed and an unsigned number: `==` is right whatever the signs."""
        if node.operator not in ("<", "<=", ">", ">=") or not (
            isinstance(left, IntegerType) and isinstance(right, IntegerType)
        ):
            return
        if _signed(node.left, left, right) != _signed(node.right, right, left):
            signed = node.left if left.signed else node.right
            other = node.right if left.signed else node.left
            self.diagnostics.warning(
                messages.SIGN_COMPARISON,
                node.span,
                operator=node.operator,
                signed=self._text_of(signed),
                unsigned=self._text_of(other),
                hint=f"to compare as signed numbers, write (int64){self._text_of(other)}",
            )

    def _bad_operands(self, node: ast.Binary, left: Type, right: Type) -> Type:
        hint: str | None = None
        notes: tuple[Note, ...] = ()
        if isinstance(left, StringType) and isinstance(right, StringType):
            hint = "strings can be compared by `==`, `!=` and strncmp()"
        elif isinstance(left, AggregateType) or isinstance(right, AggregateType):
            notes = self._origin(node.left if isinstance(left, AggregateType) else node.right)
            hint = "an aggregate is put together from all CPUs when it is printed; count with `++` to use it here"
        elif StringType in (type(left), type(right)) and node.operator in ("==", "!="):
            literal = isinstance(node.left, ast.Integer) or isinstance(node.right, ast.Integer)
            hint = "a string is written in double quotes" if literal else "str() makes a string of an address"
        return self.error(
            messages.BAD_OPERANDS, node.span, operator=node.operator, left=left, right=right, hint=hint, notes=notes
        )

    def _pointer_arithmetic(self, node: ast.Binary, left: Type, right: Type) -> Type:
        if node.operator == "-" and isinstance(left, PointerType) and isinstance(right, PointerType):
            return INT64
        if node.operator == "+" and isinstance(right, PointerType) and isinstance(left, IntegerType):
            return right
        if node.operator in ("+", "-") and isinstance(left, PointerType) and isinstance(right, IntegerType):
            return left
        if node.operator in ("&", "|", "%", "/", ">>", "<<", "^", "*"):
            return UINT64  # an address is a number, too: masks and alignments are everyday
        return self.error(messages.BAD_OPERANDS, node.span, operator=node.operator, left=left, right=right)

    def _ternary(self, node: ast.Ternary) -> Type:
        self.condition(node.condition)
        then, otherwise = self.visit(node.then), self.visit(node.otherwise)
        if isinstance(then, VoidType) and isinstance(otherwise, VoidType):
            return then
        if UNKNOWN in (then, otherwise):
            return then if otherwise is UNKNOWN else otherwise
        merged = merge(stored_type(then), stored_type(otherwise))
        if merged is None or isinstance(merged, AggregateType):
            return self.error(messages.TERNARY_TYPES, node.span, then=then, otherwise=otherwise)
        return merged

    def _increment(self, node: ast.Increment) -> Type:
        target = node.target
        if isinstance(target, ast.Variable):
            type_ = self.visit(target)
        else:
            info = self._info(target)
            if not self._keys(target):
                return UNKNOWN
            if info.value is UNKNOWN:
                self._assign_map(target, INT64, target.span)
            info.assigned = True
            type_ = target.type = info.value
        if type_ is UNKNOWN or isinstance(type_, (IntegerType, PointerType)):
            return type_
        notes = self._origin(target)
        return self.error(messages.NEEDS_INTEGER, target.span, what=f"`{node.operator}`", type=type_, notes=notes)

    def _cast(self, node: ast.Cast) -> Type:
        operand = self.visit(node.operand)
        target = self.named_type(node.target)
        if target is UNKNOWN or operand is UNKNOWN:
            return target
        if isinstance(target, ArrayType):
            return self._cast_to_array(node, target, operand)
        if isinstance(target, PointerType):
            if isinstance(operand, PointerType):
                return PointerType(target.pointee, operand.space if operand.space != "context" else "kernel")
            if isinstance(operand, IntegerType):
                return PointerType(target.pointee, self.context.space)
            if isinstance(operand, ArrayType):
                return PointerType(target.pointee, self.location_space(node.operand))
        elif isinstance(target, IntegerType):
            if isinstance(operand, (IntegerType, PointerType)):
                return target
            if isinstance(operand, ArrayType) and isinstance(operand.element, IntegerType):
                if operand.size <= 8:
                    return target
                return self.error(messages.CAST_ARRAY_SIZE, node.span, type=operand, size=operand.size)
        return self.error(
            messages.BAD_CAST,
            node.span,
            type=operand,
            target=target,
            hint=f"cast to a pointer: ({target} *)" if isinstance(target, RecordType) else None,
        )

    def _cast_to_array(self, node: ast.Cast, target: ArrayType, operand: Type) -> Type:
        if not isinstance(target.element, IntegerType):
            return self.error(messages.BAD_CAST, node.span, type=operand, target=target)
        if isinstance(operand, IntegerType) or (
            isinstance(operand, ArrayType) and isinstance(operand.element, IntegerType)
        ):
            count = target.count or operand.size // target.element.size
            if count * target.element.size != operand.size:
                return self.error(
                    messages.CAST_SIZES,
                    node.span,
                    type=operand,
                    target=target,
                    size=operand.size,
                    target_size=target.size,
                )
            return ArrayType(target.element, count)
        return self.error(messages.BAD_CAST, node.span, type=operand, target=target)


def _signed(node: ast.Expression, own: IntegerType, other: IntegerType) -> bool:
    """Whether an operand counts as signed: a literal that is not negative fits in with whatever it meets."""
    if own.signed and isinstance(node, ast.Integer) and node.value >= 0:
        return other.signed
    return own.signed
