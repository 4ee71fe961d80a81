"""The grammar of the language, one function a rule, as PLY reads it: the docstring is the rule.

`p.slice[i]` is the i-th symbol: a token (with `lexpos` and `end`) or a reduced rule; its `value` is what the token or
the rule stands for. Rules build syntax tree nodes and nothing else. The precedence table settles every ambiguity.

Errors: the parser reports them, then skips to a place where it can go on, and puts a `SYNC` token there (in a block:
behind the broken statement) or `SYNC_BLOCK` (at the top level: before the block of the broken probe).
"""

from __future__ import annotations

from bpftrace_py.source import Span
from bpftrace_py.syntax.ast import (
    ArrayAccess,
    Assignment,
    Binary,
    Block,
    Call,
    Cast,
    CDeclaration,
    Expression,
    ExpressionStatement,
    FieldAccess,
    Identifier,
    If,
    Increment,
    Integer,
    Jump,
    Map,
    OffsetOf,
    Positional,
    PositionalCount,
    Probe,
    Program,
    SizeOf,
    String,
    Ternary,
    TupleAccess,
    TupleLiteral,
    Unary,
    Unroll,
    Variable,
    While,
)

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import Any

# The lexer also has JUNK and RECORD, which no rule takes: they are errors where they are left.
tokens = (
    "START", "DECLARATION", "ATTACH_POINT", "PREDICATE_OPEN", "PREDICATE_CLOSE", "SYNC", "SYNC_BLOCK",
    "IF", "ELSE", "WHILE", "UNROLL", "RETURN", "BREAK", "CONTINUE", "SIZEOF", "OFFSETOF", "TYPE_OPEN", "TYPE",
    "IDENTIFIER", "INTEGER", "STRING", "VARIABLE", "MAP", "POSITIONAL", "POSITIONAL_COUNT",
    "INCREMENT", "DECREMENT", "ARROW", "ASSIGN", "ASSIGN_COMPOUND",
    "AND", "OR", "EQUAL", "NOT_EQUAL", "LESS_EQUAL", "GREATER_EQUAL", "SHIFT_LEFT", "SHIFT_RIGHT",
)  # fmt: skip

# C's. `[` binds tighter than a bare map, so `@x[1]` is a key and not an element of `@x`.
precedence = (
    ("right", "?", ":"),
    ("left", "OR"),
    ("left", "AND"),
    ("left", "|"),
    ("left", "^"),
    ("left", "&"),
    ("left", "EQUAL", "NOT_EQUAL"),
    ("left", "<", ">", "LESS_EQUAL", "GREATER_EQUAL"),
    ("left", "SHIFT_LEFT", "SHIFT_RIGHT"),
    ("left", "+", "-"),
    ("left", "*", "/", "%"),
    ("right", "UNARY"),
    ("left", ".", "ARROW", "["),
)

start = "program"


def _span(first: Any, last: Any) -> Span:
    return Span(first.lexpos, last.end)


# --- the top level


def p_program(p: Any) -> None:
    "program : START items"
    items = p.slice[2].value
    p[0] = Program(
        declarations=[item for item in items if isinstance(item, CDeclaration)],
        probes=[item for item in items if isinstance(item, Probe)],
    )


def p_list_empty(p: Any) -> None:
    """items :
    ended_statements :"""
    p[0] = []


def p_list_more(p: Any) -> None:
    """items : items declaration
    items : items probe
    ended_statements : ended_statements simple_statement ';'
    ended_statements : ended_statements block_statement
    ended_statements : ended_statements block_statement ';'
    statements : ended_statements simple_statement"""
    result = p[0] = p.slice[1].value
    result.append(p.slice[2].value)


def p_pass(p: Any) -> None:
    """statements : ended_statements
    declaration : DECLARATION
    attach_points : attach_point_list
    attach_points : attach_point_list ','
    simple_statement : jump
    block_statement : if_statement
    expression : target
    target : map"""
    p[0] = p.slice[1].value


def p_list_error(p: Any) -> None:
    """items : items error SYNC
    items : items error SYNC_BLOCK block
    ended_statements : ended_statements error SYNC"""
    p[0] = p.slice[1].value


def p_probe(p: Any) -> None:
    "probe : attach_points predicate block"
    _, points, predicate, block = p.slice
    p[0] = Probe(
        span=points.value[0].span.to(block.value.span),
        attach_points=points.value,
        predicate=predicate.value,
        body=block.value,
    )


def p_single(p: Any) -> None:
    """attach_point_list : ATTACH_POINT
    arguments : expression"""
    p[0] = [p.slice[1].value]


def p_separated(p: Any) -> None:
    """attach_point_list : attach_point_list ',' ATTACH_POINT
    arguments : arguments ',' expression"""
    result = p[0] = p.slice[1].value
    result.append(p.slice[3].value)


def p_predicate(p: Any) -> None:
    """predicate :
    predicate : PREDICATE_OPEN expression PREDICATE_CLOSE"""
    p[0] = p.slice[2].value if len(p.slice) > 1 else None


# --- statements


def p_block(p: Any) -> None:
    "block : '{' statements '}'"
    _, opening, statements, closing = p.slice
    p[0] = Block(span=_span(opening, closing), statements=statements.value)


def p_expression_statement(p: Any) -> None:
    "simple_statement : expression"
    expression = p.slice[1].value
    p[0] = ExpressionStatement(span=expression.span, expression=expression)


def p_assignment(p: Any) -> None:
    """simple_statement : target ASSIGN expression
    simple_statement : target ASSIGN_COMPOUND expression"""
    _, target, operator, value = p.slice
    span = target.value.span.to(value.value.span)
    p[0] = Assignment(span=span, target=target.value, operator=operator.value, value=value.value)


def p_jump(p: Any) -> None:
    """jump : RETURN
    jump : BREAK
    jump : CONTINUE"""
    token = p.slice[1]
    p[0] = Jump(span=_span(token, token), kind=token.value)


def p_if(p: Any) -> None:
    """if_statement : IF '(' expression ')' block
    if_statement : IF '(' expression ')' block ELSE block
    if_statement : IF '(' expression ')' block ELSE if_statement"""
    symbols = p.slice
    otherwise = symbols[7].value if len(symbols) > 6 else None
    if isinstance(otherwise, If):
        otherwise = Block(span=otherwise.span, statements=[otherwise])
    end = (otherwise or symbols[5].value).span.end
    p[0] = If(
        span=Span(symbols[1].lexpos, end), condition=symbols[3].value, then=symbols[5].value, otherwise=otherwise
    )


def p_while(p: Any) -> None:
    "block_statement : WHILE '(' expression ')' block"
    _, word, _, condition, _, block = p.slice
    p[0] = While(span=Span(word.lexpos, block.value.span.end), condition=condition.value, body=block.value)


def p_unroll(p: Any) -> None:
    "block_statement : UNROLL '(' expression ')' block"
    _, word, _, count, _, block = p.slice
    p[0] = Unroll(span=Span(word.lexpos, block.value.span.end), count=count.value, body=block.value)


# --- expressions


def p_ternary(p: Any) -> None:
    "expression : expression '?' expression ':' expression"
    condition, then, otherwise = p.slice[1].value, p.slice[3].value, p.slice[5].value
    p[0] = Ternary(span=condition.span.to(otherwise.span), condition=condition, then=then, otherwise=otherwise)


def p_binary(p: Any) -> None:
    """expression : expression OR expression
    expression : expression AND expression
    expression : expression '|' expression
    expression : expression '^' expression
    expression : expression '&' expression
    expression : expression EQUAL expression
    expression : expression NOT_EQUAL expression
    expression : expression '<' expression
    expression : expression '>' expression
    expression : expression LESS_EQUAL expression
    expression : expression GREATER_EQUAL expression
    expression : expression SHIFT_LEFT expression
    expression : expression SHIFT_RIGHT expression
    expression : expression '+' expression
    expression : expression '-' expression
    expression : expression '*' expression
    expression : expression '/' expression
    expression : expression '%' expression"""
    _, left, operator, right = p.slice
    span = Span(left.value.span.start, right.value.span.end)
    p[0] = Binary(span=span, operator=operator.value, left=left.value, right=right.value)


def p_unary(p: Any) -> None:
    """expression : '-' expression %prec UNARY
    expression : '!' expression %prec UNARY
    expression : '~' expression %prec UNARY
    expression : '*' expression %prec UNARY"""
    _, operator, operand = p.slice
    value: Expression = operand.value
    span = Span(operator.lexpos, value.span.end)
    # A minus belongs to the literal, but not in `-(5)`: there the span is wider than the text.
    if operator.value == "-" and isinstance(value, Integer) and value.span.end - value.span.start == len(value.text):
        if value.value > 1 << 63:
            p.parser.integer_too_large(span)
        elif value.text[0] != "-":
            p[0] = Integer(span=span, value=-value.value, text="-" + value.text)
            return
    p[0] = Unary(span=span, operator=operator.value, operand=value)


def p_cast(p: Any) -> None:
    "expression : TYPE_OPEN TYPE ')' expression %prec UNARY"
    _, opening, target, _, operand = p.slice
    p[0] = Cast(span=Span(opening.lexpos, operand.value.span.end), target=target.value, operand=operand.value)


def p_group(p: Any) -> None:
    "expression : '(' expression ')'"
    _, opening, expression, closing = p.slice
    p[0] = expression.value
    expression.value.span = _span(opening, closing)


def p_tuple(p: Any) -> None:
    "expression : '(' expression ',' arguments ')'"
    _, opening, first, _, rest, closing = p.slice
    p[0] = TupleLiteral(span=_span(opening, closing), elements=[first.value, *rest.value])


def p_field(p: Any) -> None:
    """expression : expression '.' IDENTIFIER
    expression : expression ARROW IDENTIFIER"""
    _, operand, operator, name = p.slice
    p[0] = FieldAccess(
        span=Span(operand.value.span.start, name.end),
        operand=operand.value,
        name=name.value,
        arrow=operator.type == "ARROW",
        name_span=_span(name, name),
    )


def p_tuple_access(p: Any) -> None:
    "expression : expression '.' INTEGER"
    _, operand, _, index = p.slice
    span = Span(operand.value.span.start, index.end)
    p[0] = TupleAccess(span=span, operand=operand.value, index=index.value)


def p_array_access(p: Any) -> None:
    "expression : expression '[' expression ']'"
    _, operand, _, index, closing = p.slice
    span = Span(operand.value.span.start, closing.end)
    p[0] = ArrayAccess(span=span, operand=operand.value, index=index.value)


def p_call(p: Any) -> None:
    """expression : IDENTIFIER '(' ')'
    expression : IDENTIFIER '(' arguments ')'"""
    symbols = p.slice
    name = symbols[1]
    arguments = symbols[3].value if len(symbols) > 4 else []
    p[0] = Call(span=_span(name, symbols[-1]), name=name.value, arguments=arguments, name_span=_span(name, name))


def p_sizeof(p: Any) -> None:
    """expression : SIZEOF TYPE_OPEN TYPE ')'
    expression : SIZEOF '(' expression ')'"""
    p[0] = SizeOf(span=_span(p.slice[1], p.slice[4]), operand=p.slice[3].value)


def p_offsetof(p: Any) -> None:
    """expression : OFFSETOF TYPE_OPEN TYPE ',' field_path ')'
    expression : OFFSETOF '(' expression ',' field_path ')'"""
    symbols = p.slice
    p[0] = OffsetOf(span=_span(symbols[1], symbols[6]), record=symbols[3].value, field_name=symbols[5].value)


def p_field_path(p: Any) -> None:
    """field_path : IDENTIFIER
    field_path : field_path '.' IDENTIFIER"""
    p[0] = ".".join(symbol.value for symbol in p.slice[1::2])


def p_identifier(p: Any) -> None:
    "expression : IDENTIFIER"
    token = p.slice[1]
    p[0] = Identifier(span=_span(token, token), name=token.value)


def p_integer(p: Any) -> None:
    "expression : INTEGER"
    token = p.slice[1]
    p[0] = Integer(span=_span(token, token), value=token.value, text=p.parser.text_of(token))


def p_string(p: Any) -> None:
    "expression : STRING"
    token = p.slice[1]
    p[0] = String(span=_span(token, token), value=token.value)


def p_positional(p: Any) -> None:
    "expression : POSITIONAL"
    token = p.slice[1]
    p[0] = Positional(span=_span(token, token), number=token.value)


def p_positional_count(p: Any) -> None:
    "expression : POSITIONAL_COUNT"
    token = p.slice[1]
    p[0] = PositionalCount(span=_span(token, token))


def p_increment(p: Any) -> None:
    """expression : INCREMENT target
    expression : DECREMENT target
    expression : target INCREMENT
    expression : target DECREMENT"""
    _, first, last = p.slice
    prefix = first.type != "target"
    operator, target = (first, last) if prefix else (last, first)
    span = Span(first.lexpos, last.value.span.end) if prefix else Span(first.value.span.start, last.end)
    p[0] = Increment(span=span, operator=operator.value, target=target.value, prefix=prefix)


def p_variable(p: Any) -> None:
    "target : VARIABLE"
    token = p.slice[1]
    p[0] = Variable(span=_span(token, token), name=token.value)


def p_map(p: Any) -> None:
    """map : MAP %prec UNARY
    map : MAP '[' arguments ']'"""
    symbols = p.slice
    name = symbols[1]
    keys = symbols[3].value if len(symbols) > 2 else []
    p[0] = Map(span=_span(name, symbols[-1]), name=name.value[1:], keys=keys)
