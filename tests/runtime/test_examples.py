"""The tools in examples/, each on events that its test makes. Those that need kprobes: tests/guest/test_examples.py."""

from __future__ import annotations

import ctypes
import errno
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from tests.live import TIME_LIMIT, Outcome, Session, peer, run_command

EXAMPLES = Path(__file__).parents[2] / "examples"
TOOLS = sorted(path.stem for path in EXAMPLES.glob("*.bt"))
ME = os.getpid()
HEADINGS = ("Answers:", "Usage:", "Output:", "Needs:")


def watch(tool: str, workload: Callable[[], object], *parameters: object, until: str | None = None) -> Outcome:
    """Run a tool around a workload; nothing may be on its standard error."""
    with Session(str(EXAMPLES / f"{tool}.bt"), *map(str, parameters)) as session:
        session.wait_attached()
        workload()
        if until is not None:
            session.wait_for(until)
        outcome = session.interrupt()
    assert (outcome.complaints, outcome.status) == ("", 0)
    return outcome


def value(text: str, map_and_key: str) -> int:
    """The number that a map has for a key; the key is a regular expression."""
    match = re.search(rf"^@{map_and_key}: (\d+)$", text, re.MULTILINE)
    assert match, f"no @{map_and_key} in\n{text}"
    return int(match[1])


def histogram(text: str, map_and_key: str) -> dict[str, int]:
    """The rows of a histogram by their lower bound ("0", "1", "4K", ...)."""
    match = re.search(rf"^@{map_and_key}: *\n((?:[\[(].*\n)+)", text, re.MULTILINE)
    assert match, f"no histogram @{map_and_key} in\n{text}"
    rows = re.findall(r"^[\[(]([^,\])]+)[^\])]*[\])] +(\d+) ", match[1], re.MULTILINE)
    return {low: int(count) for low, count in rows}


class Worker:
    """A process with a command name of its own that runs Python code when it is told to."""

    waiting: ClassVar[list[subprocess.Popen[str]]] = []

    def __init__(self, name: str, code: str, python: str = sys.executable, prepare: str = "") -> None:
        program = (
            f"import os, sys, time\nopen('/proc/self/comm', 'w').write({name!r})\n{prepare}\n"
            f"print('ready', flush=True)\nos.read(0, 1)\n{code}\n"
        )
        self.name = name
        self.process = subprocess.Popen(
            [python, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        Worker.waiting.append(self.process)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        return self.process.pid

    def run(self, status: int = 0) -> str:
        """What it printed, after its end."""
        printed, _ = self.process.communicate("g", timeout=120)
        Worker.waiting.remove(self.process)
        assert self.process.returncode == status
        return printed


@pytest.fixture(autouse=True)
def _no_worker_is_left() -> Iterator[None]:
    """A test that fails before its worker runs must not leave it waiting."""
    yield
    while Worker.waiting:
        process = Worker.waiting.pop()
        process.kill()
        process.communicate()


@contextmanager
def tcp_server(send: bytes = b"") -> Iterator[int]:
    """Serves one connection on loopback: sends, reads to the end, closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    listener.settimeout(TIME_LIMIT)

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except TimeoutError:  # the test failed before it connected
            return
        connection.settimeout(TIME_LIMIT)
        with connection:
            connection.sendall(send)
            while connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(30)
        listener.close()


def mount_point(kind: str, option: str = "") -> Path | None:
    """Where a file system of a kind (with an option) is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, mounted, options, *_ = line.split()
        if mounted == kind and (not option or option in options.split(",")):
            return Path(place)
    return None


@pytest.fixture
def limited() -> Iterator[Callable[[int], Path]]:
    """Makes a control group with a limit of memory; gives the file that takes processes in."""
    first, name = mount_point("cgroup", "memory"), f"bpftrace_py_{ME}"
    root, limit = (first, "memory.limit_in_bytes") if first else (mount_point("cgroup2"), "memory.max")
    if root is None or (not first and "memory" not in (root / "cgroup.subtree_control").read_text().split()):
        pytest.skip("no memory controller of control groups is mounted")
    group = root / name

    def make(size: int) -> Path:
        group.mkdir()
        (group / limit).write_text(str(size))
        return group / "cgroup.procs"

    yield make
    if group.exists():
        group.rmdir()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose name fits in the 64 bytes of a string, with something below it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


# --- all of them


def told(header: str, heading: str) -> str:
    """What the head of a tool says under a heading, as one line."""
    match = re.search(rf"^ \* {heading}: +(.*(?:\n \* {{5,}}.*)*)$", header, re.MULTILINE)
    assert match
    return re.sub(r"\n \* +", " ", match[1])


@pytest.mark.parametrize("tool", TOOLS)
def test_header_sample_and_table(tool: str) -> None:
    text = (EXAMPLES / f"{tool}.bt").read_text()
    assert text.startswith(f"#!/usr/bin/env bpftrace-py\n/*\n * {tool} - ")
    header = text[: text.index("*/")]
    assert [word for word in re.findall(r"\w+:", header) if word in HEADINGS] == list(HEADINGS)
    assert re.search(rf"Usage: +{tool}\.bt\b", header)
    assert os.access(EXAMPLES / f"{tool}.bt", os.X_OK)
    sample = (EXAMPLES / f"{tool}.txt").read_text()
    assert re.search(rf"^# \./{tool}\.bt", sample, re.MULTILINE)
    needs = told(header, "Needs").partition(". ")[0].removesuffix(".")
    row = f"| [{tool}]({tool}.bt) ([output]({tool}.txt)) | {told(header, 'Answers')} | {needs} |"
    assert row in (EXAMPLES / "README.md").read_text().splitlines()


NAMES_BY_STR = ("migrations", "cgroups")


def skip_without(tracepoint: str) -> None:
    if not Path("/sys/kernel/tracing/events", tracepoint.replace(":", "/")).exists():
        pytest.skip(f"this kernel has no tracepoint {tracepoint}")


@pytest.mark.parametrize("tool", TOOLS)
def test_no_tool_gets_a_warning_and_the_peer_takes_it(tool: str) -> None:
    if tool == "netbytes":
        skip_without("sock:sock_send_length")
    ours = run_command("-d", str(EXAMPLES / f"{tool}.bt"))
    assert (ours.status, ours.stderr) == (0, "")
    theirs = run_command("-d", str(EXAMPLES / f"{tool}.bt"), tool=peer())
    # Newer kernels have some names as a __data_loc, of which the peer wants str(); of an array it refuses that. We take both.
    of_an_array = theirs.status == 1 and "str() expects an integer or a pointer type" in theirs.stderr
    assert theirs.status == 0 or (of_an_array and tool in NAMES_BY_STR), theirs.stderr


# --- files


def test_openwatch(short_path: Path) -> None:
    (short_path / "there").write_text("x")

    def workload() -> None:
        with open(short_path / "there"), pytest.raises(FileNotFoundError):
            os.open(short_path / "not_there", os.O_RDONLY)

    out = watch("openwatch", workload, ME).stdout
    assert re.search(rf"^{ME} +\S+ +\d+  {short_path}/there$", out, re.MULTILINE)
    assert re.search(rf"^{ME} +\S+ +-2  {short_path}/not_there$", out, re.MULTILINE)


def test_missing() -> None:
    worker = Worker("searcher", "for i in range(3): os.path.exists('/no/such/a'); os.access('/no/such/b', 4)")
    out = watch("missing", worker.run, "searcher").stdout
    assert value(out, r"missing\[searcher, /no/such/a\]") == 3
    assert value(out, r"missing\[searcher, /no/such/b\]") == 3
    assert set(re.findall(r"^@missing\[(\w+)", out, re.MULTILINE)) == {"searcher"}


def test_removed(short_path: Path) -> None:
    (short_path / "a").write_text("x")
    code = f"os.rename('{short_path}/a', '{short_path}/b'); os.unlink('{short_path}/b'); os.mkdir('{short_path}/d')"
    worker = Worker("remover", f"{code}; os.rmdir('{short_path}/d'); os.path.exists('x') or os.rmdir('{short_path}/d')")
    out = watch("removed", lambda: worker.run(1), "remover").stdout
    found = re.findall(rf"^{worker.pid} +remover +(\w+) +(-?\d+)  (.*)$", out, re.MULTILINE)
    assert found == [
        ("rename", "0", f"{short_path}/a -> {short_path}/b"),
        ("delete", "0", f"{short_path}/b"),
        ("delete", "0", f"{short_path}/d"),
        ("delete", "-2", f"{short_path}/d"),
    ]


def test_mounts(short_path: Path) -> None:
    def workload() -> None:
        subprocess.run(["mount", "-i", "-t", "tmpfs", "-o", "ro", "some_source", short_path], check=True)
        subprocess.run(["umount", "-i", short_path], check=True)

    out = watch("mounts", workload).stdout
    assert re.search(rf"^\d+ +umount +umount +0  {short_path} flags \d+$", out, re.MULTILINE)
    # A newer mount(8) makes the mount with fsmount, which is not watched.
    if "fsmount" not in subprocess.run(["strings", "/usr/bin/mount"], capture_output=True, text=True).stdout:
        assert re.search(
            rf"^\d+ +mount +mount +0  some_source on {short_path} type tmpfs flags \w*1$", out, re.MULTILINE
        )


def test_mounts_by_the_newer_calls(short_path: Path) -> None:
    """fsopen, fsconfig, fsmount and move_mount, by their numbers, which all architectures share."""
    place = str(short_path)
    call = ctypes.CDLL(None, use_errno=True).syscall

    def workload() -> None:
        file_system = call(430, b"tmpfs", 0)
        assert call(431, file_system, 1, b"source", b"some_source", 0) == 0  # FSCONFIG_SET_STRING
        assert call(431, file_system, 6, None, None, 0) == 0  # FSCONFIG_CMD_CREATE
        mount = call(432, file_system, 0, 0)
        assert call(429, mount, b"", -100, place.encode(), 4) == 0  # AT_FDCWD, MOVE_MOUNT_F_EMPTY_PATH
        os.close(mount)
        os.close(file_system)
        call(429, -100, place.encode(), -100, b"/no/such/place", 0)
        subprocess.run(["umount", "-i", place], check=True)

    out = watch("mounts", workload).stdout
    assert re.search(rf"^{ME} +\S+ +move +0  some_source on {place} type tmpfs$", out, re.MULTILINE)
    assert re.search(rf"^{ME} +\S+ +move +-2  {place} to /no/such/place$", out, re.MULTILINE)


def test_iosizes() -> None:
    code = """
zero, null = os.open('/dev/zero', 0), os.open('/dev/null', 1)
for i in range(10): os.write(null, os.read(zero, 4096))
for i in range(5): os.write(null, b'x' * 100)
os._exit(0)"""
    worker = Worker("mover", code)
    out = watch("iosizes", worker.run, worker.pid).stdout
    assert value(out, r"bytes_written\[mover\]") == 10 * 4096 + 500
    assert value(out, r"bytes_read\[mover\]") == 10 * 4096 + 1  # the byte that set it off
    writes = histogram(out, r"write_sizes\[mover\]")
    assert (writes["64"], writes["4K"], sum(writes.values())) == (5, 10, 15)
    assert histogram(out, r"read_sizes\[mover\]")["4K"] == 10


def test_flushes(tmp_path: Path) -> None:
    code = f"""
file = os.open('{tmp_path}/file', os.O_RDWR | os.O_CREAT)
os.write(file, b'data')
os.fsync(file)
os.fdatasync(file)
try: os.fsync(777)
except OSError: pass
print(file)"""
    worker = Worker("flusher", code)
    printed: list[str] = []
    out = watch("flushes", lambda: printed.append(worker.run())).stdout
    found = re.findall(rf"^{worker.pid} +flusher +(\w+) +(\d+) +\d+ (-?\d+)$", out, re.MULTILINE)
    fd = printed[0].strip()
    assert found == [("fsync", fd, "0"), ("fdatasync", fd, "0"), ("fsync", "777", f"-{errno.EBADF}")]
    assert sum(histogram(out, r"us\[flusher\]").values()) == 3


def disk_of(path: Path) -> tuple[int, int]:
    device = os.stat(path).st_dev
    numbers = os.major(device), os.minor(device)
    if not Path(f"/sys/dev/block/{numbers[0]}:{numbers[1]}").exists():
        pytest.skip(f"{path} is on no block device")
    return numbers


def write_directly(path: Path) -> None:
    command = ["dd", "if=/dev/zero", f"of={path}/direct", "bs=64K", "count=8", "oflag=direct"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def test_disklatency(tmp_path: Path) -> None:
    major, minor = disk_of(tmp_path)
    out = watch("disklatency", lambda: write_directly(tmp_path)).stdout
    assert sum(histogram(out, rf"us\[{major}, {minor}, W\w*\]").values()) >= 1
    rows = [
        histogram(out, re.escape(key)) for key in re.findall(rf"^@(us\[{major}, {minor}, W\w*\]):", out, re.MULTILINE)
    ]
    assert sum(sum(row.values()) for row in rows) >= 8


def test_disksizes(tmp_path: Path) -> None:
    disk_of(tmp_path)
    out = watch("disksizes", lambda: write_directly(tmp_path)).stdout
    assert sum(map(int, re.findall(r"^@bytes\[dd, W\w*\]: (\d+)$", out, re.MULTILINE))) >= 8 * 65536
    assert histogram(out, r"kib\[dd\]")["64"] >= 8


# --- processes


def test_execlog() -> None:
    children: list[int] = []

    def workload() -> None:
        with subprocess.Popen(["/bin/echo", "alpha", "beta gamma"], stdout=subprocess.DEVNULL) as child:
            children.append(child.pid)
        with pytest.raises(FileNotFoundError):
            subprocess.run(["/no/such/program", "x"])

    out = watch("execlog", workload).stdout
    assert re.search(rf"^\d\d:\d\d:\d\d {ME} +{children[0]} +0 +/bin/echo alpha beta gamma$", out, re.MULTILINE)
    failed = re.search(rf"^\d\d:\d\d:\d\d {ME} +(\d+) +0 +/no/such/program x$", out, re.MULTILINE)
    assert failed
    assert re.search(rf"^ +{failed[1]} failed: error 2$", out, re.MULTILINE)


def test_lifetimes() -> None:
    def workload() -> None:
        subprocess.run(["sh", "-c", "exit 7"])
        with subprocess.Popen(["sleep", "100"]) as child:
            child.kill()

    out = watch("lifetimes", workload).stdout
    assert re.search(rf"^{ME} +\d+ +sh +\d+ +7 +0$", out, re.MULTILINE)
    assert re.search(rf"^{ME} +\d+ +\S+ +\d+ +0 +9$", out, re.MULTILINE)


def test_signals() -> None:
    with subprocess.Popen(["sleep", "100"]) as child:
        out = watch("signals", child.terminate, signal.SIGTERM).stdout
    assert re.search(rf"^{ME} +\S+ +15 +0 +{child.pid} +sleep +0$", out, re.MULTILINE)


def test_shelllines() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "-i"])
    try:
        until = rf"^\d\d:\d\d:\d\d 0 +{pid} +true typed at a prompt$"
        # The shell may be inside readline already as the probe comes: its return is seen from the next line on.
        watch("shelllines", lambda: os.write(terminal, b"true\ntrue typed at a prompt\n"), until=until)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


# --- system calls


def test_callhogs() -> None:
    worker = Worker("caller", "for i in range(5000): os.getppid()")
    out = watch("callhogs", worker.run).stdout
    assert 5000 <= value(out, rf"calls\[caller, {worker.pid}\]") < 6000
    assert value(out, rf"us_in_calls\[caller, {worker.pid}\]") > 0


def test_callhogs_stops_by_itself() -> None:
    outcome = run_command(str(EXAMPLES / "callhogs.bt"), "1")
    assert outcome.status == 0
    assert "@calls[" in outcome.stdout


def test_slowcalls() -> None:
    worker = Worker("sleeper", "for i in range(5): time.sleep(0.02)")
    out = watch("slowcalls", worker.run, worker.pid).stdout
    sleeps = histogram(out, r"us\[tracepoint:syscalls:sys_exit_clock_nanosleep\]")
    assert sum(sleeps.values()) == 5
    assert not {"0", "1", "2", "4", "1K", "4K", "8K"} & {row for row, count in sleeps.items() if count}


def test_futexwaits() -> None:
    code = """
import threading
lock = threading.Lock()
lock.acquire()
thread = threading.Thread(target=lock.acquire)
thread.start()
time.sleep(0.1)
lock.release()
thread.join()"""
    worker = Worker("locker", code)
    out = watch("futexwaits", worker.run, worker.pid).stdout
    longest = max(map(int, re.findall(rf"^@wait_us\[\w+, {worker.pid}, 0x[0-9a-f]+\]: (\d+)$", out, re.MULTILINE)))
    assert longest >= 50_000
    assert sum(histogram(out, r"us\[\w+\]").values()) >= 1


# --- the scheduler

BURN = "end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
PIN = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"


def two(name: str) -> Callable[[], None]:
    """Two processes that want the same CPU at once."""
    workers = [Worker(name, BURN, prepare=PIN) for _ in range(2)]

    def run() -> None:
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def test_runqueue() -> None:
    out = watch("runqueue", two("rival"), "rival").stdout
    assert value(out, r"longest_us\[rival\]") >= 1000
    assert sum(histogram(out, "wait_us").values()) >= 10
    assert re.findall(r"^@longest_us\[(.*)\]", out, re.MULTILINE) == ["rival"]


def test_switches() -> None:
    run_rivals = two("rival2")
    # Python tells the kernel a moment to wait for: where that is over before the kernel looks, as in an emulator, it does not wait.
    worker = Worker("napper", "for i in range(20): time.sleep(0.05)")

    def workload() -> None:
        run_rivals()
        worker.run()

    out = watch("switches", workload).stdout
    assert value(out, r"voluntary\[napper\]") >= 20
    assert value(out, r"died\[napper\]") == 1
    assert value(out, r"died\[rival2\]") == 2
    assert value(out, r"preempted\[rival2\]") >= 10


def test_oncpu() -> None:
    worker = Worker("burner", BURN)
    out = watch("oncpu", worker.run, worker.pid).stdout
    assert value(out, rf"on_cpu_us\[burner, {worker.pid}\]") >= 250_000
    assert sum(histogram(out, "piece_us").values()) >= 1


def test_offcpu() -> None:
    worker = Worker("waiter", "for i in range(3): time.sleep(0.05)")
    out = watch("offcpu", worker.run, worker.pid, 10_000).stdout
    totals = re.findall(r"^, waiter\]: (\d+)$", out, re.MULTILINE)
    assert sum(map(int, totals)) >= 150_000
    assert re.search(r"nanosleep\+\d+$", out, re.MULTILINE)


HOT = """
#include <time.h>
volatile unsigned long sink;
__attribute__((noinline)) void busy_inner(void) { for (int i = 0; i < 1000000; i++) sink += i; }
__attribute__((noinline)) void busy_outer(void) { busy_inner(); sink++; }
int main(void) { while (clock() < CLOCKS_PER_SEC) busy_outer(); return 0; }
"""


def built(directory: Path, name: str, source: str) -> str:
    (directory / f"{name}.c").write_text(source)
    program = str(directory / name)
    flags = ["-O0", "-fno-omit-frame-pointer"]
    subprocess.run(["gcc", *flags, "-o", program, f"{program}.c"], check=True)
    return program


def test_hotstacks(tmp_path: Path) -> None:
    program = built(tmp_path, "hotloop", HOT)
    with subprocess.Popen(["sh", "-c", f"read go; exec {program}"], stdin=subprocess.PIPE) as process:
        out = watch("hotstacks", lambda: process.communicate(b"\n"), process.pid).stdout
        assert process.returncode == 0
    stacks = re.findall(r"busy_inner\+\d+\n +busy_outer\+\d+\n +main\+\d+\n(?: .*\n)*, hotloop\]: (\d+)", out)
    assert sum(map(int, stacks)) >= 50


def test_migrations() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU: there is nowhere to move to")
    worker = Worker("mover", f"for i in range(20): os.sched_setaffinity(0, {{{cpus[0]} if i % 2 else {cpus[1]}}})")
    out = watch("migrations", worker.run, worker.pid).stdout
    assert value(out, rf"moves\[mover, {worker.pid}\]") >= 19
    assert value(out, rf"from_to\[{cpus[0]}, {cpus[1]}\]") >= 9
    assert value(out, rf"from_to\[{cpus[1]}, {cpus[0]}\]") >= 9


# --- memory


def test_faults() -> None:
    code = """
area.madvise(mmap.MADV_NOHUGEPAGE)
for i in range(200): area[i * 4096] = 1"""
    worker = Worker("toucher", code, prepare="import mmap\narea = mmap.mmap(-1, 200 * 4096, flags=mmap.MAP_PRIVATE)")
    out = watch("faults", worker.run, worker.pid).stdout
    assert value(out, r"faults\[toucher, new, write\]") >= 200
    assert sum(map(int, re.findall(r"^@stacks\[toucher, \n(?: .*\n)+\]: (\d+)$", out, re.MULTILINE))) >= 200


def test_mapcalls() -> None:
    prepare = "import ctypes, mmap\nlibc = ctypes.CDLL(None)\nlibc.sbrk.restype = ctypes.c_void_p\nlibc.sbrk(0)"
    code = "libc.sbrk(4096)\nlibc.sbrk(3 << 20)\narea = mmap.mmap(-1, 7 << 20)\narea.close()"
    worker = Worker("mapper", code, prepare=prepare)
    out = watch("mapcalls", worker.run, worker.pid).stdout
    assert value(out, r"anonymous\[mapper\]") >= 7 << 20
    assert value(out, r"mapped\[mapper\]") >= value(out, r"anonymous\[mapper\]")
    assert value(out, r"unmapped\[mapper\]") >= 7 << 20
    assert 3 << 20 <= value(out, r"grown\[mapper\]") < 5 << 20
    assert histogram(out, "mapped_kib")["4K"] == 1


LEAK = """
#include <stdlib.h>
#include <unistd.h>
void *kept[10];
__attribute__((noinline)) void forgetful(void) { for (int i = 0; i < 10; i++) kept[i] = malloc(1000); }
__attribute__((noinline)) void *zeroed(void) { return calloc(3, 100); }
__attribute__((noinline)) void *grown(void *block) { return realloc(block, 700); }
int main(void) {
    char c;
    if (read(0, &c, 1) < 0) return 1;
    forgetful();
    for (int i = 0; i < 4; i++) free(kept[i]);
    kept[0] = grown(zeroed());
    write(1, "d", 1);
    read(0, &c, 1);
    _exit(0);
}
"""


@contextmanager
def leaking(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = built(directory, "leaker", LEAK)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        yield process
        process.kill()


def test_heapsizes(tmp_path: Path) -> None:
    with leaking(tmp_path) as process:
        out = watch("heapsizes", lambda: process.communicate(b"g"), process.pid).stdout
    assert value(out, r"calls\[leaker, malloc\]") == 10
    assert value(out, r"calls\[leaker, calloc\]") == 1
    assert value(out, r"calls\[leaker, realloc\]") == 1
    sizes = histogram(out, r"bytes\[leaker\]")
    assert (sizes["256"], sizes["512"]) == (1, 11)


def test_unfreed(tmp_path: Path) -> None:
    """It lives on, as what leaks does: of a process that ended at once a busy machine may not have read the symbols."""
    with leaking(tmp_path) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin and stdout
        out = watch("unfreed", lambda: (stdin.write(b"g"), stdout.read(1)), process.pid).stdout
    found = re.findall(r"^@(\w+)\[leaker, \n +(\w+)\+\d+\n(?: .*\n)*\]: (\d+)$", out, re.MULTILINE)
    assert set(found) == {
        ("bytes", "zeroed", "0"), ("bytes", "grown", "700"), ("bytes", "forgetful", "6000"),
        ("blocks", "zeroed", "0"), ("blocks", "grown", "1"), ("blocks", "forgetful", "6"),
    }  # fmt: skip


def test_oomkills(limited: Callable[[int], Path]) -> None:
    tasks = limited(20 << 20)
    worker = Worker("greedy", "x = b'x' * (200 << 20)", prepare=f"open('{tasks}', 'w').write('0')")
    out = watch("oomkills", lambda: worker.run(-signal.SIGKILL), until=rf" {worker.pid} +\d+\.").stdout
    assert re.search(rf"^\d\d:\d\d:\d\d \d+ +\S+ +{worker.pid} +\d+\.\d+ \d+\.\d+ ", out, re.MULTILINE)
    assert re.search(r"^@victims_by_cgroup\[\d+\]: \d+$", out, re.MULTILINE)


def test_reclaim(limited: Callable[[int], Path], tmp_path: Path) -> None:
    tasks = limited(30 << 20)
    with open(tmp_path / "big", "wb") as file:
        file.truncate(100 << 20)
    code = f"file = os.open('{tmp_path}/big', 0)\nwhile os.read(file, 1 << 20): pass"
    worker = Worker("reader", code, prepare=f"open('{tasks}', 'w').write('0')")
    out = watch("reclaim", worker.run).stdout
    assert value(out, r"pages\[reader, cgroup\]") >= 1000
    assert sum(histogram(out, r"us\[reader, cgroup\]").values()) >= 1


# --- the network


def talk(port: int, size: int) -> str:
    return f"""
connection = socket.create_connection(('127.0.0.1', {port}))
connection.sendall(b'x' * {size})
connection.shutdown(1)
while connection.recv(1 << 16): pass
print(connection.getsockname()[1])"""


def test_connections() -> None:
    with tcp_server() as port:
        worker = Worker("client", talk(port, 10), prepare="import socket")
        out = watch("connections", worker.run, until=rf"^in .* {port} +127.*\d$").stdout
    assert re.search(rf"^out +client +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +{port} +\d+$", out, re.MULTILINE)
    assert sum(histogram(out, rf"lived_ms\[in, {port}\]").values()) == 1
    assert sum(histogram(out, rf"lived_ms\[out, {port}\]").values()) == 1


def test_tcpstates() -> None:
    with tcp_server() as port:
        worker = Worker("client", talk(port, 10), prepare="import socket")
        until = rf"{port} +127.* LAST_ACK +-> CLOSE "
        out = watch("tcpstates", worker.run, port, until=until).stdout
    changes = re.findall(rf"127\.0\.0\.1 +{port} +(\w+) +-> (\w+) +\d+$", out, re.MULTILINE)
    assert changes[:2] == [("CLOSE", "SYN_SENT"), ("SYN_SENT", "ESTABLISHED")]
    assert ("ESTABLISHED", "FIN_WAIT1") in changes
    assert re.search(rf"^{worker.pid} +client +.* CLOSE +-> SYN_SENT ", out, re.MULTILINE)


def test_retransmits() -> None:
    """A server whose backlog is full lets new connections wait: each asks again after a second."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        clients = [socket.socket() for _ in range(4)]

        def workload() -> None:
            for client in clients:
                client.setblocking(False)
                assert client.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS

        until = rf"^\d\d:\d\d:\d\d 127\.0\.0\.1 +\d+ +127\.0\.0\.1 +{port} +SYN_SENT$"
        out = watch("retransmits", workload, port, until=until).stdout
        for client in clients:
            client.close()
    assert value(out, rf"retransmits\[::ffff:127\.0\.0\.1, {port}\]") >= 1


def test_connects() -> None:
    with tcp_server() as port, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = closed.getsockname()[1]
        code = talk(port, 0) + f"\nrefused = socket.socket().connect_ex(('127.0.0.1', {refused}))\n"
        code += f"socket.socket(socket.AF_INET6).connect_ex(('::1', {refused}))"
        worker = Worker("client", code, prepare="import socket")
        out = watch("connects", worker.run).stdout
    line = rf"^{worker.pid} +client +"
    assert re.search(rf"{line}127\.0\.0\.1 +{port} +\d+ 0$", out, re.MULTILINE)
    assert re.search(rf"{line}127\.0\.0\.1 +{refused} +\d+ -111$", out, re.MULTILINE)
    assert re.search(rf"{line}::1 +{refused} +\d+ -\d+$", out, re.MULTILINE)


def test_accepts() -> None:
    code = "connection, address = listener.accept()\nprint(address[1])"
    prepare = "import socket\nlistener = socket.create_server(('127.0.0.1', 0))\nprint(listener.getsockname()[1])"
    # Its port comes before its "ready".
    program = f"{prepare}\nimport sys; sys.stdout.flush()\n{code}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        port = int(server.stdout.readline())
        printed: list[str] = []

        def workload() -> None:
            with socket.create_connection(("127.0.0.1", port)):
                assert server.stdout
                printed.append(server.stdout.read().strip())

        # The accept may have begun before the tool did; then it is not told. So it goes to a second server as well.
        with Session(str(EXAMPLES / "accepts.bt")) as session:
            session.wait_attached()
            listener = socket.create_server(("127.0.0.1", 0))
            with socket.create_connection(listener.getsockname()) as client:
                accepted, _ = listener.accept()
                session.wait_for(rf"^{ME} +\S+ +{accepted.fileno()} +127\.0\.0\.1 +{client.getsockname()[1]} +\d+$")
                accepted.close()
            listener.close()
            workload()
            assert session.interrupt().complaints == ""


def test_netbytes() -> None:
    skip_without("sock:sock_send_length")
    with tcp_server(b"y" * 7000) as port:
        code = talk(port, 12345) + "\nudp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        code += "udp.bind(('127.0.0.1', 0)); udp.sendto(b'z' * 321, udp.getsockname()); udp.recv(1000)"
        worker = Worker("client", code, prepare="import socket")
        out = watch("netbytes", worker.run, worker.pid).stdout
    assert value(out, rf"sent\[tcp, client, {worker.pid}\]") == 12345
    assert value(out, rf"received\[tcp, client, {worker.pid}\]") == 7000
    assert value(out, rf"sent\[udp, client, {worker.pid}\]") == 321
    assert value(out, rf"received\[udp, client, {worker.pid}\]") == 321


def test_lookups() -> None:
    code = """
socket.getaddrinfo('localhost', 80)
try: socket.getaddrinfo('no-such-name.invalid', 80)
except socket.gaierror as error: print(error.args[0])"""
    worker = Worker("resolver", code, prepare="import socket")
    printed: list[str] = []
    out = watch("lookups", lambda: printed.append(worker.run())).stdout
    assert re.search(rf"^{worker.pid} +resolver +\d+ +0  localhost$", out, re.MULTILINE)
    failed = rf"^{worker.pid} +resolver +\d+ +{printed[0].strip()}  no-such-name\.invalid$"
    assert re.search(failed, out, re.MULTILINE)


# --- Python

PYTHON = "/usr/bin/python3"


def test_pycalls() -> None:
    worker = Worker("snake", "for i in range(50): outer()", PYTHON, "def inner(): pass\ndef outer(): inner()")
    out = watch("pycalls", worker.run, worker.pid).stdout
    assert value(out, r"calls\[inner, <string>\]") == 50
    assert value(out, r"calls\[outer, <string>\]") == 50
    assert value(out, r"us\[outer, <string>\]") >= value(out, r"us\[inner, <string>\]")
    assert value(out, "lines") >= 50


def test_pygc() -> None:
    code = "rings = []\nfor i in range(100): ring = []; ring.append(ring)\ndel ring, rings; gc.collect(); gc.collect(1)"
    worker = Worker("collector", code, PYTHON, "import gc\ngc.disable()")
    out = watch("pygc", worker.run, worker.pid).stdout
    found = re.findall(rf"^{worker.pid} +collector +(\d) +\d+ +(\d+)$", out, re.MULTILINE)
    assert found[0][0] == "2"
    assert int(found[0][1]) >= 100
    assert found[1] == ("1", "0")
    assert sum(histogram(out, r"us\[2\]").values()) >= 1


# --- inside the kernel


def test_timers() -> None:
    out = watch("timers", lambda: [time.sleep(0.001) for _ in range(30)]).stdout
    assert value(out, r"hrtimers\[hrtimer_wakeup\]") >= 30
    assert sum(histogram(out, "late_us").values()) >= 30


def test_workqueues() -> None:
    leader, follower = pty.openpty()

    def workload() -> None:
        for _ in range(20):
            os.write(leader, b"x\n")
            assert os.read(follower, 10) == b"x\n"

    out = watch("workqueues", workload).stdout
    os.close(leader)
    os.close(follower)
    assert value(out, r"runs\[flush_to_ldisc\]") >= 10
    assert sum(histogram(out, r"wait_us\[flush_to_ldisc\]").values()) >= 10


def test_softirqs() -> None:
    def workload() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            for _ in range(100):
                udp.sendto(b"x", udp.getsockname())
                udp.recv(10)

    out = watch("softirqs", workload).stdout
    assert value(out, r"runs\[net_rx\]") >= 100
    assert sum(histogram(out, r"wait_us\[net_rx\]").values()) >= 100
    assert re.search(r"^@run_us\[net_rx\]: \d+$", out, re.MULTILINE)


def test_lockwaits(tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU: few locks are ever contended")
    code = f"file = os.open('{tmp_path}/file', os.O_RDWR | os.O_CREAT)\nfor i in range(300): os.pwrite(file, data, 0)"
    workers = [Worker("writer", code, prepare="data = bytes(1 << 20)") for _ in range(3)]

    def workload() -> None:
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    out = watch("lockwaits", workload).stdout
    assert sum(histogram(out, r"wait_ns\[rwsem or other\]").values()) >= 1
    assert re.search(r"^ +\w*write\w*\+\d+\n(?: .*\n)*, writer\]: \d+$", out, re.MULTILINE)


def test_cgroups() -> None:
    root = mount_point("cgroup2") or mount_point("cgroup", "pids")
    if root is None:
        pytest.skip("no control groups are mounted")
    name = f"bpftrace_py_watched_{ME}"

    def workload() -> None:
        (root / name).mkdir()
        try:
            with subprocess.Popen(["sleep", "100"]) as child:
                (root / name / "cgroup.procs").write_text(str(child.pid))
                moved.append(child.pid)
                child.kill()
        finally:
            (root / name).rmdir()

    moved: list[int] = []
    out = watch("cgroups", workload).stdout
    made = re.search(rf"^{ME} +\S+ +make +(\d+) +(\d+) +(/\S*)?/{name}$", out, re.MULTILINE)
    assert made
    assert re.search(rf"^{ME} +\S+ +move +{made[1]} +{made[2]} +\S*/{name} <- {moved[0]} \(sleep\)$", out, re.MULTILINE)
    assert re.search(rf"^{ME} +\S+ +remove +{made[1]} +{made[2]} +\S*/{name}$", out, re.MULTILINE)
