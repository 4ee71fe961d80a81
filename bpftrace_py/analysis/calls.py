"""Checking calls: numbers and kinds of arguments by the table of functions, then what each function asks for."""

from __future__ import annotations

from collections.abc import Callable

from bpftrace_py import messages
from bpftrace_py.analysis.call_rules import NUMBER, CallRules, describe
from bpftrace_py.analysis.wording import counted, keys_shown
from bpftrace_py.diagnostics import did_you_mean
from bpftrace_py.language import builtins, functions
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    COUNT,
    HIST,
    INT64,
    STACK_MODE,
    STACK_MODES,
    UNKNOWN,
    VOID,
    ArrayType,
    FunctionType,
    IntegerType,
    PointerType,
    StackModeType,
    StringType,
    Type,
    VoidType,
)


class CallChecker(CallRules):
    """Checks calls by the table of functions, each where it stands: as a value, as a statement, as what a map is given."""

    # --- the three places where a call may stand

    def value(self, node: ast.Call) -> Type:
        """A call inside an expression."""
        function = self._lookup(node)
        if function is None:
            return UNKNOWN
        if function.aggregate:
            return self._in.error(
                messages.AGGREGATE_NEEDS_MAP, node.span, name=node.name, hint=f"write `@name = {node.name}(...)`"
            )
        if function.statement:
            return self._in.error(messages.CALL_IS_STATEMENT, node.span, name=node.name)
        return self._check(node, function)

    def aggregate(self, node: ast.Call) -> Type:
        """The call on the right of `@map = count()`."""
        function = functions.FUNCTIONS[node.name]
        return self._check(node, function)

    def statement(self, node: ast.Call) -> None:
        """A call that stands alone."""
        node.type = VOID
        self._check(node, functions.FUNCTIONS[node.name])

    def _lookup(self, node: ast.Call) -> functions.Function | None:
        function = functions.FUNCTIONS.get(node.name)
        if function is None:
            hint = did_you_mean(node.name, functions.FUNCTIONS, "{}()")
            if builtins.find(node.name) is not None:
                hint = f"`{node.name}` is a builtin: write it without parentheses"
            elif f"define {node.name}(" in self._in.source.text:
                hint = f"the script has a macro `{node.name}`, but it can be of C's own operators, numbers and macros only"
            self._in.error(
                messages.UNKNOWN_FUNCTION,
                node.name_span if node.name_span.end else node.span,
                name=node.name,
                hint=hint,
            )
            for argument in node.arguments:
                if not isinstance(argument, ast.Identifier):
                    self._in.visit(argument)
        return function

    def _check(self, node: ast.Call, function: functions.Function) -> Type:
        given, parameters = len(node.arguments), function.parameters
        if given < function.required or (given > len(parameters) and not function.variadic):
            surplus = node.arguments[len(parameters) :]
            return self._in.error(
                messages.ARGUMENT_COUNT,
                surplus[0].span.to(surplus[-1].span) if surplus else node.span,
                name=node.name,
                given=given or "none",
                expected=_count(function),
                hint=f"it is {function.signature}",
            )
        if function.unsafe and self._in.config.safe:
            self._in.error(messages.UNSAFE_CALL, node.span, name=node.name, hint="leave out --safe to allow it")
        for argument, parameter in zip(node.arguments, parameters, strict=False):
            if not self._argument(node, argument, parameter):
                return self._result_after_error(node, function)
        for argument in node.arguments[len(parameters) :]:
            self._in.visit(argument)
        special: Callable[[ast.Call], Type] | None = getattr(self, f"_call_{node.name}", None)
        return special(node) if special is not None else VOID

    def _result_after_error(self, node: ast.Call, function: functions.Function) -> Type:
        return UNKNOWN if not function.aggregate else {"count": COUNT, "hist": HIST}.get(node.name, UNKNOWN)

    # --- arguments by kind

    def _argument(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        """Visit an argument and hold it against the parameter's kind."""
        check = getattr(self, f"_kind_{parameter.kind}")
        ok: bool = check(call, node, parameter)
        return ok

    def _wrong(
        self,
        call: ast.Call,
        node: ast.Expression,
        parameter: functions.Parameter,
        expected: str,
        hint: str | None = None,
    ) -> bool:
        self._in.error(
            messages.ARGUMENT_KIND,
            node.span,
            name=call.name,
            parameter="" if parameter.name in expected.split() else f" for `{parameter.name}`",
            expected=expected,
            given=describe(node),
            hint=hint or f"it is {functions.FUNCTIONS[call.name].signature}",
        )
        return False

    def _kind_any(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        if call.name == "signal" and isinstance(node, ast.String):
            node.type = StringType(len(node.value) + 1)
            return True
        return self._in.visit(node) is not UNKNOWN

    def _kind_integer(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        type_ = self._in.visit(node)
        return type_ is not UNKNOWN and (isinstance(type_, NUMBER) or self._wrong(call, node, parameter, "an integer"))

    _POINTER_LIKE = (IntegerType, PointerType, ArrayType, StringType)

    def _kind_pointer(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        if isinstance(node, ast.Positional):  # str($1) of a parameter that was not given
            node.type = INT64
            return True
        type_ = self._in.visit(node)
        return type_ is not UNKNOWN and (
            isinstance(type_, self._POINTER_LIKE) or self._wrong(call, node, parameter, "an address")
        )

    def _kind_string(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        type_ = self._in.visit(node)
        return type_ is not UNKNOWN and (
            isinstance(type_, StringType) or self._wrong(call, node, parameter, "a string")
        )

    def _kind_literal(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        if isinstance(node, ast.Positional):
            node.type = INT64
            return True
        self._in.visit(node)
        return isinstance(node, ast.Integer) or self._wrong(call, node, parameter, "a number known when compiling")

    def _kind_text(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        if isinstance(node, ast.String):
            self._in.visit(node)
            return True
        written = self._in.source.text[node.span.start : node.span.end]
        hint = f"str({written}) is the text of the parameter" if written[:1] == "$" and written[1:].isdigit() else None
        return self._wrong(call, node, parameter, "a string literal", hint)

    _kind_format = _kind_text

    def _kind_map(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        if not isinstance(node, ast.Map):
            return self._wrong(call, node, parameter, "a map")
        if node.keys:
            hint = "delete() deletes one element" if call.name == "clear" else f"write @{node.name}[...] = 0"
            self._in.error(messages.NOT_A_WHOLE_MAP, node.span, name=call.name, hint=hint)
            return False
        return self._known_map(node)

    def _known_map(self, node: ast.Map) -> bool:
        info = self._in.maps.get(node.name)
        if info is None or (info.value is UNKNOWN and self._in.final):
            if self._in.final:
                others = [name for name, other in self._in.maps.items() if other.value is not UNKNOWN]
                self._in.error(
                    messages.UNDEFINED_MAP, node.span, name=node.name, hint=did_you_mean(node.name, others, "@{}")
                )
            return False
        node.type = info.value
        return True

    def _kind_element(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        if not isinstance(node, ast.Map):
            return self._wrong(call, node, parameter, "a map or an element of it")
        if not self._known_map(node):
            return False
        info = self._in.maps[node.name]
        if not node.keys and info.keys:
            self._in.error(
                messages.ELEMENT_WITHOUT_KEYS,
                node.span,
                name=call.name,
                map=node.name,
                known=keys_shown(info.keys),
                hint=f"clear(@{node.name}) deletes all elements",
            )
            return False
        self._in.keys_of(node)
        return True

    def _kind_printable(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        if isinstance(node, ast.Map) and not node.keys:
            return self._known_map(node)
        if isinstance(node, ast.Map):
            self._in.keys_of(node)
            return self._known_map(node)
        type_ = self._in.visit(node)
        if isinstance(type_, (VoidType, FunctionType, StackModeType)):
            return self._wrong(call, node, parameter, "a value or a map")
        return type_ is not UNKNOWN

    def _kind_mode(self, call: ast.Call, node: ast.Expression, parameter: functions.Parameter) -> bool:
        if isinstance(node, ast.Identifier) and node.name in STACK_MODES:
            node.type = STACK_MODE
            return True
        if isinstance(node, ast.Positional):
            node.type = INT64
            return True
        if isinstance(node, ast.Integer):
            self._in.visit(node)
            return True
        return self._wrong(call, node, parameter, "bpftrace, perf or a number of frames")


def _count(function: functions.Function) -> str:
    low, high = function.required, len(function.parameters)
    if function.variadic:
        return f"at least {counted(low, 'argument')}"
    return counted(low, "argument") if low == high else f"{low} to {counted(high, 'argument')}"
