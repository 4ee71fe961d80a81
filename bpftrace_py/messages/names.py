"""Messages about names, types and C declarations: E03, W03."""

from __future__ import annotations

from bpftrace_py.messages.registry import message

UNKNOWN_IDENTIFIER = message(
    "E0301", "`{name}` is not a builtin, an enumerator or a constant",
    "A bare word is a builtin such as `pid`, an enumerator, or a `#define` of the script. Variables have a `$`, maps an `@`.",
)
SIGN_COMPARISON = message(
    "W0301", "`{operator}` compares `{signed}`, which can be negative, with `{unsigned}`, which cannot: -1 counts as very large",
    "As in C, both sides are taken as unsigned numbers.",
)
UNDEFINED_VARIABLE = message(
    "E0302", "`${name}` is used before anything is assigned to it",
    "A variable is of one run of one probe, and has a value from its first assignment on. What is kept longer is kept in a map.",
)
UNDEFINED_MAP = message(
    "E0303", "nothing is ever assigned to `@{name}`",
    "A map exists by what is assigned to it somewhere in the script.",
)
UNKNOWN_TYPE = message(
    "E0304", "`{name}` is not the name of a type",
    "Types come from the script's own declarations and headers, from the kernel's BTF, and from the language (`uint8` to `int64`).",
)
UNKNOWN_FIELD = message("E0305", "{record} has no field `{field}`")
INCOMPLETE_RECORD = message("E0306", "what is in `{record}` is not known: it is declared, but not defined")
NOT_A_RECORD = message(
    "E0307", "`{field}` is asked of a value of type {type}, which has no fields",
    "A number that is an address of a record is cast to a pointer first: `((struct task_struct *)curtask)->pid`.",
)
ARROW_OR_DOT = message(
    "E0308", "{what} is of type {type}, {which}", "Fields of a record are reached by `.`, those behind a pointer by `->`."
)
NOT_A_POINTER = message(
    "E0309", "a value of type {type} is not an address",
    "Only addresses can be read from: pointers and numbers.",
)
CANNOT_READ = message("E0310", "a value of type {type} cannot be read")
NOT_AN_ARRAY = message("E0311", "a value of type {type} has no elements")
INDEX_TYPE = message("E0312", "an index is an integer, not {type}")
INDEX_RANGE = message("E0313", "index {index} is outside the array, which has {count} elements")
NOT_A_TUPLE = message("E0314", "a value of type {type} is not a tuple")
TUPLE_RANGE = message("E0315", "element {index} is outside the tuple, which has {count}")
TUPLE_ELEMENT = message("E0316", "a value of type {type} cannot be in a tuple")
VARIABLE_TYPE = message(
    "E0317", "`${name}` holds {known}, and cannot be given a value of type {type}",
    "A variable keeps the type of its first assignment.",
)
BAD_OPERANDS = message(
    "E0318", "`{operator}` cannot be used on {left} and {right}",
    "Numbers are calculated with; strings are compared by `==` and `!=`; aggregates are only printed.",
)
NEEDS_INTEGER = message("E0319", "{what} needs an integer, not {type}")
CONDITION_TYPE = message(
    "E0320", "a condition is an integer, not {type}",
    "A condition is true if it is not zero. A string is compared with another one instead.",
)
TERNARY_TYPES = message(
    "E0321", "the two sides of `:` are of different types: {then} and {otherwise}",
    "The value of `?:` has one type, whatever the condition is.",
)
BAD_CAST = message(
    "E0322", "a value of type {type} cannot be cast to {target}",
    "Casts are between integers, pointers, and arrays of integers.",
)
CAST_SIZES = message("E0323", "{type} is of {size} bytes and cannot be cast to {target}, which is of {target_size}")
CAST_ARRAY_SIZE = message("E0324", "{type} is of {size} bytes, more than an integer holds")
NO_SIZE = message("E0325", "a value of type {type} has no size")
BUILTIN_NOT_HERE = message(
    "E0327", "`{name}` is not there in {probe} probes",
    "What the kernel hands to a program depends on the kind of probe: only a function has a return value, for example.",
)
PARAMETER_NOT_NUMERIC = message(
    "E0328", "the positional parameter ${number} is {text!r}, which is not a number{limit}",
    "A parameter that is a number is one in the script, too; any other is reached as str($1).",
)
DIVISION_BY_ZERO = message(
    "E0329", "this divides by zero",
    "BPF defines the result of a division by zero as zero. In a script it is a mistake.",
)
JUMP_OUTSIDE_LOOP = message("E0330", "`{kind}` is outside a loop")
UNROLL_NOT_CONSTANT = message(
    "E0331", "unroll() needs a number known when compiling",
    "The body is written out as often as the number says, when the program is compiled. `while` counts at run time.",
)
UNROLL_RANGE = message("E0332", "unroll() takes {low} to {high}, not {value}")
UNKNOWN_KERNEL_SYMBOL = message("E0333", "the kernel has no symbol `{name}`, or does not tell its address")
UNKNOWN_REGISTER = message("E0334", "{architecture} has no register `{name}`")
NO_CGROUP = message("E0335", "there is no cgroup {path!r}")
NO_USER_SYMBOL = message("E0336", "{path} has no symbol `{name}`")
UADDR_MOVES = message(
    "E0337", "{path} is loaded at another address in each process, so that uaddr() works in a uprobe at one place only",
    "Where the file is loaded is worked out from the address of the probed instruction, which a uretprobe does not have.",
)
ARGS_AS_VALUE = message(
    "E0338", "`args` is not a value: it is the arguments of the probe, of which one has to be named",
    "`args->name` is one argument; `bpftrace-py -lv` lists the arguments that a probe has.",
)
TUPLE_TOO_LARGE = message(
    "E0339", "a tuple of {size} bytes is too large: the limit is {limit}",
    "A tuple holds copies of its parts, so that one that is made of tuples grows fast.",
)
NO_COMMAND = message(
    "E0340", "`cpid` is the process of the command that -c starts, and there is none",
    "`pid` is the process in which a probe fires, and the option -p limits a program to one process.",
)
PARAMETER_OFFSET = message(
    "E0343", "in str(), ${number} stands alone or with a number from 0 to {length} added to it, the length of the parameter",
    "`str($1 + 2)` is the parameter without its first two bytes. No other arithmetic is done on where a parameter is.",
)

# C declarations
C_ERROR = message("E0350", "in this C declaration: {reason}")
HEADER_NOT_FOUND = message(
    "E0351", "the header {name} cannot be found",
    "Headers are looked for in -I directories, beside the script, in the kernel's header tree and among the system's headers. With"
    " BTF, a header of the kernel may be missing: its types come from BTF.",
)
HEADER_NOT_FILE = message("E0352", "{name} cannot be included: it is not a file")
UNKNOWN_C_TYPE = message("E0353", "there is no type `{name}`: neither the script nor its headers nor the kernel's BTF has it")
C_ERROR_IN_HEADER = message("E0354", "in {place}, which is included here: {reason}")
NO_C_PARSER = message(
    "E0355", "C declarations and headers need libclang, which cannot be loaded: {reason}",
    "pip install libclang brings it, and so does Debian's package python3-clang-14.",
)
C_PARSER_FAILED = message(
    "E0356", "libclang gave up on the script's C declarations",
    "It crashed, or needed more than 30 seconds or 1 GiB of memory: macros that each use another one twice take for ever.",
)
