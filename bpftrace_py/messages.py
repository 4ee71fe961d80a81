"""Every sentence that bpftrace-py can say about a program or a machine, under its stable code.

E01 syntax, E02 probes, E03 names and types, E04 functions, E05 maps, E06 limits, E07 host and kernel, E08 options,
E09 run time; W the same for warnings. A code is never given a second meaning.
"""

from __future__ import annotations

from bpftrace_py.diagnostics import Message

ALL: dict[str, Message] = {}


def _message(code: str, template: str, explanation: str = "") -> Message:
    assert code not in ALL, f"two messages have the code {code}"
    ALL[code] = Message(code, template, explanation)
    return ALL[code]


# E01: syntax
UNEXPECTED_TOKEN = _message("E0101", "unexpected {found}, expected {expected}")
UNEXPECTED_CHARACTER = _message("E0102", "unexpected character {character!r}")
UNTERMINATED_STRING = _message("E0103", "this string is not terminated")
UNTERMINATED_COMMENT = _message("E0104", "this comment is not terminated")
UNEXPECTED_END = _message("E0105", "the program ends here, but {expected} was expected")
INTEGER_TOO_LARGE = _message("E0106", "{text} does not fit in 64 bits")
INVALID_ESCAPE = _message("E0107", "unknown escape sequence {text!r}")
TOO_DEEP = _message("E0108", "this is nested too deeply", "The parser follows up to a fixed number of nested expressions and blocks.")

# E08: options and environment
BAD_VARIABLE = _message("E0801", "{name}={text!r} is not {expected}")
