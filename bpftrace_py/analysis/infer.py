"""Type inference and checking of statements and expressions.

The tree is visited until no type changes, since a map may be read above the place that tells its type; only what the
last visit reports is kept. A type that is still unknown is passed along in silence until then.
"""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.expression_types import ExpressionTypes
from bpftrace_py.analysis.merge import merge, stored_type
from bpftrace_py.analysis.program import ProbeInstance
from bpftrace_py.analysis.typing_state import is_args
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.language import functions
from bpftrace_py.source import NOWHERE, Span
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    UINT64,
    UNKNOWN,
    AggregateType,
    IntegerType,
    PointerType,
    Type,
)

MAX_ROUNDS = 12  # a type can only grow; programs settle in two or three
MAX_UNROLL = 100


class Inference(ExpressionTypes):
    """Gives every expression of every probe its type, or says why it has none."""

    def run(self, instances: list[ProbeInstance]) -> Diagnostics:
        self._settle(instances)
        if any(info.assigned and info.value is UNKNOWN for info in self.maps.values()):
            self._counted_from_nothing = True
            self._settle(instances)
        self.final = True
        self._round(instances)
        return self.diagnostics

    def _settle(self, instances: list[ProbeInstance]) -> None:
        for _ in range(MAX_ROUNDS):
            self._round(instances)
            if not self._changed:
                break

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
            if isinstance(target, ast.Map):
                self._info(target).assigned = True  # whatever is wrong with the value
            current = self.visit(target)
            for type_, span in ((current, target.span), (value, node.value.span)):
                if type_ is not UNKNOWN and not isinstance(type_, (IntegerType, PointerType)):
                    notes = self._origin(target) if span is target.span else ()
                    self.error(messages.NEEDS_INTEGER, span, what=f"`{node.operator}`", type=type_, notes=notes)
                    return
            if current is UNKNOWN:
                if isinstance(target, ast.Variable):
                    return
                value = UINT64
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
            if self._keys(target):
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
        if is_args(value) and isinstance(node.target, ast.Variable):
            value.type = type_ = self.identifier_type(value)
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


def _shown(node: ast.Expression) -> str:
    return f"@{node.name}" if isinstance(node, ast.Map) else "it"
