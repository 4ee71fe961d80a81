"""What the command does for each kind of use: run a program, show what it compiles to, list probes, tell of the machine."""

from __future__ import annotations

import gc
import os
import sys

from bpftrace_py import messages
from bpftrace_py.diagnostics import (
    BpftraceError,
    Diagnostic,
    Diagnostics,
    HostError,
    harmless,
    host_error,
    reason_of,
    warning,
)
from bpftrace_py.record import record
from bpftrace_py.source import Source

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from bpftrace_py.codegen.unit import Unit
    from bpftrace_py.config import Config
    from bpftrace_py.export.server import MetricsServer
    from bpftrace_py.live_host import LiveHost
    from bpftrace_py.output.base import Output, Writer
    from bpftrace_py.output.values import Texts
    from bpftrace_py.progress import Progress
    from bpftrace_py.runtime.cache import Cache
    from bpftrace_py.runtime.child import Child
    from bpftrace_py.runtime.compiler_process import CompilerProcess
    from bpftrace_py.runtime.loader import Loaded
    from bpftrace_py.runtime.session import Session

ATTACHED = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"  # the variable that asks for it, and what is printed
STACK_FORMATS = ("folded", "flamegraph")
_GARBAGE_EVERY = 100_000  # allocations: events come and go without cycles, so looking for those finds little


@record(frozen=True, kw_only=True)
class Options:
    """The command line. Names and meanings are those of `cli.py`; `arguments` are the script's name (unless `program`
    is given) and its parameters."""

    buffering: str = "line"
    format_: str = "text"
    output: str | None = None
    export: str | None = None
    debug: int = 0
    program: str | None = None
    include_directories: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    list_: bool = False
    pid: int | None = None
    command: str | None = None
    usdt_file_activation: bool = False
    safe: bool = False
    unsafe: bool = False
    quiet: bool = False
    helper_errors: int = 0
    verbose: int = 0
    info: bool = False
    no_warnings: bool = False
    no_cache: bool = False
    arguments: tuple[str, ...] = ()

    def config(self, pid: int | None = None) -> Config:
        """The `Config` of these options and the environment. Raises `HostError` for a variable that makes no sense."""
        from bpftrace_py.config import from_environment

        return from_environment(
            os.environ,
            safe=self.safe,
            helper_errors=self.helper_errors,
            parameters=self.arguments if self.program is not None else self.arguments[1:],
            pid=self.pid if pid is None else pid,
            command=self.command is not None or self.debug > 0,  # -d only shows what would be run
            include=self.include,
            include_directories=self.include_directories,
            histogram_sums=self.export is not None,
        )

    def source(self) -> Source:
        """The program's text. Raises `HostError` if its file cannot be read."""
        if self.program is not None:
            return Source(self.program)
        from bpftrace_py.files import read_script

        name = self.arguments[0]
        return Source(read_script(name), "stdin" if name == "-" else name)


# --- messages


def write_error(text: str) -> None:
    """A line on standard error. One that cannot be written is dropped: there is nowhere left to say so."""
    data = memoryview(text.encode("utf-8", "surrogateescape") + b"\n")
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        pass


def usage_error(problem: str, hint: str) -> HostError:
    """What to raise for a command line that cannot be understood: its exit status is 2."""
    error = host_error(messages.BAD_USAGE, problem=problem, hint=hint)
    error.exit_code = 2
    return error


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """To standard error, in colour where that is a terminal and NO_COLOR is not set."""
    color = os.isatty(2) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    for diagnostic in diagnostics:
        write_error(diagnostic.render(color))


# --- kinds of use


def info() -> int:
    """`--info`."""
    from bpftrace_py.runtime.information import information

    sys.stdout.write(information())
    return 0


def list_probes(options: Options) -> int:
    """`-l [search]`. Streams."""
    from bpftrace_py.language.probe_types import find
    from bpftrace_py.live_host import LiveHost
    from bpftrace_py.output.base import Writer
    from bpftrace_py.probes.listing import list_probes as probes
    from bpftrace_py.probes.listing import search_hint
    from bpftrace_py.probes.type_listing import type_search

    if len(options.arguments) > 1:
        words = " ".join(options.arguments)
        raise usage_error("-l takes one search term", f"put it in quotes: -l '{words if type_search(words) else 'tracepoint:*'}'")
    config = options.config()
    search = options.arguments[0] if options.arguments else options.program
    writer = Writer(1, "full")
    host = LiveHost(config.btf_path)
    found = False
    shown = harmless if os.isatty(1) else str
    for line in probes(search, host, config, options.verbose > 0):
        writer.write(shown(line).encode("utf-8", "surrogateescape") + b"\n")
        found = True
    writer.flush()
    probe_type = find((search or "").partition(":")[0])
    what = "type" if type_search(search or "") else "probe"
    hidden = _hidden_tracepoints(host) if probe_type is None or "tracepoint" in probe_type.name else []
    if hidden and what == "probe":
        print_diagnostics(hidden)
    elif not found and search:
        hint = search_hint(search, host, config)
        print_diagnostics([warning(messages.NOTHING_LISTED, hint=hint, what=what, search=search)])
    elif files := host.files_without_types():
        have = f"`{files[0]}` has" if len(files) == 1 else f"{len(files)} files have"
        hint = "a uprobe has arg0, arg1, ... without it"
        print_diagnostics([warning(messages.ARGUMENTS_NOT_LISTED, hint=hint, files=have)])
    return 0


def _hidden_tracepoints(host: LiveHost) -> list[Diagnostic]:
    """The warning that this user cannot see tracepoints, if so: all of them would seem not to be there."""
    tracefs = host.tracefs or "/sys/kernel/tracing"
    if os.access(tracefs, os.R_OK | os.X_OK):
        return []
    return [warning(messages.TRACEPOINTS_HIDDEN, hint="run it as root, or by sudo", path=tracefs)]


def debug(options: Options) -> int:
    """`-d`: the syntax tree and the C. `-dd`: the tree after each pass, and all that clang sees."""
    from bpftrace_py.compiler import compile_source
    from bpftrace_py.live_host import LiveHost
    from bpftrace_py.output.base import Writer
    from bpftrace_py.syntax import ast
    from bpftrace_py.syntax.printer import dump

    writer = Writer(1, "full")

    def show(text: str) -> None:
        writer.write(text.encode("utf-8", "surrogateescape"))

    def on_pass(name: str, program: ast.Program) -> None:
        if options.debug > 1:
            show(f"AST after: {name}\n-------------------\n{dump(program)}\n")
        elif name == "parser":
            show(dump(program) + "\n")

    config = options.config()
    host = LiveHost(config.btf_path)
    try:
        unit = compile_source(options.source(), config, host, on_pass=on_pass, on_warning=_warnings_of(options))
        if options.debug > 1:
            show(prelude() + "\n")
        show(unit.c_source)
    except BpftraceError as error:
        unknown = {messages.NO_FORMAT.code, messages.PROBES_NOT_KNOWN.code, messages.UNKNOWN_TRACEPOINT.code}
        if any(diagnostic.code in unknown for diagnostic in error.diagnostics):
            print_diagnostics(_hidden_tracepoints(host))
        raise
    finally:
        writer.flush()
    return 0


def prelude() -> str:
    """The C that stands before every generated program."""
    from importlib.resources import files

    return files("bpftrace_py.codegen").joinpath("include/linux/kconfig.h").read_text(encoding="utf-8")


def _warnings_of(options: Options) -> Callable[[Diagnostics], None]:
    def tell(diagnostics: Diagnostics) -> None:
        if not options.no_warnings:
            print_diagnostics(diagnostics.warnings)

    return tell


def _check_stack_format(options: Options, unit: Unit) -> None:
    """Raises `HostError` if there would be nothing to show, or nobody to see it."""
    from bpftrace_py.output.folded import stack_maps

    if not stack_maps(unit.maps):
        hint = "count stacks in a map, such as `@[ustack, kstack] = count();`"
        raise host_error(messages.NO_STACK_MAPS, format=options.format_, hint=hint)
    if options.format_ == "flamegraph" and options.output is None and os.isatty(1):
        raise host_error(messages.PICTURE_TO_TERMINAL, hint="name a file by -o, such as -o stacks.svg")


def run(options: Options) -> int:
    """Compile and run the program: the exit status."""
    from bpftrace_py.runtime.features import Features

    if not Features().privileged:  # before compiling: without rights, tracefs cannot be read and no tracepoint is found
        from bpftrace_py.runtime.refused import not_permitted

        raise not_permitted()
    if options.pid is not None and options.command is not None:
        raise usage_error("-c and -p cannot be used together", "a program traces one process, and ends with it")
    source = options.source()
    config = options.config()
    child = process = None
    try:
        if options.pid is not None:
            from bpftrace_py.runtime.child import open_process

            process = open_process(options.pid)
        if options.command is not None:
            from bpftrace_py.runtime.child import Child, probes_look_into

            child = Child(options.command, executed=probes_look_into(source.text))
            config = options.config(child.pid)
        status = _Run(options, source, config, child, process).run()
        if child is not None:
            _tell_how_it_ended(child, options)
        return status
    finally:
        if child is not None:
            child.close()


def _tell_how_it_ended(child: Child, options: Options) -> None:
    """That the command has crashed or was killed: nobody else would say so. Under -v, its exit status."""
    import signal

    ended = child.exit_status
    if ended is None:
        return
    if ended < 0 and -ended not in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        text = (signal.strsignal(-ended) or "").lower()
        print_diagnostics([warning(messages.COMMAND_CRASHED, number=-ended, text=text)])
    elif options.verbose:
        write_error(f"The command was ended by signal {-ended}" if ended < 0 else f"The command ended with status {ended}")


class _NoProgress:
    """In the place of a `Progress` where nobody sees it."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None


class _Run:
    """A program on its way from text to its last map."""

    def __init__(
        self, options: Options, source: Source, config: Config, child: Child | None, process: int | None
    ) -> None:
        self._options = options
        self._source = source
        self._config = config
        self._child = child
        self._process = process
        self._cache: Cache | None = None
        self._compiler: CompilerProcess
        self._metrics: MetricsServer | None = None

    def run(self) -> int:
        if self._options.export is not None:  # before compiling: a port that is in use is told at once
            from bpftrace_py.export.server import MetricsServer, parse

            with MetricsServer(*parse(self._options.export)) as self._metrics:
                return self._run()
        return self._run()

    def _run(self) -> int:
        from bpftrace_py.runtime.compiler_process import CompilerProcess

        if not self._options.no_cache:
            from bpftrace_py.runtime.cache import Cache

            self._cache = Cache()
        self._compiler = CompilerProcess()
        try:
            return self._compile_and_run()
        finally:
            self._compiler.close()

    def _compile_and_run(self) -> int:
        from bpftrace_py.runtime.unit_cache import compile_cached

        unit = compile_cached(
            self._source, self._config, self._make_host, self._cache, _warnings_of(self._options),
            on_new=self._compiler.begin_loading, on_compiled=self._begin_compiling,
        )  # fmt: skip
        if self._options.format_ in STACK_FORMATS:
            _check_stack_format(self._options, unit)
        if self._options.output is None:
            return self._session(unit, 1)
        from bpftrace_py.files import open_output

        output = open_output(self._options.output)
        status = self._session(unit, output)
        try:
            os.close(output)
        except OSError as error:  # some file systems tell only now that the disk is full
            raise host_error(messages.OUTPUT_FAILED, reason=reason_of(error)) from error
        return status

    def _make_host(self) -> LiveHost:
        from bpftrace_py.live_host import LiveHost

        return LiveHost(self._config.btf_path)

    def _begin_compiling(self, unit: Unit) -> None:
        from bpftrace_py.runtime.features import Features
        from bpftrace_py.runtime.loader import first_form

        self._compiler.begin(first_form(unit, Features()).c_source, [program.function for program in unit.programs])

    def _session(self, unit: Unit, output: int) -> int:
        from bpftrace_py.runtime.maps_ahead import MapsAhead, costly_maps

        ahead = MapsAhead(costly_maps(unit))
        from bpftrace_py.runtime.event_loop import Signals
        from bpftrace_py.runtime.session import Interrupted, OutputClosed, Session

        session = Session(
            unit, self._config, lambda texts: self._make_output(texts, output), child=self._child, process=self._process,
            cache=self._cache, warn=None if self._options.format_ == "json" else self._warn, ahead=ahead,
            compiler=self._compiler,
        )  # fmt: skip
        self._running = session
        signals = Signals(session.stop, self._pass_on, session.abandon)
        with signals:
            try:
                self._start_and_run(session)
            except OutputClosed:
                pass
            except Interrupted:
                return 128 + (signals.received or 0)
            finally:
                session.close()
        return 0

    def _start_and_run(self, session: Session) -> None:
        with self._progress("Attaching") as progress, _directory():
            on_loaded = self._loaded if self._options.verbose else None
            session.start(quiet=self._options.quiet, on_loaded=on_loaded, on_progress=progress)
        if self._metrics is not None:
            self._metrics.serve(session, self._config.export_labels_max)
            if not self._options.quiet:
                write_error(f"Metrics are at {self._metrics.url}")
        if os.environ.get(ATTACHED):
            write_error(ATTACHED)
        if self._options.verbose:
            write_error("Running...")
        gc.freeze()
        gc.set_threshold(_GARBAGE_EVERY)
        gc.enable()
        session.run()
        with self._progress("Detaching") as progress:
            session.finish(on_detaching=progress)

    def _progress(self, verb: str) -> Progress | _NoProgress:
        """What shows how far we are, on a terminal that is not to be quiet."""
        if self._options.quiet or not os.isatty(2):
            return _NoProgress()
        from bpftrace_py.progress import Progress

        return Progress(verb)

    def _make_output(self, texts: Texts, fd: int) -> Output:
        from bpftrace_py.runtime.session import SessionWriter

        writer = SessionWriter(fd, self._options.buffering)
        if self._options.format_ == "json":
            from bpftrace_py.output.json import JsonOutput

            return JsonOutput(writer, texts)
        if self._options.format_ in STACK_FORMATS:
            return self._stack_output(texts, writer)
        from bpftrace_py.output.text import TextOutput

        texts.escape = os.isatty(fd)
        return TextOutput(writer, texts)

    def _stack_output(self, texts: Texts, result: Writer) -> Output:
        """`-f folded` and `-f flamegraph`: the stacks to `result`, all other output to standard error."""
        from bpftrace_py.output import folded
        from bpftrace_py.runtime.session import SessionWriter

        render: Callable[[folded.Stacks], bytes] = folded.text
        if self._options.format_ == "flamegraph":
            from bpftrace_py.output.flamegraph import renderer

            render = renderer(" ".join(self._source.text.split()) if self._options.program is not None else self._source.name)
        texts.escape = os.isatty(2)
        messages_to = SessionWriter(2, self._options.buffering)
        return folded.StackOutput(messages_to, texts, result, folded.stack_maps(self._running.unit.maps), render, self._warn)

    def _warn(self, diagnostic: Diagnostic) -> None:
        self._running.output.writer.settle()  # it belongs behind what was printed before
        print_diagnostics((diagnostic,))

    def _pass_on(self, number: int) -> None:
        """A terminal sends Ctrl-C to the command of -c, too; a `kill` of this process does not."""
        if self._child is not None and not _is_in_foreground():
            self._child.signal(number)

    def _loaded(self, loaded: Loaded) -> None:
        from bpftrace_py.runtime.information import describe_loaded

        write_error(harmless(describe_loaded(loaded)))


def _directory() -> AbstractContextManager[None]:
    """Where BCC can compile: it fails where the current directory has been deleted."""
    try:
        os.getcwd()
    except FileNotFoundError:
        from bpftrace_py.files import in_root

        return in_root()
    return _NoProgress()


def _is_in_foreground() -> bool:
    """Whether we are in the process group to which our terminal sends Ctrl-C."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
