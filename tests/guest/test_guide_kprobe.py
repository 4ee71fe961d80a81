"""The reference guide's examples on kernel functions, each as the guide has it, on events that its test makes.

The programs have no filters, so they see the whole guest. What a test expects is told from the rest by what nobody else
does there: a thread with a name of its own, sizes of reads that no one else asks for.

The guide's kernel was older: its `do_sys_open` did the work for open and openat alike. Since 5.6 that is
`do_sys_openat2(dfd, filename, how)`, whose `how` points to the flags. `do_sys_open` is still there and not called by openat.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live import Outcome, Session, run_command, trace

ME = os.getpid()
LIBC = ctypes.CDLL(None)
NAME = "guide_example"  # of the thread that makes the events


def in_thread(work: Callable[[], object], name: str = NAME) -> int:
    """Do the work in a thread of that name; its thread ID. Giving it the name and ending it makes no events of interest."""
    ids: list[int] = []
    failed: list[BaseException] = []

    def body() -> None:
        ids.append(threading.get_native_id())
        with open(f"/proc/self/task/{ids[0]}/comm", "w") as comm:
            comm.write(name)
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return ids[0]


@contextmanager
def zeros() -> Iterator[Callable[..., None]]:
    """Reads of /dev/zero with the given sizes, and no other ones, in a thread named NAME."""
    file = os.open("/dev/zero", os.O_RDONLY)

    def read(*sizes: int) -> None:
        in_thread(lambda: [os.read(file, size) for size in sizes])

    yield read
    os.close(file)


def nap(seconds: float = 0.02) -> None:
    time.sleep(seconds)


def rows(text: str, histogram: str) -> dict[str, int]:
    """The rows of a histogram: what stands before the bar, and its count."""
    found = re.search(rf"^{re.escape(histogram)}: *\n((?:[\[(].*\n)+)", text, re.MULTILINE)
    assert found, f"no {histogram} in\n{text}"
    return {row: int(count) for row, count in re.findall(r"^([\[(].*?[\])]) +(\d+) \|", found[1], re.MULTILINE)}


def stacks(text: str) -> list[list[str]]:
    """The functions of the stacks that are keys of `@`, innermost first."""
    found = re.findall(r"^@\[\n(.*?)\n\]: \d+$", text, re.MULTILINE | re.DOTALL)
    return [[line.split()[-1].split("+")[0] for line in stack.splitlines() if line.strip()] for stack in found]


# --- do_nanosleep


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ('kprobe:do_nanosleep { printf("PID %d sleeping...\\n", pid); }', "PID {pid} sleeping..."),
        ('kprobe:do_nanosleep { printf("sleep by %d\\n", tid); }', "sleep by {tid}"),
        ('kprobe:do_nanosleep { printf("%s\\n", ksym(reg("ip"))); }', r"do_nanosleep(\+\d+)?"),
    ],
)
def test_sleep(program: str, printed: str) -> None:
    with Session("-e", program) as session:
        tid = in_thread(session.wait_attached() and nap)
        session.wait_for(f"^{printed.format(pid=ME, tid=tid)}$")
        outcome = session.interrupt()
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.lines[0] == "Attaching 1 probe..."


def test_unroll() -> None:
    program = 'kprobe:do_nanosleep { $i = 1; unroll(5) { printf("i: %d\\n", $i); $i = $i + 1; } }'
    trace(program, nap, until="^i: 1\ni: 2\ni: 3\ni: 4\ni: 5$")


def test_time_of_day() -> None:
    before = time.time()
    program = 'kprobe:do_nanosleep { time("%H:%M:%S\\n"); }'
    outcome = trace(program, nap, until=r"^\d\d:\d\d:\d\d$")
    possible = {time.strftime("%H:%M:%S", time.localtime(t)) for t in range(int(before), int(time.time()) + 1)}
    assert set(outcome.lines[1:]) - {""} <= possible


def test_system() -> None:
    comm = Path("/proc/self/comm").read_text().strip()
    program = 'kprobe:do_nanosleep { system("ps -p %d\\n", pid); }'
    outcome = trace(program, nap, until=rf"^ +PID TTY +TIME CMD\n +{ME} .* {re.escape(comm)}$")
    assert outcome.status == 0


def test_global_timestamp() -> None:
    """`@start` is the clock that Python's `time.monotonic_ns()` reads: the printed time must fit to both."""
    program = """BEGIN { @start = nsecs; }
    kprobe:do_nanosleep /@start != 0/ { printf("at %d ms: sleep\\n", (nsecs - @start) / 1000000); }"""
    times: list[int] = []

    def workload() -> None:
        times.append(time.monotonic_ns())
        in_thread(nap)
        times.append(time.monotonic_ns())

    outcome = trace(program, workload, until="^at .* sleep$")
    assert outcome.lines[0] == "Attaching 2 probes..."
    start = re.search(r"^@start: (\d+)$", outcome.stdout, re.MULTILINE)
    assert start
    low, high = ((moment - int(start[1])) // 1_000_000 for moment in times)
    at = map(int, re.findall(r"^at (\d+) ms: sleep$", outcome.stdout, re.MULTILINE))
    assert any(low <= milliseconds <= high for milliseconds in at), (low, high, outcome.stdout)


@pytest.mark.parametrize(
    "program",
    [
        """kprobe:do_nanosleep { @start[tid] = nsecs; } kretprobe:do_nanosleep /@start[tid] != 0/
    { printf("slept for %d ms\\n", (nsecs - @start[tid]) / 1000000); delete(@start[tid]); }""",
        """kprobe:do_nanosleep { @start[tid] = nsecs; } kretprobe:do_nanosleep /@start[tid] != 0/
    { $delta = nsecs - @start[tid]; printf("slept for %d ms\\n", $delta / 1000000); delete(@start[tid]); }""",
    ],
    ids=["map", "scratch variable"],
)
def test_time_slept(program: str) -> None:
    slept: list[float] = []

    def workload() -> None:
        # Not nap(): time.sleep() sleeps until a moment that it reads from the clock before it calls the kernel.
        before = time.monotonic()
        LIBC.usleep(300_000)
        slept.append((time.monotonic() - before) * 1000)

    outcome = trace(program, lambda: in_thread(workload), until=r"^slept for \d{3,} ms$")
    times = map(int, re.findall(r"^slept for (\d+) ms$", outcome.stdout, re.MULTILINE))
    assert any(300 <= milliseconds <= slept[0] for milliseconds in times), (slept, outcome.stdout)


# --- open


def opener(directory: Path) -> Callable[[], object]:
    """Opens a file that is there (flags O_RDONLY | O_CLOEXEC | O_LARGEFILE, as Python asks for) and one that is not."""
    (directory / "there").write_text("x")

    def work() -> None:
        os.close(os.open(directory / "there", os.O_RDONLY))
        with pytest.raises(FileNotFoundError):
            os.open(directory / "not_there", os.O_RDONLY)

    return lambda: in_thread(work)


def test_opening(tmp_path: Path) -> None:
    # The path must be no longer than the 63 bytes that str() has room for.
    program = 'kprobe:do_sys_openat2 { printf("opening: %s\\n", str(arg1)); }'
    trace(program, opener(tmp_path), until=rf"^opening: {tmp_path}/there\n(.*\n)*?opening: {tmp_path}/not_there$")


def test_open_flags(tmp_path: Path) -> None:
    # The guide prints arg2, which is a pointer here.
    program = 'kprobe:do_sys_openat2 { printf("open flags: %d\\n", ((struct open_how *)arg2)->flags); }'
    directory_flags = os.O_DIRECTORY | os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

    def workload() -> None:
        os.close(os.open(tmp_path, directory_flags))

    trace(program, workload, until=f"^open flags: {directory_flags}$")


def test_open_returned(tmp_path: Path) -> None:
    program = 'kretprobe:do_sys_openat2 { printf("returned: %d\\n", retval); }'
    number: list[int] = []

    def workload() -> None:
        descriptor = os.open("/dev/null", os.O_RDONLY)
        high = os.dup2(descriptor, 700)
        os.close(descriptor)
        # The lowest free one is taken: fill all below 700.
        filled = []
        while (last := os.dup(high)) < 700:
            filled.append(last)
        os.close(last)
        number.append(os.open("/dev/null", os.O_RDONLY))
        for each in [*filled, high, number[0]]:
            os.close(each)
        opener(tmp_path)()

    outcome = trace(program, workload, until=r"^returned: 70\d\n(.*\n)*?returned: -2$")
    assert f"returned: {number[0]}" in outcome.lines


def test_histogram_of_descriptors_by_name(tmp_path: Path) -> None:
    program = "kretprobe:do_sys_openat2 { @bytes[comm] = hist(retval); }"
    descriptors: list[int] = []

    def work() -> None:
        descriptors.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(20))
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                os.open(tmp_path / "not_there", os.O_RDONLY)

    outcome = trace(program, lambda: in_thread(work))
    for descriptor in descriptors:
        os.close(descriptor)
    expected: dict[str, int] = {"(..., 0)": 3}
    for descriptor in descriptors:
        low = 1 << descriptor.bit_length() - 1
        row = f"[{low}, {2 * low})" if low > 1 else f"[{low}]"
        expected[row] = expected.get(row, 0) + 1
    found = rows(outcome.stdout, f"@bytes[{NAME}]")
    assert {row: count for row, count in found.items() if count} == expected


@contextmanager
def opening_all_the_time() -> Iterator[None]:
    """For programs that end by a timer: opens until it is left."""
    ended = threading.Event()

    def body() -> None:
        while not ended.is_set():
            os.close(os.open("/dev/null", os.O_RDONLY))

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_exit_after_a_second() -> None:
    program = "kprobe:do_sys_openat2 { @opens = count(); } interval:s:1 { exit(); }"
    with Session("-e", program) as session:
        session.wait_attached()
        with opening_all_the_time():
            outcome = session.wait()
    assert outcome.status == 0
    opens = re.search(r"^@opens: (\d+)$", outcome.stdout, re.MULTILINE)
    assert opens and int(opens[1]) > 10


def test_opens_per_second() -> None:
    program = 'kprobe:do_sys_openat2 { @opens = @opens + 1; } interval:s:1 { printf("opens/sec: %d\\n", @opens); @opens = 0; }'
    with opening_all_the_time():
        outcome = trace(program, lambda: None, until=r"^opens/sec: \d\d+$")
    assert re.search(r"^@opens: \d+$", outcome.stdout, re.MULTILINE)


def test_path_of_an_opened_file(tmp_path: Path) -> None:
    script = tmp_path / "path.bt"
    script.write_text("""#include <linux/path.h>
#include <linux/dcache.h>

kprobe:vfs_open
{
	printf("open path: %s\\n", str(((struct path *)arg0)->dentry->d_name.name));
}
""")
    with Session(str(script)) as session:
        session.wait_attached()
        (tmp_path / "of_the_guide").touch()
        session.wait_for("^open path: of_the_guide$")
        assert session.interrupt().status == 0


# --- vfs_read


def test_small_reads() -> None:
    program = 'kprobe:vfs_read /arg2 < 16/ { printf("small read: %d byte buffer\\n", arg2); }'
    with zeros() as read:
        outcome = trace(program, lambda: read(11, 16, 13), until="^small read: 11 .*\n(.*\n)*?small read: 13 byte buffer$")
    sizes = [int(size) for size in re.findall(r"^small read: (\d+) ", outcome.stdout, re.MULTILINE)]
    assert all(size < 16 for size in sizes)


def test_reads_by_bash(tmp_path: Path) -> None:
    (tmp_path / "line").write_text("a line\n")
    program = 'kprobe:vfs_read /comm == "bash"/ { printf("read by %s\\n", comm); }'
    command = ["/bin/bash", "-c", f"read line < {tmp_path}/line"]
    outcome = trace(program, lambda: subprocess.run(command, check=True), until="^read by bash$")
    assert set(outcome.lines[1:]) - {""} == {"read by bash"}


@pytest.mark.parametrize("program", ["kprobe:vfs_read { @reads = count();  }", "k:vfs_read { @++ }", "k:vfs_read { @[probe]++ }"])
def test_all_reads(program: str) -> None:
    with zeros() as read:
        outcome = trace(program, lambda: read(*[1] * 500))
    name = {"@r": "@reads", "@+": "@", "@[": "@[kprobe:vfs_read]"}[program[program.index("@") :][:2]]
    total = re.search(rf"^{re.escape(name)}: (\d+)$", outcome.stdout, re.MULTILINE)
    assert total and 500 <= int(total[1]) < 5000


def test_count_and_print_of_named_and_unnamed_maps() -> None:
    with zeros() as read:
        for name in ("@", "@reads"):
            outcome = trace(f"kprobe:vfs_read {{ {name}[comm] = count(); }}", lambda: read(*[10] * 7))
            assert f"{name}[{NAME}]: 7" in outcome.lines


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("sum(arg2)", "16400"),
        ("avg(arg2)", "5466"),
        ("min(arg2)", "100"),
        ("max(arg2)", "10000"),
        ("stats(arg2)", "count 3, average 5466, total 16400"),
    ],
)
def test_aggregates_by_name(call: str, value: str) -> None:
    with zeros() as read:
        outcome = trace(f"kprobe:vfs_read {{ @bytes[comm] = {call}; }}", lambda: read(6300, 100, 10000))
    assert f"@bytes[{NAME}]: {value}" in outcome.lines


def test_sum_of_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 321)
    program = "kretprobe:vfs_read /retval > 0/ { @bytes[comm] = sum(retval); }"

    def work() -> None:
        file = os.open(tmp_path / "file", os.O_RDONLY)
        while os.read(file, 100):  # the last one returns 0
            pass
        os.close(file)
        directory = os.open("/", os.O_RDONLY)
        with pytest.raises(IsADirectoryError):
            os.read(directory, 100)
        os.close(directory)

    outcome = trace(program, lambda: in_thread(work))
    # The guest's root is an overlay: what is read there is read once more in the file system under it, by another function.
    assert f"@bytes[{NAME}]: 321" in outcome.lines


@pytest.mark.parametrize("more", ["", " interval:s:1 { print(@bytes); clear(@bytes); }"])
def test_histogram_of_what_was_read(more: str) -> None:
    program = f"kretprobe:vfs_read {{ @bytes = hist(retval); }}{more}"

    def workload() -> None:
        read(*[1 << 20] * 3, *[1] * 40)
        directory = os.open("/", os.O_RDONLY)
        with pytest.raises(IsADirectoryError):
            os.read(directory, 100)
        os.close(directory)

    with zeros() as read:
        outcome = trace(program, workload, until=r"^\[1M, 2M\) " if more else None)
    found = re.findall(r"^(\(\.\.\., 0\)|\[1\]|\[1M, 2M\)) +(\d+) \|[@ ]{52}\|$", outcome.stdout, re.MULTILINE)
    totals: dict[str, int] = {}
    for row, count in found:  # printed once a second, what was in it
        totals[row] = totals.get(row, 0) + int(count)
    assert totals["[1M, 2M)"] == 3
    assert totals["[1]"] >= 40
    assert totals["(..., 0)"] >= 1


def test_linear_histogram_of_what_was_read() -> None:
    program = "kretprobe:vfs_read { @bytes = lhist(retval, 0, 10000, 1000); }"
    with zeros() as read:
        outcome = trace(program, lambda: read(*[4500] * 30, *[9999] * 200, *[20000] * 10))
    found = rows(outcome.stdout, "@bytes")
    assert found["[4000, 5000)"] >= 30
    assert found["[9000, 10000)"] >= 200
    assert found["[10000, ...)"] >= 10
    assert set(found) <= {"(..., 0)", "[10000, ...)", *(f"[{low}, {low + 1000})" for low in range(0, 10000, 1000))}


def test_time_in_reads() -> None:
    program = (
        "kprobe:vfs_read { @start[tid] = nsecs; } kretprobe:vfs_read /@start[tid]/ { @ms[pid] = sum(nsecs - @start[tid]);"
        " delete(@start[tid]); } END { print(@ms, 0, 1000000); clear(@ms); clear(@start); }"
    )
    output, input_ = os.pipe()
    waited: list[float] = []

    def workload() -> None:
        writer = threading.Timer(0.3, os.write, (input_, b"x"))
        writer.start()
        before = time.monotonic()
        os.read(output, 1)
        waited.append((time.monotonic() - before) * 1000)
        writer.join()

    outcome = trace(program, workload)
    os.close(output)
    os.close(input_)
    found = re.findall(rf"^@ms\[{ME}\]: (\d+)$", outcome.stdout, re.MULTILINE)
    assert len(found) == 1  # by END, and not once more at the end
    assert int(waited[0]) - 50 <= int(found[0])
    assert "@start" not in outcome.stdout


def test_top_of_many_functions() -> None:
    program = "kprobe:vfs_* { @[func] = count(); } END { print(@, 5); clear(@); }"

    def workload() -> None:
        read(*[10] * 3000)
        null = os.open("/dev/null", os.O_WRONLY)
        for _ in range(2000):
            os.write(null, b"x")
        os.close(null)

    with zeros() as read:
        outcome = trace(program, workload)
    attached = re.match(r"Attaching (\d+) probes\.\.\.\n", outcome.stdout)
    assert attached and int(attached[1]) > 40
    found = re.findall(r"^@\[(vfs_\w+)\]: (\d+)$", outcome.stdout, re.MULTILINE)
    assert len(found) == 5
    assert [int(count) for _, count in found] == sorted(int(count) for _, count in found)
    assert int(dict(found)["vfs_read"]) >= 3000  # what else runs in the guest may call others as often


# --- stacks


def send_by_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(b"x" * 100)
            assert len(accepted.recv(100, socket.MSG_WAITALL)) == 100


@pytest.mark.parametrize("stack", ["kstack", "kstack()", "kstack(3)"])
def test_kernel_stacks(stack: str) -> None:
    outcome = trace(f"kprobe:ip_output {{ @[{stack}] = count(); }}", send_by_tcp)
    found = stacks(outcome.stdout)
    assert found and all(functions[0] == "ip_output" for functions in found)
    if stack == "kstack(3)":
        assert all(len(functions) == 3 for functions in found)
        assert any("tcp" in functions[2] for functions in found)
    else:
        sending = [functions for functions in found if "tcp_sendmsg" in functions]
        assert sending
        assert "do_syscall_64" in sending[0] and len(sending[0]) > 10


@pytest.mark.parametrize(("stack", "frames"), [("kstack(perf)", None), ("kstack(perf, 3)", 3)])
def test_kernel_stacks_as_perf_prints_them(stack: str, frames: int | None) -> None:
    def workload() -> None:
        import mmap

        mmap.mmap(-1, 1 << 20).close()

    outcome = trace(f"kprobe:do_mmap {{ @[{stack}] = count(); }}", workload)
    found = stacks(outcome.stdout)
    assert found and all(functions[0] == "do_mmap" for functions in found)
    assert all(len(functions) == frames if frames else functions[-1].startswith("entry_SYSCALL_64") for functions in found)
    frame = r"\tffffffff[0-9a-f]{8} \w+\+\d+\n"
    assert re.search(rf"^@\[\n\tffffffff[0-9a-f]{{8}} do_mmap\+\d+\n({frame})+\n?\]: \d+$", outcome.stdout, re.MULTILINE)


@pytest.mark.parametrize("stack", ["ustack", "ustack()", "ustack(6)"])
def test_user_stacks(stack: str, tmp_path: Path) -> None:
    (tmp_path / "line").write_text("a line\n")

    def workload() -> None:
        subprocess.run(["/bin/bash", "-c", f"for i in 1 2 3; do read line < {tmp_path}/line; done"], check=True)

    outcome = trace(f'kprobe:do_sys_openat2 /comm == "bash"/ {{ @[{stack}] = count(); }}', workload)
    found = stacks(outcome.stdout)
    # bash is gone when its stacks are printed, and has no frame pointers: what is under the system call's function may be wrong.
    assert any(re.fullmatch(r"_*open(at)?(64)?(_nocancel)?", functions[0]) for functions in found), outcome.stdout
    if stack == "ustack(6)":
        assert max(map(len, found)) <= 6


def test_symbol_of_the_instruction_pointer_as_key() -> None:
    outcome = trace('kprobe:tcp_sendmsg { @[ksym(reg("ip"))] = count(); }', send_by_tcp)
    total = re.search(r"^@\[tcp_sendmsg(\+\d+)?\]: (\d+)$", outcome.stdout, re.MULTILINE)
    assert total and int(total[2]) >= 1


# --- listing


def test_listing_by_a_word() -> None:
    found: Outcome = run_command("-l", "*nanosleep*")
    assert {
        "tracepoint:syscalls:sys_enter_clock_nanosleep",
        "tracepoint:syscalls:sys_exit_clock_nanosleep",
        "tracepoint:syscalls:sys_enter_nanosleep",
        "tracepoint:syscalls:sys_exit_nanosleep",
        "kprobe:nanosleep_copyout",
        "kprobe:hrtimer_nanosleep",
    } <= set(found.lines)
    assert all("nanosleep" in line for line in found.lines)
    assert found.status == 0
