"""Targets -> links: attaches what the loader has planned, each target on its own, and detaches it again.

Attaching is cheap. Detaching waits in the kernel until no CPU can be in the program any more: about 30 ms for a
uprobe_multi link, 70 ms for a tracepoint's perf event, 100 ms for a uprobe's; nothing for timers and raw tracepoints.
Waits of several threads overlap in part (the tracepoints' share a mutex: 33 ms each is the floor).
"""

from __future__ import annotations

import errno
import os

from bpftrace_py.codegen.unit import (
    Attachment,
    Fentry,
    Kprobe,
    PerfEvent,
    RawTracepoint,
    Target,
    Timer,
    Tracepoint,
    Uprobe,
)
from bpftrace_py.runtime import attach_errors, kernel
from bpftrace_py.runtime.features import Features
from bpftrace_py.runtime.loader import Loaded, load_variant
from bpftrace_py.runtime.plan import Link, single_method
from bpftrace_py.runtime.tracefs_kprobes import TracefsKprobe

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

CLOSING_THREADS = 16
_SPARE_DESCRIPTORS = 64
_TOLD_EVERY = 0.1  # seconds, while many are detached

Progress: TypeAlias = "Callable[[int, int], None]"


class Failure:
    """A target that could not be attached: the kernel's `error`, and `reason`, a clause that says it in words."""

    __slots__ = ("target", "error", "reason")

    def __init__(self, target: Target, error: OSError, reason: str) -> None:
        self.target, self.error, self.reason = target, error, reason

    def __repr__(self) -> str:
        return f"Failure({self.target.name!r}: {self.reason} [{self.error}])"


class Attached:
    """What is attached. `count` targets are; `failures` are not. A context manager that detaches at its end."""

    def __init__(self) -> None:
        self.count = 0
        self.failures: list[Failure] = []
        self._quick: list[int] = []  # descriptors that close at once
        self._slow: list[int] = []
        self._tracefs_kprobes: list[TracefsKprobe] = []

    def detach(self, progress: Progress | None = None) -> None:
        """Close every link and wait until the kernel has let go of them. A second time does nothing."""
        quick, self._quick = self._quick, []
        slow, self._slow = self._slow, []
        for fd in quick:
            os.close(fd)
        _close_together(slow, progress)
        while self._tracefs_kprobes:
            self._tracefs_kprobes.pop().remove()
        self.count = 0

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, *exception: object) -> None:
        self.detach()


def _close_together(fds: list[int], progress: Progress | None) -> None:
    """Close descriptors from several threads: each close waits for the kernel, with the interpreter's lock released."""
    total = len(fds)
    if len(fds) < 2:
        for fd in fds:
            os.close(fd)
        return
    from threading import Thread

    def close_some() -> None:
        while True:
            try:
                fd = fds.pop()
            except IndexError:
                return
            os.close(fd)

    threads = [Thread(target=close_some) for _ in range(min(CLOSING_THREADS, len(fds)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while progress is not None and thread.is_alive():
            thread.join(_TOLD_EVERY)
            progress(total - len(fds), total)
        thread.join()


def attach(loaded: Loaded, progress: Progress | None = None) -> Attached:
    """Attach everything that `loaded` planned; BEGIN and END are not attached but run (`Loaded.run`).

    A target that cannot be attached is recorded in `Attached.failures` and does not hinder the others. `progress` is
    called with (done, total) targets. Raises `InternalError` if the verifier refuses a program that could only be
    loaded now; then, as after any other exception, nothing stays attached.
    """
    attacher = _Attacher(loaded)
    links = [link for link in loaded.links if link.method != "special"]
    total, done = sum(len(link.attachments) for link in links), 0
    _raise_descriptor_limit(links, loaded.features)
    try:
        for link in links:
            attacher.attach(link)
            done += len(link.attachments)
            if progress is not None:
                progress(done, total)
    except BaseException:
        attacher.result.detach()
        raise
    return attacher.result


def _raise_descriptor_limit(links: Sequence[Link], features: Features) -> None:
    """Make room for the links' descriptors: beyond the hard limit where we may, else as far as that goes."""
    needed = sum(len(features.online_cpus) if link.method in ("timer", "perf_event") else 1 for link in links)
    if needed < 256:
        return  # the smallest limit in use is 1024
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + needed + _SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (OSError, ValueError):
            wanted = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Attacher:
    def __init__(self, loaded: Loaded) -> None:
        self.loaded, self.features = loaded, loaded.features
        self.result = Attached()

    def attach(self, link: Link) -> None:
        """Make a link, or as much of it as can be made."""
        try:
            self._attach_link(link)
        except OSError as error:
            self._attach_parts(link, error)
        else:
            self.result.count += len(link.attachments)

    def _attach_parts(self, link: Link, error: OSError) -> None:
        """After a link failed: halve it until the targets that make it fail stand alone."""
        middle = len(link.attachments) // 2
        if middle:
            for part in (link.attachments[:middle], link.attachments[middle:]):
                self.attach(Link(link.program, link.method, part))
            return
        (attachment,) = link.attachments
        if link.method == "kprobe_multi":  # what ftrace cannot trace, a breakpoint may
            self.attach(Link(link.program, single_method(attachment), link.attachments))
            return
        reason = attach_errors.reason(attachment, error, self.features)
        self.result.failures.append(Failure(attachment.target, error, reason))

    def _attach_link(self, link: Link) -> None:
        if link.method == "uprobe_multi":
            self._uprobe_multi(link)
        elif link.method == "kprobe_multi":
            self._kprobe_multi(link)
        elif link.method in ("fentry", "fexit"):
            self._fentry(link)
        else:
            program = load_variant(self.loaded, link.program.function)
            self._single(program, link.attachments[0])

    def _single(self, program: int, attachment: Attachment) -> None:
        target = attachment.target
        if isinstance(target, Tracepoint):
            self._perf(self._tracepoint(target), program, attachment.cookie)
        elif isinstance(target, RawTracepoint):
            self.result._quick.append(kernel.raw_tracepoint_open(program, target.event, attachment.cookie))
        elif isinstance(target, Timer):
            cpus = self.features.online_cpus if target.every_cpu else self.features.online_cpus[:1]
            self._sampled(
                program, attachment.cookie, cpus, kernel.PERF_TYPE_SOFTWARE, kernel.PERF_COUNT_SW_CPU_CLOCK,
                target.period, target.frequency,
            )  # fmt: skip
        elif isinstance(target, PerfEvent):
            self._sampled(
                program, attachment.cookie, self.features.online_cpus, target.type, target.config, target.period, 0
            )
        elif isinstance(target, Uprobe):
            self._perf(self._uprobe(target), program, attachment.cookie)
        elif isinstance(target, Kprobe):
            self._kprobe(program, attachment.cookie, target)
        else:
            raise AssertionError(f"no way to attach {target}")

    # --- events; each of these gives a perf event's descriptor

    def _tracepoint(self, target: Tracepoint) -> int:
        tracefs = self.features.ensure_tracefs()
        with open(f"{tracefs}/events/{target.category}/{target.event}/id", "rb") as file:
            number = int(file.read())
        return kernel.perf_event_open(kernel.PERF_TYPE_TRACEPOINT, number, period=1, cpu=self.features.online_cpus[0])

    def _uprobe(self, target: Uprobe) -> int:
        pmu = self.features.uprobe_pmu
        if pmu is None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        config = (self.features.uprobe_return_bit if target.on_return else 0) | target.semaphore << 32
        return kernel.perf_probe_open(
            pmu, target.path, target.offset, config=config, pid=target.pid, cpu=self.features.online_cpus[0]
        )

    def _kprobe(self, program: int, cookie: int | None, target: Kprobe) -> None:
        cpu, pmu = self.features.online_cpus[0], self.features.kprobe_pmu
        if pmu is not None:
            config = self.features.kprobe_return_bit if target.on_return else 0
            self._perf(
                kernel.perf_probe_open(pmu, target.function, target.offset, config=config, cpu=cpu), program, cookie
            )
        elif self.features.kprobe_events:
            probe = TracefsKprobe(self.features.ensure_tracefs(), target.function, target.offset, target.on_return)
            self.result._tracefs_kprobes.append(probe)
            event = kernel.perf_event_open(kernel.PERF_TYPE_TRACEPOINT, probe.event_id, period=1, cpu=cpu)
            self._perf(event, program, cookie)
        else:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    # --- links

    def _perf(self, event: int, program: int, cookie: int | None) -> None:
        """Attach to a probe's perf event, which is ours to close."""
        self.result._slow.append(_bind(event, program, cookie))

    def _sampled(
        self, program: int, cookie: int | None, cpus: Sequence[int], kind: int, config: int, period: int, frequency: int
    ) -> None:
        """Attach to an event of each CPU, or of none if one fails."""
        bound: list[int] = []
        try:
            for cpu in cpus:
                event = kernel.perf_event_open(kind, config, period=period, frequency=frequency, cpu=cpu)
                bound.append(_bind(event, program, cookie))
        except BaseException:
            for fd in bound:
                os.close(fd)
            raise
        self.result._quick += bound

    def _uprobe_multi(self, link: Link) -> None:
        targets = [a.target for a in link.attachments if isinstance(a.target, Uprobe)]
        semaphores = [t.semaphore for t in targets]
        program = load_variant(self.loaded, link.program.function, link.expected_attach_type)
        self.result._slow.append(
            kernel.link_uprobe_multi(
                program, targets[0].path, [t.offset for t in targets], cookies=_cookies(link),
                semaphores=semaphores if any(semaphores) else None, on_return=targets[0].on_return,
                pid=max(targets[0].pid, 0),
            )
        )  # fmt: skip

    def _kprobe_multi(self, link: Link) -> None:
        targets = [a.target for a in link.attachments if isinstance(a.target, Kprobe)]
        program = load_variant(self.loaded, link.program.function, link.expected_attach_type)
        self.result._slow.append(
            kernel.link_kprobe_multi(
                program, [t.function for t in targets], cookies=_cookies(link), on_return=targets[0].on_return
            )
        )

    def _fentry(self, link: Link) -> None:
        from bpftrace_py.runtime.btf_functions import function_id

        (attachment,) = link.attachments
        assert isinstance(attachment.target, Fentry)
        found = function_id(attachment.target.function, attachment.target.module)
        if found is None:
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        module = kernel.module_btf_open(found.module) if found.module is not None else 0
        try:
            program = self.loaded.program(link.program.function, link.expected_attach_type, found.type_id, module)
        except kernel.LoadError as error:
            if not error.log.strip():
                raise  # not the program: this kernel has no fentry, or forbids it
            program = load_variant(self.loaded, link.program.function, link.expected_attach_type, found.type_id, module)
        finally:
            if module:
                os.close(module)
        if attachment.cookie is None:
            self.result._slow.append(kernel.raw_tracepoint_open(program, None))
        else:
            self.result._slow.append(kernel.link_tracing(program, link.expected_attach_type, attachment.cookie))


def _bind(event: int, program: int, cookie: int | None) -> int:
    """Attach a program to a perf event: the descriptor that holds both. `event` is closed if that fails."""
    try:
        if cookie is None:
            kernel.perf_set_bpf(event, program)
            return event
        link = kernel.link_perf_event(program, event, cookie)
    except BaseException:
        os.close(event)
        raise
    os.close(event)
    return link


def _cookies(link: Link) -> list[int] | None:
    if link.attachments[0].cookie is None:
        return None
    return [a.cookie or 0 for a in link.attachments]
