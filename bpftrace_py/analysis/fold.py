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
from bpftrace_py.types import STACK_MODES

MASK = (1 << 64) - 1


def wrap(value: int) -> int:
    """To the range of s64."""
    return ((value + (1 << 63)) & MASK) - (1 << 63)


class Folder:
    """Folds one probe in place. Parameters that are no numbers stay `Positional`."""

    def __init__(self, config: Config, records: Records, diagnostics: Diagnostics) -> None:
        self._config = config
        self._records = records
        self._diagnostics = diagnostics
        self._file = ""

    def fold(self, probe: ast.Probe, binary: str = "") -> None:
        """`binary` is the program whose constants the probe knows."""
        self._file = binary
        map_expressions(probe, self._parameter_text)
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
        if isinstance(node, ast.Identifier) and builtins.find(node.name) is None and node.name not in STACK_MODES:
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

    def _parameter_text(self, node: ast.Expression) -> ast.Expression:
        """In `str($1)`, `$1` is the parameter's text as a literal, also if it is a number; in `str($1 + 2)`, from there on."""
        if not (isinstance(node, ast.Call) and node.name == "str" and node.arguments):
            return node
        argument = node.arguments[0]
        sides = (argument.left, argument.right) if isinstance(argument, ast.Binary) else (argument, None)
        place = next((side for side in sides if isinstance(side, ast.Positional)), None)
        if place is None:
            return node
        text, begin = self.parameter(place.number) or "", 0
        if isinstance(argument, ast.Binary):
            offset = sides[0] if place is sides[1] else sides[1]
            length = len(text.encode("utf-8", "surrogateescape"))
            if argument.operator == "+" and isinstance(offset, ast.Integer) and offset.value <= length:
                begin = offset.value
            else:
                self._diagnostics.error(messages.PARAMETER_OFFSET, argument.span, number=place.number, length=length)
        node.arguments[0] = ast.String(value=_bytes_of(text, begin), span=argument.span)
        return node

    def _text(self, node: ast.Call) -> ast.Expression:
        """`str()` of a literal, as another literal."""
        if not 1 <= len(node.arguments) <= 2:
            return node
        argument = node.arguments[0]
        if not isinstance(argument, ast.String):
            return node
        text = argument.value
        if len(node.arguments) == 2:
            length = node.arguments[1]
            if not isinstance(length, ast.Integer):
                return node
            text = _bytes_of(text, 0, max(0, length.value))
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
        # A literal beyond 2^63 is negative to what compares it later; among literals it must be, too.
        fit = wrap if node.operator in ast.COMPARISONS else int
        return ast.Integer(value=evaluate(node.operator, fit(left.value), fit(right.value)), span=node.span)


def _bytes_of(text: str, begin: int, end: int | None = None) -> str:
    """A part of a literal, by bytes, as the kernel counts them."""
    return text.encode("utf-8", "surrogateescape")[begin:end].decode("utf-8", "surrogateescape")


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
