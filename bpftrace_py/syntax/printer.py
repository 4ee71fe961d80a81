"""Syntax trees as text: `to_source` gives a program again, `dump` the tree that `-d` shows."""

from __future__ import annotations

from bpftrace_py.syntax import ast
from bpftrace_py.syntax.literals import quote
from bpftrace_py.types import STACK_MODES, UNKNOWN

# How tightly each kind of expression binds. An operand that binds less than its place asks for gets parentheses.
_TERNARY = 1
_BINARY = {
    "||": 2, "&&": 3, "|": 4, "^": 5, "&": 6, "==": 7, "!=": 7, "<": 8, ">": 8, "<=": 8, ">=": 8, "<<": 9, ">>": 9,
    "+": 10, "-": 10, "*": 11, "/": 11, "%": 11,
}  # fmt: skip
_UNARY = 12
_POSTFIX = 13


def to_source(program: ast.Program) -> str:
    """The program in one canonical form: parsed again, it gives an equal tree, and printed again, the same text."""
    pieces = [declaration.text for declaration in program.declarations]
    text = "\n".join(pieces) + "\n" if pieces else ""
    for probe in program.probes:
        text += ("\n" if text else "") + _probe(probe)
    return text


def _probe(probe: ast.Probe) -> str:
    head = ",\n".join(point.text for point in probe.attach_points)
    if probe.predicate is not None:
        head += f"\n/{expression_source(probe.predicate)}/"
    return f"{head}\n{_block(probe.body, 0)}\n"


def _block(block: ast.Block, depth: int) -> str:
    if not block.statements:
        return "{ }"
    indentation = "\t" * (depth + 1)
    text = "{\n"
    for statement in block.statements:
        text += f"{indentation}{_statement(statement, depth + 1)}\n"
    return text + "\t" * depth + "}"


def _statement(statement: ast.Statement, depth: int) -> str:
    match statement:
        case ast.ExpressionStatement():
            return expression_source(statement.expression) + ";"
        case ast.Assignment():
            target, value = expression_source(statement.target), expression_source(statement.value)
            return f"{target} {statement.operator} {value};"
        case ast.Jump():
            return statement.kind + ";"
        case ast.While():
            return f"while ({expression_source(statement.condition)}) {_block(statement.body, depth)}"
        case ast.Unroll():
            return f"unroll ({expression_source(statement.count)}) {_block(statement.body, depth)}"
        case ast.If():
            return _if(statement, depth)
    raise TypeError(f"{type(statement).__name__} is not a statement of the language")


def _if(statement: ast.If, depth: int) -> str:
    text = f"if ({expression_source(statement.condition)}) {_block(statement.then, depth)}"
    match statement.otherwise:
        case None:
            return text
        case ast.Block(statements=[ast.If() as nested]):
            return f"{text} else {_if(nested, depth)}"
        case block:
            return f"{text} else {_block(block, depth)}"


def expression_source(expression: ast.Expression) -> str:
    """An expression as program text, with no more parentheses than it needs."""
    return _print(expression)[0]


def _operand(expression: ast.Expression, least: int) -> str:
    text, binding = _print(expression)
    return text if binding >= least else f"({text})"


def _print(node: ast.Expression) -> tuple[str, int]:
    """The text of an expression and how tightly it binds."""
    match node:
        case ast.Binary():
            binding = _BINARY[node.operator]
            return f"{_operand(node.left, binding)} {node.operator} {_operand(node.right, binding + 1)}", binding
        case ast.Ternary():
            condition, then = _operand(node.condition, _TERNARY + 1), expression_source(node.then)
            return f"{condition} ? {then} : {_operand(node.otherwise, _TERNARY)}", _TERNARY
        case ast.Unary():
            operand = _operand(node.operand, _UNARY)
            # `-5` is a literal, `-(5)` is not; `--` is an operator of its own.
            if node.operator == "-" and operand[0] in "-0123456789":
                operand = f"({operand})"
            return node.operator + operand, _UNARY
        case ast.Cast():
            operand = _operand(node.operand, _UNARY)
            # `(name)-1` is a subtraction unless the name is known for a type.
            return f"({type_source(node.target)}){f'({operand})' if operand[0] in '-+*' else operand}", _UNARY
        case ast.Increment():
            target = expression_source(node.target)
            return node.operator + target if node.prefix else target + node.operator, _UNARY
        case ast.Integer():
            return node.text or str(node.value), _UNARY if node.value < 0 else _POSTFIX
        case ast.FieldAccess():
            return f"{_operand(node.operand, _POSTFIX)}{'->' if node.arrow else '.'}{node.name}", _POSTFIX
        case ast.TupleAccess():
            return f"{_operand(node.operand, _POSTFIX)}.{node.index}", _POSTFIX
        case ast.ArrayAccess():
            operand = _operand(node.operand, _POSTFIX)
            if isinstance(node.operand, ast.Map) and not node.operand.keys:
                operand = f"({operand})"  # `@x[1]` would be a key
            return f"{operand}[{expression_source(node.index)}]", _POSTFIX
    return _primary(node), _POSTFIX


def _primary(node: ast.Expression) -> str:
    match node:
        case ast.Identifier():
            return node.name
        case ast.Variable():
            return f"${node.name}"
        case ast.Map():
            return f"@{node.name}[{_list(node.keys)}]" if node.keys else f"@{node.name}"
        case ast.Call():
            return f"{node.name}({_list(node.arguments)})"
        case ast.String():
            return quote(node.value)
        case ast.Positional():
            return f"${node.number}"
        case ast.PositionalCount():
            return "$#"
        case ast.TupleLiteral():
            return f"({_list(node.elements)})"
        case ast.SizeOf():
            return f"sizeof({_type_or_expression(node.operand)})"
        case ast.OffsetOf():
            return f"offsetof({_type_or_expression(node.record)}, {node.field_name})"
    raise TypeError(f"{type(node).__name__} is not an expression of the language")


def _list(expressions: list[ast.Expression]) -> str:
    texts = []
    for expression in expressions:  # a comprehension would be one more frame a level
        texts.append(_print(expression)[0])
    return ", ".join(texts)


def _type_or_expression(node: ast.TypeName | ast.Expression) -> str:
    return type_source(node) if isinstance(node, ast.TypeName) else expression_source(node)


def type_source(target: ast.TypeName) -> str:
    """A type as it is written in a cast."""
    dimensions = "".join("[]" if size is None else f"[{size}]" for size in target.dimensions)
    return f"{target.name}{' ' if target.pointers else ''}{'*' * target.pointers}{dimensions}"


# --- the tree


def dump(program: ast.Program) -> str:
    """The tree as bpftrace's `-d` shows it: a node a line, a space of indentation a level, types where they are known."""
    lines = ["Program"]
    for probe in program.probes:
        lines += (f" {':'.join(point.parts)}" for point in probe.attach_points)
        if probe.predicate is not None:
            lines.append("  pred")
            _dump_expression(probe.predicate, 3, lines)
        _dump_block(probe.body, 2, lines)
    return "\n".join(lines) + "\n"


def _dump_block(block: ast.Block, depth: int, lines: list[str]) -> None:
    for statement in block.statements:
        _dump_statement(statement, depth, lines)


def _dump_statement(statement: ast.Statement, depth: int, lines: list[str]) -> None:
    margin = " " * depth
    match statement:
        case ast.ExpressionStatement():
            _dump_expression(statement.expression, depth, lines)
        case ast.Assignment():
            lines.append(f"{margin}=")
            _dump_expression(statement.target, depth + 1, lines)
            if statement.operator != "=":  # `x += 1` is shown as `x = x + 1`
                depth += 1
                lines.append(f"{margin} {statement.operator[:-1]}{_type_of(statement.target)}")
                _dump_expression(statement.target, depth + 1, lines)
            _dump_expression(statement.value, depth + 1, lines)
        case ast.Jump():
            lines.append(margin + statement.kind)
        case ast.If():
            lines.append(f"{margin}if")
            _dump_expression(statement.condition, depth + 1, lines)
            lines.append(f"{margin} then")
            _dump_block(statement.then, depth + 2, lines)
            if statement.otherwise is not None:
                lines.append(f"{margin} else")
                _dump_block(statement.otherwise, depth + 2, lines)
        case ast.While():
            lines.append(f"{margin}while(")
            _dump_expression(statement.condition, depth + 1, lines)
            lines.append(f"{margin} )")
            _dump_block(statement.body, depth + 2, lines)
        case ast.Unroll():
            lines.append(f"{margin}unroll")
            _dump_expression(statement.count, depth + 1, lines)
            lines.append(f"{margin} block")
            _dump_block(statement.body, depth + 2, lines)
        case _:
            raise TypeError(f"{type(statement).__name__} is not a statement of the language")


def _type_of(node: ast.Expression) -> str:
    return "" if node.type == UNKNOWN else f" :: [{node.type}]"


def _dump_expression(node: ast.Expression, depth: int, lines: list[str]) -> None:
    label, below = _label(node)
    if isinstance(node, ast.FieldAccess) and node.arrow:  # `x->y` is shown as `(*x).y`
        lines.append(f"{' ' * depth}.{_type_of(node)}")
        lines.append(f"{' ' * depth} dereference")
        _dump_expression(node.operand, depth + 2, lines)
        lines.append(f"{' ' * depth} {node.name}")
        return
    if isinstance(node, ast.Increment) and not node.prefix:  # behind its operand, as it is written
        _dump_expression(node.target, depth, lines)
        lines.append(f"{' ' * depth} {node.operator}")
        return
    lines.append(f"{' ' * depth}{label}{_type_of(node)}")
    for item in below:
        if isinstance(item, str):
            lines.append(f"{' ' * depth} {item}")
        else:
            _dump_expression(item, depth + 1, lines)




def _label(node: ast.Expression) -> tuple[str, list[ast.Expression | str]]:
    """How a node is shown: its own line and what stands below it."""
    match node:
        case ast.Integer():
            return f"int: {node.value}", []
        case ast.String():
            return f"string: {_dumped_string(node.value)}", []
        case ast.Positional():
            return f"param: ${node.number}", []
        case ast.PositionalCount():
            return "param: $#", []
        case ast.Identifier():
            return f"{_identifier_kind(node.name)}: {node.name}", []
        case ast.Variable():
            return f"variable: ${node.name}", []
        case ast.Map():
            return f"map: @{node.name}", [*node.keys]
        case ast.Call():
            return f"call: {node.name}", [*node.arguments]
        case ast.Unary():
            return "dereference" if node.operator == "*" else node.operator, [node.operand]
        case ast.Increment():
            return node.operator, [node.target]
        case ast.Binary():
            return node.operator, [node.left, node.right]
        case ast.Ternary():
            return "?:", [node.condition, node.then, node.otherwise]
        case ast.FieldAccess():
            return ".", [node.operand, node.name]
        case ast.TupleAccess():
            return ".", [node.operand, str(node.index)]
        case ast.ArrayAccess():
            return "[]", [node.operand, node.index]
        case ast.Cast():
            return f"({type_source(node.target).replace(' *', '*')})", [node.operand]
        case ast.TupleLiteral():
            return "tuple:", [*node.elements]
        case ast.SizeOf():
            return "call: sizeof", [_dumped_record(node.operand)]
        case ast.OffsetOf():
            return "call: offsetof", [_dumped_record(node.record), f"field: {node.field_name}"]
    raise TypeError(f"{type(node).__name__} is not an expression of the language")


def _dumped_record(node: ast.TypeName | ast.Expression) -> ast.Expression | str:
    return f"identifier: {type_source(node)}" if isinstance(node, ast.TypeName) else node


def _identifier_kind(name: str) -> str:
    from bpftrace_py.language import builtins  # a table; only a dump has to tell builtins from other names

    if name in STACK_MODES:
        return "stack_mode"
    return "builtin" if builtins.find(name) else "identifier"


def _dumped_string(value: str) -> str:
    """Quoted as in a program, without the quotes; bytes above 127 in hexadecimal."""
    quoted = quote(value)[1:-1]
    if quoted.isascii():
        return quoted
    return "".join(
        c if c.isascii() else "".join(f"\\x{byte:02x}" for byte in c.encode("utf-8", "surrogateescape")) for c in quoted
    )
