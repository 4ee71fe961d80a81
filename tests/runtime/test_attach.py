"""Every kind of target that this kernel has, attached to real events, counted in a map, and gone after `detach`."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from bpftrace_py.codegen.unit import Attachment, PerfEvent, RawTracepoint, Timer, Tracepoint, Uprobe
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.attach import attach
from bpftrace_py.runtime.features import Features
from tests.live import wait_until
from tests.runtime.small_units import FEATURES, LIBC, loaded, program, unit

# Slot: the cookie, if there is one. Only events of the process or parent whose pid is in slot 15 count, if it is not 0.
COUNTER = """
TABLE(1, "array", u32, u64, hits, 16);
int count(void *ctx)
{
	u32 slot = %(slot)s, only = 15;
	u64 *pid = map_lookup(MAP(hits), &only);
	if (!pid || (*pid && *pid != pid_tgid() >> 32))
		return 0;
	u64 *hit = map_lookup(MAP(hits), &slot);
	if (hit)
		add_to(hit, %(step)s);
	return 0;
}
"""
WITH_COOKIE = COUNTER % {"slot": "attach_cookie(ctx) & 7", "step": "1"}
PLAIN = COUNTER % {"slot": "0", "step": "1"}


def hits(result) -> list[int]:
    fd = result.map_fd("hits")
    return [int.from_bytes(kernel.map_lookup(fd, struct.pack("=I", i), 8), sys.byteorder) for i in range(8)]


def only_this_process(result) -> None:
    kernel.map_update(result.map_fd("hits"), struct.pack("=I", 15), struct.pack("=Q", os.getpid()))


def links_left() -> set[str]:
    """What this process holds of the kernel's links and perf events."""
    left = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if "perf_event" in name or "bpf_link" in name or "bpf-raw" in name:
            left.add(f"{fd} {name}")
    return left


def libc_path() -> str:
    return next(line.split()[-1] for line in open("/proc/self/maps") if "/libc.so" in line)


def offset_of(function: str, path: str | None = None) -> int:
    """The place of a function in a shared library's file, the first byte of which is mapped at 0."""
    with open(path or libc_path(), "rb") as file:
        elf = ELFFile(file)
        symbols = elf.get_section_by_name(".dynsym").get_symbol_by_name(function)
        address = next(s["st_value"] for s in symbols if s["st_value"])
        segment = next(
            s for s in elf.iter_segments("PT_LOAD") if s["p_vaddr"] <= address < s["p_vaddr"] + s["p_filesz"]
        )
        return address - segment["p_vaddr"] + segment["p_offset"]


def uprobe(function: str, **options) -> Uprobe:
    options = {"on_return": False, **options}
    return Uprobe(f"uprobe:libc:{function}", libc_path(), function, offset_of(function), **options)


def test_tracepoint():
    target = Tracepoint("tracepoint:syscalls:sys_enter_getpriority", "syscalls", "sys_enter_getpriority")
    with loaded(unit(PLAIN, program("count", target, kind="tracepoint"))) as result:
        only_this_process(result)
        with attach(result) as attached:
            assert (attached.count, attached.failures) == (1, [])
            for _ in range(5):
                os.getpriority(os.PRIO_PROCESS, 0)
            assert hits(result)[0] == 5
        os.getpriority(os.PRIO_PROCESS, 0)
        assert hits(result)[0] == 5
        assert links_left() == set()


@pytest.mark.skipif(not FEATURES.perf_cookie, reason="the kernel has no cookies for perf events")
def test_tracepoints_told_apart_by_cookie():
    calls = {
        "getpriority": lambda: os.getpriority(os.PRIO_PROCESS, 0),
        "getsid": lambda: os.getsid(0),
        "getrusage": lambda: resource.getrusage(resource.RUSAGE_SELF),
    }
    attachments = [
        Attachment(Tracepoint(f"tracepoint:syscalls:sys_enter_{name}", "syscalls", f"sys_enter_{name}"), cookie)
        for cookie, name in enumerate(calls)
    ]
    with loaded(unit(WITH_COOKIE, program("count", *attachments, kind="tracepoint"))) as result:
        only_this_process(result)
        with attach(result):
            for times, call in enumerate(calls.values(), 2):
                for _ in range(times):
                    call()
            assert hits(result)[:3] == [2, 3, 4]


def test_raw_tracepoint():
    with loaded(unit(PLAIN, program("count", RawTracepoint("rawtracepoint:sys_enter", "sys_enter")))) as result:
        only_this_process(result)
        with attach(result) as attached:
            for _ in range(7):
                os.getppid()
            assert hits(result)[0] >= 7
            assert attached.count == 1
        after = hits(result)
        os.getppid()
        assert hits(result) == after


@pytest.mark.skipif(not FEATURES.raw_tracepoint_cookie, reason="the kernel has no cookies for raw tracepoints")
def test_raw_tracepoints_told_apart_by_cookie():
    enter = Attachment(RawTracepoint("rawtracepoint:sys_enter", "sys_enter"), 3)
    leave = Attachment(RawTracepoint("rawtracepoint:sys_exit", "sys_exit"), 5)
    with loaded(unit(WITH_COOKIE, program("count", enter, leave))) as result:
        only_this_process(result)
        with attach(result):
            for _ in range(7):
                os.getppid()
        assert hits(result)[3] >= 7
        assert hits(result)[5] >= 7
        assert hits(result)[0] == 0


def test_interval_fires_on_one_cpu_and_profile_on_every():
    source = COUNTER % {"slot": "cpu_id() & 7", "step": "1"}
    online = FEATURES.online_cpus
    with loaded(unit(source, program("count", Timer("interval", 0, 2_000_000, False), kind="perf_event"))) as result:
        with attach(result):
            wait_until(lambda: hits(result)[online[0] & 7] > 3)
        assert [cpu for cpu in range(8) if hits(result)[cpu]] == [online[0]]
        stopped = hits(result)
        time.sleep(0.02)
        assert hits(result) == stopped
    with loaded(unit(source, program("count", Timer("profile", 499, 0, True), kind="perf_event"))) as result:
        with attach(result):
            wait_until(lambda: all(hits(result)[cpu & 7] > 3 for cpu in online))
        assert links_left() == set()


def test_software_event():
    target = PerfEvent("software:page-faults:1", kernel.PERF_TYPE_SOFTWARE, 2, 1)
    with loaded(unit(PLAIN, program("count", target, kind="perf_event"))) as result:
        only_this_process(result)
        with attach(result) as attached:
            assert attached.count == 1
            import mmap

            with mmap.mmap(-1, 256 * mmap.PAGESIZE) as memory:
                memory.madvise(mmap.MADV_NOHUGEPAGE)
                for at in range(0, len(memory), mmap.PAGESIZE):
                    memory[at] = 1
            assert hits(result)[0] >= 256


def without_multi() -> Features:
    features = Features()
    features.__dict__["uprobe_multi"] = False
    return features


WAYS = [pytest.param(FEATURES, id="multi"), pytest.param(without_multi(), id="perf")]


@pytest.mark.parametrize("features", WAYS)
def test_uprobes_told_apart_by_cookie(features):
    functions = ("getpriority", "getsid", "sched_yield")
    attachments = [Attachment(uprobe(name), cookie) for cookie, name in enumerate(functions, 1)]
    with loaded(unit(WITH_COOKIE, program("count", *attachments, kind="kprobe")), features) as result:
        only_this_process(result)
        assert len(result.links) == (1 if features.uprobe_multi else 3)
        with attach(result) as attached:
            assert (attached.count, attached.failures) == (3, [])
            for times, name in enumerate(functions, 2):
                for _ in range(times):
                    getattr(LIBC, name)(0, 0)
            assert hits(result)[1:4] == [2, 3, 4]
        LIBC.getsid(0)
        assert hits(result)[2] == 3
        assert links_left() == set()


@pytest.mark.parametrize("features", WAYS)
def test_uretprobe(features):
    with loaded(unit(PLAIN, program("count", uprobe("getsid", on_return=True), kind="kprobe")), features) as result:
        only_this_process(result)
        with attach(result):
            for _ in range(3):
                LIBC.getsid(0)
            assert hits(result)[0] == 3


@pytest.mark.parametrize("features", WAYS)
def test_a_uprobe_of_one_process_sees_all_its_threads_and_no_other_process(features):
    child = (
        "import ctypes, threading, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "def call():\n    for _ in range(4): libc.getsid(0)\n"
        "for line in sys.stdin:\n"
        "    thread = threading.Thread(target=call); thread.start(); thread.join(); call(); print('done', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        target = uprobe("getsid", pid=process.pid)
        with loaded(unit(PLAIN, program("count", target, kind="kprobe")), features) as result, attach(result) as attached:
            assert attached.failures == []
            process.stdin.write(b"go\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"done\n"
            LIBC.getsid(0)
            assert hits(result)[0] == 8
        process.stdin.close()


@pytest.mark.parametrize("features", WAYS)
def test_a_semaphore_is_raised_while_attached(features, tmp_path):
    """The kernel counts a u16 in the traced process's memory up, at the file offset that the note of a USDT probe gives."""
    source = tmp_path / "semaphore.c"
    source.write_text(
        'unsigned short semaphore __attribute__((section(".probes"))) = 0;\n'
        "__attribute__((noinline)) int probed(int x) { __asm__ volatile(\"\"); return x + 1; }\n"
        "int value(void) { return semaphore; }\n"
    )
    library = str(tmp_path / "semaphore.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, str(source)], check=True)
    mapped = ctypes.CDLL(library)
    target = Uprobe("usdt:x", library, "probed", offset_of("probed", library), False, semaphore=data_offset(library))
    with loaded(unit(PLAIN, program("count", target, kind="kprobe")), features) as result:
        assert mapped.value() == 0
        with attach(result) as attached:
            assert attached.failures == []
            assert mapped.value() == 1
            mapped.probed(1)
            assert hits(result)[0] == 1
        assert mapped.value() == 0


def data_offset(library: str) -> int:
    with open(library, "rb") as file:
        return ELFFile(file).get_section_by_name(".probes")["sh_offset"]


@pytest.mark.parametrize("features", WAYS)
def test_a_target_that_fails_does_not_take_the_others_with_it(features):
    good = [Attachment(uprobe(name)) for name in ("getsid", "getpriority", "sched_yield")]
    beyond = Uprobe("uprobe:libc:nowhere", libc_path(), "nowhere", 1 << 40, False)
    gone = Uprobe("uprobe:/nonexistent:x", "/nonexistent", "x", 0, False)
    targets = [good[0], Attachment(beyond), *good[1:], Attachment(gone)]
    with loaded(unit(PLAIN, program("count", *targets, kind="kprobe")), features) as result:
        only_this_process(result)
        with attach(result) as attached:
            assert attached.count == 3
            assert {f.target: f.error.errno for f in attached.failures} == {beyond: errno.EINVAL, gone: errno.ENOENT}
            reasons = {f.target.function: f.reason for f in attached.failures}
            assert reasons["x"] == "the file is not there"
            assert "not in an executable part" in reasons["nowhere"]
            LIBC.getsid(0)
            LIBC.getpriority(0, 0)
            LIBC.sched_yield()
            assert hits(result)[0] == 3
    assert links_left() == set()


def test_reasons_name_what_is_missing():
    tracepoint = Tracepoint("tracepoint:no:such", "no", "such")
    raw = RawTracepoint("rawtracepoint:no_such", "no_such")
    fast = Timer("profile:hz:10000000", 10_000_000, 0, True)
    short = RawTracepoint("rawtracepoint:sys_enter", "sys_enter")
    specs = (
        program("a", tracepoint, kind="tracepoint"),
        program("b", raw),
        program("c", fast, kind="perf_event"),
        program("d", short),
    )
    body = {"d": "((u64 *)ctx)[2]"}  # arg2 of two
    source = "".join(f"int {s.function}(void *ctx) {{ return {body.get(s.function, 0)}; }}\n" for s in specs)
    with loaded(unit(source, *specs)) as result, attach(result) as attached:
        assert attached.count == 0
        limit = Path("/proc/sys/kernel/perf_event_max_sample_rate").read_text().strip()
        assert {f.target: f.reason for f in attached.failures} == {
            tracepoint: "the kernel has no such tracepoint",
            raw: "the kernel has no such tracepoint",
            short: "it has fewer arguments than the block reads (arg0, arg1, ...)",
            fast: f"the rate is above the kernel's limit of {limit} Hz (kernel.perf_event_max_sample_rate)",
        }


def test_progress_and_an_exception_half_way():
    calls = ("getpriority", "getsid", "getpgid", "getppid")
    targets = [Tracepoint(f"tracepoint:{n}", "syscalls", f"sys_enter_{n}") for n in calls]
    seen = []

    def progress(done, total):
        seen.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with loaded(unit(PLAIN, program("count", *targets, kind="tracepoint"))) as result:
        with pytest.raises(KeyboardInterrupt):
            attach(result, progress)
        assert seen == [(1, 4), (2, 4), (3, 4)]
        assert links_left() == set()
        before = hits(result)
        os.getpriority(os.PRIO_PROCESS, 0)
        assert hits(result) == before


def test_running_out_of_file_descriptors_is_told():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    names = sorted(n for n in os.listdir("/sys/kernel/tracing/events/syscalls") if n.startswith("sys_enter_get"))[:12]
    targets = [Tracepoint(f"tracepoint:syscalls:{n}", "syscalls", n) for n in names]
    with loaded(unit(PLAIN, program("count", *targets, kind="tracepoint"))) as result:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, hard))
        fillers = []
        try:
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    fillers.append(os.open("/dev/null", os.O_RDONLY))
            for fd in fillers[-6:]:
                os.close(fd)
            attached = attach(result)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in fillers[:-6]:
                os.close(fd)
        with attached:
            assert 0 < attached.count < 12
            assert attached.count + len(attached.failures) == 12
            assert attached.failures[-1].reason == "no file descriptors are left (raise `ulimit -n`)"
    assert links_left() == set()


def test_many_probes_raise_the_soft_limit():
    """In a process of its own: the limit stays raised."""
    code = (
        "import resource\n"
        "from bpftrace_py.codegen.unit import PerfEvent\n"
        "from bpftrace_py.runtime.attach import attach\n"
        "from tests.runtime.small_units import program, unit, loaded\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "targets = [PerfEvent('software:dummy:1', 1, 9, 1)] * 300\n"
        "source = 'int count(void *ctx) { return 0; }'\n"
        "with loaded(unit(source, program('count', *targets, kind='perf_event'))) as result, attach(result) as attached:\n"
        "    print(attached.count, attached.failures)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "300 []\n"


def test_detaching_from_several_threads_closes_everything_once():
    names = ("getpriority", "getsid", "getpgid", "getppid", "getpgrp", "getuid")
    targets = [Tracepoint(f"tracepoint:{n}", "syscalls", f"sys_enter_{n}") for n in names]
    with loaded(unit(PLAIN, program("count", *targets, kind="tracepoint"))) as result:
        attached = attach(result)
        assert attached.count == 6
        before = threading.active_count()
        attached.detach()
        attached.detach()
        assert threading.active_count() == before
        assert links_left() == set()
