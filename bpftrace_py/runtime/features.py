"""What this kernel, machine and user can do. Everything is probed by trying it, at the first question, and remembered;
versions are never compared, because distributions carry features to and fro."""

from __future__ import annotations

import errno
import os
import struct

from bpftrace_py import messages
from bpftrace_py.cached import cached_property
from bpftrace_py.diagnostics import host_error
from bpftrace_py.runtime import kernel

TRACEFS = "/sys/kernel/tracing"
_TRACEFS_PLACES = (TRACEFS, "/sys/kernel/debug/tracing")
_PMU = "/sys/bus/event_source/devices"
_LICENSE = b"GPL"
_CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_PERFMON": 38, "CAP_BPF": 39}
_BEHIND_ANY_FILE = 1 << 52
_PROBE_FUNCTIONS = ("vfs_read", "do_nanosleep", "vfs_open")  # any one that a kernel is sure to have


def _instruction(opcode: int, registers: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, registers, 0, immediate)


_RETURN_0 = _instruction(0xB7) + _instruction(0x95)  # r0 = 0; exit


def _call(helper: int) -> bytes:
    return _instruction(0x85, 0, helper) + _RETURN_0


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def lockdown() -> str | None:
    """The mode of kernel lockdown, "integrity" or "confidentiality"; None if there is none, or securityfs is not mounted."""
    mode = (_read("/sys/kernel/security/lockdown") or "").partition("[")[2].partition("]")[0]
    return mode if mode not in ("", "none") else None


def _is_closed(directory: str) -> bool:
    """Whether it is there, and this user may not look into it."""
    try:
        os.listdir(directory)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The numbers in a list such as "0-3,8"."""
    numbers: list[int] = []
    for part in text.split(","):
        if part.strip():
            low, _, high = part.partition("-")
            numbers.extend(range(int(low), int(high or low) + 1))
    return tuple(numbers)


class Features:
    """Answers about the running machine; each is asked of the kernel once."""

    # --- CPUs

    @cached_property
    def possible_cpus(self) -> int:
        """Slots in a per-CPU value: one for each CPU that there might ever be."""
        text = _read("/sys/devices/system/cpu/possible")
        return parse_cpu_list(text)[-1] + 1 if text else os.cpu_count() or 1

    @cached_property
    def online_cpus(self) -> tuple[int, ...]:
        text = _read("/sys/devices/system/cpu/online")
        return parse_cpu_list(text) if text else tuple(range(os.cpu_count() or 1))

    # --- the user

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """Those of the effective capabilities that matter to us."""
        status = _read("/proc/self/status") or ""
        mask = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
        return frozenset(name for name, bit in _CAPABILITIES.items() if mask >> bit & 1)

    @property
    def privileged(self) -> bool:
        """Whether tracing programs may be loaded, as far as capabilities tell."""
        return "CAP_SYS_ADMIN" in self.capabilities or {"CAP_BPF", "CAP_PERFMON"} <= self.capabilities

    # --- where things are

    @cached_property
    def tracefs(self) -> str | None:
        """Where tracefs is mounted."""
        return next((place for place in _TRACEFS_PLACES if os.path.isdir(f"{place}/events")), None)

    def ensure_tracefs(self) -> str:
        """Where tracefs is mounted, after mounting it if need be. `HostError` if that fails."""
        if self.tracefs is None:
            try:
                kernel.mount("tracefs", TRACEFS, "tracefs")
            except OSError as error:
                if _is_closed(TRACEFS):
                    raise host_error(messages.TRACEFS_CLOSED, path=TRACEFS) from error
                raise host_error(
                    messages.TRACEFS_MISSING,
                    reason=os.strerror(error.errno or 0),
                    hint=f"mount -t tracefs tracefs {TRACEFS}",
                ) from error
            del self.__dict__["tracefs"]
        assert self.tracefs is not None
        return self.tracefs

    @cached_property
    def btf(self) -> bool:
        return os.path.exists("/sys/kernel/btf/vmlinux")

    def _pmu(self, name: str) -> int | None:
        text = _read(f"{_PMU}/{name}/type")
        return int(text) if text is not None and text.isdigit() else None

    def _pmu_bit(self, name: str) -> int:
        """The bit of `config` that makes a probe a return probe: its format file says "config:0"."""
        text = _read(f"{_PMU}/{name}/format/retprobe") or "config:0"
        return 1 << int(text.rpartition(":")[2])

    @cached_property
    def kprobe_pmu(self) -> int | None:
        """The perf event type that makes kprobes."""
        return self._pmu("kprobe")

    @cached_property
    def uprobe_pmu(self) -> int | None:
        return self._pmu("uprobe")

    @cached_property
    def kprobe_return_bit(self) -> int:
        return self._pmu_bit("kprobe")

    @cached_property
    def uprobe_return_bit(self) -> int:
        return self._pmu_bit("uprobe")

    @cached_property
    def kprobe_events(self) -> bool:
        return self.tracefs is not None and os.path.exists(f"{self.tracefs}/kprobe_events")

    @property
    def kprobe(self) -> bool:
        return self.kprobe_pmu is not None or self.kprobe_events

    # --- programs and maps

    def _try_load(self, kind: int, code: bytes = _RETURN_0, **options: int) -> int | None:
        """A program's fd, None if the kernel refuses it."""
        try:
            return kernel.prog_load(kind, code, _LICENSE, "probe", log_size=1 << 16, **options)
        except kernel.LoadError:
            return None

    def has_helper(self, kind: int, helper: int) -> bool:
        """Whether programs of a type may call a helper, by its number."""
        try:
            os.close(kernel.prog_load(kind, _call(helper), _LICENSE, "probe", log_size=1 << 16))
        except kernel.LoadError as error:
            return not any(
                text in error.log for text in ("invalid func ", "unknown func ", "cannot use helper")
            ) and bool(error.log)
        return True

    @cached_property
    def function_ip(self) -> bool:
        """bpf_get_func_ip in kprobe programs."""
        return self.has_helper(kernel.PROG_TYPE_KPROBE, 173)

    @cached_property
    def ring_buffer(self) -> bool:
        try:
            os.close(kernel.map_create(kernel.MAP_TYPE_RINGBUF, 0, 0, os.sysconf("SC_PAGESIZE"), 0, "probe"))
        except OSError:
            return False
        return True

    @cached_property
    def batch(self) -> bool:
        """Reading hashes by many keys a system call."""
        try:
            fd = kernel.map_create(kernel.MAP_TYPE_HASH, 8, 8, 1, 0, "probe")
        except OSError:
            return False
        try:
            kernel.BatchReader(fd, 8, 8, 1).read(first=True)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    @cached_property
    def may_goto(self) -> bool:
        """Loops that the kernel ends by itself, without the verifier following each round (6.9)."""
        program = self._try_load(kernel.PROG_TYPE_RAW_TRACEPOINT, _instruction(0xE5) + _RETURN_0)
        if program is not None:
            os.close(program)
        return program is not None

    # --- links. Each is asked for something that cannot be; the error tells who refused it.

    def _refusal(self, kind: int, expected_attach_type: int, attempt: object) -> int:
        """The errno with which `attempt(program)` fails; 0 if the program cannot be loaded, or the attempt succeeds."""
        program = self._try_load(kind, expected_attach_type=expected_attach_type)
        if program is None:
            return 0
        try:
            os.close(attempt(program))  # type: ignore[operator]
        except OSError as error:
            return error.errno or 0
        finally:
            os.close(program)
        return 0

    @cached_property
    def uprobe_multi(self) -> bool:
        """Many uprobes by one link: a kernel that has it says that a directory is not a file to probe."""
        return self._refusal(
            kernel.PROG_TYPE_KPROBE,
            kernel.ATTACH_UPROBE_MULTI,
            lambda program: kernel.link_uprobe_multi(program, "/", [0]),
        ) in (errno.EBADF, errno.EISDIR)

    @cached_property
    def uprobe_multi_process(self) -> bool:
        """Whether the pid of such a link means a process. At first it meant one thread: any thread's id was good, and a
        place behind the file's end was what such a kernel then refused."""
        import threading

        refused: list[int] = []

        def ask() -> None:
            refused.append(
                self._refusal(
                    kernel.PROG_TYPE_KPROBE,
                    kernel.ATTACH_UPROBE_MULTI,
                    lambda program: kernel.link_uprobe_multi(
                        program, "/proc/self/exe", [_BEHIND_ANY_FILE], pid=threading.get_native_id()
                    ),
                )
            )

        thread = threading.Thread(target=ask)  # the id of the first thread is the process's
        thread.start()
        thread.join()
        return refused == [errno.ESRCH]

    @cached_property
    def kprobe_multi(self) -> bool:
        """Many kprobes by one link: a kernel that has it looks for the function."""
        return self._refusal(
            kernel.PROG_TYPE_KPROBE,
            kernel.ATTACH_KPROBE_MULTI,
            lambda program: kernel.link_kprobe_multi(program, ["no such function"]),
        ) in (errno.ESRCH, errno.ENOENT)

    @cached_property
    def perf_cookie(self) -> bool:
        """Cookies for programs on perf events: a kernel that has them looks at the event's descriptor."""
        refused = self._refusal(
            kernel.PROG_TYPE_PERF_EVENT, 0, lambda program: kernel.link_perf_event(program, 0xFFFFFFFF, 1)
        )
        return refused == errno.EBADF

    @cached_property
    def raw_tracepoint_cookie(self) -> bool:
        """Cookies for raw tracepoints: a kernel without them says E2BIG, one with them looks for the tracepoint."""
        refused = self._refusal(
            kernel.PROG_TYPE_RAW_TRACEPOINT, 0, lambda program: kernel.raw_tracepoint_open(program, "no such", 1)
        )
        return refused == errno.ENOENT

    @cached_property
    def fentry(self) -> bool:
        """Whether a tracing program attaches to a kernel function (5.5, BTF, and ftrace's direct calls)."""
        if not self.btf:
            return False
        from bpftrace_py.runtime.btf_functions import function_id

        found = next((i for i in map(function_id, _PROBE_FUNCTIONS) if i), None)
        if found is None:
            return False
        program = self._try_load(
            kernel.PROG_TYPE_TRACING, expected_attach_type=kernel.ATTACH_FENTRY, attach_btf_id=found.type_id
        )
        if program is None:
            return False
        try:
            os.close(kernel.raw_tracepoint_open(program, None))
        except OSError:
            return False
        finally:
            os.close(program)
        return True

    @cached_property
    def hardware_events(self) -> bool:
        """Whether there is a PMU that counts CPU cycles."""
        try:
            os.close(kernel.perf_event_open(kernel.PERF_TYPE_HARDWARE, 0, cpu=self.online_cpus[0]))
        except OSError:
            return False
        return True

    def table(self) -> dict[str, bool]:
        """Every answer, for `--info`."""
        return {
            "may load programs": self.privileged,
            "tracefs": self.tracefs is not None,
            "BTF": self.btf,
            "ring buffer": self.ring_buffer,
            "map batch operations": self.batch,
            "long loops (may_goto)": self.may_goto,
            "kprobe (perf PMU)": self.kprobe_pmu is not None,
            "kprobe (kprobe_events)": self.kprobe_events,
            "kprobe_multi": self.kprobe_multi,
            "uprobe": self.uprobe_pmu is not None,
            "uprobe_multi": self.uprobe_multi,
            "uprobe_multi for a process": self.uprobe_multi_process,
            "fentry": self.fentry,
            "cookies on perf events": self.perf_cookie,
            "cookies on raw tracepoints": self.raw_tracepoint_cookie,
            "get_func_ip": self.function_ip,
            "hardware events": self.hardware_events,
        }
