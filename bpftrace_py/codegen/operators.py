"""Operators and casts in C."""

from __future__ import annotations

from bpftrace_py.codegen.ctypes_text import is_memory, scalar
from bpftrace_py.codegen.values import Bytes, Number, Value
from bpftrace_py.syntax import ast
from bpftrace_py.types import INT64, UINT64, ArrayType, IntegerType, PointerType, StringType, integer

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.expressions import ExpressionText


class OperatorText:
    """Writes what is calculated from other expressions."""

    def __init__(self, expressions: ExpressionText) -> None:
        self._ex = expressions
        self._fn = expressions.function

    def unary(self, node: ast.Unary) -> Value:
        """`*`, `!`, `~` or `-` before an expression."""
        operand = self._ex.number(node.operand)
        if node.operator == "*":
            pointer = node.operand.type
            space = pointer.space if isinstance(pointer, PointerType) else self._ex.instance.context.space
            return self._ex.memory.load(operand, 0, node.type, space)
        if node.operator == "!":
            return Number(f"!{operand.operand()}", INT64, False)
        narrow = node.operand.type
        if isinstance(narrow, IntegerType) and narrow.width < 8 and not narrow.signed:  # wraps around in its own width
            return Number(f"({scalar(narrow)}){node.operator}{operand.operand()}", narrow, False)
        return Number(f"{node.operator}{operand.wide()}", node.type, False)

    def binary(self, node: ast.Binary) -> Value:
        """Two operands, of which the left one is worked out first."""
        operator = node.operator
        if operator in ast.LOGICAL:
            return self._logical(node)
        if isinstance(node.left.type, StringType):
            equal = self._ex.memory.compare(node.left, node.right)
            return Number(equal if operator == "==" else f"!({equal})", INT64, False)
        if isinstance(node.left.type, ArrayType):
            equal = self._ex.memory.equal_arrays(node.left, node.right)
            return Number(equal if operator == "==" else f"!({equal})", INT64, False)
        left = self._ex.number(node.left)
        with self._fn.captured(deeper=0) as lines:
            right = self._ex.number(node.right)
        if lines and not left.text.isidentifier() and not isinstance(node.left, ast.Integer):
            left = self._ex.local(left, "left")  # worked out before what the right side does
        self._fn.add(lines)
        return self._arithmetic(operator, node, left, right)

    def _arithmetic(self, operator: str, node: ast.Binary, left: Number, right: Number) -> Number:
        a, b = left.wide(), right.wide()
        if operator in ("+", "-"):
            a, b = self._scaled(node.left, node.right, left), self._scaled(node.right, node.left, right)
        if operator in ("/", "%"):
            return self._division(operator, node, left, right)
        if operator in (">>", "<<") and not a.startswith(("(u64)", "(s64)")) and not a.isidentifier():
            a = f"({'s64' if _is_signed(left) else 'u64'}){left.operand()}"  # a comparison or a literal is an int to C
        if operator == ">>":
            return Number(f"{a} >> {self._shift(node.right, right)}", node.type, False)
        if operator == "<<":
            return Number(f"{a} << {self._shift(node.right, right)}", node.type, False)
        if operator in ast.COMPARISONS:
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
            _is_signed(number) and not (isinstance(side, ast.Integer) and side.value >= 0)
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
        left = self._ex.number(node.left)
        with self._fn.captured() as lines:
            right = self._ex.number(node.right)
        if not lines:
            return Number(f"{left.operand()} {node.operator} {right.operand()}", INT64, False)
        result = self._fn.fresh("both" if node.operator == "&&" else "either")
        self._fn.line(f"s64 {result} = {left.operand()} != 0;")
        with self._fn.block(f"if ({'' if node.operator == '&&' else '!'}{result})"):
            self._fn.add(lines)
            self._fn.line(f"{result} = {right.operand()} != 0;")
        return Number(result, INT64)

    def ternary(self, node: ast.Ternary) -> Value:
        """`? :`, of which only one side is worked out."""
        if is_memory(node.type):
            return self._ex.materialized(node, "chosen")
        condition = self._ex.number(node.condition)
        with self._fn.captured() as then_lines:
            then = self._ex.number(node.then)
        with self._fn.captured() as else_lines:
            otherwise = self._ex.number(node.otherwise)
        if not then_lines and not else_lines:
            return Number(f"{condition.operand()} ? {then.wide()} : {otherwise.wide()}", node.type, False)
        result = self._fn.fresh("chosen")
        self._fn.line(f"{scalar(node.type)} {result};")
        with self._fn.block(f"if ({condition.text})"):
            self._fn.add(then_lines)
            self._fn.line(f"{result} = {then.text};")
        with self._fn.block("else"):
            self._fn.add(else_lines)
            self._fn.line(f"{result} = {otherwise.text};")
        return Number(result, node.type)

    def increment(self, node: ast.Increment) -> Value:
        """`++` or `--`, before or behind a variable or a map."""
        sign = "+" if node.operator == "++" else "-"
        step = node.type.pointee.size or 1 if isinstance(node.type, PointerType) else 1
        if isinstance(node.target, ast.Map):
            return self._ex.maps.increment(
                node.target, sign, str(step), wanted="before" if not node.prefix else "after"
            )
        place = self._ex.place_of(node.target.name)
        if node.prefix:
            self._fn.line(f"{place} {sign}= {step};")
            return Number(place, node.type)
        before = self._fn.fresh("before")
        self._fn.line(f"{scalar(node.type)} {before} = {place};")
        self._fn.line(f"{place} {sign}= {step};")
        return Number(before, node.type)

    def cast(self, node: ast.Cast) -> Value:
        """A value as another type: a number cut or widened, an array as a number, a number as an array."""
        target = node.type
        if isinstance(target, ArrayType):
            if isinstance(node.operand.type, ArrayType):
                inner = self._ex.value(node.operand)
                assert isinstance(inner, Bytes)
                return Bytes(inner.address, target, inner.space, inner.maybe)
            return self._ex.materialized(node, "array")
        value = self._ex.value(node.operand)
        if isinstance(value, Bytes):  # an array as one number, or its address as a pointer
            if isinstance(target, PointerType):
                return Number(f"(u64){value.address}", target, False)
            copied = self._fn.memory(UINT64, "word", kept=True)
            self._fn.line(f"{copied} = 0;")
            self._ex.memory.read(f"&{copied}", value.address, value.type.size, value.space)
            return Number(f"({scalar(target)}){copied}", target, False)
        if isinstance(target, IntegerType):
            narrow = node.operand.type
            if isinstance(narrow, IntegerType) and narrow.width < target.width and narrow.signed != target.signed:
                # A wider type is filled up by its own sign: (int64)(uint8)255 is -1. C goes by the sign of what it is given.
                inner_type = integer(narrow.width, target.signed)
                return Number(f"({scalar(target)})({scalar(inner_type)}){value.operand()}", target, False)
            return Number(f"({scalar(target)}){value.operand()}", target, False)
        return Number(value.wide() if isinstance(value.type, IntegerType) else value.text, target, value.atom)


def _is_signed(number: Number) -> bool:
    return isinstance(number.type, IntegerType) and number.type.signed
