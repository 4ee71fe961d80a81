"""Messages about options, environment variables and files that are named in them: E08, W08."""

from __future__ import annotations

from bpftrace_py.messages.registry import message

BAD_VARIABLE = message("E0801", "{name}={text!r} is not {expected}")
NOTHING_LISTED = message(
    "W0801", "no {what} matches `{search}`",
    "`-l` lists nothing, and its exit status is 0. A word is looked for in the names of events and kernel functions; functions and"
    " static probes of a program are listed by its path, types of the kernel by `struct`, `union` or `enum` and a name.",
)
BAD_USAGE = message("E0802", "{problem}", "The command line cannot be understood. The exit status is 2.")
TRACEPOINTS_HIDDEN = message(
    "W0802", "tracepoints and their fields are not shown: this user may not read tracefs ({path})",
    "`-l` and `-d` need no rights of their own, but what tracepoints there are and what they hold is in tracefs, which only root"
    " may read on most machines.",
)
SCRIPT_UNREADABLE = message("E0803", "the script {name} cannot be read: {reason}")
ARGUMENTS_NOT_LISTED = message(
    "W0803", "{files} no debug information that can be read, so that the arguments of functions are not known",
    "`-lv` takes them from the debug information (DWARF) that a compiler writes with -g. For the programs of a distribution it is in"
    " packages of their own, such as Debian's *-dbgsym.",
)
SCRIPT_NOT_TEXT = message("E0804", "{name} is not a script: it has a NUL byte")
SCRIPT_TOO_LARGE = message("E0805", "the script {name} is larger than {limit} bytes")
OUTPUT_UNWRITABLE = message("E0806", "the output file {name} cannot be written: {reason}")
COMMAND_EMPTY = message("E0807", "the command of -c is empty")
COMMAND_SYNTAX = message("E0808", "the command of -c cannot be split into words: {reason}: {command}")
COMMAND_NOT_STARTED = message("E0809", "the command {command} of -c cannot be started: {reason}")
NO_SUCH_PROCESS = message("E0810", "there is no process with the id {pid}")
THREAD_NOT_PROCESS = message("E0811", "{pid} is the id of a thread, not of a process")
PROCESS_UNUSABLE = message("E0812", "the process {pid} cannot be watched: {reason}")
PROCESS_ENDED = message(
    "E0813", "the process {pid} has ended",
    "It is a zombie: it waits for its parent to take note of its end, and does nothing any more.",
)
NO_STACK_MAPS = message(
    "E0830", "-f {format} shows maps of stacks, and this program has none",
    "A map of stacks has a stack in its key and something that can be added up as its value: a count, a sum, a number, an average,"
    " stats or a histogram. The last value of min() or max() is no width.",
)
PICTURE_TO_TERMINAL = message("E0831", "a flame graph is a file, and would be written to the terminal")
BAD_EXPORT = message(
    "E0832", "--export takes prometheus:PORT or prometheus:ADDRESS:PORT, not {text!r}",
    "Without an address the metrics are served to this machine alone, on 127.0.0.1. 0.0.0.0 stands for all of its addresses.",
)
EXPORT_LIBRARY = message("E0833", "--export prometheus needs the Python package prometheus_client")
EXPORT_ADDRESS = message("E0834", "metrics cannot be served at {address}: {reason}")
PATTERN_TOO_WIDE = message(
    "E0845", "more than {limit} files or directories match `{pattern}`",
    "Each wildcard between two slashes stands for all directories in that place, those of /proc and /sys included.",
)
