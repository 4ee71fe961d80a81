"""From attach points to targets: what the spec means on this machine, wildcards expanded."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from bpftrace_py import messages
from bpftrace_py.codegen import unit
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.host import Host
from bpftrace_py.language import probe_types
from bpftrace_py.language.probe_types import ProbeType
from bpftrace_py.probes.spec import Spec, SpecError, make_spec
from bpftrace_py.probes.wildcard import has_wildcard, matcher, nearest
from bpftrace_py.record import record
from bpftrace_py.syntax import ast


@record(frozen=True)
class ResolvedPoint:
    """One attach point: all targets are of the one probe type. There is at least one."""

    probe_type: ProbeType
    targets: tuple[unit.Target, ...]
    point: ast.AttachPoint


# The family of each type: (module, function). Imported when a program uses it.
_FAMILIES = {
    "BEGIN": ("special", "resolve"),
    "END": ("special", "resolve"),
    "profile": ("timer", "resolve"),
    "interval": ("timer", "resolve"),
    "software": ("perf_event", "resolve"),
    "hardware": ("perf_event", "resolve"),
    "tracepoint": ("tracepoint", "resolve"),
    "rawtracepoint": ("tracepoint", "resolve_raw"),
    "kprobe": ("kprobe", "resolve"),
    "kretprobe": ("kprobe", "resolve"),
    "kfunc": ("kprobe", "resolve_fentry"),
    "kretfunc": ("kprobe", "resolve_fentry"),
    "uprobe": ("uprobe", "resolve"),
    "uretprobe": ("uprobe", "resolve"),
    "usdt": ("usdt", "resolve"),
}


def resolve(point: ast.AttachPoint, host: Host, config: Config, diagnostics: Diagnostics) -> ResolvedPoint | None:
    """What one attach point stands for; None if it is wrong, which is then in `diagnostics`.

    The probe type may not have a wildcard here: see `resolve_all`.
    """
    written = point.parts[0] if point.parts else ""
    probe_type = probe_types.find(written)
    span = point.part_spans[0] if point.part_spans else point.span
    if probe_type is None:
        if written in probe_types.UNSUPPORTED:
            diagnostics.error(messages.UNSUPPORTED_PROBE_TYPE, span, name=written)
        else:
            diagnostics.error(messages.UNKNOWN_PROBE_TYPE, span, name=written, hint=_type_hint(point.parts, host))
        return None
    try:
        spec = make_spec(probe_type, point, host, config, diagnostics)
        targets = _family(probe_type)(spec)
    except SpecError:
        return None
    return ResolvedPoint(probe_type, tuple(targets), point)


def resolve_all(
    point: ast.AttachPoint, host: Host, config: Config, diagnostics: Diagnostics
) -> tuple[ResolvedPoint, ...]:
    """As `resolve`, for a probe type that may have a wildcard too (`t*:syscalls:sys_enter_open`, `*:*sleep*`): one
    result for each probe type of which something matches. Empty if the attach point is wrong."""
    written = point.parts[0] if point.parts else ""
    if not has_wildcard(written):
        resolved = resolve(point, host, config, diagnostics)
        return () if resolved is None else (resolved,)
    found = []
    for probe_type in _types_matching(written):
        candidate = ast.AttachPoint(
            span=point.span, text=point.text, parts=[probe_type.name, *point.parts[1:]], part_spans=point.part_spans
        )
        # What one type has not is no error as long as another has it.
        resolved = resolve(candidate, host, config, Diagnostics(diagnostics.source))
        if resolved is not None:
            found.append(resolved)
    if not found:
        diagnostics.error(messages.NO_PROBE_MATCHES, point.span, what="probe", pattern=":".join(point.parts))
    return tuple(found)


def _types_matching(pattern: str) -> list[ProbeType]:
    """The types that a wildcard means: of those whose probes can be enumerated the ones that bpftrace means, which has
    no return probes among them; other types only if it is none of those."""
    matches = matcher(pattern)
    found = [t for t in probe_types.PROBE_TYPES.values() if matches(t.name) and any(p.wildcard for p in t.parts)]
    return [t for t in found if t.listed or t.name in ("uprobe", "usdt")] or found


def _family(probe_type: ProbeType) -> Callable[[Spec], list[unit.Target]]:
    module, function = _FAMILIES[probe_type.name]
    family: Callable[[Spec], list[unit.Target]] = getattr(import_module(f"bpftrace_py.probes.{module}"), function)
    return family


def _type_hint(parts: list[str], host: Host) -> str | None:
    from bpftrace_py.probes.tracepoint import meant

    written = parts[0] if parts else ""
    if tracepoint := meant(parts, host):
        return f"did you mean `{tracepoint}`?"
    for name in probe_types.NAMES:
        if name.lower() == written.lower():
            return f"did you mean `{name}`?"
    return nearest(written, probe_types.NAMES) or "the probe types are " + ", ".join(probe_types.PROBE_TYPES)
