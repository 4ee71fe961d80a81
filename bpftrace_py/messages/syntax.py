"""Messages about the text of a program: E01."""

from __future__ import annotations

from bpftrace_py.messages.registry import message

UNEXPECTED_TOKEN = message(
    "E0101", "unexpected {found}, expected {expected}",
    "Reading goes on behind the broken statement, so that all syntax errors of a script are shown at once.",
)
UNEXPECTED_CHARACTER = message("E0102", "unexpected character {character}")
UNTERMINATED_STRING = message("E0103", "this string is not terminated")
UNTERMINATED_COMMENT = message("E0104", "this comment is not terminated")
UNEXPECTED_END = message("E0105", "the program ends here, but {expected} was expected")
INTEGER_TOO_LARGE = message(
    "E0106", "{text} does not fit in 64 bits",
    "Numbers have 64 bits. Larger ones do not exist in BPF.",
)
INVALID_ESCAPE = message(
    "E0107", "unknown escape sequence `{text}`",
    "Strings know \\n, \\t, \\r, \\\", \\\\, \\x and two hexadecimal digits, and up to three octal digits.",
)
TOO_DEEP = message("E0108", "this is nested too deeply", "The parser follows up to a fixed number of nested expressions and blocks.")
BAD_INTEGER = message("E0109", "`{text}` is not a number: {reason}")
BAD_POSITIONAL = message("E0110", "`{text}` is not a parameter: they are `$1`, `$2`, ... and their count is `$#`")
NO_PROBES = message(
    "E0120", "the program has no probes",
    "A program is one or more probes, each with its block. Declarations and comments alone do nothing.",
)
