"""Checking the format of printf(), system() and cat() against what is given to it."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.wording import counted
from bpftrace_py.source import Source, Span
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    UNKNOWN,
    AggregateType,
    ArrayType,
    BufferType,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
    TupleType,
    Type,
)

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.analysis.expression_types import ExpressionTypes
    from bpftrace_py.output.printf import Conversion


def check_format(inference: ExpressionTypes, node: ast.Call) -> None:
    """Report every conversion that does not fit its argument; the rest of the arguments are visited already."""
    from bpftrace_py.output import printf

    text = node.arguments[0]
    assert isinstance(text, ast.String)
    arguments = node.arguments[1:]
    found = printf.check_format(text.value, len(arguments))
    conversions = [conversion for conversion in found if conversion.takes]
    problems = [conversion for conversion in found if conversion.problem]
    if len(conversions) != len(arguments):
        if len(arguments) > len(conversions):
            place = arguments[len(conversions)].span.to(arguments[-1].span)
        else:
            place = _place(inference.source, text, conversions[len(arguments)])
        reasons = [f"`{_up_to_letter(text.value, c.start)}` {c.problem}" for c in problems]
        inference.error(
            messages.FORMAT_COUNT, place, name=node.name, hint="; ".join(reasons) or None,
            expected=counted(len(conversions), "conversion"), given=f"is given {counted(len(arguments), 'value')}",
        )  # fmt: skip
        return
    for conversion in problems:  # bpftrace prints it as it stands, and scripts say "50% idle"
        inference.diagnostics.warning(
            messages.NOT_A_CONVERSION, _place(inference.source, text, conversion), name=node.name,
            conversion=_up_to_letter(text.value, conversion.start), problem=conversion.problem,
            hint="`%%` prints a percent sign",
        )  # fmt: skip
    fits = True
    for conversion, argument in zip(conversions, arguments, strict=True):
        if argument.type is not UNKNOWN and not conversion.accepts(argument.type):
            fits = False
            shown = text.value[conversion.start : conversion.end]
            inference.error(
                messages.FORMAT_TYPE,
                argument.span,
                name=node.name,
                conversion=shown,
                type=argument.type,
                hint=_hint(conversion.letter, argument.type),
            )
    if node.name == "system" and fits:
        _check_command(inference, node, text)


def _check_command(inference: ExpressionTypes, node: ast.Call, text: ast.String) -> None:
    """Report a command in which a string of the traced world could be read as code."""
    from bpftrace_py.language.shell import Refused, plan
    from bpftrace_py.output.shell_command import command_pieces

    try:
        plan(command_pieces(text.value, len(node.arguments) - 1))
    except Refused as error:
        inference.error(messages.UNSAFE_SYSTEM, node.span, reason=error.reason, hint=error.hint)


def _place(source: Source, text: ast.String, conversion: Conversion) -> Span:
    """The span of a conversion in the source; that of the whole literal where its characters are not one to one."""
    written = source.text[text.span.start : text.span.end]
    starts, at = [], 1
    while at < len(written) - 1:
        starts.append(at)
        if written[at] != "\\":
            at += 1
        elif written[at + 1] in "x01234567":
            digits = "0123456789abcdefABCDEF" if written[at + 1] == "x" else "01234567"
            end = at + 4  # `\x41` and `\101` are of the same length
            at += 2
            while at < end and written[at] in digits:
                at += 1
        else:
            at += 2
    starts.append(len(written) - 1)
    if written[:1] != '"' or len(starts) != len(text.value) + 1:
        return text.span
    return Span(text.span.start + starts[conversion.start], text.span.start + starts[conversion.end])


def _up_to_letter(format: str, start: int) -> str:
    """What was perhaps meant as a conversion: from its `%` to the first letter."""
    end = start + 1
    while end < min(len(format), start + 8) and not format[end].isalpha():
        end += 1
    shown = format[start : end + 1]
    return shown if shown[-1:].isalpha() and shown.isprintable() else "%"


def _hint(letter: str, type_: Type) -> str | None:
    if isinstance(type_, AggregateType):
        return "print(@map) prints an aggregate; its value is put together from all CPUs when it is printed"
    if letter == "s" and isinstance(type_, (IntegerType, PointerType)):
        return "str() reads the string at an address; %d prints a number"
    if letter != "s" and isinstance(type_, StringType):
        return "%s prints a string"
    if isinstance(type_, BufferType):
        return "%r prints a buffer"
    if letter == "r":
        return "buf() makes the buffer that %r prints"
    if isinstance(type_, (TupleType, ArrayType)):
        return "print() prints it, or name one element"
    return None if isinstance(type_, (IntegerType, PointerType, RecordType)) else "%s prints it"
