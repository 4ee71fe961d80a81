"""`profile` (on every CPU) and `interval` (on one)."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.codegen import unit
from bpftrace_py.probes.spec import Spec
from bpftrace_py.probes.wildcard import nearest

_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000}
_SPELLED_OUT = {
    "second": "s", "seconds": "s", "sec": "s", "millisecond": "ms", "milliseconds": "ms", "msec": "ms", "usec": "us",
    "microseconds": "us", "Hz": "hz", "HZ": "hz", "m": "ms",
}
# perf_event_open(2) takes no period with its top bit set.
_LONGEST = (1 << 63) - 1


def resolve(spec: Spec) -> list[unit.Target]:
    """One `Timer`. The kernel's own limit on the frequency (kernel.perf_event_max_sample_rate) is not checked here: it
    changes while the machine runs."""
    unit_name = spec.text("unit")
    every_cpu = spec.probe_type.name == "profile"
    if unit_name == "hz":
        rate = spec.number("rate")
        frequency, period = rate, 0
    elif unit_name in _NANOSECONDS:
        rate = spec.number("rate", high=_LONGEST // _NANOSECONDS[unit_name])
        frequency, period = 0, rate * _NANOSECONDS[unit_name]
    else:
        known = _SPELLED_OUT.get(unit_name)
        hint = f"did you mean `{known}`?" if known else nearest(unit_name, ("hz", "s", "ms", "us"))
        hint = hint or "the units are hz, s, ms and us"
        raise spec.error(messages.UNKNOWN_UNIT, "unit", unit=unit_name, type=spec.probe_type.name, hint=hint)
    return [unit.Timer(f"{spec.probe_type.name}:{unit_name}:{rate}", frequency, period, every_cpu)]
