"""`tracepoint` and `rawtracepoint`."""

from __future__ import annotations

from collections.abc import Iterator

from bpftrace_py import messages
from bpftrace_py.codegen import unit
from bpftrace_py.host import Host
from bpftrace_py.probes.spec import Spec
from bpftrace_py.probes.wildcard import has_wildcard, matcher, nearest

# Events that tracefs shows but no tracepoint of the same name is behind: the system calls' are made from
# raw_syscalls:sys_enter and sys_exit, ftrace's own have no tracepoint at all.
_SYNTHETIC = ("syscalls", "ftrace", "synthetic", "kprobes", "uprobes")


def resolve(spec: Spec) -> list[unit.Target]:
    """The tracepoints that `tracepoint:category:event` means."""
    category, event = spec.text("category"), spec.text("event")
    if has_wildcard(category) or has_wildcard(event):
        return _expand(spec, category, event)
    # One look-up, not a walk over all 2,000 events. A host without tracepoints cannot say whether this one exists.
    if spec.host.tracepoint_format(category, event) is None:
        _refuse_if_missing(spec, category, event)
    return [unit.Tracepoint(f"tracepoint:{category}:{event}", category, event)]


def _expand(spec: Spec, category: str, event: str) -> list[unit.Target]:
    in_category, in_event = matcher(category), matcher(event)
    targets: list[unit.Target] = []
    known = False
    for a_category, an_event in spec.host.tracepoint_events():
        known = True
        if in_event(an_event) and in_category(a_category):
            targets.append(unit.Tracepoint(f"tracepoint:{a_category}:{an_event}", a_category, an_event))
    if not targets:
        raise _no_match(spec, f"{category}:{event}", known)
    return targets


def _no_match(spec: Spec, pattern: str, known: bool) -> Exception:
    if not known:
        return spec.error(messages.PROBES_NOT_KNOWN, None, what="tracepoints", pattern=pattern)
    hint = _loose_hint(spec, pattern)
    return spec.error(messages.NO_PROBE_MATCHES, None, what=spec.probe_type.name, pattern=pattern, hint=hint)


def _loose_hint(spec: Spec, pattern: str) -> str | None:
    """Where the category is a plain name that does not exist, the category that was probably meant."""
    category = pattern.partition(":")[0]
    if ":" not in pattern or has_wildcard(category):
        return None
    categories = {c for c, _ in spec.host.tracepoint_events()}
    return None if category in categories else nearest(category, categories)


def _refuse_if_missing(spec: Spec, category: str, event: str) -> None:
    events: dict[str, list[str]] = {}
    for a_category, an_event in spec.host.tracepoint_events():
        events.setdefault(a_category, []).append(an_event)
    if not events or event in events.get(category, ()):
        return
    name = f"{category}:{event}"
    if category not in events:
        elsewhere = next((c for c, es in events.items() if event in es), None)
        hint = f"did you mean `{elsewhere}:{event}`?" if elsewhere else nearest(category, events, "{}:" + event)
        raise spec.error(messages.UNKNOWN_TRACEPOINT, "category", name=name, hint=hint)
    if category == "syscalls" and f"sys_enter_{event}" in events[category]:
        hint = f"did you mean `{category}:sys_enter_{event}` or `{category}:sys_exit_{event}`?"
    else:
        hint = nearest(event, events[category], category + ":{}")
    raise spec.error(messages.UNKNOWN_TRACEPOINT, "event", name=name, hint=hint)


def meant(parts: list[str], host: Host) -> str | None:
    """The tracepoint that a spec without its type names: `sched_switch`, `sched:sched_switch`, `syscall:openat`."""
    for category, event in host.tracepoint_events():
        whole = parts in ([event], [category, event])
        call = parts[:1] in (["syscall"], ["syscalls"]) and category == "syscalls" and parts[1:] == [event.removeprefix("sys_enter_")]
        if whole or call:
            return f"tracepoint:{category}:{event}"
    return None


def resolve_raw(spec: Spec) -> list[unit.Target]:
    """The raw tracepoints that `rawtracepoint:event` means."""
    event = spec.text("event")
    known = sorted(set(raw_events(spec.host)))
    if has_wildcard(event):
        matches = matcher(event)
        found = [name for name in known if matches(name)]
        if not found:
            raise _no_match(spec, event, bool(known))
    elif known and event not in known:
        raise spec.error(messages.UNKNOWN_TRACEPOINT, "event", name=event, hint=nearest(event, known))
    else:
        found = [event]
    return [unit.RawTracepoint(f"rawtracepoint:{name}", name) for name in found]


def raw_arguments(host: Host, event: str) -> list[str] | None:
    """The types of a raw tracepoint's arguments, in C; None if BTF does not tell."""
    kernel = host.kernel_types()
    if kernel is None:
        return None
    found = kernel.raw_tracepoint(event)
    for module in () if found is not None else host.modules_with_types():
        types = host.module_types(module)
        found = None if types is None else types.raw_tracepoint(event)
        if found is not None:
            break
    return found


def raw_events(host: Host) -> Iterator[str]:
    """The names that raw tracepoints may have, unsorted."""
    for category, event in host.tracepoint_events():
        if category not in _SYNTHETIC:
            yield event
