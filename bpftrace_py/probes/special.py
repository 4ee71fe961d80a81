"""BEGIN and END."""

from __future__ import annotations

from bpftrace_py.codegen import unit
from bpftrace_py.probes.spec import Spec


def resolve(spec: Spec) -> list[unit.Target]:
    """BEGIN or END."""
    return [unit.Special(spec.probe_type.name)]
