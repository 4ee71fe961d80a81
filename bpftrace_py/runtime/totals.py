"""`Totals`: how a run went, in numbers. What `-f json` ends with, and what is exported beside a script's maps."""

from __future__ import annotations

from collections.abc import Sequence

from bpftrace_py.codegen.unit import Unit
from bpftrace_py.record import record


@record(frozen=True)
class Totals:
    """Numbers since the session was attached. `lost_updates` are by map, `stopped_loops` by line of the script: all of
    them, also those that lost or stopped nothing."""

    seconds: float
    probes: int  # attached
    probes_failed: int
    events: int  # records of the ring buffer: printf() and other actions
    lost_events: int  # for which the ring buffer had no room
    missed_events: int  # for which no program was run, as the CPU was in one already
    lost_updates: dict[str, int]
    lost_stacks: int
    stopped_loops: dict[int, int]


def totals(unit: Unit, lost: Sequence[int], missed: int, *, seconds: float, failed: int, events: int) -> Totals:
    """`lost` is what `Maps.lost` answers: see `Unit.lost`; `missed` is of all programs."""
    counts = [*lost, *[0] * (2 + len(unit.maps) + len(unit.bounded_loops) - len(lost))]
    stacks_at = 1 + len(unit.maps)
    loops: dict[int, int] = {}
    for loop, stops in zip(unit.bounded_loops, counts[stacks_at + 1 :], strict=False):
        loops[loop.line] = loops.get(loop.line, 0) + stops
    return Totals(
        seconds, unit.probe_count - failed, failed, events, counts[0], missed,
        {script_map.name: refused for script_map, refused in zip(unit.maps, counts[1:stacks_at], strict=True)},
        counts[stacks_at], loops,
    )  # fmt: skip
