"""`LossReport`: what could not be kept, told to the user.

The kernel side counts it in `Unit.lost`: events that found no room in the ring buffer, updates that a full map refused, and
stacks. Control actions (`exit()`, `print(@x)`, ...) are not lost with their events: `Unit.pending` says that they were
asked for, and they are made up for here.
"""

from __future__ import annotations

import time

from bpftrace_py import messages
from bpftrace_py.codegen import unit
from bpftrace_py.diagnostics import Diagnostic, warning
from bpftrace_py.runtime.actions import SessionActions

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftrace_py.output.base import Output
    from bpftrace_py.runtime.maps import Maps

TOLD_EVERY = 1.0  # seconds between two messages about lost events


class LossReport:
    """Looks at the counters of `program`. `stopped` says whether the session has got its `exit()`; `exit_late` ends it for
    one that found no room in the ring, behind the events that fill it."""

    def __init__(
        self, program: unit.Unit, maps: Maps, output: Output, actions: SessionActions, warn: Callable[[Diagnostic], None],
        stopped: Callable[[], bool], exit_late: Callable[[], None],
    ) -> None:  # fmt: skip
        self._unit = program
        self._maps = maps
        self._output = output
        self._actions = actions
        self._warn = warn
        self._stopped = stopped
        self._exit_late = exit_late
        self._told_at = 0.0
        self._events_told = self._events = 0
        self._full: set[str] = set()

    def look(self) -> None:
        """Perform what is pending, and tell of new losses, lost events at most once a second."""
        if self._unit.lost is None:
            return
        counts = self._maps.lost()
        self._note(counts)
        now = time.monotonic()
        if self._events > self._events_told and now - self._told_at >= TOLD_EVERY:
            self._told_at = now
            self._tell_events()

    def _note(self, counts: list[int]) -> None:
        changed, self._events = counts[0] != self._events, counts[0]
        if changed:
            self._perform_pending()
        for script_map, refused in zip(self._unit.maps, counts[1:], strict=False):
            if refused and script_map.name not in self._full:
                self._full.add(script_map.name)
                self._warn(
                    warning(
                        messages.MAP_FULL, map=script_map.name, limit=script_map.max_entries,
                        hint=f"BPFTRACE_MAP_KEYS_MAX={4 * script_map.max_entries} gives it more room",
                    )
                )  # fmt: skip

    def _tell_events(self) -> None:
        self._output.lost(self._events - self._events_told)
        self._events_told = self._events

    def _tell_missed(self, missed: dict[str, int]) -> None:
        function, most = max(missed.items(), key=lambda item: item[1])
        program = self._unit.program(function)
        of = f"{most} of them are" if len(missed) > 1 else "they are"
        where = program.attachments[0].target.name if len(program.attachments) == 1 else f"the probes in line {program.line}"
        self._warn(warning(messages.EVENTS_MISSED, count=sum(missed.values()), hint=f"{of} of {where}; a quicker block misses fewer"))

    def _perform_pending(self) -> None:
        pending = self._maps.take_pending()
        if self._stopped():
            return
        exits = False
        for number in pending:
            action = self._unit.actions[number]
            if isinstance(action, unit.Exit):
                exits = True  # and what else is pending may have come before it
            elif isinstance(action, unit.PrintMap):
                self._actions.print_map(action)
            elif isinstance(action, unit.Clear):
                self._actions.clear(action)
            elif isinstance(action, unit.Zero):
                self._actions.zero(action)
            elif isinstance(action, unit.Time):
                self._actions.time(action)
        if exits:
            self._exit_late()

    def events_lost(self) -> int:
        """How many events found no room so far."""
        return self._maps.lost()[0] if self._unit.lost is not None else 0

    def finish(self, before_end: int, missed: dict[str, int]) -> None:
        """The last losses, and the totals. `before_end`: `events_lost` when the session stopped; what was lost while it
        was detaching came after its end. `missed`: events for which functions were not run, until then."""
        if missed:
            self._tell_missed(missed)
        if self._unit.lost is None:
            return
        counts = self._maps.lost()
        counts[0] = before_end
        self._note(counts)
        if self._events > self._events_told:
            self._tell_events()
        if self._events:
            self._warn(
                warning(messages.EVENTS_LOST, count=self._events, hint="BPFTRACE_RING_BYTES makes the buffer larger")
            )
        for script_map, refused in zip(self._unit.maps, counts[1:], strict=False):
            if refused:
                self._warn(warning(messages.MAP_LOST, map=script_map.name, count=refused))
        stacks = counts[1 + len(self._unit.maps) :]
        if stacks and stacks[0]:
            self._warn(warning(messages.STACKS_LOST, count=stacks[0]))
        for loop, stops in zip(self._unit.bounded_loops, stacks[1:], strict=False):
            if stops:
                self._warn(
                    warning(messages.LOOP_STOPPED, line=loop.line, times=_times(stops), after=_reason_to_stop(loop))
                )


def _reason_to_stop(loop: unit.BoundedLoop) -> str:
    if loop.by_time:
        return "as loops took too much of the CPU's time"
    return f"after {loop.rounds} rounds" if loop.rounds else "as the probe's loops ran too long"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
