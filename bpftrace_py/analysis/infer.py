"""Type inference and checking of statements and expressions.

The tree is visited until no type changes, since a map may be read above the place that tells its type; only what the
last visit reports is kept. A type that is still unknown is passed along in silence until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftrace_py import messages
from bpftrace_py.analysis.calls import CallChecker
from bpftrace_py.analysis.fold import wrap
from bpftrace_py.analysis.merge import key_type, merge, stored_type
from bpftrace_py.analysis.program import Context, MapInfo, ProbeInstance
from bpftrace_py.analysis.records import Records
from bpftrace_py.analysis.wording import keys_shown, shown
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics, Message, Note, did_you_mean
from bpftrace_py.language import builtins, functions
from bpftrace_py.source import NOWHERE, Source, Span
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    INT64,
    UINT64,
    UNKNOWN,
    AggregateType,
    ArrayType,
    FunctionType,
    IntegerType,
    PointerType,
    RecordType,
    StackType,
    StringType,
    TupleType,
    Type,
    VoidType,
)

if TYPE_CHECKING:
    from typing import TypeGuard

    from bpftrace_py.analysis.user_symbols import UserObject

MAX_ROUNDS = 12  # a type can only grow; programs settle in two or three
MAX_UNROLL = 100
COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">="))
LOGICAL = frozenset(("&&", "||"))


class Inference:
    """Gives every expression of every probe its type, or says why it has none."""

    def __init__(self, source: Source, config: Config, records: Records) -> None:
        self.source = source
        self.config = config
        self.records = records
        self.maps: dict[str, MapInfo] = {}
        self.diagnostics = Diagnostics(source)
        self.final = False
        self._changed = False
        self._loops = 0
        self._assigned: dict[str, Span] = {}  # the variables that have a value by now, and where they got it
        self._elsewhere: dict[str, Span] = {}  # the variables of all probes, and the only block that assigns to each
        self._instance: ProbeInstance
        self._calls = CallChecker(self)

    # --- the rounds

    def run(self, instances: list[ProbeInstance]) -> Diagnostics:
        for _ in range(MAX_ROUNDS):
            self._round(instances)
            if not self._changed:
                break
        self.final = True
        self._round(instances)
        return self.diagnostics

    def _round(self, instances: list[ProbeInstance]) -> None:
        self._changed = False
        self.diagnostics = Diagnostics(self.source)
        for info in self.maps.values():
            info.assigned = False
        for instance in instances:
            self._instance = instance
            self._loops = 0
            self._assigned = {}
            if instance.tree.predicate is not None:
                self.condition(instance.tree.predicate)
            self._block(instance.tree.body)

    @property
    def context(self) -> Context:
        return self._instance.context

    def error(
        self, message: Message, span: Span, *, hint: str | None = None, notes: tuple[Note, ...] = (), **values: object
    ) -> Type:
        """Report, and be the unknown type, which nothing else complains about."""
        worded = {name: shown(value) if isinstance(value, Type) else value for name, value in values.items()}
        self.diagnostics.error(message, span, hint=hint, notes=notes, **worded)
        return UNKNOWN

    def user_object(self, name: str, span: Span) -> UserObject | None:
        """The object of the traced binary that uaddr() names."""
        from bpftrace_py.analysis.user_symbols import find_object

        return find_object(self._instance, name, span, self.diagnostics)

    # --- statements

    def _block(self, block: ast.Block) -> None:
        for index, statement in enumerate(block.statements):
            statement = block.statements[index] = _as_if(statement)
            self._statement(statement)

    def _statement(self, statement: ast.Statement) -> None:
        match statement:
            case ast.ExpressionStatement():
                self._expression_statement(statement.expression)
            case ast.Assignment():
                self._assignment(statement)
            case ast.If():
                self.condition(statement.condition)
                self._block(statement.then)
                if statement.otherwise is not None:
                    self._block(statement.otherwise)
            case ast.Unroll():
                self._unroll(statement)
            case ast.While():
                self.condition(statement.condition)
                self._loops += 1
                self._block(statement.body)
                self._loops -= 1
            case ast.Jump():
                if statement.kind != "return" and not self._loops:
                    self.error(messages.JUMP_OUTSIDE_LOOP, statement.span, kind=statement.kind)

    def _expression_statement(self, node: ast.Expression) -> None:
        if isinstance(node, ast.Call) and node.name in functions.FUNCTIONS and functions.FUNCTIONS[node.name].statement:
            self._calls.statement(node)
            return
        self.visit(node)

    def _unroll(self, node: ast.Unroll) -> None:
        before = len(self.diagnostics.errors)
        self.visit(node.count)
        if not isinstance(node.count, ast.Integer):
            if len(self.diagnostics.errors) == before:
                self.error(messages.UNROLL_NOT_CONSTANT, node.count.span)
        elif not 1 <= node.count.value <= MAX_UNROLL:
            self.error(messages.UNROLL_RANGE, node.count.span, low=1, high=MAX_UNROLL, value=node.count.value)
        self._block(node.body)

    def _assignment(self, node: ast.Assignment) -> None:
        value = self._assigned_value(node)
        target = node.target
        if node.operator != "=":
            current = self.visit(target)
            for type_, span in ((current, target.span), (value, node.value.span)):
                if type_ is not UNKNOWN and not isinstance(type_, (IntegerType, PointerType)):
                    notes = self._origin(target) if span is target.span else ()
                    self.error(messages.NEEDS_INTEGER, span, what=f"`{node.operator}`", type=type_, notes=notes)
                    return
            if current is UNKNOWN:
                if isinstance(target, ast.Variable):
                    return
                value = INT64
            else:
                value = current
        if node.operator in ("/=", "%=") and isinstance(node.value, ast.Integer) and node.value.value == 0:
            self.error(messages.DIVISION_BY_ZERO, node.value.span)
        if isinstance(target, ast.Variable):
            self._assign_variable(target, value, node.value.span)
            self._assigned.setdefault(target.name, target.span)
            if self._instance.tree.body.span != self._elsewhere.setdefault(target.name, self._instance.tree.body.span):
                self._elsewhere[target.name] = NOWHERE
        else:
            self._keys(target)
            self._assign_map(target, value, node.value.span)

    def _assigned_value(self, node: ast.Assignment) -> Type:
        value = node.value
        if isinstance(value, ast.Call):
            function = functions.FUNCTIONS.get(value.name)
            if function is not None and function.aggregate:
                if isinstance(node.target, ast.Map) and node.operator == "=":
                    value.type = self._calls.aggregate(value)
                    return value.type
                return self.error(
                    messages.AGGREGATE_NEEDS_MAP, value.span, name=value.name, hint=f"write `@name = {value.name}(...)`"
                )
        if _is_args(value) and isinstance(node.target, ast.Variable):
            value.type = type_ = self._identifier_type(value)
        else:
            type_ = self.visit(value)
        if isinstance(type_, AggregateType):
            return self.error(
                messages.AGGREGATE_AS_VALUE,
                value.span,
                type=str(type_),
                map=_shown(value),
                notes=self._origin(value),
                hint="print() puts it together; a map that is counted with `++` can be read here",
            )
        return type_

    def _assign_variable(self, target: ast.Variable, value: Type, span: Span) -> None:
        variables = self._instance.variables
        known = variables.get(target.name, UNKNOWN)
        if value is not UNKNOWN:
            merged = merge(known, stored_type(value))
            if merged is None:
                notes = self._origin(target)
                self.error(messages.VARIABLE_TYPE, span, name=target.name, type=value, known=known, notes=notes)
            elif merged != known:
                variables[target.name] = merged
                self._changed = True
        else:
            variables.setdefault(target.name, UNKNOWN)
        target.type = variables.get(target.name, UNKNOWN)

    def _info(self, node: ast.Map) -> MapInfo:
        info = self.maps.get(node.name)
        if info is None:
            info = self.maps[node.name] = MapInfo(node.name, first_span=node.span)
        return info

    def _assign_map(self, target: ast.Map, value: Type, span: Span) -> None:
        info = self._info(target)
        info.assigned = True
        if value is UNKNOWN:
            target.type = info.value
            return
        merged = merge(info.value, stored_type(value, in_map=True))
        if merged is None:
            notes = self._origin(target)
            self.error(messages.MAP_TYPE, span, name=target.name, type=value, known=info.value, notes=notes)
            return
        if merged != info.value:
            info.value = merged
            info.value_span = info.value_span or target.span
            self._changed = True
        target.type = info.value

    def _origin(self, node: ast.Expression) -> tuple[Note, ...]:
        """The note that says where a variable or a map got its type; none if that is where it is asked for."""
        if isinstance(node, ast.Variable):
            name, type_, span = f"${node.name}", self._instance.variables.get(node.name), self._assigned.get(node.name)
        elif isinstance(node, ast.Map) and node.name in self.maps:
            info = self.maps[node.name]
            name, type_, span = f"@{node.name}", info.value, info.value_span
        else:
            return ()
        if type_ is None or span is None or span == node.span:
            return ()
        text = shown(type_)
        article = "an" if text[0] in "aei" else "a"
        return (Note(f"`{name}` is {article} {text} here", span),)

    def _keys(self, node: ast.Map) -> None:
        """Type the keys of a map access and hold them against the keys of earlier ones."""
        info = self._info(node)
        types = tuple(key_type(self.visit(key)) for key in node.keys)
        for key, type_ in zip(node.keys, types, strict=True):
            if isinstance(type_, (AggregateType, VoidType, FunctionType)):
                self.error(messages.KEY_TYPE, key.span, type=type_)
                return
        if UNKNOWN in types:
            return
        if info.keys is None:
            info.keys, info.keys_span, self._changed = types, node.span, True
            return
        merged = tuple(merge(a, b) for a, b in zip(info.keys, types, strict=False))
        if len(types) != len(info.keys) or None in merged:
            known = keys_shown(info.keys)
            notes = (Note(f"`@{node.name}` has {known} here", info.keys_span),) if info.keys_span else ()
            self.error(
                messages.KEYS_DIFFER,
                node.span,
                name=node.name,
                given=keys_shown(types).removeprefix("the key ").removeprefix("the keys ").replace("no keys", "none"),
                known=known,
                notes=notes,
            )
        elif merged != info.keys:
            info.keys, self._changed = tuple(m for m in merged if m is not None), True

    def keys_of(self, node: ast.Map) -> None:
        self._keys(node)

    # --- expressions

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
        self._keys(node)
        info = self._info(node)
        if info.value is UNKNOWN and self.final and not info.assigned:
            others = [name for name, other in self.maps.items() if other.value is not UNKNOWN]
            return self.error(
                messages.UNDEFINED_MAP, node.span, name=node.name, hint=did_you_mean(node.name, others, "@{}")
            )
        return info.value

    def _identifier(self, node: ast.Identifier) -> Type:
        type_ = self._identifier_type(node)
        if node.name == "args" and type_ is not UNKNOWN:
            members = self.records.fields(self.context.arguments) if self.context.arguments is not None else None
            hint = f"write `args->{members[-1].name}`, for example" if members else None
            return self.error(messages.ARGS_AS_VALUE, node.span, hint=hint)
        return type_

    def _identifier_type(self, node: ast.Identifier) -> Type:
        builtin = builtins.find(node.name)
        if builtin is None:
            known = [*builtins.BUILTINS, "arg0"]
            hint = did_you_mean(node.name, known)
            if node.name in ("perf", "bpftrace", "raw"):
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
                hint=messages.BUILTIN_HINTS.get(builtin.needs),
            )
        return self.builtin_type(node.name, builtin)

    def builtin_type(self, name: str, builtin: builtins.Builtin) -> Type:
        if name == "args":
            if self.context.arguments is None:
                return UNKNOWN
            return PointerType(self.context.arguments, "context")
        if name == "retval":
            return self.context.return_type or INT64
        if name == "func":
            return builtins_func_type(self.context)
        if name == "ctx":
            return PointerType(VoidType(), "kernel")
        if isinstance(builtin.type, StackType):
            return StackType(builtin.type.user, self.config.stack_mode, 127)
        return UINT64 if builtin.needs == "argN" or builtin.needs == "sargN" else builtin.type

    def _unary(self, node: ast.Unary) -> Type:
        type_ = self.visit(node.operand)
        if type_ is UNKNOWN:
            return UNKNOWN
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
            return INT64 if type_.signed or node.operator == "-" else UINT64
        return self.error(messages.NEEDS_INTEGER, node.operand.span, what=f"`{node.operator}`", type=type_)

    def loaded(self, type_: Type, space: str, span: Span) -> Type:
        """The type of a value that is read from memory in `space`: where pointers found there point to."""
        if isinstance(type_, PointerType):
            if space in ("user", "any"):
                return PointerType(type_.pointee, "user" if "user" in (space, type_.space) else "any")
            return type_
        if isinstance(type_, (VoidType, FunctionType)):
            return self.error(messages.CANNOT_READ, span, type=type_)
        return type_

    def _binary(self, node: ast.Binary) -> Type:
        left, right = self.visit(node.left), self.visit(node.right)
        if left is UNKNOWN or right is UNKNOWN:
            return INT64 if node.operator in COMPARISONS | LOGICAL else UNKNOWN
        if node.operator in ("==", "!=") and isinstance(left, StringType) and isinstance(right, StringType):
            return INT64
        numbers = (IntegerType, PointerType)
        if not (isinstance(left, numbers) and isinstance(right, numbers)):
            return self._bad_operands(node, left, right)
        if node.operator in COMPARISONS | LOGICAL:
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
            self._keys(target)
            info = self._info(target)
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

    def named_type(self, name: ast.TypeName) -> Type:
        """The type that a cast or sizeof names."""
        base = self.records.find(name.name)
        if base is None:
            keyword, blank, word = name.name.rpartition(" ")
            words = [known.rpartition(" ")[2] for known in self.records.names() if known.startswith(keyword + blank)]
            close = did_you_mean(word, words, keyword + blank + "{}")
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
        is_args = _is_args(node.operand)
        operand = self._identifier_type(node.operand) if _is_args(node.operand) else self.visit(node.operand)
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
        if not is_args and node.arrow != isinstance(operand, PointerType):
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
        form = ("args->{}" if node.arrow else "args.{}") if is_args else "{}"
        hint = did_you_mean(node.name, [f.name for f in fields], form)
        if hint is None and fields:
            hint = f"it has {', '.join(f.name for f in fields[:12])}{', ...' if len(fields) > 12 else ''}"
        whose = f"`args` of {self._instance.targets[0].name}" if is_args else record.name
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
        return UNKNOWN if UNKNOWN in elements else TupleType(tuple(elements))

    def _tuple_access(self, node: ast.TupleAccess) -> Type:
        operand = self.visit(node.operand)
        if operand is UNKNOWN:
            return UNKNOWN
        if not isinstance(operand, TupleType):
            return self.error(messages.NOT_A_TUPLE, node.operand.span, type=operand)
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


def _is_args(node: ast.Expression) -> TypeGuard[ast.Identifier]:
    return isinstance(node, ast.Identifier) and node.name == "args"


def _as_if(statement: ast.Statement) -> ast.Statement:
    """`pid ? printf(...) : exit();` is an `if` in other words: both arms are statements."""
    if not isinstance(statement, ast.ExpressionStatement) or not isinstance(statement.expression, ast.Ternary):
        return statement
    node = statement.expression
    arms = []
    for arm in (node.then, node.otherwise):
        if not (
            isinstance(arm, ast.Call) and arm.name in functions.FUNCTIONS and functions.FUNCTIONS[arm.name].statement
        ):
            return statement
        arms.append(ast.Block(statements=[ast.ExpressionStatement(expression=arm, span=arm.span)], span=arm.span))
    return ast.If(condition=node.condition, then=arms[0], otherwise=arms[1], span=statement.span)


def builtins_func_type(context: Context) -> Type:
    """`func` comes from the instruction pointer where the context has one, else from the attach point."""
    from bpftrace_py.types import FUNCTION_NAME

    return FUNCTION_NAME


def _signed(node: ast.Expression, own: IntegerType, other: IntegerType) -> bool:
    """Whether an operand counts as signed: a literal that is not negative fits in with whatever it meets."""
    if own.signed and isinstance(node, ast.Integer) and node.value >= 0:
        return other.signed
    return own.signed


def _shown(node: ast.Expression) -> str:
    return f"@{node.name}" if isinstance(node, ast.Map) else "it"
