"""Why a target cannot be attached, in words: what an errno means for that kind of target on this machine."""

from __future__ import annotations

import errno
import os

from bpftrace_py.codegen.unit import (
    Attachment,
    Fentry,
    Kprobe,
    PerfEvent,
    RawTracepoint,
    Timer,
    Tracepoint,
    Uprobe,
)
from bpftrace_py.runtime.features import Features, lockdown

_PARANOID = "kernel.perf_event_paranoid"
_MAX_RATE = "/proc/sys/kernel/perf_event_max_sample_rate"

# (kind of target, errno) -> clause
_REASONS: dict[tuple[type, int], str] = {
    (Tracepoint, errno.ENOENT): "the kernel has no such tracepoint",
    (RawTracepoint, errno.ENOENT): "the kernel has no such tracepoint",
    (RawTracepoint, errno.EINVAL): "it has fewer arguments than the block reads (arg0, arg1, ...)",
    (RawTracepoint, errno.E2BIG): "this kernel has no cookies for raw tracepoints (Linux 6.10 has)",
    (Uprobe, errno.ENOENT): "the file is not there",
    (Uprobe, errno.EINVAL): "the place is not in an executable part of the file, or not at an instruction",
    (Uprobe, errno.EIO): "the kernel cannot read the instruction at this place of the file",
    (
        Uprobe,
        errno.ENOTSUPP if hasattr(errno, "ENOTSUPP") else 524,
    ): "the kernel cannot single-step the instruction there",
    (Uprobe, errno.EOPNOTSUPP): "this kernel was built without uprobes (CONFIG_UPROBE_EVENTS)",
    (Uprobe, errno.EBADF): "it is not a regular file",
    (Uprobe, errno.EISDIR): "it is a directory",
    (Uprobe, errno.ESRCH): "there is no such process",
    (Kprobe, errno.EOPNOTSUPP): "this kernel was built without kprobes (CONFIG_KPROBE_EVENTS)",
    (Kprobe, errno.ENOENT): "the kernel has no such function, or it may not be probed",
    (Kprobe, errno.ESRCH): "the kernel has no such function",
    (Kprobe, errno.EINVAL): "the kernel does not allow a probe at this place",
    (Kprobe, errno.EILSEQ): "the place is not at an instruction",
    (Kprobe, errno.EADDRNOTAVAIL): "the kernel has several functions of this name",
    (Fentry, errno.ESRCH): "the kernel's BTF has no such function",
    (Fentry, errno.EPERM): "this kernel does not allow fentry",
    (Fentry, errno.EINVAL): "this kernel cannot trace the function with fentry",
    (Fentry, errno.EOPNOTSUPP): "this kernel was built without fentry (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)",
    (Fentry, 524): "this kernel was built without fentry (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)",
    (PerfEvent, errno.ENOENT): "this machine does not count such events (it has no PMU, or the PMU no such counter)",
    (PerfEvent, errno.EOPNOTSUPP): "this machine cannot sample such events (its PMU has no interrupt)",
}


def reason(attachment: Attachment, error: OSError, features: Features) -> str:
    """A clause that can follow "cannot attach to <probe>: "."""
    target, number = attachment.target, error.errno or 0
    if number in (errno.EMFILE, errno.ENFILE):
        return "no file descriptors are left (raise `ulimit -n`)"
    if isinstance(target, Timer) and number == errno.EINVAL and target.frequency:
        return f"the rate is above the kernel's limit{_limit()}"
    if number == errno.EINVAL and attachment.cookie is not None and not features.perf_cookie:
        return "this kernel has no cookies for perf events (Linux 5.15 has), which tell the probes of a block apart"
    if number in (errno.EPERM, errno.EACCES) and not features.privileged:
        return "this user may not (it takes root, or CAP_BPF and CAP_PERFMON)"
    if number == errno.EPERM and lockdown() == "confidentiality" and isinstance(target, Kprobe):
        return "kernel lockdown is on (confidentiality), which forbids kprobes"
    if number in (errno.EPERM, errno.EACCES) and not isinstance(target, (Fentry, RawTracepoint)):
        return f"perf events are refused ({os.strerror(number).lower()}): by {_PARANOID}, lockdown, or a container's rules"
    known = (_REASONS.get((kind, number)) for kind in type(target).__mro__)  # a Usdt is a Uprobe
    return next(filter(None, known), os.strerror(number))


def _limit() -> str:
    try:
        with open(_MAX_RATE, encoding="ascii") as file:
            return f" of {file.read().strip()} Hz (kernel.perf_event_max_sample_rate)"
    except OSError:
        return ""
