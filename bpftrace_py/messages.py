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
UNEXPECTED_TOKEN = _message(
    "E0101", "unexpected {found}, expected {expected}",
    "Reading goes on behind the broken statement, so that all syntax errors of a script are shown at once.",
)
UNEXPECTED_CHARACTER = _message("E0102", "unexpected character {character!r}")
UNTERMINATED_STRING = _message("E0103", "this string is not terminated")
UNTERMINATED_COMMENT = _message("E0104", "this comment is not terminated")
UNEXPECTED_END = _message("E0105", "the program ends here, but {expected} was expected")
INTEGER_TOO_LARGE = _message(
    "E0106", "{text} does not fit in 64 bits",
    "Numbers have 64 bits. Larger ones do not exist in BPF.",
)
INVALID_ESCAPE = _message(
    "E0107", "unknown escape sequence `{text}`",
    "Strings know \\n, \\t, \\r, \\\", \\\\, \\x and two hexadecimal digits, and up to three octal digits.",
)
TOO_DEEP = _message("E0108", "this is nested too deeply", "The parser follows up to a fixed number of nested expressions and blocks.")
BAD_INTEGER = _message("E0109", "`{text}` is not a number: {reason}")
BAD_POSITIONAL = _message("E0110", "`{text}` is not a parameter: they are `$1`, `$2`, ... and their count is `$#`")

NO_PROBES = _message(
    "E0120", "the program has no probes",
    "A program is one or more probes, each with its block. Declarations and comments alone do nothing.",
)

# E02: probes
UNKNOWN_PROBE_TYPE = _message("E0201", "`{name}` is not a probe type")
UNSUPPORTED_PROBE_TYPE = _message(
    "E0202", "`{name}` probes are not supported",
    "bpftrace has this type of probe. It needs hardware or kernel interfaces that BCC does not reach.",
)
WRONG_PROBE_PARTS = _message(
    "E0203", "`{type}` probes are written `{syntax}`",
    "A probe is its type and the parts of that type, with colons between them.",
)
EMPTY_PROBE_PART = _message("E0204", "the {part} of this `{type}` probe is missing")
NO_WILDCARD_HERE = _message(
    "E0205", "the {part} of `{type}` probes cannot have a wildcard",
    "A wildcard stands for names that can be listed. A rate, an offset or an address is a number.",
)
BAD_PROBE_NUMBER = _message("E0206", "the {part} `{text}` is not a number")
PROBE_NUMBER_RANGE = _message(
    "E0207", "the {part} {text} is out of range: {reason}",
    "The kernel would refuse such a timer or counter, or it would fire without end.",
)
UNKNOWN_UNIT = _message("E0208", "`{unit}` is not a unit of time for `{type}` probes")
UNKNOWN_PERF_EVENT = _message("E0209", "`{name}` is not a {type} event")
UNKNOWN_TRACEPOINT = _message(
    "E0210", "there is no tracepoint `{name}`",
    "`bpftrace-py -l 'tracepoint:*'` lists the tracepoints of this kernel; their names differ between kernels.",
)
NO_PROBE_MATCHES = _message("E0211", "no {what} matches `{pattern}`")
UNKNOWN_KERNEL_FUNCTION = _message(
    "E0212", "the kernel has no function `{name}`",
    "`bpftrace-py -l 'kprobe:*'` lists the functions of this kernel. A function that the compiler inlined everywhere is not there.",
)
TEXT_AFTER_PARAMETER = _message(
    "E0213", "`{text}` follows the positional parameter `{parameter}`",
    "Without the quotes it would not be clear where the number of the parameter ends.",
)
SPECIAL_PROBE_TWICE = _message(
    "E0214", "there is more than one {name} probe",
    "Each runs once, at the start and at the end. Put the statements of both blocks into one.",
)
PROBES_NOT_KNOWN = _message(
    "E0215", "which {what} there are is not known, so that `{pattern}` cannot be matched",
    "A wildcard needs the list of what exists. For tracepoints it is in tracefs, which root can mount.",
)
NO_BINARY = _message(
    "E0216", "`{name}` {reason}",
    "A name without a slash is looked for among the commands in PATH and the libraries that the dynamic linker knows.",
)
BAD_BINARY = _message("E0217", "`{name}` cannot be traced: {reason}")
UNKNOWN_USER_FUNCTION = _message("E0218", "`{binary}` has no function `{name}`")
STRIPPED_BINARY = _message(
    "E0219", "`{binary}` is stripped: of its functions only those that it exports have names, and `{name}` is not one",
    "Symbols can come back from a debug file: install the distribution's debug package for it, or build it without -s.",
)
OFFSET_ON_RETURN = _message("E0220", "a `{type}` probe is at the function's return and takes no offset")
OFFSET_OUTSIDE = _message(
    "E0221", "the offset {offset} is outside of `{function}`, which has {size} bytes",
    "An offset counts bytes from the beginning of the function and has to be in it.",
)
MISALIGNED_PROBE = _message(
    "E0222", "{place} is not where an instruction starts",
    "A uprobe replaces the first byte of an instruction. In the middle of one it would change what the program does.",
)
ADDRESS_NOT_CODE = _message(
    "E0223", "the address {address} is not in the code of `{binary}`",
    "An address is one of the file, as objdump shows it, not of a running process.",
)
UNKNOWN_USDT = _message(
    "E0224", "`{binary}` has no static probe `{name}`",
    "`bpftrace-py -l 'usdt:FILE:*'` lists the static probes of a file.",
)
NO_USDT_PROBES = _message("E0225", "`{binary}` has no static probes")
NEEDS_BTF = _message(
    "E0226", "`{type}` probes need the kernel's type information (BTF), and this kernel has none",
    "BTF is in /sys/kernel/btf/vmlinux where the kernel was built with CONFIG_DEBUG_INFO_BTF. A kprobe does without.",
)
UNKNOWN_MODULE = _message(
    "E0227", "no module `{name}` with type information (BTF) is loaded",
    "`lsmod` lists the modules that are loaded; those with BTF are in /sys/kernel/btf. The kernel itself is `vmlinux`.",
)
NOT_IN_MODULE = _message("E0229", "`{name}` is not in `{module}`")
FUNCTION_WITHOUT_BTF = _message(
    "E0228", "a `{type}` probe cannot be in `{name}`: the kernel has no type information for it",
    "Functions that the compiler inlined everywhere, or that are written in assembly, have none. A kprobe may do.",
)
UNCHECKED_PROBE_ADDRESS = _message(
    "W0201", "it cannot be checked that an instruction starts at {place}: if none does, the traced program can crash"
)
INDIRECT_FUNCTION = _message(
    "W0202", "`{name}` chooses its implementation when it is linked, and the probe fires only then",
    "The dynamic linker calls an indirect function (IFUNC) once a process; later calls go to what it chose.",
)

# E07: host and kernel
BCC_MISSING = _message(
    "E0701", "BCC's Python bindings are not installed",
    "Programs are compiled by BCC, which comes from the distribution: on Debian the package python3-bpfcc.",
)
BCC_OTHER_PYTHON = _message(
    "E0702", "this Python ({executable}) does not see BCC's bindings, which are installed in {path}",
    "BCC's bindings belong to the system's Python. A virtual environment sees them if it was made with "
    "/usr/bin/python3 -m venv --system-site-packages.",
)
BCC_WRONG_PACKAGE = _message(
    "E0703", "the module `bcc` in {path} is not the BPF Compiler Collection",
    "PyPI has an unrelated package of the same name, which hides the system's.",
)
BCC_UNUSABLE = _message("E0704", "BCC's Python bindings cannot be used: {reason}")
COMPILE_REFUSED = _message(
    "E0705", "clang refused the C that was generated for {place}: this is a bug in bpftrace-py{excerpt}",
    "The script is right. Please report it, with the output of the same command with -v.",
)
VERIFIER_REFUSED = _message(
    "E0706", "the kernel refused the program that was generated for {place} ({reason}): this is a bug in bpftrace-py{excerpt}",
    "The script is right. Please report it, with the output of the same command with -v.",
)
NOT_PERMITTED = _message(
    "E0707", "the kernel does not let this user load BPF programs",
    "It takes root, or the capabilities CAP_BPF and CAP_PERFMON; kernel lockdown and some containers forbid it even to root.",
)
MAP_NOT_CREATED = _message("E0708", "the kernel cannot create the map `{map}`{room}: {reason}")
TRACEFS_MISSING = _message(
    "E0709", "tracefs is not mounted, and mounting it failed: {reason}",
    "The numbers of tracepoints are read from /sys/kernel/tracing.",
)
MAP_UNREADABLE = _message("E0710", "the map @{map} cannot be read: {reason}")
ATTACH_FAILED = _message("E0711", "cannot attach to {probe}: {reason}")
TRACEFS_CLOSED = _message(
    "E0714", "this user may not read tracefs ({path}), where the tracepoints of this kernel are",
    "The kernel knows a tracepoint by a number, which is in tracefs. Capabilities to load programs do not open it: its permissions"
    " do. Raw tracepoints, uprobes, profile and interval do without it.",
)
KERNEL_UNREADABLE = _message(
    "E0715", "this kernel does not let programs read its memory",
    "Kernel lockdown in the mode `confidentiality` forbids it, to root as well; kernels before 5.5 have no such function. What needs"
    " no kernel memory, such as counting system calls by process, may still work.",
)
BLOCK_TOO_LARGE = _message(
    "E0717", "the block at {place} is more than the kernel's verifier can follow",
    "Before a program may run, the kernel walks along every way through it, and gives up after a million instructions or 8192 open"
    " branches. Each branch doubles the ways; comparing strings takes as many steps as they have bytes.",
)
KERNEL_WITHOUT_BPF = _message("E0713", "this kernel was built without the bpf system call (CONFIG_BPF_SYSCALL)")

NO_FORMAT = _message("E0240", "what `{name}` holds is not known on this machine, so that `args` cannot be read",
                     "The fields of a tracepoint come from its format file in tracefs.")
NO_PROTOTYPE = _message("E0241", "the parameters of `{name}` are not known",
                        "kfunc and kretfunc take them from the kernel's type information (BTF).")

NO_USDT_ARGUMENT = _message("E0242", "`{name}` has {count} arguments, so that there is no arg{number}")
USDT_ARGUMENT_PLACE = _message("E0243", "argument {number} is at a place that cannot be read: {text}")

NO_DEBUG_INFORMATION = _message(
    "E0244", "`{binary}` has no debug information that can be read, so that the names of the arguments of `{function}` are not known",
    "The compiler writes debug information (DWARF) with -g; for the programs of a distribution it is in packages of their own.",
)
NO_DEBUG_FUNCTION = _message(
    "E0245", "the debug information of `{binary}` does not tell the arguments of `{function}`",
    "It describes what was compiled with -g. Functions in assembly, or of libraries that were linked in without it, are missing.",
)
UNREADABLE_ARGUMENT = _message("E0246", "the argument `{name}` cannot be read: {reason}")
ARGS_NOT_AT_START = _message(
    "E0247", "`args` is only there where a function begins, and {name} is inside of one",
    "Functions use the registers of their arguments for other things as they go on. `reg()` reads a register anywhere.",
)

# E03: names and types
UNKNOWN_IDENTIFIER = _message(
    "E0301", "`{name}` is not a builtin, an enumerator or a constant",
    "A bare word is a builtin such as `pid`, an enumerator, or a `#define` of the script. Variables have a `$`, maps an `@`.",
)
UNDEFINED_VARIABLE = _message(
    "E0302", "`${name}` is used before anything is assigned to it",
    "A variable is of one run of one probe, and has a value from its first assignment on. What is kept longer is kept in a map.",
)
UNDEFINED_MAP = _message(
    "E0303", "nothing is ever assigned to `@{name}`",
    "A map exists by what is assigned to it somewhere in the script.",
)
UNKNOWN_TYPE = _message(
    "E0304", "`{name}` is not the name of a type",
    "Types come from the script's own declarations and headers, from the kernel's BTF, and from the language (`uint8` to `int64`).",
)
UNKNOWN_FIELD = _message("E0305", "{record} has no field `{field}`")
ARGS_AS_VALUE = _message(
    "E0338", "`args` is not a value: it is the arguments of the probe, of which one has to be named",
    "`args->name` is one argument; `bpftrace-py -lv` lists the arguments that a probe has.",
)
INCOMPLETE_RECORD = _message("E0306", "what is in `{record}` is not known: it is declared, but not defined")
NOT_A_RECORD = _message(
    "E0307", "`{field}` is asked of a value of type {type}, which has no fields",
    "A number that is an address of a record is cast to a pointer first: `((struct task_struct *)curtask)->pid`.",
)
ARROW_OR_DOT = _message(
    "E0308", "{what} is of type {type}, {which}", "Fields of a record are reached by `.`, those behind a pointer by `->`."
)
NOT_A_POINTER = _message(
    "E0309", "a value of type {type} is not an address",
    "Only addresses can be read from: pointers and numbers.",
)
CANNOT_READ = _message("E0310", "a value of type {type} cannot be read")
NOT_AN_ARRAY = _message("E0311", "a value of type {type} has no elements")
INDEX_TYPE = _message("E0312", "an index is an integer, not {type}")
INDEX_RANGE = _message("E0313", "index {index} is outside the array, which has {count} elements")
NOT_A_TUPLE = _message("E0314", "a value of type {type} is not a tuple")
TUPLE_RANGE = _message("E0315", "element {index} is outside the tuple, which has {count}")
TUPLE_ELEMENT = _message("E0316", "a value of type {type} cannot be in a tuple")
VARIABLE_TYPE = _message(
    "E0317", "`${name}` holds {known}, and cannot be given a value of type {type}",
    "A variable keeps the type of its first assignment.",
)
BAD_OPERANDS = _message(
    "E0318", "`{operator}` cannot be used on {left} and {right}",
    "Numbers are calculated with; strings are compared by `==` and `!=`; aggregates are only printed.",
)
NEEDS_INTEGER = _message("E0319", "{what} needs an integer, not {type}")
CONDITION_TYPE = _message(
    "E0320", "a condition is an integer, not {type}",
    "A condition is true if it is not zero. A string is compared with another one instead.",
)
TERNARY_TYPES = _message(
    "E0321", "the two sides of `:` are of different types: {then} and {otherwise}",
    "The value of `?:` has one type, whatever the condition is.",
)
BAD_CAST = _message(
    "E0322", "a value of type {type} cannot be cast to {target}",
    "Casts are between integers, pointers, and arrays of integers.",
)
CAST_SIZES = _message("E0323", "{type} is of {size} bytes and cannot be cast to {target}, which is of {target_size}")
CAST_ARRAY_SIZE = _message("E0324", "{type} is of {size} bytes, more than an integer holds")
NO_SIZE = _message("E0325", "a value of type {type} has no size")
BUILTIN_NOT_HERE = _message(
    "E0327", "`{name}` is not there in {probe} probes",
    "What the kernel hands to a program depends on the kind of probe: only a function has a return value, for example.",
)
PARAMETER_NOT_NUMERIC = _message(
    "E0328", "the positional parameter ${number} is {text!r}, which is not a number",
    "A parameter that is a number is one in the script, too; any other is reached as str($1).",
)
DIVISION_BY_ZERO = _message(
    "E0329", "this divides by zero",
    "BPF defines the result of a division by zero as zero. In a script it is a mistake.",
)
JUMP_OUTSIDE_LOOP = _message("E0330", "`{kind}` is outside a loop")
UNROLL_NOT_CONSTANT = _message(
    "E0331", "unroll() needs a number known when compiling",
    "The body is written out as often as the number says, when the program is compiled. `while` counts at run time.",
)
UNROLL_RANGE = _message("E0332", "unroll() takes {low} to {high}, not {value}")

SIGN_COMPARISON = _message(
    "W0301", "`{operator}` compares `{signed}`, which can be negative, with `{unsigned}`, which cannot: -1 counts as very large",
    "As in C, both sides are taken as unsigned numbers.",
)

# C declarations
C_ERROR = _message("E0350", "in this C declaration: {reason}")
HEADER_NOT_FOUND = _message(
    "E0351", "the header {name} cannot be found",
    "Headers are looked for in -I directories, beside the script, in the kernel's header tree and among the system's headers. With"
    " BTF, a header of the kernel may be missing: its types come from BTF.",
)
HEADER_NOT_FILE = _message("E0352", "{name} cannot be included: it is not a file")
UNKNOWN_C_TYPE = _message("E0353", "there is no type `{name}`: neither the script nor its headers nor the kernel's BTF has it")
C_ERROR_IN_HEADER = _message("E0354", "in {place}, which is included here: {reason}")
NO_C_PARSER = _message(
    "E0355", "C declarations and headers need libclang, which cannot be loaded: {reason}",
    "pip install libclang brings it, and so does Debian's package python3-clang-14.",
)
C_PARSER_FAILED = _message(
    "E0356", "libclang gave up on the script's C declarations",
    "It crashed, or needed more than 30 seconds or 1 GiB of memory: macros that each use another one twice take for ever.",
)

# Where a builtin can be used, by what the probe must offer for it.
BUILTIN_HINTS: dict[str, str] = {
    "retval": "kretprobe, uretprobe and kretfunc have it",
    "func": "kprobe, kretprobe, uprobe, uretprobe, kfunc and kretfunc have it",
    "argN": "kprobe, uprobe, usdt, rawtracepoint and kfunc have it; a tracepoint has `args`",
    "sargN": "kprobe and uprobe have it",
    "args": "tracepoint, uprobe, kfunc and kretfunc have it; kprobe and usdt have arg0, arg1, ...",
}

UNKNOWN_KERNEL_SYMBOL = _message("E0333", "the kernel has no symbol `{name}`, or does not tell its address")
UNKNOWN_REGISTER = _message("E0334", "{architecture} has no register `{name}`")
NO_CGROUP = _message("E0335", "there is no cgroup {path!r}")
NO_USER_SYMBOL = _message("E0336", "{path} has no symbol `{name}`")
UADDR_MOVES = _message(
    "E0337", "{path} is loaded at another address in each process, so that uaddr() works in a uprobe at one place only",
    "Where the file is loaded is worked out from the address of the probed instruction, which a uretprobe does not have.",
)
TUPLE_TOO_LARGE = _message(
    "E0339", "a tuple of {size} bytes is too large: the limit is {limit}",
    "A tuple holds copies of its parts, so that one that is made of tuples grows fast.",
)

NO_COMMAND = _message(
    "E0340", "`cpid` is the process of the command that -c starts, and there is none",
    "`pid` is the process in which a probe fires, and the option -p limits a program to one process.",
)

# E04: functions
UNKNOWN_FUNCTION = _message(
    "E0401", "there is no function `{name}`",
    "The reference describes all functions. Builtins such as `pid` are written without parentheses.",
)
ARGUMENT_COUNT = _message("E0402", "{name}() takes {expected}, and is given {given}")
ARGUMENT_KIND = _message("E0403", "{name}() needs {expected}{parameter}, and is given {given}")
ARGUMENT_RANGE = _message("E0404", "{name}() takes {expected} here, not {value}")
CALL_IS_STATEMENT = _message(
    "E0405", "{name}() gives no value: it is a statement of its own",
    "printf(), exit(), clear() and others do something and give nothing back.",
)
CALL_NOT_HERE = _message("E0406", "{name}() cannot be used in {probe} probes, only in {expected}")
UNSAFE_CALL = _message(
    "E0407", "{name}() acts on the machine, which --safe refuses",
    "--safe is for scripts that one has not read: they may look at the machine, and not change it.",
)
NOT_A_CONVERSION = _message(
    "W0408", "{name}() prints `{conversion}` as it stands: it {problem}",
    "A `%` that begins no conversion is printed; bpftrace does the same.",
)
FORMAT_COUNT = _message(
    "E0409", "the format of {name}() has {expected}, and {given}",
    "Each conversion such as `%d` prints one value; `%%` prints a percent sign.",
)
FORMAT_TYPE = _message(
    "E0410", "`{conversion}` in {name}() cannot print a value of type {type}",
    "`%d` and its like print integers, `%s` text, `%r` buffers. print() prints any value.",
)
BUF_LENGTH = _message(
    "E0411", "buf() needs a length for a value of type {type}",
    "The size of an array or a string is known. What is at an address could be of any length.",
)
BUF_CUT = _message("W0411", "buf() keeps {limit} of {size} bytes", "BPFTRACE_STRLEN raises the limit.")
STACK_MODE_FIRST = _message("E0412", "{name}() takes the mode first, then the number of frames")
BAD_ADDRESS = _message("E0413", "{text!r} is not an IP address")
BAD_SIGNAL = _message("E0414", "there is no signal {text!r}")
NOT_A_WHOLE_MAP = _message("E0416", "{name}() is for a whole map, and this is one element of it")
PRINT_TOP = _message("E0415", "print() takes a top and a divisor for a whole map only")

# E05: maps
MAP_TYPE = _message(
    "E0501", "`@{name}` holds {known}, and cannot be given a value of type {type}",
    "A map has one type of value in the whole script, whichever probe comes first.",
)
KEYS_DIFFER = _message(
    "E0502", "`@{name}` has {known}, and is given {given}",
    "A map has one number of keys and one type for each of them, in the whole script.",
)
ELEMENT_WITHOUT_KEYS = _message("E0510", "{name}() is for one element, and `@{map}` has {known}")
KEY_TYPE = _message(
    "E0503", "a value of type {type} cannot be a key",
    "Keys are copied and compared byte by byte. An aggregate has no single value that could be.",
)
AGGREGATE_NEEDS_MAP = _message(
    "E0504", "{name}() can only be assigned to a map, alone and by `=`",
    "The kernel keeps a count for each CPU, which needs a map. `++` counts in a variable.",
)
AGGREGATE_AS_VALUE = _message(
    "E0505", "{map} is a {type}() of all CPUs, which has no single value before it is printed",
    "Each CPU counts for itself, so that counting costs little. print() puts the parts together; a map that is counted with"
    " `++` has one value that a script can read.",
)
LHIST_STEP = _message("E0506", "the step of lhist() is 1 or more, not {step}")
LHIST_RANGE = _message("E0507", "the range of lhist() is empty: {low} to {high}")
LHIST_BUCKETS = _message(
    "E0508", "lhist() would have {buckets} buckets, and {limit} is the limit",
    "Each bucket takes memory in the kernel for each key and CPU.",
)
LHIST_WIDE = _message("E0509", "the step {step} of lhist() is larger than its range {range}")

# E06: limits
TOO_MANY_PROBES = _message(
    "E0601", "the program would attach {count} probes, and {limit} is the limit",
    "Each attach point takes memory and time, above all when it is detached. A narrower wildcard is the better remedy.",
)


# E08: options and environment
BAD_VARIABLE = _message("E0801", "{name}={text!r} is not {expected}")
BAD_USAGE = _message("E0802", "{problem}", "The command line cannot be understood. The exit status is 2.")
NOTHING_LISTED = _message(
    "W0801", "no probe matches `{search}`",
    "`-l` lists nothing, and its exit status is 0. A word is looked for in the names of events and kernel functions; functions and"
    " static probes of a program are listed by its path.",
)
TRACEPOINTS_HIDDEN = _message(
    "W0802", "tracepoints and their fields are not shown: this user may not read tracefs ({path})",
    "`-l` and `-d` need no rights of their own, but what tracepoints there are and what they hold is in tracefs, which only root"
    " may read on most machines.",
)
SCRIPT_UNREADABLE = _message("E0803", "the script {name} cannot be read: {reason}")
SCRIPT_NOT_TEXT = _message("E0804", "{name} is not a script: it has a NUL byte")
SCRIPT_TOO_LARGE = _message("E0805", "the script {name} is larger than {limit} bytes")
OUTPUT_UNWRITABLE = _message("E0806", "the output file {name} cannot be written: {reason}")
COMMAND_EMPTY = _message("E0807", "the command of -c is empty")
COMMAND_SYNTAX = _message("E0808", "the command of -c cannot be split into words: {reason}: {command}")
COMMAND_NOT_STARTED = _message("E0809", "the command {command} of -c cannot be started: {reason}")
PATTERN_TOO_WIDE = _message(
    "E0845", "more than {limit} files or directories match `{pattern}`",
    "Each wildcard between two slashes stands for all directories in that place, those of /proc and /sys included.",
)
NO_SUCH_PROCESS = _message("E0810", "there is no process with the id {pid}")
THREAD_NOT_PROCESS = _message("E0811", "{pid} is the id of a thread, not of a process")
PROCESS_ENDED = _message(
    "E0813", "the process {pid} has ended",
    "It is a zombie: it waits for its parent to take note of its end, and does nothing any more.",
)
PROCESS_UNUSABLE = _message("E0812", "the process {pid} cannot be watched: {reason}")
NO_STACK_MAPS = _message(
    "E0830", "-f {format} shows maps of stacks, and this program has none",
    "A map of stacks has a stack in its key and something that can be added up as its value: a count, a sum, a number, an average,"
    " stats or a histogram. The last value of min() or max() is no width.",
)
BAD_EXPORT = _message(
    "E0832", "--export takes prometheus:PORT or prometheus:ADDRESS:PORT, not {text!r}",
    "Without an address the metrics are served to this machine alone, on 127.0.0.1. 0.0.0.0 stands for all of its addresses.",
)
EXPORT_LIBRARY = _message("E0833", "--export prometheus needs the Python package prometheus_client")
EXPORT_ADDRESS = _message("E0834", "metrics cannot be served at {address}: {reason}")
PICTURE_TO_TERMINAL = _message("E0831", "a flame graph is a file, and would be written to the terminal")

# E09: run time
EXHAUSTED = _message("E0905", "there is not enough of what this takes: {reason}")
OUR_BUG = _message(
    "E0904", "{kind}: {text}: this is a bug in bpftrace-py", "Please report it, with the output of the same command with -v."
)
UNSAFE_SYSTEM = _message(
    "E0901", "a traced string cannot be used here: {reason}",
    "What a traced process chose itself, such as its name, is never given to a shell as code. A script in which that cannot be"
    " kept is refused; see the description of system() for how to write it.",
)
OUTPUT_FAILED = _message("E0902", "the output could not be written: {reason}", "The disk is full, or the file has gone.")
SYSTEM_FAILED = _message("W0905", "the command of system() in line {line} could not be started: {reason}")
COMMANDS_NOT_RUN = _message(
    "W0913",
    "{count} commands of system() were not run: the session was stopped before it was their turn",
    "Commands take longer than the events come that they are for. What waits for longer than a second after Ctrl-C is left out.",
)
CAT_FAILED = _message("W0906", "cat() cannot read {path}: {reason}")
KERNEL_REFUSED = _message("E0903", "the kernel refused what the session needs: {reason}")
PROBE_NOT_ATTACHED = _message("W0907", "{probe} is not attached: {reason}")
PROBES_NOT_ATTACHED = _message("W0908", "{count} of {total} probes are not attached")
DAMAGED_EVENTS = _message(
    "W0909", "{count} events were not understood: this is a bug in bpftrace-py", "The records in the ring buffer were not as expected."
)
HELPER_FAILED = _message(
    "W0904", "line {line}, column {column}: {helper} failed: {reason}", "Told with -k (calls that act) and -kk (all calls)."
)
EVENTS_LOST = _message(
    "W0901", "lost {count} events: they came faster than they could be printed",
    "The buffer between the kernel and bpftrace-py was full. BPFTRACE_RING_BYTES makes it larger.",
)
MAP_FULL = _message(
    "W0902", "the map @{map} is full: it has room for {limit} keys",
    "Updates of keys that are in the map still work, those of new keys are lost. BPFTRACE_MAP_KEYS_MAX raises the limit.",
)
MAP_LOST = _message("W0903", "the map @{map} lost {count} updates, because it was full")
STACKS_LEFT_OUT = _message(
    "W0950", "{count} stacks are left out, since their value is zero or negative", "A frame of a flame graph is as wide as its value."
)
NO_STACKS_FOUND = _message("W0951", "no stack was counted")
CPU_GONE = _message(
    "W0920", "processor {cpu} went offline: profile, interval, software and hardware probes do not fire on it any more",
    "The kernel takes a timer or counter off a CPU that goes, and does not put it back when the CPU returns. A new session has all"
    " CPUs that are there. Probes at places in code are not concerned.",
)
ADDRESSES_HIDDEN = _message(
    "W0921", "the kernel does not tell this user where its functions are: kernel stacks and ksym() show numbers",
    "It takes CAP_SYSLOG, and kernel.kptr_restrict to be 0 or 1: in /proc/kallsyms all addresses are zero otherwise.",
)
STACKS_LOST = _message("W0910", "{count} stack traces could not be kept, because too many different ones came")
LOOP_STOPPED = _message(
    "W0911", "the loop in line {line} was stopped {times}, {after}",
    "The kernel must see that every loop ends, and a loop without end must not stop the machine. From Linux 6.9 on, the loops of a"
    " probe may take 20,000 rounds each time it runs, those of BEGIN and END a million. Older kernels follow a loop round by round,"
    " and one that does not count to a small constant gets a bound on its rounds, as high as they allow for what is in the loop.",
)
