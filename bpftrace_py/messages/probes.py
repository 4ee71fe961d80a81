"""Messages about probes and their places: E02, W02."""

from __future__ import annotations

from bpftrace_py.messages.registry import message

UNKNOWN_PROBE_TYPE = message("E0201", "`{name}` is not a probe type")
UNCHECKED_PROBE_ADDRESS = message(
    "W0201", "it cannot be checked that an instruction starts at {place}: if none does, the traced program can crash"
)
UNSUPPORTED_PROBE_TYPE = message(
    "E0202", "`{name}` probes are not supported",
    "bpftrace has this type of probe. It needs hardware or kernel interfaces that BCC does not reach.",
)
BINARY_REPLACED = message(
    "W0203", "the process {pid} runs an older file of the name `{name}`, which was replaced: the probe does not fire there",
    "A probe is on a file, not on its name. Programs that were started before an update go on with the old file.",
)
INDIRECT_FUNCTION = message(
    "W0202", "`{name}` chooses its implementation when it is linked, and the probe fires only then",
    "The dynamic linker calls an indirect function (IFUNC) once a process; later calls go to what it chose.",
)
WRONG_PROBE_PARTS = message(
    "E0203", "`{type}` probes are written `{syntax}`",
    "A probe is its type and the parts of that type, with colons between them.",
)
EMPTY_PROBE_PART = message("E0204", "the {part} of this `{type}` probe is missing")
NO_WILDCARD_HERE = message(
    "E0205", "the {part} of `{type}` probes cannot have a wildcard",
    "A wildcard stands for names that can be listed. A rate, an offset or an address is a number.",
)
BAD_PROBE_NUMBER = message("E0206", "the {part} `{text}` is not a number")
PROBE_NUMBER_RANGE = message(
    "E0207", "the {part} {text} is out of range: {reason}",
    "The kernel would refuse such a timer or counter, or it would fire without end.",
)
UNKNOWN_UNIT = message("E0208", "`{unit}` is not a unit of time for `{type}` probes")
UNKNOWN_PERF_EVENT = message("E0209", "`{name}` is not a {type} event")
UNKNOWN_TRACEPOINT = message(
    "E0210", "there is no tracepoint `{name}`",
    "`bpftrace-py -l 'tracepoint:*'` lists the tracepoints of this kernel; their names differ between kernels.",
)
NO_PROBE_MATCHES = message("E0211", "no {what} matches `{pattern}`")
UNKNOWN_KERNEL_FUNCTION = message(
    "E0212", "the kernel has no function `{name}`",
    "`bpftrace-py -l 'kprobe:*'` lists the functions of this kernel. A function that the compiler inlined everywhere is not there.",
)
TEXT_AFTER_PARAMETER = message(
    "E0213", "`{text}` follows the positional parameter `{parameter}`",
    "Without the quotes it would not be clear where the number of the parameter ends.",
)
SPECIAL_PROBE_TWICE = message(
    "E0214", "there is more than one {name} probe",
    "Each runs once, at the start and at the end. Put the statements of both blocks into one.",
)
PROBES_NOT_KNOWN = message(
    "E0215", "which {what} there are is not known, so that `{pattern}` cannot be matched",
    "A wildcard needs the list of what exists. For tracepoints it is in tracefs, which root can mount.",
)
NO_BINARY = message(
    "E0216", "`{name}` {reason}",
    "A name without a slash is looked for among the commands in PATH and the libraries that the dynamic linker knows.",
)
BAD_BINARY = message("E0217", "`{name}` cannot be traced: {reason}")
UNKNOWN_USER_FUNCTION = message("E0218", "`{binary}` has no function `{name}`")
STRIPPED_BINARY = message(
    "E0219", "`{binary}` is stripped: of its functions only those that it exports have names, and `{name}` is not one",
    "Symbols can come back from a debug file: install the distribution's debug package for it, or build it without -s.",
)
OFFSET_ON_RETURN = message("E0220", "a `{type}` probe is at the function's return and takes no offset")
OFFSET_OUTSIDE = message(
    "E0221", "the offset {offset} is outside of `{function}`, which has {size} bytes",
    "An offset counts bytes from the beginning of the function and has to be in it.",
)
MISALIGNED_PROBE = message(
    "E0222", "{place} is not where an instruction starts",
    "A uprobe replaces the first byte of an instruction. In the middle of one it would change what the program does.",
)
ADDRESS_NOT_CODE = message(
    "E0223", "the address {address} is not in the code of `{binary}`",
    "An address is one of the file, as objdump shows it, not of a running process.",
)
UNKNOWN_USDT = message(
    "E0224", "`{binary}` has no static probe `{name}`",
    "`bpftrace-py -l 'usdt:FILE:*'` lists the static probes of a file.",
)
NO_USDT_PROBES = message("E0225", "`{binary}` has no static probes")
NEEDS_BTF = message(
    "E0226", "{what} need the kernel's type information (BTF), and this kernel has none",
    "BTF is in /sys/kernel/btf/vmlinux where the kernel was built with CONFIG_DEBUG_INFO_BTF. A kprobe does without.",
)
UNKNOWN_MODULE = message(
    "E0227", "no module `{name}` with type information (BTF) is loaded",
    "`lsmod` lists the modules that are loaded; those with BTF are in /sys/kernel/btf. The kernel itself is `vmlinux`.",
)
FUNCTION_WITHOUT_BTF = message(
    "E0228", "a `{type}` probe cannot be in `{name}`: the kernel has no type information for it",
    "Functions that the compiler inlined everywhere, or that are written in assembly, have none. A kprobe may do.",
)
NOT_IN_MODULE = message("E0229", "`{name}` is not in `{module}`")
NO_FORMAT = message("E0240", "what `{name}` holds is not known on this machine, so that `args` cannot be read",
                     "The fields of a tracepoint come from its format file in tracefs.")
NO_PROTOTYPE = message("E0241", "the parameters of `{name}` are not known",
                        "kfunc and kretfunc take them from the kernel's type information (BTF).")
NO_NUMBERED_ARGUMENT = message("E0242", "`{name}` has {count}, so that there is no arg{number}")
RAW_LEFT_OUT = message(
    "W0242", "these raw tracepoints have no arg{number}, and are left out: {names}",
    "The kernel does not attach a program to a raw tracepoint that has fewer arguments than the program reads. `bpftrace-py -lv"
    " rawtracepoint:NAME` lists those that it has.",
)
USDT_ARGUMENT_PLACE = message("E0243", "argument {number} is at a place that cannot be read: {text}")
NO_DEBUG_INFORMATION = message(
    "E0244", "`{binary}` has no debug information that can be read, so that the names of the arguments of `{function}` are not known",
    "The compiler writes debug information (DWARF) with -g; for the programs of a distribution it is in packages of their own.",
)
NO_DEBUG_FUNCTION = message(
    "E0245", "the debug information of `{binary}` does not tell the arguments of `{function}`",
    "It describes what was compiled with -g. Functions in assembly, or of libraries that were linked in without it, are missing.",
)
UNREADABLE_ARGUMENT = message("E0246", "the argument `{name}` cannot be read: {reason}")
ARGS_NOT_AT_START = message(
    "E0247", "`args` is only there where a function begins, and {name} is inside of one",
    "Functions use the registers of their arguments for other things as they go on. `reg()` reads a register anywhere.",
)
