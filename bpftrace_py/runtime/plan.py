"""Which links a unit needs: its attachments, grouped as this kernel attaches them best. Pure."""

from __future__ import annotations

from bpftrace_py.codegen.unit import (
    Attachment,
    Fentry,
    Kprobe,
    PerfEvent,
    ProgramSpec,
    RawTracepoint,
    Special,
    Timer,
    Tracepoint,
    Unit,
    Uprobe,
)
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.features import Features

# Closing the perf event of one uprobe takes longer (104 ms) than closing a link to one (28) or to a thousand (85).
MULTI_UPROBES_FROM = 1
# The functions that ftrace cannot trace take a perf event anyway: for a single kprobe there is nothing to gain.
MULTI_KPROBES_FROM = 2


class Link:
    """Attachments of one program that are made together by `method`, one of METHODS' names."""

    __slots__ = ("program", "method", "attachments")

    def __init__(self, program: ProgramSpec, method: str, attachments: tuple[Attachment, ...]) -> None:
        self.program, self.method, self.attachments = program, method, attachments

    @property
    def expected_attach_type(self) -> int:
        """What the program must be loaded for."""
        return _ATTACH_TYPES.get(self.method, kernel.ATTACH_NONE)


_ATTACH_TYPES = {
    "uprobe_multi": kernel.ATTACH_UPROBE_MULTI,
    "kprobe_multi": kernel.ATTACH_KPROBE_MULTI,
    "fentry": kernel.ATTACH_FENTRY,
    "fexit": kernel.ATTACH_FEXIT,
}
_SINGLE_METHODS: tuple[tuple[type, str], ...] = (
    (Special, "special"),
    (Tracepoint, "tracepoint"),
    (RawTracepoint, "raw_tracepoint"),
    (Timer, "timer"),
    (PerfEvent, "perf_event"),
    (Uprobe, "uprobe"),
    (Kprobe, "kprobe"),
)


def plan(unit: Unit, features: Features) -> list[Link]:
    """Every attachment of the unit in exactly one link, in the order of the programs."""
    links = []
    for program in unit.programs:
        links += _plan_program(program, features)
    return links


def _plan_program(program: ProgramSpec, features: Features) -> list[Link]:
    links = []
    groups: dict[tuple[object, ...], list[Attachment]] = {}
    for attachment in program.attachments:
        group = _group(attachment, features)
        if group is None:
            links.append(Link(program, single_method(attachment), (attachment,)))
        else:
            groups.setdefault(group, []).append(attachment)
    for group, attachments in groups.items():
        method, least = (
            ("uprobe_multi", MULTI_UPROBES_FROM) if group[0] is Uprobe else ("kprobe_multi", MULTI_KPROBES_FROM)
        )
        if len(attachments) >= least and (features.uprobe_multi if group[0] is Uprobe else features.kprobe_multi):
            links.append(Link(program, method, tuple(attachments)))
        else:
            links += [Link(program, single_method(a), (a,)) for a in attachments]
    return links


def _group(attachment: Attachment, features: Features) -> tuple[object, ...] | None:
    """What the attachments of one multi link have in common; None for a target that has no such links."""
    target = attachment.target
    if isinstance(target, Uprobe):
        # With a pid, kernels 6.6 to 6.9 trace that one thread only: a perf event means the whole process everywhere.
        if target.pid >= 0 and not features.uprobe_multi_process:
            return None
        return (Uprobe, target.path, target.on_return, target.pid, attachment.cookie is None)
    if isinstance(target, Kprobe) and target.offset == 0:
        return (Kprobe, target.on_return, attachment.cookie is None)
    return None


def single_method(attachment: Attachment) -> str:
    """How one attachment is made on its own."""
    target = attachment.target
    if isinstance(target, Fentry):
        return "fexit" if target.on_return else "fentry"
    return next(method for kind, method in _SINGLE_METHODS if isinstance(target, kind))
