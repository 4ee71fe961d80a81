"""The command of a `system()` as `language.shell` looks at it: literal texts and holes."""

from __future__ import annotations

from bpftrace_py.language.shell import Hole
from bpftrace_py.output.printf import INTEGER, check_format


def command_pieces(format: str, arguments: int) -> list[str | Hole]:
    """The pieces of a format with this number of arguments, in order: one hole an argument."""
    pieces: list[str | Hole] = []
    at = 0
    for conversion in check_format(format, arguments):
        pieces.append(format[at : conversion.start])
        at = conversion.end
        if conversion.takes is None:
            pieces.append("%" if conversion.letter == "%" else format[conversion.start : conversion.end])
        else:
            # %c of an integer can be any byte, a quote or a semicolon.
            number = conversion.takes == INTEGER and conversion.letter != "c"
            pieces.append(Hole.NUMBER if number else Hole.TEXT)
    pieces.append(format[at:])
    return pieces


def insert_literals(format: str, literals: list[str | None]) -> tuple[str, list[int]]:
    """The format with literals in the place of their `%s`, and the numbers of the arguments that remain.

    `literals` has the text of each argument that is a literal, else None. A literal is the script's own text, or the
    user's who gave it on the command line: it may be code as the rest of the command is.
    """
    everything = [*range(len(literals))]
    conversions = [c for c in check_format(format, len(literals)) if c.takes is not None]
    if len(conversions) != len(literals):
        return format, everything
    rest: list[int] = []
    for number in reversed(everything):
        conversion, literal = conversions[number], literals[number]
        if literal is None or conversion.letter != "s":
            rest.insert(0, number)
            continue
        raw = literal.encode("utf-8", "surrogateescape")[: conversion.precision]
        width = conversion.width or 0
        raw = raw.ljust(width) if "-" in conversion.flags else raw.rjust(width)
        text = raw.decode("utf-8", "surrogateescape").replace("%", "%%")
        format = format[: conversion.start] + text + format[conversion.end :]
    return format, rest
