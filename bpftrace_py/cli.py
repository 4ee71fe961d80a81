"""The command line: Click says what the options are, `command.py` does the work. Here are only usage and exit statuses.

0: the session ran. 1: the program or the machine is at fault. 2: the command line is. 128 + n: ended by signal n.
"""

from __future__ import annotations

import errno
import gc
import os
import sys

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    import signal
    from typing import Any

    import click

    from bpftrace_py.diagnostics import BpftraceError
else:
    import _signal as signal  # `signal` makes enumerations of all its numbers: 2 ms

NAME = "bpftrace-py"
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
LAST_WORDS = b"error[E0905]: there is not enough of what this takes: memory\n"  # where the registry cannot be read any more
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of what -l, -d and the like print; a session has its own

USAGE = f"""\
USAGE:
    {NAME} [options] filename
    {NAME} [options] - <stdin input>
    {NAME} [options] -e 'program'

OPTIONS:
    -B MODE        output buffering mode ('line', 'full', or 'none')
    -f FORMAT      output format ('text', 'json', 'folded' or 'flamegraph')
    -o FILE        write the output to FILE
    --export prometheus:[ADDRESS:]PORT
                   serve the maps as metrics, too
    -d             dry run: the syntax tree and the generated C
    -dd            dry run: the tree after each pass, and all of the C
    -e 'program'   execute this program
    -h, --help     show this help message
    -I DIR         search DIR for included files
    --include FILE include FILE before the program
    -l [search]    list probes, or the kernel's types: 'struct task_*'
    -lv [search]   list probes with their arguments, types with their members
    -p PID         trace process PID: uprobe and usdt probes, and -l; end with it
    -c 'CMD'       run CMD, trace it as -p does, and end with it
    --usdt-file-activation
                   activate USDT semaphores in every process that runs the file
    --safe         refuse system(), signal() and what else acts on the machine
    --unsafe       allow them (the default)
    -q, --quiet    do not say how many probes are attached
    -k             tell when a helper function fails in the kernel
    -kk            the same, for reads of memory, too
    -v             verbose messages
    -V, --version  the version
    --info         what this kernel and this machine can do
    --no-warnings  no warnings about the program
    --no-cache     compile anew, and keep nothing of it

ENVIRONMENT:
    BPFTRACE_STRLEN              [default: 64] bytes per str()
    BPFTRACE_NO_CPP_DEMANGLE     [default: 0] disable C++ symbol demangling
    BPFTRACE_MAP_KEYS_MAX        [default: 4096] keys a map has room for
    BPFTRACE_CAT_BYTES_MAX       [default: 10240] bytes that cat() prints
    BPFTRACE_MAX_PROBES          [default: 100000] probes a program may have
    BPFTRACE_RING_BYTES          [default: 8388608] room for events not yet printed
    BPFTRACE_EXPORT_LABELS_MAX   [default: 1000] label sets of an exported map
    BPFTRACE_LOG_SIZE            [default: 16777216] bytes of the verifier's log
    BPFTRACE_STACK_MODE          [default: bpftrace] how stacks print: bpftrace, perf or raw
    BPFTRACE_PRINT_MAPS_ON_EXIT  [default: 1] print the maps at the end
    BPFTRACE_BTF                 [default: the kernel's] a BTF file
    BPFTRACE_KERNEL_SOURCE       [default: none] a kernel's source or headers, for #include
    NO_COLOR                     [default: none] no colour in messages

EXAMPLES:
{NAME} -l '*sleep*'
    list probes containing "sleep"
{NAME} -e 'kprobe:do_nanosleep {{ printf("PID %d sleeping...\\n", pid); }}'
    trace processes calling sleep
{NAME} -e 'tracepoint:raw_syscalls:sys_enter {{ @[comm] = count(); }}'
    count syscalls by process name
"""


FLAG, COUNT, TEXT, TEXTS, PID = "flag", "count", "text", "texts", "pid"
_OPTIONS: tuple[tuple[tuple[str, ...], str, str | tuple[str, ...]], ...] = (
    # names, name of the value, kind; a tuple of words is a choice whose default is the first
    (("-B",), "buffering", ("line", "full", "none")),
    (("-f",), "format_", ("text", "json", "folded", "flamegraph")),
    (("-o",), "output", TEXT),
    (("--export",), "export", TEXT),
    (("-d",), "debug", COUNT),
    (("-e",), "program", TEXT),
    (("-h", "--help"), "help_", FLAG),
    (("-I",), "include_directories", TEXTS),
    (("--include",), "include", TEXTS),
    (("-l",), "list_", FLAG),
    (("-p",), "pid", PID),
    (("-c",), "command", TEXT),
    (("--usdt-file-activation",), "usdt_file_activation", FLAG),
    (("--safe",), "safe", FLAG),
    (("--unsafe",), "unsafe", FLAG),
    (("-q", "--quiet"), "quiet", FLAG),
    (("-k",), "helper_errors", COUNT),
    (("-v",), "verbose", COUNT),
    (("-V", "--version"), "version", FLAG),
    (("--info",), "info", FLAG),
    (("--no-warnings",), "no_warnings", FLAG),
    (("--no-cache",), "no_cache", FLAG),
)


def make_command() -> click.Command:
    """The options, for Click. Imported here: it takes a third as long as all the rest of a warm start."""
    import click

    def option(names: tuple[str, ...], value: str, kind: str | tuple[str, ...]) -> click.Option:
        declared = (*names, value)
        if isinstance(kind, tuple):
            return click.Option(declared, type=click.Choice(kind), default=kind[0])
        if kind == PID:
            return click.Option(declared, type=click.IntRange(1))
        if kind == FLAG:
            return click.Option(declared, is_flag=True)
        return click.Option(declared, count=kind == COUNT, multiple=kind == TEXTS)

    options: list[click.Parameter] = [option(*entry) for entry in _OPTIONS]
    options.append(click.Argument(("arguments",), nargs=-1, type=click.UNPROCESSED))
    return click.Command(NAME, params=options, callback=_dispatch, add_help_option=False)


def parse_plainly(words: list[str]) -> dict[str, Any] | None:
    """The values of a command line that needs no Click to be understood: every option a word of its own, known and well
    formed. None for any other, which Click then reads or explains; both come to the same values."""
    kinds = {name: (value, kind) for names, value, kind in _OPTIONS for name in names}
    values: dict[str, Any] = {value: _NOTHING_GIVEN.get(kind, kind[0]) for _, value, kind in _OPTIONS}
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            continue
        if word == "--":
            arguments += rest
            break
        value, kind = kinds.get(word, ("", ""))
        if kind == FLAG:
            values[value] = True
        elif kind == COUNT:
            values[value] += 1
        else:
            given = next(rest, "-")  # what has none, or one like an option, is for Click to explain
            if kind in (TEXT, TEXTS) and not given.startswith("-"):
                values[value] = given if kind == TEXT else (*values[value], given)
            elif isinstance(kind, tuple) and given in kind:
                values[value] = given
            else:
                return None
    values["arguments"] = tuple(arguments)
    return values


_NOTHING_GIVEN: dict[str | tuple[str, ...], Any] = {FLAG: False, COUNT: 0, TEXT: None, TEXTS: (), PID: None}


def _dispatch(**values: Any) -> int:
    from bpftrace_py import command

    if values["help_"]:
        sys.stdout.write(USAGE)
        return 0
    if values["version"]:
        from bpftrace_py.version import __version__

        sys.stdout.write(f"{NAME} {__version__}\n")
        return 0
    for name in ("help_", "version"):
        del values[name]
    options = command.Options(**values)
    if options.info:
        return command.info()
    if options.list_:
        return command.list_probes(options)
    if options.program is None and not options.arguments:
        if options == command.Options():
            sys.stderr.write(USAGE)
            return 1
        hint = "name the file of a script, or give the program itself by -e 'program'"
        raise command.usage_error("there is no program", hint)
    if options.debug:
        return command.debug(options)
    return command.run(options)


def split_shebang(arguments: list[str]) -> list[str]:
    """The kernel hands all that follows the interpreter in a `#!` line over as one argument, before the script's name."""
    if len(arguments) < 2 or not arguments[0].startswith("-") or " " not in arguments[0]:
        return arguments
    try:
        with open(arguments[1], "rb") as script:
            first = os.fsdecode(script.readline(4096))
    except OSError:
        return arguments
    if not first.startswith("#!") or not first.rstrip().endswith(arguments[0].strip()):
        return arguments
    import shlex

    try:
        return shlex.split(arguments[0]) + arguments[1:]
    except ValueError:
        return arguments


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    gc.disable()  # until the session runs: what start-up makes stays
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until then, too, Ctrl-C ends us as it ends any command
    _open_standard_streams()
    from bpftrace_py.diagnostics import BpftraceError

    words = split_shebang(list(sys.argv[1:] if arguments is None else arguments))
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except BpftraceError as error:
        _report(error, verbose=_is_verbose(words))
        return error.exit_code
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except Exception as error:  # the last line of defence: a sentence, never a traceback
        if isinstance(error, OSError) and error.errno in _DISK:
            _silence_stdout()
        try:
            return _report_bug(error, verbose=_is_verbose(words))
        except (MemoryError, OSError, ImportError):  # not even enough to say it
            os.write(2, LAST_WORDS)
            return 1


def _run(words: list[str]) -> int:
    values = parse_plainly(words)
    if values is not None:
        return _dispatch(**values)
    import click

    try:
        # Not Click's own main(): it takes a broken pipe for a failure.
        command = make_command()
        with command.make_context(NAME, words) as context:
            status: int = command.invoke(context)
    except click.UsageError as error:
        from bpftrace_py.command import usage_error

        problem = error.format_message().rstrip(".")
        if isinstance(error, click.BadParameter) and error.param is not None and error.param.name == "pid":
            option, _, reason = problem.partition(": ")
            problem = f"{option}: it takes the number of a process, not {reason.partition(' is not ')[0]}"
        hint = f"{NAME} -h shows the options"
        if isinstance(error, click.NoSuchOption):
            hint += "; write -- before those that are meant for the script"
        raise usage_error(problem[:1].lower() + problem[1:], hint) from error
    return status


def _is_verbose(words: list[str]) -> bool:
    return "-v" in words


def _report(error: BpftraceError, verbose: bool) -> None:
    from bpftrace_py import command

    command.print_diagnostics(error.diagnostics)
    log = getattr(error, "log", "")
    if verbose and log:
        command.write_error(log)


def _report_bug(error: Exception, verbose: bool) -> int:
    from bpftrace_py import command, messages
    from bpftrace_py.diagnostics import host_error

    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _EXHAUSTED):
        reason = "memory" if isinstance(error, MemoryError) else os.strerror(error.errno or 0).lower()
        hint = "`ulimit -n` shows and raises the limit of open files" if "files" in reason else None
        report = host_error(messages.EXHAUSTED, reason=reason, hint=hint)
    elif isinstance(error, OSError) and error.errno in _DISK:
        report = host_error(messages.OUTPUT_FAILED, reason=os.strerror(error.errno or 0).lower())
    else:
        hint = None if verbose else "the same command with -v shows where"
        report = host_error(messages.OUR_BUG, kind=type(error).__name__, text=error, hint=hint)
    command.print_diagnostics(report.diagnostics)
    if verbose:
        import traceback

        command.write_error("".join(traceback.format_exception(error)))
    return 1


def _open_standard_streams() -> None:
    """Where our caller has closed a standard stream, its number would be given to the next file that is opened."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if fd != 2 else os.O_WRONLY)  # takes the lowest number: this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _silence_stdout() -> None:
    """What Python still has for standard output would raise again when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
