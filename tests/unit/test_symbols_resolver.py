"""Text for values, from tables made here. What needs a kernel is in tests/runtime/test_symbolizer_live.py."""

from __future__ import annotations

import ctypes
import os
import struct
import time

import pytest

from bpftrace_py.symbols import resolver as module
from bpftrace_py.symbols.kernel import KernelSymbols
from bpftrace_py.symbols.resolver import Resolver
from bpftrace_py.symbols.stacks import StackReader
from bpftrace_py.types import StackType

BASE = 0xFFFFFFFF81000000
GONE = 100_000_001  # a pid that no kernel gives


@pytest.fixture
def resolver(tmp_path):
    (tmp_path / "kallsyms").write_text(f"{BASE:016x} T _text\n{BASE + 0x100:016x} T do_nanosleep\n")
    stacks = {1: (BASE + 0x105, BASE + 3), 2: (5, 0), 3: tuple(range(BASE, BASE + 100))}

    def lookup(stack):
        if stack not in stacks:
            return None
        frames = stacks[stack]
        return struct.pack(f"={len(frames) + 1}Q", len(frames), *frames).ljust(8 * 128, b"\0")

    result = Resolver(kernel_stack=lookup, user_stack=lookup, probe_names=("BEGIN", "END"), function_names=("f",))
    result.kernel = KernelSymbols(str(tmp_path / "kallsyms"))
    yield result
    result.close()


def test_symbols(resolver):
    assert resolver.kernel_symbol(BASE + 0x104) == "do_nanosleep"
    assert resolver.kernel_symbol(0x1234) == "0x1234"
    assert resolver.kernel_symbol(0) == "0"
    assert resolver.user_symbol(0x1234, GONE, 0) == "0x1234"
    assert resolver.user_symbol(0, GONE, 0) == "0"


def test_kernel_stacks(resolver):
    assert resolver.stack(StackType(False), 1, 0, 0) == "do_nanosleep+5\n_text+3"
    assert resolver.stack(StackType(False, "perf"), 1, 0, 0) == f"{BASE + 0x105:x} do_nanosleep+5\n{BASE + 3:x} _text+3"
    assert resolver.stack(StackType(False, "raw"), 1, 0, 0) == f"{BASE + 0x105:x}\n{BASE + 3:x}"
    assert resolver.stack(StackType(False, "bpftrace", 1), 1, 0, 0) == "do_nanosleep+5"
    assert resolver.stack(StackType(False), 2, 0, 0) == "0x5\n0"
    assert resolver.stack(StackType(False, limit=7), 3, 0, 0).count("\n") == 6


def test_user_stacks_of_an_unknown_process(resolver):
    assert resolver.stack(StackType(True), 2, GONE, 0) == "0x5\n0"
    assert resolver.stack(StackType(True, "perf"), 2, GONE, 0) == "5 0x5 ([unknown])\n0 0 ([unknown])"


def test_a_user_stack_whose_addresses_get_a_meaning(resolver):
    """As when a process loads a library between two stacks that are equal."""
    printf = ctypes.cast(ctypes.CDLL(None).printf, ctypes.c_void_p).value
    resolver.user_stacks = StackReader(lambda stack: struct.pack("=2Q", 1, printf))
    resolver.spaces.forked(GONE, GONE)
    assert resolver.stack(StackType(True), 5, GONE, 0) == f"0x{printf:x}"
    own = resolver.spaces.process(os.getpid(), ())
    where = resolver.spaces.mapping(own.programs[-1], printf)
    file = where.file
    resolver.spaces.mapped(GONE, *where[:3], file.device, file.inode, os.fsencode(file.path), time.monotonic_ns())
    assert resolver.stack(StackType(True), 5, GONE, 0).endswith("printf+0")


def test_no_stack_and_a_lost_one(resolver):
    for user in (False, True):
        assert resolver.stack(StackType(user), 0, 0, 0) == ""
        assert resolver.stack(StackType(user), 99, 0, 0) == "[stack lost]"
    assert resolver.kernel_stacks.missing == 1


def test_names(resolver):
    assert [resolver.probe_name(i) for i in (0, 1, 2)] == ["BEGIN", "END", ""]
    assert [resolver.function_name(i) for i in (0, 1)] == ["f", ""]
    assert resolver.username(0) == "root"
    assert resolver.username(4_000_000_001) == ""
    assert resolver.username(1 << 60) == ""


def test_error_names(resolver):
    assert resolver.error_name(2) == "No such file or directory"
    assert resolver.error_name(0) == "Success"
    assert resolver.error_name(999) == "Unknown error 999"
    assert resolver.error_name((1 << 64) - 1) == resolver.error_name((1 << 32) - 1) == "Unknown error -1"


@pytest.fixture
def in_kolkata(monkeypatch):
    monkeypatch.setenv("TZ", "IST-5:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_timestamps(resolver, in_kolkata):
    resolver.timestamp("", 0)
    resolver._clock._offset = 1_700_000_000_000_000_000  # 2023-11-14 22:13:20 UTC
    assert resolver.timestamp("%Y-%m-%d %H:%M:%S", 0) == "2023-11-15 03:43:20"
    assert resolver.timestamp("%H:%M:%S.%f", 1_234_567_891) == "03:43:21.234567"
    assert resolver.timestamp("%H:%M:%S.%f", 1_999_999_999) == "03:43:21.999999"
    assert resolver.timestamp("%H:%M:%S.%f", 2_000_000_000) == "03:43:22.000000"
    assert resolver.timestamp("%f %f", 5_000) == "000005 000005"
    assert resolver.timestamp("%%f %% %f%%", 0) == "%f % 000000%"
    assert resolver.timestamp("", 0) == ""
    assert resolver.timestamp("plain", 0) == "plain"


def test_the_clock_agrees_with_the_time_of_day(resolver):
    before = int(time.time() * 1000)
    shown = resolver.timestamp("%s%f", time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    assert before - 1 <= int(shown) // 1000 <= int(time.time() * 1000) + 1


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("unified", "unified", True), ("unified", "unifie", False), ("unified", "*", True), ("unified", "uni*", True),
        ("unified", "*fied", True), ("unified", "u*f*d", True), ("unified", "u*x*d", False), ("ab", "ab*b", False),
        ("cpu,cpuacct", "cpu*", True), ("memory", "u*", False), ("a.b", "a?b", False), ("aa", "*a*a*", True),
        ("a", "*a*a*", False),
    ],
)  # fmt: skip
def test_filters_of_cgroup_path(name, pattern, fits):
    assert module._fits(name, pattern) is fits


def test_cgroup_paths(resolver, tmp_path, monkeypatch):
    (tmp_path / "v2/system.slice/ssh service").mkdir(parents=True)
    (tmp_path / "v1").mkdir()
    monkeypatch.setattr(
        module, "_cgroup_mounts", lambda: {"memory": str(tmp_path / "v1"), "unified": str(tmp_path / "v2")}
    )
    service = (tmp_path / "v2/system.slice/ssh service").stat().st_ino
    assert resolver.cgroup_path("", service) == "unified:/system.slice/ssh service"
    assert resolver.cgroup_path("", (tmp_path / "v2").stat().st_ino) == "unified:/"
    assert resolver.cgroup_path("m*", (tmp_path / "v1").stat().st_ino) == "memory:/"
    assert resolver.cgroup_path("m*", service) == ""
    assert resolver.cgroup_path("", 1 << 62) == ""
    # One that is made later, and one that goes: what was seen is remembered.
    (tmp_path / "v2/late").mkdir()
    late = (tmp_path / "v2/late").stat().st_ino
    resolver._cgroups._walked = -1.0
    assert resolver.cgroup_path("", late) == "unified:/late"
    os.rmdir(tmp_path / "v2/late")
    assert resolver.cgroup_path("", late) == "unified:/late"


def test_mounts_are_read_from_the_kernel():
    assert all(os.path.isdir(place) for place in module._cgroup_mounts().values())
