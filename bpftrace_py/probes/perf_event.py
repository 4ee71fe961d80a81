"""`software` and `hardware`: events that the kernel and the processor count."""

from __future__ import annotations

from collections.abc import Iterator

from bpftrace_py import messages
from bpftrace_py.codegen import unit
from bpftrace_py.probes.spec import Spec
from bpftrace_py.probes.wildcard import nearest
from bpftrace_py.record import record


@record(frozen=True)
class Event:
    """`config` is that of perf_event_open(2); `count` the sample period if the spec gives none."""

    name: str
    alias: str | None
    config: int
    count: int


# Numbers from linux/perf_event.h; the default counts are bpftrace's.
SOFTWARE = (
    Event("alignment-faults", None, 7, 1),
    Event("bpf-output", None, 10, 1),
    Event("context-switches", "cs", 3, 1_000),
    Event("cpu-clock", "cpu", 0, 1_000_000),
    Event("cpu-migrations", None, 4, 1),
    Event("dummy", None, 9, 1),
    Event("emulation-faults", None, 8, 1),
    Event("major-faults", None, 6, 1),
    Event("minor-faults", None, 5, 100),
    Event("page-faults", "faults", 2, 100),
    Event("task-clock", None, 1, 1),
)
HARDWARE = (
    Event("backend-stalls", None, 8, 1_000_000),
    Event("branch-instructions", "branches", 4, 100_000),
    Event("branch-misses", None, 5, 100_000),
    Event("bus-cycles", None, 6, 100_000),
    Event("cache-misses", None, 3, 1_000_000),
    Event("cache-references", None, 2, 1_000_000),
    Event("cpu-cycles", "cycles", 0, 1_000_000),
    Event("frontend-stalls", None, 7, 1_000_000),
    Event("instructions", None, 1, 1_000_000),
    Event("ref-cycles", None, 9, 1_000_000),
)
_TYPES = {"software": (1, SOFTWARE), "hardware": (0, HARDWARE)}


def resolve(spec: Spec) -> list[unit.Target]:
    """One `PerfEvent`, named as it was written: with the alias and without a count that was not given."""
    type_name, name = spec.probe_type.name, spec.text("event")
    type_number, events = _TYPES[type_name]
    event = next((e for e in events if name in (e.name, e.alias)), None)
    if event is None:
        other = next((t for t, (_, its) in _TYPES.items() for e in its if name in (e.name, e.alias)), None)
        hint = f"did you mean `{other}:{name}`?" if other else None
        hint = hint or nearest(name, [n for e in events for n in (e.name, e.alias) if n])
        hint = hint or f"the {type_name} events are {', '.join(e.name for e in events)}"
        raise spec.error(messages.UNKNOWN_PERF_EVENT, "event", name=name, type=type_name, hint=hint)
    full_name, count = f"{type_name}:{name}", event.count
    if spec.parts["count"] is not None:
        # bpftrace takes a count of 0 for "the default".
        given = spec.number("count", low=0)
        if given:
            count, full_name = given, f"{full_name}:{given}"
    return [unit.PerfEvent(full_name, type_number, event.config, count)]


def names(type_name: str) -> Iterator[tuple[str, str | None]]:
    """The (name, alias) of each event of `software` or `hardware`."""
    for event in _TYPES[type_name][1]:
        yield event.name, event.alias
