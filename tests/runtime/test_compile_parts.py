"""A long text compiled in parts is what it is compiled as one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.live_host import LiveHost
from bpftrace_py.runtime import bcc_backend
from bpftrace_py.runtime.compile_parts import PROGRAMS_WORTH_IT, compile_parts, split
from bpftrace_py.runtime.compiler_process import CompilerProcess
from bpftrace_py.source import Source

SYSCALLS = ("openat", "read", "write", "close", "dup", "lseek", "fsync", "newfstat")
TEXT = "\n".join(
    f'tracepoint:syscalls:sys_enter_{name} /pid > {i}/ {{ @{name}[comm] = hist(args->{field}); printf("}}\\n%d\\n", {i}); }}'
    for i, (name, field) in enumerate(
        zip(SYSCALLS, ("flags", "count", "count", "fd", "fildes", "offset", "fd", "fd"), strict=True)
    )
)


@pytest.fixture(scope="module")
def unit() -> tuple[str, tuple[str, ...]]:
    made = compile_source(Source(TEXT), Config(), LiveHost())
    return made.c_source, tuple(program.function for program in made.programs)


def test_a_part_for_each_cpu_but_none_too_small(unit: tuple[str, tuple[str, ...]]) -> None:
    text, functions = unit
    assert split(text, functions, 1) == [unit]
    assert split(text, functions[: 2 * PROGRAMS_WORTH_IT - 1], 9) == [(text, functions[: 2 * PROGRAMS_WORTH_IT - 1])]
    parts = split(text, functions, 9)
    assert len(parts) == 2
    assert sorted(f for _, mine in parts for f in mine) == sorted(functions)
    for part, mine in parts:
        assert {f for f in functions if f"\nint {f}(" in part} == set(mine)
        assert "TABLE(1, " in part and "count_lost" in part
        assert abs(len(part) - len(parts[0][0])) < len(text) / 4


def test_a_function_that_is_not_found_keeps_the_text_whole(unit: tuple[str, tuple[str, ...]]) -> None:
    text, functions = unit
    assert split(text, (*functions, "missing"), 2) == [(text, (*functions, "missing"))]


def test_the_parts_make_the_whole(unit: tuple[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    image, log = compile_parts(*unit)
    whole, whole_log = bcc_backend.compile_image(*unit)
    assert image.plain() == whole.plain()
    assert list(image.programs) == list(unit[1])
    assert log == whole_log == ""


def test_a_part_whose_process_dies_is_noticed(unit: tuple[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    fork, children = os.fork, []

    def forked() -> int:
        pid = fork()
        if pid:
            children.append(pid)
            os.kill(pid, signal.SIGKILL)
        return pid

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "fork", forked)
    with pytest.raises(EOFError):
        compile_parts(*unit)
    assert children and not Path(f"/proc/{children[0]}").exists()
    assert os.listdir("/proc/self/fd") == before


def test_by_the_compiler_beside_us(unit: tuple[str, tuple[str, ...]]) -> None:
    compiler = CompilerProcess()
    try:
        image, _ = compiler.compile(*unit)
    finally:
        compiler.close()
    assert image.plain() == bcc_backend.compile_image(*unit)[0].plain()
