"""Messages about calls of functions: E04, W04."""

from __future__ import annotations

from bpftrace_py.messages.registry import message

UNKNOWN_FUNCTION = message(
    "E0401", "there is no function `{name}`",
    "The reference describes all functions. Builtins such as `pid` are written without parentheses.",
)
ARGUMENT_COUNT = message("E0402", "{name}() takes {expected}, and is given {given}")
ARGUMENT_KIND = message("E0403", "{name}() needs {expected}{parameter}, and is given {given}")
ARGUMENT_RANGE = message("E0404", "{name}() takes {expected} here, not {value}")
CALL_IS_STATEMENT = message(
    "E0405", "{name}() gives no value: it is a statement of its own",
    "printf(), exit(), clear() and others do something and give nothing back.",
)
CALL_NOT_HERE = message("E0406", "{name}() cannot be used in {probe} probes, only in {expected}")
UNSAFE_CALL = message(
    "E0407", "{name}() acts on the machine, which --safe refuses",
    "--safe is for scripts that one has not read: they may look at the machine, and not change it.",
)
NOT_A_CONVERSION = message(
    "W0408", "{name}() prints `{conversion}` as it stands: it {problem}",
    "A `%` that begins no conversion is printed; bpftrace does the same.",
)
FORMAT_COUNT = message(
    "E0409", "the format of {name}() has {expected}, and {given}",
    "Each conversion such as `%d` prints one value; `%%` prints a percent sign.",
)
FORMAT_TYPE = message(
    "E0410", "`{conversion}` in {name}() cannot print a value of type {type}",
    "`%d` and its like print integers, `%s` text, `%r` buffers. print() prints any value.",
)
BUF_LENGTH = message(
    "E0411", "buf() needs a length for a value of type {type}",
    "The size of an array or a string is known. What is at an address could be of any length.",
)
BUF_CUT = message("W0411", "buf() keeps {limit} of {size} bytes", "BPFTRACE_STRLEN raises the limit.")
STACK_MODE_FIRST = message("E0412", "{name}() takes the mode first, then the number of frames")
BAD_ADDRESS = message("E0413", "{text!r} is not an IP address")
BAD_SIGNAL = message("E0414", "there is no signal {text!r}")
PRINT_TOP = message("E0415", "print() takes a top and a divisor for a whole map only")
NOT_A_WHOLE_MAP = message("E0416", "{name}() is for a whole map, and this is one element of it")
