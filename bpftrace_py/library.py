"""The library: `transpile` and `trace`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bpftrace_py.config import Config, from_environment
from bpftrace_py.diagnostics import Diagnostic
from bpftrace_py.record import replace
from bpftrace_py.source import Source

if TYPE_CHECKING:
    from bpftrace_py.asynchronous import AsyncTraceSession
    from bpftrace_py.codegen.unit import Unit
    from bpftrace_py.host import Host
    from bpftrace_py.output.values import Texts
    from bpftrace_py.results import Event
    from bpftrace_py.runtime.cache import Cache
    from bpftrace_py.runtime.child import Child
    from bpftrace_py.runtime.session import Session

EVENTS_KEPT = 1_000_000  # events that wait to be iterated over; then the oldest are dropped, and counted


def transpile(
    source: str, *, name: str = "stdin", parameters: Sequence[str | int] = (), host: Host | None = None,
    config: Config | None = None, **options: Any,
) -> Unit:  # fmt: skip
    """Compile a program to a `Unit`: `unit.c_source` is its C, and tables say what the programs, maps and events in it are.

    Nothing is loaded: neither root nor BCC is needed. `parameters` are `$1`, `$2`, ...; `options` are fields of `Config`
    (`strlen=200`). Facts about the machine, such as the fields of tracepoints, come from `host`, by default this machine.
    Raises `CompileError`.
    """
    from bpftrace_py.compiler import compile_source

    config = _config(config, parameters, options)
    return compile_source(Source(source, name), config, host or _live_host(config))


def _config(config: Config | None, parameters: Sequence[str | int], options: Mapping[str, Any]) -> Config:
    if parameters:
        options = {**options, "parameters": tuple(map(str, parameters))}
    return replace(config or Config(), **options)


def _live_host(config: Config) -> Host:
    from bpftrace_py.live_host import LiveHost

    return LiveHost(config.btf_path)


def trace(
    source: str, *, name: str = "stdin", parameters: Sequence[str | int] = (), pid: int | None = None,
    command: str | None = None, on_event: Callable[[Event], object] | None = None, cache: bool = True,
    config: Config | None = None, **options: Any,
) -> TraceSession:  # fmt: skip
    """Run a program: a context manager that attaches its probes when it is entered, and detaches them when it is left.

        with bpftrace_py.trace('tracepoint:sched:sched_process_exec { printf("%d %s", pid, comm); }') as session:
            for event in session:
                print(event.values)

    `async with` and `async for` do the same beside an asyncio event loop: see `AsyncTraceSession`.

    `pid` and `command` are the command's `-p` and `-c`. `on_event` is called with each event; without it they wait to be
    iterated over. Configuration is taken from the `BPFTRACE_*` variables of the environment unless `config` is given;
    `options` are fields of `Config` on top of that. Raises `CompileError` at once; entering raises `HostError` where this
    machine or user cannot run the program. All errors are `BpftraceError`s and have `.diagnostics`.
    """
    import os

    if pid is not None and command is not None:
        raise ValueError("a session traces one process: `pid` and `command` exclude each other")
    config = _config(config if config is not None else from_environment(os.environ), parameters, options)
    config = replace(config, command=command is not None)
    return TraceSession(Source(source, name), config, pid, command, on_event, cache)


class TraceSession:
    """A running program. See `trace`.

    `unit` is what it was compiled to, `warnings` what the compiler had to say about it. `dropped` counts events that were
    not iterated over before `EVENTS_KEPT` newer ones came.
    """

    def __init__(
        self, source: Source, config: Config, pid: int | None, command: str | None,
        on_event: Callable[[Event], object] | None, cache: bool,
    ) -> None:  # fmt: skip
        self.warnings: list[Diagnostic] = []
        self.dropped = 0
        self._source, self._config, self._pid, self._command = source, config, pid, command
        self._on_event = on_event
        self._use_cache = cache
        self._cache: Cache | None = None
        self._asynchronous: AsyncTraceSession | None = None
        self._events: deque[Event] = deque()
        self._session: Session | None = None
        self._child: Child | None = None
        self._maps: dict[str, Any] | None = None
        self._finished = False
        self._lost = self._missed = 0
        self.unit: Unit | None = None
        if command is None:  # with a command, its process id is a part of what is compiled
            self._compile(config if pid is None else replace(config, pid=pid))

    def _compile(self, config: Config) -> Unit:
        from bpftrace_py.runtime.cache import Cache
        from bpftrace_py.runtime.unit_cache import compile_cached

        self._cache = Cache() if self._use_cache else None
        self.unit = unit = compile_cached(
            self._source, config, lambda: _live_host(config), self._cache, lambda found: self.warnings.extend(found.warnings)
        )
        return unit

    # --- life

    def __enter__(self) -> TraceSession:
        from bpftrace_py.output.events import EventOutput
        from bpftrace_py.runtime.session import Session

        process, config, unit = None, self._config, self.unit
        if self._pid is not None:
            from bpftrace_py.runtime.child import open_process

            process = open_process(self._pid)
        try:
            if self._command is not None:
                from bpftrace_py.runtime.child import Child, probes_look_into

                self._child = Child(self._command, executed=probes_look_into(self._source.text))
                config = replace(config, pid=self._child.pid)
            if unit is None:
                unit = self._compile(config)
            outputs: list[EventOutput] = []

            def make_output(texts: Texts) -> EventOutput:
                outputs.append(EventOutput(texts, self._receive))
                return outputs[0]

            self._session = Session(
                unit, config, make_output, child=self._child, process=process, cache=self._cache,
                emit=lambda events: outputs[0].decoded(events),
            )  # fmt: skip
            self._session.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            self._close()

    async def __aenter__(self) -> AsyncTraceSession:
        from bpftrace_py.asynchronous import AsyncTraceSession

        self._asynchronous = AsyncTraceSession(self)
        return await self._asynchronous._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._asynchronous is not None
        await self._asynchronous._leave(failed=error is not None)

    def _finish(self) -> None:
        """Detach, take END's events, and keep the maps: they can be read afterwards, too."""
        session = self._session
        if session is not None and not self._finished:
            self._finished = True
            session.finish(print_maps=False)
            self._lost = session.losses.events_lost()
            self._missed = session.missed_events()
            self._maps = {script_map.name: self._read(script_map.name) for script_map in session.unit.maps}

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
        if self._child is not None:
            self._child.close()

    # --- events

    def _receive(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
        else:
            self._keep(event)

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) > EVENTS_KEPT:
            self._events.popleft()
            self.dropped += 1

    def __iter__(self) -> Iterator[Event]:
        """The events as they come, until the program ends: by `exit()`, `stop()`, or the end of the traced process.

        After that, and after the `with` block, what is left of them.
        """
        while True:
            while self._events:
                yield self._events.popleft()
            if self._session is None or self._finished:
                return
            if self._session.stop:
                self._finish()
            else:
                self._session.loop.step()

    def run(self, seconds: float | None = None) -> bool:
        """Handle events for so long, or until the program ends. Whether it has ended."""
        if self._session is None or self._finished:
            return True
        if not self._session.run(seconds):
            return False
        self._finish()
        return True

    def stop(self) -> None:
        """End the program, as Ctrl-C ends the command. From any thread, and from `on_event`; returns at once."""
        if self._session is not None:
            self._session.request_stop()

    # --- maps

    @property
    def maps(self) -> Mapping[str, Any]:
        """The maps by their names (without the @), as they are now; after the end, as they were then.

        A map with keys is a dict (`Table`), of tuples if there are several keys; one without is its value, or None.
        Values are what `Event.values` may hold, `Average`, `Stats` and `Histogram`.
        """
        if self._maps is not None:
            return self._maps
        return _LiveMaps(self)

    def _check_name(self, name: str) -> None:
        """Raises `KeyError` for a map that the program does not have."""
        if self.unit is not None and not any(script_map.name == name for script_map in self.unit.maps):
            raise KeyError(name)

    def _read(self, name: str) -> Any:
        from bpftrace_py.results import map_value

        session = self._session
        if session is None:
            raise RuntimeError("the session has not started, or has failed")
        script_map = next(m for m in session.unit.maps if m.name == name)
        return map_value(script_map, session.maps.read(name), session.output.texts)

    @property
    def lost_events(self) -> int:
        """How many events found no room so far."""
        return self._session.losses.events_lost() if self._session is not None else self._lost

    @property
    def missed_events(self) -> int:
        """For how many events so far the kernel ran no program, as the CPU was in one already."""
        return self._session.missed_events() if self._session is not None else self._missed


class _LiveMaps(Mapping[str, Any]):
    """Reads a map when it is asked for."""

    def __init__(self, session: TraceSession) -> None:
        self._session = session
        assert session.unit is not None
        self._names = [script_map.name for script_map in session.unit.maps]

    def __getitem__(self, name: str) -> Any:
        self._session._check_name(name)
        return self._session._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))
