"""kprobe, kretprobe and their arguments, on events that the tests make themselves."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.live import Session, run_command, trace

ME = str(os.getpid())
SIZE = 12345  # of a read; nobody else in the guest reads so much at once


def read_zero(times: int = 1, size: int = SIZE) -> None:
    with open("/dev/zero", "rb", buffering=0) as file:
        for _ in range(times):
            assert len(file.read(size)) == size


def sleep_a_little() -> None:
    time.sleep(0.001)


def test_arguments():
    outcome = trace("kprobe:vfs_read /pid == $1/ { @[arg2] = count(); }", lambda: read_zero(3), ME)
    assert f"@[{SIZE}]: 3\n" in outcome.stdout
    assert outcome.status == 0


def test_short_name_and_filter_on_an_argument():
    program = 'k:vfs_read /arg2 == 777/ { printf("%d bytes by %d\\n", arg2, pid); }'
    trace(program, lambda: read_zero(2, 777), until=f"^777 bytes by {ME}\n777 bytes by {ME}$")


def test_return_value(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 4321)
    outcome = trace("kretprobe:vfs_read /pid == $1/ { @[retval] = count(); }", (tmp_path / "file").read_bytes, ME)
    assert "@[4321]: 1\n" in outcome.stdout


def test_negative_return_value():
    def read_a_directory() -> None:
        directory = os.open("/", os.O_RDONLY)
        with pytest.raises(IsADirectoryError):
            os.read(directory, 10)
        os.close(directory)

    program = "kr:vfs_read /pid == $1 && (int64)retval < 0/ { @[(int64)retval] = count(); }"
    outcome = trace(program, read_a_directory, ME)
    assert "@[-21]: 1\n" in outcome.stdout


def test_record_from_btf(tmp_path):
    program = """
        kprobe:vfs_open /pid == $1/ { printf("open path: %s\\n", str(((struct path *)arg0)->dentry->d_name.name)); }
    """
    trace(program, (tmp_path / "a_file_of_this_test").touch, ME, until="^open path: a_file_of_this_test$")


def test_time_between_entry_and_return():
    program = """
        kprobe:do_nanosleep /pid == $1/ { @start[tid] = nsecs; }
        kretprobe:do_nanosleep /@start[tid] != 0/ {
            printf("slept for %d ms\\n", (nsecs - @start[tid]) / 1000000); delete(@start[tid]);
        }
    """
    child = subprocess.Popen(["/bin/sh", "-c", "read go; exec sleep 0.05"], stdin=subprocess.PIPE)

    def sleep_in_child() -> None:
        child.communicate(b"go\n")
        assert child.returncode == 0

    outcome = trace(program, sleep_in_child, str(child.pid), until="^slept")
    slept = re.search(r"slept for (\d+) ms", outcome.stdout)
    assert slept and int(slept[1]) >= 50
    assert "@start" not in outcome.stdout  # what was deleted is not printed


def test_func_and_probe_in_a_block_with_several_probes():
    def workload() -> None:
        read_zero(2)
        with open("/dev/null", "wb", buffering=0) as file:
            file.write(b"x" * SIZE)

    program = """
        kprobe:vfs_read, kprobe:vfs_write /pid == $1 && arg2 == 12345/ { @[func] = count(); @p[probe] = count(); }
    """
    printed = set(trace(program, workload, ME).lines)
    assert {"@[vfs_read]: 2", "@[vfs_write]: 1", "@p[kprobe:vfs_read]: 2", "@p[kprobe:vfs_write]: 1"} <= printed


def test_wildcard(tmp_path):
    def workload() -> None:
        read_zero()
        (tmp_path / "a").touch()
        (tmp_path / "a").rename(tmp_path / "b")

    outcome = trace("kprobe:vfs_re* /pid == $1/ { @[func] = count(); }", workload, ME)
    # The guest's root is an overlay: what happens there happens once more in the file system under it.
    assert re.search(r"^@\[vfs_rename\]: [12]$", outcome.stdout, re.MULTILINE)
    assert re.search(r"^@\[vfs_read\]: \d+$", outcome.stdout, re.MULTILINE)
    attached = re.match(r"Attaching (\d+) probes", outcome.stdout)
    assert attached and int(attached[1]) >= 3


def test_wildcard_of_returns():
    outcome = trace("kretprobe:vfs_re* /pid == $1 && retval == 12345/ { @[probe] = count(); }", read_zero, ME)
    assert "@[kretprobe:vfs_read]: 1" in outcome.lines


def test_kernel_stack():
    outcome = trace("kprobe:vfs_read /pid == $1 && arg2 == 12345/ { @[kstack] = count(); }", lambda: read_zero(2), ME)
    stack = re.search(r"@\[\n(.*?)\]: 2\n", outcome.stdout, re.DOTALL)
    assert stack, outcome.stdout
    functions = [line.strip().split("+")[0] for line in stack[1].splitlines()]
    assert functions[0] == "vfs_read"
    assert "do_syscall_64" in functions


def test_kernel_stack_with_a_limit():
    outcome = trace("kprobe:vfs_read /pid == $1 && arg2 == 12345/ { @[kstack(2)] = count(); }", read_zero, ME)
    stack = re.search(r"@\[\n(.*?)\]: 1\n", outcome.stdout, re.DOTALL)
    assert stack and len(stack[1].splitlines()) == 2


def test_registers_and_symbols():
    program = """
        kprobe:do_nanosleep /pid == $1/ { printf("%s %d\\n", ksym(reg("ip")), kaddr("do_nanosleep") > 0); }
    """
    trace(program, sleep_a_little, ME, until=r"^do_nanosleep(\+\d+)? 1$")


def test_entry_with_offset():
    # Offset 0 is the function's start; the first instruction after it depends on the kernel's build.
    outcome = trace("kprobe:vfs_read+0 /pid == $1 && arg2 == 12345/ { @ = count(); }", read_zero, ME)
    assert "@: 1" in outcome.lines


def test_aggregates_of_arguments():
    program = """
        kprobe:vfs_read /pid == $1 && (arg2 == 6000 || arg2 == 10000)/ {
            @sum = sum(arg2); @avg = avg(arg2); @min = min(arg2); @max = max(arg2);
            @stats = stats(arg2); @hist = hist(arg2);
        }
    """

    def workload() -> None:
        read_zero(1, 6000)
        read_zero(1, 10000)

    outcome = trace(program, workload, ME)
    assert {"@sum: 16000", "@avg: 8000", "@min: 6000", "@max: 10000"} <= set(outcome.lines)
    assert "@stats: count 2, average 8000, total 16000" in outcome.lines
    assert re.search(r"^\[4K, 8K\) +1 \|@+\|$", outcome.stdout, re.MULTILINE)


def test_unknown_function_is_refused():
    outcome = run_command("-e", "kprobe:no_function_of_this_name { @ = count(); }")
    assert outcome.status == 1
    assert "no_function_of_this_name" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_names_that_begin_with_underscores_and_wildcards():
    """BCC would attach a C function named `kprobe__...` by itself."""
    program = """kprobe:__x64_sys_getpriority /pid == $1/ { @name = count(); }
        kprobe:*_x64_sys_getpriority /pid == $1/ { @wildcard = count(); }"""
    outcome = trace(program, lambda: os.getpriority(os.PRIO_PROCESS, 0), ME)
    assert outcome.lines[-2:] == ["@name: 1", "@wildcard: 1"]


def test_wildcard_without_a_match_is_refused():
    outcome = run_command("-e", "kprobe:no_function_of_this_name* { @ = count(); }")
    assert outcome.status == 1
    assert "no_function_of_this_name*" in outcome.stderr


def test_listing():
    outcome = run_command("-l", "kprobe:vfs_rea*")
    assert {"kprobe:vfs_read", "kprobe:vfs_readlink", "kprobe:vfs_readv"} <= set(outcome.lines)
    assert all(line.startswith("kprobe:vfs_rea") for line in outcome.lines)


def test_nothing_stays_behind():
    events = Path("/sys/kernel/tracing/kprobe_events")
    trace("kprobe:vfs_read /pid == $1/ { @ = count(); }", read_zero, ME)
    assert "vfs_read" not in events.read_text()


def test_ended_by_kill_leaves_nothing():
    with Session("-e", "kprobe:vfs_read { @ = count(); }") as session:
        session.wait_attached()
        session.process.kill()
        session.wait()
    assert "vfs_read" not in Path("/sys/kernel/tracing/kprobe_events").read_text()
