"""`Session`: one run of a unit, from loading it to the last map it prints.

    start     load, run BEGIN, attach (BEGIN's events are therefore before all others), let the command of -c go
    run       handle events until something ends the session
    finish    detach, run END, print the maps and what was lost
    close     give everything back; `close` alone ends a session that failed half way

A session belongs to the thread that starts it. Another thread may call `request_stop`.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from stat import S_ISFIFO, S_ISSOCK

from bpftrace_py import messages, types
from bpftrace_py.codegen import unit as units
from bpftrace_py.diagnostics import Diagnostic, HostError, Severity, host_error, reason_of, warning
from bpftrace_py.output.base import Output, Writer
from bpftrace_py.output.values import Texts
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.actions import SessionActions, plan_systems
from bpftrace_py.runtime.attach import Attached, attach
from bpftrace_py.runtime.decoder import Decoder
from bpftrace_py.runtime.event_loop import EventLoop, StopFlag
from bpftrace_py.runtime.features import Features
from bpftrace_py.runtime.loader import Loaded, load
from bpftrace_py.runtime.lone_event import on_wake
from bpftrace_py.runtime.losses import LossReport
from bpftrace_py.runtime.maps import Maps
from bpftrace_py.runtime.ring_buffer import Poller, open_ring_buffer
from bpftrace_py.symbols.resolver import Resolver

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from bpftrace_py.config import Config
    from bpftrace_py.runtime.cache import Cache
    from bpftrace_py.runtime.child import Child
    from bpftrace_py.runtime.compiler_process import CompilerProcess
    from bpftrace_py.runtime.handover import Handover
    from bpftrace_py.runtime.maps_ahead import MapsAhead
    from bpftrace_py.runtime.totals import Totals
else:
    import _signal as signal  # `signal` makes enumerations of all its numbers: 2 ms

_FAILURES_SHOWN = 10  # probes that are named when they could not be attached
_NO_TEST_RUN = (errno.EINVAL, errno.EOPNOTSUPP, 524)
_TEST_RUN_HINT = "this kernel cannot run such a program by itself (Linux 5.10 can), as BEGIN and END need"
_START_SLOT, _CHILD_SLOT = 0, 1  # of `Unit.session`


class OutputClosed(Exception):
    """Whoever read our output has gone. Not an error: `| head` has had enough."""


class Interrupted(Exception):
    """The session was told to stop before it had started."""


class SessionWriter(Writer):
    """A writer whose failures are told apart from those of everything else that may raise `OSError`."""

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError as error:
            raise OutputClosed from error
        except OSError as error:
            raise host_error(messages.OUTPUT_FAILED, reason=reason_of(error)) from error


MakeOutput: TypeAlias = "Callable[[Texts], Output]"
Emit: TypeAlias = "Callable[[list[Any]], None]"


class Session:
    """See the module's text.

    `make_output` is given what prints the unit's values. `child` is the command of -c, `process` a pidfd of the process
    of -p: the session ends with them. With `emit`, `printf` events go there as `(action, values)` and not to the output.
    `warn` is told what is worth a warning while it runs; the default prints it to the output. `ahead` may have begun
    the unit's maps, and `compiler` its C; that one stays the caller's to close.
    """

    def __init__(
        self, unit: units.Unit, config: Config, make_output: MakeOutput, *, child: Child | None = None,
        process: int | None = None, cache: Cache | None = None, emit: Emit | None = None,
        warn: Callable[[Diagnostic], None] | None = None, ahead: MapsAhead | None = None,
        compiler: CompilerProcess | None = None,
    ) -> None:  # fmt: skip
        self.unit = unit
        self.config = config
        self.stop = StopFlag()
        self.features = Features()
        self.attached: Attached | None = None
        self._make_output = make_output
        self._child = child
        self._process = process
        self._cache = cache
        self._ahead = ahead
        self._compiler = compiler
        self._emit = emit
        self._warn_to = warn
        self._shell_commands = plan_systems(unit.actions)
        self._closers: list[Callable[[], None]] = [self.stop.close]
        if ahead is not None:
            self._closers.append(ahead.close)
        self._lost_before_end: int | None = None
        self._missed_before_end: dict[str, int] | None = None
        self._started = self._ended = 0.0
        self._handover: Handover | None = None

    # --- start

    def start(
        self, *, quiet: bool = False, on_loaded: Callable[[Loaded], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:  # fmt: skip
        """Raises `BpftraceError`, `OutputClosed`, or `Interrupted` if `request_stop` was called meanwhile; `close` then."""
        if not self.features.privileged:
            from bpftrace_py.runtime.refused import not_permitted

            raise not_permitted()
        self.loaded = load(
            self.unit, self.features, cache=self._cache, log_size=self.config.log_size, ahead=self._ahead,
            compiler=self._compiler,
        )  # fmt: skip
        self._closers.append(self.loaded.close)
        if self._compiler is not None:
            self._compiler.dismiss()
        self._make_parts()
        if not quiet:
            self.output.attached(self.unit.probe_count)
        self.output.writer.settle()
        if on_loaded is not None:
            on_loaded(self.loaded)
        self._check_stop()
        self._tell_program()
        self._run_special("BEGIN")
        self._attach(on_progress)
        if has_cpu_probes(self.unit):
            self._watch_cpus()  # a millisecond, and nobody waits for it any more
        self._started = time.monotonic()
        if self._child is not None:
            self._child.start()

    def _make_parts(self) -> None:
        """Everything that stands between the loaded unit and the output."""
        self.resolver = self._make_resolver()
        self._closers.append(self.resolver.close)
        self.texts = Texts(self.resolver, self.unit.records)
        self.output = self._make_output(self.texts)
        self.maps = Maps(self.loaded, self.unit.records)
        self.actions = SessionActions(
            self.unit, self.output, self.maps, self._shell_commands, self.config.cat_bytes_max,
            lambda: self.stop.set("exit"), self.stop.__bool__, self.warn,
        )  # fmt: skip
        self.decoder = Decoder(
            self.unit.actions, self.output.texts, self._emit or self.output.printf, self.actions,
            joined=self.output.printf_as_it_is, events=self._emit is not None,
        )  # fmt: skip
        self.losses = LossReport(
            self.loaded.unit, self.maps, self.output, self.actions, self.warn, self.stop.__bool__,
            lambda: self.stop.set("exit", in_order=False),
        )  # fmt: skip
        self.loop = self._make_loop()
        self._closers.append(self.loop.close)

    def _make_resolver(self) -> Resolver:
        resolver = Resolver(
            kernel_stack=self._stack_lookup(self.unit.kernel_stacks),
            user_stack=self._stack_lookup(self.unit.user_stacks),
            probe_names=self.unit.probe_names,
            function_names=self.unit.function_names,
            demangle=self.config.demangle,
        )
        if self.unit.user_stacks is not None or has_user_symbols(self.unit):
            resolver.start()
        return resolver

    def _stack_lookup(self, table: str | None) -> Callable[[int], bytes | None]:
        if table is None:
            return lambda stack: None
        kernel_map = self.loaded.maps[table]
        fd, size = kernel_map.fd, kernel_map.spec.value_size
        return lambda stack: kernel.map_lookup(fd, struct.pack("=Q", stack), size)

    def _make_loop(self) -> EventLoop:
        ring = poller = None
        if self.unit.events is not None:
            events = self.loaded.maps[self.unit.events]
            try:
                ring = open_ring_buffer(events.fd, events.spec.max_entries)
            except OSError as error:
                reason = f"mapping the ring buffer: {reason_of(error)}"
                raise host_error(messages.KERNEL_REFUSED, reason=reason) from error
            poller = Poller(ring, self._request_wakeup)
        loop = EventLoop(self.stop, ring, poller, self.decoder, self._settle, self.losses)
        if ring is not None and poller is not None and self._emit is None:
            take_one = on_wake(ring, self.decoder, self.output, loop)
            if take_one is not None:
                poller.on_wake = take_one
        for fd in self.resolver.descriptors:
            loop.watch(fd, lambda: loop.in_background(self.resolver.poll))
        if self.resolver.descriptors:
            loop.in_background(self.resolver.poll)  # there may be more processes than `start` had time for
        if self._child is not None:
            loop.watch(self._child.pidfd, lambda: self.stop.set("command"))
        if self._process is not None:
            loop.watch(self._process, lambda: self.stop.set("process"))
        if self._compiler is not None and (ended := self._compiler.ended_fd) is not None:
            loop.watch(ended, lambda: self._compiler_ended(loop, ended))
        writer_fd = self.output.writer.fd
        if _is_pipe(writer_fd):  # a pipe without a reader has an error pending
            loop.watch(writer_fd, self._output_closed, 0)
        return loop

    def _compiler_ended(self, loop: EventLoop, fd: int) -> None:
        """What has ended is not to be seen among the processes for as long as we run."""
        assert self._compiler is not None
        loop.unwatch(fd)
        self._compiler.close()

    def _watch_cpus(self) -> None:
        from bpftrace_py.runtime.cpus import CpuWatch

        try:
            cpus = CpuWatch(self.warn)
        except OSError:
            return  # a container's rules: then nobody is told of CPUs
        self._closers.append(cpus.close)
        self.loop.watch(cpus.fd, cpus.read)

    def _request_wakeup(self) -> None:
        assert self.unit.want_wakeup is not None
        kernel.map_update(self.loaded.map_fd(self.unit.want_wakeup), bytes(4), struct.pack("=Q", 1))

    def _settle(self) -> None:
        self.output.writer.settle()

    @staticmethod
    def _output_closed() -> None:
        raise OutputClosed

    def _tell_program(self) -> None:
        """What `elapsed` and `cpid` are made of."""
        if self.unit.session is not None:
            fd = self.loaded.map_fd(self.unit.session)
            pid = self._child.pid if self._child is not None else 0
            for slot, value in ((_START_SLOT, time.monotonic_ns()), (_CHILD_SLOT, pid)):
                kernel.map_update(fd, struct.pack("=I", slot), struct.pack("=Q", value))

    def _run_special(self, name: str) -> None:
        """Run the BEGIN or END blocks."""
        for program in self.unit.programs:
            if any(isinstance(a.target, units.Special) and a.target.name == name for a in program.attachments):
                try:
                    self.loaded.run(program.function)
                except OSError as error:
                    reason = f"running {name}: {reason_of(error)}"
                    hint = _TEST_RUN_HINT if error.errno in _NO_TEST_RUN else None
                    raise host_error(messages.KERNEL_REFUSED, reason=reason, hint=hint) from error

    def _attach(self, on_progress: Callable[[int, int], None] | None) -> None:
        def progress(done: int, total: int) -> None:
            self._check_stop()
            if on_progress is not None:
                on_progress(done, total)

        self.attached = attached = attach(self.loaded, progress)
        self._closers.append(attached.detach)
        if not attached.failures:
            return
        failed = [(f.target.name, f.reason) for f in attached.failures]
        if not attached.count:
            message = messages.ATTACH_FAILED
            raise HostError(
                Diagnostic(Severity.ERROR, message.code, message.template.format(probe=name, reason=reason))
                for name, reason in failed[:_FAILURES_SHOWN]
            )
        for name, reason in failed[:_FAILURES_SHOWN]:
            self.warn(warning(messages.PROBE_NOT_ATTACHED, probe=name, reason=reason))
        if len(failed) > _FAILURES_SHOWN:
            total = attached.count + len(failed)
            self.warn(warning(messages.PROBES_NOT_ATTACHED, count=len(failed), total=total))

    def _check_stop(self) -> None:
        if self.stop:
            raise Interrupted

    # --- while it runs

    def request_stop(self) -> None:
        """End the session as Ctrl-C would. From any thread; returns at once."""
        self.stop.set("stop")

    def run(self, seconds: float | None = None) -> bool:
        """Handle events until the session is to end, or for so long. Whether it is to end."""
        self.loop.run(None if seconds is None else time.monotonic() + seconds)
        return bool(self.stop)

    def handover(self) -> Handover:
        """For other threads that want to read maps: what they submit is done between events."""
        from bpftrace_py.runtime.handover import Handover

        if self._handover is None:
            self._handover = Handover()
            self.loop.watch(self._handover.fd, self._handover.run_waiting)
            self._closers.append(self._handover.close)
        return self._handover

    def warn(self, diagnostic: Diagnostic) -> None:
        if self._warn_to is not None:
            self._warn_to(diagnostic)
        else:
            self.output.warning(diagnostic.render())

    # --- the end

    def finish(self, print_maps: bool = True, on_detaching: Callable[[int, int], None] | None = None) -> None:
        """Detach, run END, print all maps, and tell what was lost. `on_detaching` is told how many probes are detached
        of those for which one has to wait."""
        self._end(on_detaching)
        self.output.end_of_events()
        if print_maps and self.config.print_maps_on_exit:
            self._print_maps()
        self.losses.finish(self._lost_before_end or 0, self._missed_before_end or {})
        if not_run := self.actions.not_run:
            self.warn(warning(messages.COMMANDS_NOT_RUN, count=not_run))
        if damaged := self.decoder.damaged:
            self.warn(warning(messages.DAMAGED_EVENTS, count=damaged))
        if self.resolver.kernel.hidden:  # seen when a first name was looked for
            self.warn(warning(messages.ADDRESSES_HIDDEN, hint="`sysctl kernel.kptr_restrict=1` shows them to root"))
        if self.output.wants_totals:
            self.output.totals(self.totals())
        self.output.finish()

    def _end(self, on_detaching: Callable[[int, int], None] | None) -> None:
        """Detach, and handle what the probes and END have sent. Nothing follows but reading the maps."""
        assert self.attached is not None
        self.loop.drain_present()
        self._lost_before_end = self.losses.events_lost()
        self._missed_before_end = self.loaded.missed()
        self._ended = time.monotonic()
        self.attached.detach(on_detaching)
        self.loop.discard()  # what came after the end
        self.actions.at_end()
        self._run_special("END")
        self.loop.drain_all()

    def missed_events(self) -> int:
        """For how many events so far, or until the end, the kernel ran no program, as the CPU was in one already."""
        missed = self.loaded.missed() if self._missed_before_end is None else self._missed_before_end
        return sum(missed.values())

    def totals(self) -> Totals:
        """How the run went so far; after its end, how it went."""
        from bpftrace_py.runtime.totals import totals

        lost = self.maps.lost()
        if self._lost_before_end is not None:  # what came while it was detaching does not count
            lost[0] = self._lost_before_end
        seconds = (self._ended or time.monotonic()) - self._started if self._started else 0.0
        failed = len(self.attached.failures) if self.attached is not None else 0
        return totals(self.loaded.unit, lost, self.missed_events(), seconds=seconds, failed=failed, events=self.loop.handled)

    def _print_maps(self) -> None:
        """Every map, by name. One without elements leaves its empty line, as bpftrace does."""
        for script_map in sorted(self.unit.maps, key=lambda script_map: script_map.name):
            self._print_map(script_map)

    def _print_map(self, script_map: units.ScriptMap) -> None:
        self.maps.show(script_map.name, lambda elements: self.output.map(script_map, elements))

    def abandon(self) -> None:
        """What must be done before this process ends at once; the kernel takes back all else."""
        if hasattr(self, "actions"):
            self.actions.end_command(signal.SIGKILL)

    def close(self) -> None:
        """Give everything back, in the reverse order. A second call does nothing."""
        while self._closers:
            self._closers.pop()()


def has_cpu_probes(unit: units.Unit) -> bool:
    """Whether it has `profile`, `interval`, `software` or `hardware` probes: those belong to a CPU."""
    targets = (a.target for program in unit.programs for a in program.attachments)
    return any(isinstance(target, (units.PerfEvent, units.Timer)) for target in targets)


def has_user_symbols(unit: units.Unit) -> bool:
    """Whether the unit has `usym` values."""

    def found(type_: types.Type) -> bool:
        if isinstance(type_, types.TupleType):
            return any(map(found, type_.elements))
        return isinstance(type_, types.UsymType)

    in_maps = any(found(part) for script_map in unit.maps for part in (*script_map.keys, script_map.value))
    return in_maps or any(
        any(map(found, getattr(action, "arguments", ()))) or found(getattr(action, "value", types.UNKNOWN))
        for action in unit.actions
    )


def _is_pipe(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return S_ISFIFO(mode) or S_ISSOCK(mode)
