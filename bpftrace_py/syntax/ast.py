"""The abstract syntax tree of a bpftrace program.

Every node has a span. Expression nodes have a `type`, which analysis fills in; before that it is `UNKNOWN`.
Child nodes are found through the fields (see `visitor.py`), so a node is declared and nothing more.
"""

from __future__ import annotations

from bpftrace_py.record import field, record
from bpftrace_py.source import NOWHERE, Span
from bpftrace_py.types import UNKNOWN, Type


@record(kw_only=True)
class Node:
    """Base of all nodes. `span` is the text that a node was read from."""

    span: Span = NOWHERE


# --- expressions


@record(kw_only=True)
class Expression(Node):
    """What has a value. `type` is unknown until analysis has set it."""

    type: Type = field(default=UNKNOWN, compare=False)


@record(kw_only=True)
class Integer(Expression):
    """A literal. `value` is in [-2**63, 2**64); `text` is as it was written."""

    value: int
    text: str = field(default="", compare=False)


@record(kw_only=True)
class String(Expression):
    """A literal, its escapes already resolved. Bytes above 127 that are not UTF-8 are surrogate escapes."""

    value: str


@record(kw_only=True)
class Positional(Expression):
    """`$1`, `$2`, ..."""

    number: int


@record(kw_only=True)
class PositionalCount(Expression):
    """`$#`."""


@record(kw_only=True)
class Identifier(Expression):
    """A bare name: a builtin (`pid`), an enumerator, a `#define` constant, a stack mode (`perf`)."""

    name: str


@record(kw_only=True)
class Call(Expression):
    """`name(arguments)`. For builtins that may be called, such as `kstack(3)`, too."""

    name: str
    arguments: list[Expression]
    name_span: Span = field(default=NOWHERE, compare=False)


@record(kw_only=True)
class Variable(Expression):
    """A scratch variable; `name` has no `$`."""

    name: str


@record(kw_only=True)
class Map(Expression):
    """`@name` or `@name[keys]`; `name` has no `@` and is "" for `@`."""

    name: str
    keys: list[Expression]


@record(kw_only=True)
class Unary(Expression):
    """`operator` is one of `- ! ~ *`."""

    operator: str
    operand: Expression


@record(kw_only=True)
class Increment(Expression):
    """`++x`, `x++`, `--x`, `x--`; `operator` is `++` or `--`."""

    operator: str
    target: Variable | Map
    prefix: bool


COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">="))
LOGICAL = frozenset(("&&", "||"))


@record(kw_only=True)
class Binary(Expression):
    """`operator` is one of `+ - * / % & | ^ << >> == != < <= > >= && ||`."""

    operator: str
    left: Expression
    right: Expression


@record(kw_only=True)
class Ternary(Expression):
    """`condition ? then : otherwise`."""

    condition: Expression
    then: Expression
    otherwise: Expression


@record(kw_only=True)
class FieldAccess(Expression):
    """`operand.name` or, if `arrow`, `operand->name`."""

    operand: Expression
    name: str
    arrow: bool
    name_span: Span = field(default=NOWHERE, compare=False)


@record(kw_only=True)
class TupleAccess(Expression):
    """`operand.0`."""

    operand: Expression
    index: int


@record(kw_only=True)
class ArrayAccess(Expression):
    """`operand[index]`."""

    operand: Expression
    index: Expression


@record(kw_only=True)
class TypeName(Node):
    """A type as it is written in a cast or sizeof: `uint32`, `struct path *`, `int8[4]`.

    `name` is the base ("uint32", "struct path", "unsigned long"), `pointers` the number of `*` behind it,
    `dimensions` the array sizes; None stands for `[]`, whose size comes from what is cast.
    """

    name: str
    pointers: int = 0
    dimensions: list[int | None] = field(default_factory=list)


@record(kw_only=True)
class Cast(Expression):
    """`(type)operand`."""

    target: TypeName
    operand: Expression


@record(kw_only=True)
class SizeOf(Expression):
    """`sizeof(type)` or `sizeof(expression)`."""

    operand: TypeName | Expression


@record(kw_only=True)
class OffsetOf(Expression):
    """`offsetof(struct name, field)` or `offsetof(expression, field)`."""

    record: TypeName | Expression
    field_name: str


@record(kw_only=True)
class TupleLiteral(Expression):
    """`(1, "two")`."""

    elements: list[Expression]


# --- statements


@record(kw_only=True)
class Statement(Node):
    """What a block is made of."""


@record(kw_only=True)
class ExpressionStatement(Statement):
    """An expression for what it does: a call, `@++`."""

    expression: Expression


@record(kw_only=True)
class Assignment(Statement):
    """`target operator value`; `operator` is `=` or a compound one such as `+=`."""

    target: Variable | Map
    operator: str
    value: Expression


@record(kw_only=True)
class Block(Node):
    """Statements in braces."""

    statements: list[Statement]


@record(kw_only=True)
class If(Statement):
    """`otherwise` of an `else if` is a block that holds just that `If`."""

    condition: Expression
    then: Block
    otherwise: Block | None = None


@record(kw_only=True)
class Unroll(Statement):
    """`unroll (count) { }`."""

    count: Expression
    body: Block


@record(kw_only=True)
class While(Statement):
    """`while (condition) { }`."""

    condition: Expression
    body: Block


@record(kw_only=True)
class Jump(Statement):
    """`kind` is `return`, `break` or `continue`."""

    kind: str


# --- the top level


@record(kw_only=True)
class AttachPoint(Node):
    """One probe spec, split at its colons but not interpreted: `parts[0]` is the probe type or its short name.

    `part_spans[i]` is the span of `parts[i]`. Quotes of a quoted part (`uprobe:bin:"f(int)"`) are taken off.
    Positional parameters stay as they are written (`profile:hz:$1`).
    """

    text: str
    parts: list[str]
    part_spans: list[Span] = field(default_factory=list, compare=False)


@record(kw_only=True)
class Probe(Node):
    """`attach points /predicate/ { body }`."""

    attach_points: list[AttachPoint]
    predicate: Expression | None
    body: Block


@record(kw_only=True)
class CDeclaration(Node):
    """C text before the probes: `kind` is `struct`, `union`, `enum`, `typedef`, `include`, `define` or `directive`."""

    kind: str
    text: str


@record(kw_only=True)
class Program(Node):
    """A script."""

    declarations: list[CDeclaration]
    probes: list[Probe]
