"""Constant folding: parameters, enumerators and `#define`s become literals, and arithmetic on literals is done.

Folding is what bpftrace does on 64-bit numbers: it wraps around.
"""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.records import Records
from bpftrace_py.analysis.rewrite import map_expressions
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.language import builtins
from bpftrace_py.syntax import ast

MASK = (1 << 64) - 1


def wrap(value: int) -> int:
    """To the range of s64."""
    return ((value + (1 << 63)) & MASK) - (1 << 63)


class Folder:
    """Folds one probe in place. Text parameters stay `Positional` until `str()` takes them."""

    def __init__(self, config: Config, records: Records, diagnostics: Diagnostics) -> None:
        self._config = config
        self._records = records
        self._diagnostics = diagnostics
        self._file = ""

    def fold(self, probe: ast.Probe, binary: str = "") -> None:
        """`binary` is the program whose constants the probe knows."""
        self._file = binary
        map_expressions(probe, self._fold)

    def parameter(self, number: int) -> str | None:
        parameters = self._config.parameters
        return parameters[number - 1] if 1 <= number <= len(parameters) else None

    def _fold(self, node: ast.Expression) -> ast.Expression:
        """`node`, whose operands are folded already, or what it comes to."""
        if isinstance(node, ast.Unary):
            return self._unary(node)
        if isinstance(node, ast.Binary):
            return self._binary(node)
        if isinstance(node, ast.PositionalCount):
            return ast.Integer(value=len(self._config.parameters), span=node.span)
        if isinstance(node, ast.Positional):
            return self._positional(node)
        if (
            isinstance(node, ast.Identifier)
            and builtins.find(node.name) is None
            and node.name not in ("perf", "bpftrace", "raw")
        ):
            return self._constant(node)
        if isinstance(node, ast.Call) and node.name == "str":
            return self._text(node)
        if isinstance(node, ast.Call):
            node.arguments[:] = [self._given(argument) for argument in node.arguments]
            if node.name == "system":
                _insert_literals(node)
            return node
        if (
            isinstance(node, ast.Ternary)
            and isinstance(node.condition, ast.Integer)
            and isinstance(node.then, ast.Integer)  # other arms stay, so that their types are checked
            and isinstance(node.otherwise, ast.Integer)
        ):
            return node.then if node.condition.value else node.otherwise
        return node

    def _positional(self, node: ast.Positional) -> ast.Expression:
        text = self.parameter(node.number)
        if text is None:
            return node
        value = integer_parameter(text)
        return node if value is None else ast.Integer(value=value, text=text, span=node.span)

    def _given(self, node: ast.Expression) -> ast.Expression:
        """An argument; a parameter that was not given is 0 there."""
        if isinstance(node, ast.Positional) and self.parameter(node.number) is None:
            return ast.Integer(value=0, span=node.span)
        return node

    def _constant(self, node: ast.Identifier) -> ast.Expression:
        value = self._records.constant(node.name, self._file)
        if isinstance(value, int):
            return ast.Integer(value=wrap(value), text=node.name, span=node.span)
        if isinstance(value, str):
            return ast.String(value=value, span=node.span)
        return node

    def _text(self, node: ast.Call) -> ast.Expression:
        """`str($1)`: the parameter's text, as a literal."""
        if not 1 <= len(node.arguments) <= 2:
            return node
        argument = node.arguments[0]
        text: str | None = None
        if isinstance(argument, ast.Positional):
            text = self.parameter(argument.number) or ""
        elif isinstance(argument, ast.Integer) and argument.text in self._config.parameters:
            text = argument.text
        elif isinstance(argument, ast.String):
            text = argument.value
        if text is None:
            return node
        if len(node.arguments) == 2:
            length = node.arguments[1]
            if not isinstance(length, ast.Integer):
                return node
            text = text[: max(0, length.value)]
        return ast.String(value=text, span=node.span)

    def _unary(self, node: ast.Unary) -> ast.Expression:
        operand = node.operand
        if not isinstance(operand, ast.Integer) or node.operator == "*":
            return node
        value = {"-": -operand.value, "~": ~operand.value, "!": int(not operand.value)}[node.operator]
        return ast.Integer(value=wrap(value), span=node.span)

    def _binary(self, node: ast.Binary) -> ast.Expression:
        if node.operator not in (
            "/",
            "%",
        ):  # by a parameter that was not given: a quotient of 0, and no mistake to report
            node.left, node.right = self._given(node.left), self._given(node.right)
        left, right = node.left, node.right
        if node.operator in ("/", "%") and isinstance(right, ast.Integer) and right.value == 0:
            self._diagnostics.error(messages.DIVISION_BY_ZERO, right.span)
            return ast.Integer(value=0, span=node.span)
        if not (isinstance(left, ast.Integer) and isinstance(right, ast.Integer)):
            return node
        return ast.Integer(value=evaluate(node.operator, left.value, right.value), span=node.span)


def _insert_literals(node: ast.Call) -> None:
    """Make string literals among the arguments of `system()` a part of its command: they are the script's own."""
    if not any(isinstance(argument, ast.String) for argument in node.arguments[1:]):
        return
    from bpftrace_py.output.shell_command import insert_literals

    text, arguments = node.arguments[0], node.arguments[1:]
    if not isinstance(text, ast.String):
        return
    literals = [argument.value if isinstance(argument, ast.String) else None for argument in arguments]
    text.value, rest = insert_literals(text.value, literals)
    node.arguments[1:] = [arguments[number] for number in rest]


def integer_parameter(text: str) -> int | None:
    """A positional parameter as a number: decimal, 0x or 0 octal, with an optional sign; None if it is text."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    base = 16 if digits[:2].lower() == "0x" else 8 if digits[:1] == "0" and len(digits) > 1 else 10
    if not digits.isascii() or not digits.isalnum() or len(digits) > 32:
        return None
    try:
        value = int(digits, base)
    except ValueError:
        return None
    if value >= 1 << 63:
        return None
    return wrap(-value if text[:1] == "-" else value)


def evaluate(operator: str, left: int, right: int) -> int:
    """The value of a binary operator on two s64 numbers."""
    match operator:
        case "+":
            value = left + right
        case "-":
            value = left - right
        case "*":
            value = left * right
        case "/":
            value = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        case "%":
            value = abs(left) % abs(right) * (1 if left >= 0 else -1)
        case "&":
            value = left & right
        case "|":
            value = left | right
        case "^":
            value = left ^ right
        case "<<":
            value = left << (right & 63)
        case ">>":
            value = left >> (right & 63)
        case "==":
            value = left == right
        case "!=":
            value = left != right
        case "<":
            value = left < right
        case "<=":
            value = left <= right
        case ">":
            value = left > right
        case ">=":
            value = left >= right
        case "&&":
            value = bool(left and right)
        case "||":
            value = bool(left or right)
        case _:
            raise AssertionError(operator)
    return wrap(int(value))
