"""Checking the format of printf(), system() and cat() against what is given to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftrace_py import messages
from bpftrace_py.syntax import ast
from bpftrace_py.types import UNKNOWN, AggregateType, BufferType, IntegerType, PointerType, StringType, Type

if TYPE_CHECKING:
    from bpftrace_py.analysis.infer import Inference


def check_format(inference: Inference, node: ast.Call) -> None:
    """Report every conversion that does not fit its argument; the rest of the arguments are visited already."""
    from bpftrace_py.output import printf

    text = node.arguments[0]
    assert isinstance(text, ast.String)
    arguments = node.arguments[1:]
    found = printf.check_format(text.value, len(arguments))
    for conversion in found:
        if conversion.problem:  # bpftrace prints it as it stands, and scripts say "50% idle"
            inference.diagnostics.warning(messages.NOT_A_CONVERSION, text.span, name=node.name, problem=conversion.problem)
    conversions = [conversion for conversion in found if conversion.takes]
    if len(conversions) != len(arguments):
        place = (
            arguments[len(conversions)].span.to(arguments[-1].span) if len(arguments) > len(conversions) else text.span
        )
        inference.error(messages.FORMAT_COUNT, place, name=node.name, given=len(arguments), expected=len(conversions))
        return
    for conversion, argument in zip(conversions, arguments, strict=True):
        if argument.type is not UNKNOWN and not conversion.accepts(argument.type):
            shown = text.value[conversion.start : conversion.end]
            inference.error(
                messages.FORMAT_TYPE,
                argument.span,
                name=node.name,
                conversion=shown,
                type=argument.type,
                hint=_hint(conversion.letter, argument.type),
            )


def _hint(letter: str, type_: Type) -> str | None:
    if isinstance(type_, AggregateType):
        return "print(@map) prints an aggregate; its value is put together from all CPUs when it is printed"
    if letter == "s" and isinstance(type_, (IntegerType, PointerType)):
        return "str() reads the string at an address; %d prints a number"
    if letter != "s" and isinstance(type_, StringType):
        return "%s prints a string"
    if isinstance(type_, BufferType):
        return "%r prints a buffer"
    return None
