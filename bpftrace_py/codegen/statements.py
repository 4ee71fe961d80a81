"""Statements in C, each under a comment with the script's line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftrace_py.codegen.ctypes_text import is_memory
from bpftrace_py.codegen.events import EventText
from bpftrace_py.language import functions
from bpftrace_py.syntax import ast
from bpftrace_py.types import AggregateType, PointerType

if TYPE_CHECKING:
    from bpftrace_py.codegen.expressions import ExpressionText


class StatementText:
    """Writes the body of one probe instance."""

    def __init__(self, expressions: ExpressionText) -> None:
        self._ex = expressions
        self._fn = expressions.function
        self._generator = expressions.generator
        self._events = EventText(expressions)

    def block(self, block: ast.Block) -> bool:
        """Write the statements. True if control does not come out at the end; what follows such a statement is left out."""
        return any(self.statement(statement) for statement in block.statements)

    def statement(self, node: ast.Statement) -> bool:
        self._comment(node)
        ends = self._write(node)
        self._fn.release()
        return ends

    def _comment(self, node: ast.Statement) -> None:
        if isinstance(node, ast.If):
            text = self._generator.excerpt(node.span.start, node.condition.span.end) + ")"
        elif isinstance(node, (ast.Unroll, ast.While)):
            text = self._generator.excerpt(node.span.start, node.body.span.start)
        else:
            text = self._generator.excerpt(node.span.start, node.span.end)
        self._fn.comment(f"{self._generator.line_of(node.span)}: {text}")

    def _write(self, node: ast.Statement) -> bool:
        match node:
            case ast.ExpressionStatement():
                return self._expression(node.expression)
            case ast.Assignment():
                self._assignment(node)
            case ast.If():
                return self._if(node)
            case ast.Unroll():
                self._unroll(node)
            case ast.While():
                self._while(node)
            case ast.Jump():
                self._fn.line("return 0;" if node.kind == "return" else f"{node.kind};")
                return True
            case _:
                raise AssertionError(type(node).__name__)
        return False

    def _expression(self, node: ast.Expression) -> bool:
        if isinstance(node, ast.Call) and functions.FUNCTIONS[node.name].statement:
            return self._events.statement(node)
        if isinstance(node, ast.Increment) and isinstance(node.target, ast.Map):
            self._ex.maps.increment(node.target, "+" if node.operator == "++" else "-", "1")
        elif isinstance(node, ast.Increment) and not isinstance(node.type, PointerType):
            self._fn.line(f"{self._ex.place_of(node.target.name)}{node.operator};")
        else:
            self._ex.value(node)
        return False

    def _assignment(self, node: ast.Assignment) -> None:
        if isinstance(node.target, ast.Map):
            self._map_assignment(node, node.target)
            return
        place = self._ex.place_of(node.target.name)
        type_ = self._ex.instance.variables[node.target.name]
        if node.operator == "=":
            self._ex.store(node.value, place, type_)
            return
        combined = ast.Binary(operator=node.operator[:-1], left=node.target, right=node.value, span=node.span)
        combined.left.type = combined.type = type_
        self._fn.line(f"{place} = {self._ex.number(combined).text};")

    def _map_assignment(self, node: ast.Assignment, target: ast.Map) -> None:
        if isinstance(node.value, ast.Call) and isinstance(node.value.type, AggregateType):
            self._ex.maps.aggregate(target, node.value)
        elif node.operator == "=":
            self._ex.maps.assign(target, node.value)
        else:
            self._ex.maps.compound(target, node.operator[:-1], node.value)

    def _if(self, node: ast.If) -> bool:
        with self._fn.block(f"if ({self._ex.condition(node.condition)})"):
            then_ends = self.block(node.then)
        else_ends = False
        if node.otherwise is not None and node.otherwise.statements:
            with self._fn.block("else"):
                else_ends = self.block(node.otherwise)
        return then_ends and else_ends

    def _unroll(self, node: ast.Unroll) -> None:
        assert isinstance(node.count, ast.Integer)
        i = self._fn.fresh("round")
        self._fn.line("#pragma clang loop unroll(disable)")
        with self._fn.block(f"for (u32 {i} = 0; {i} < {node.count.value}; {i}++)"):
            self.block(node.body)

    def _while(self, node: ast.While) -> None:
        with self._fn.captured() as lines:
            condition = self._ex.condition(node.condition)
        self._fn.line("#pragma clang loop unroll(disable)")
        if not lines:
            with self._fn.block(f"while ({condition})"):
                self.block(node.body)
            return
        with self._fn.block("for (;;)"):
            self._fn.add(lines)
            self._fn.line(f"if (!({condition}))")
            self._fn.line("\tbreak;")
            self.block(node.body)


__all__ = ["StatementText", "is_memory"]
