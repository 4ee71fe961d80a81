"""kprobes and kretprobes by fentry and fexit, as on a kernel that was built without kprobes: real programs on this kernel,
compiled for a host that says so. (No switch takes kprobes away from a running kernel and leaves it fentry.)"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bpftrace_py.codegen.unit import Fentry, Unit
from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import CompileError
from bpftrace_py.live_host import LiveHost
from bpftrace_py.output.text import TextOutput
from bpftrace_py.runtime.session import Session, SessionWriter
from bpftrace_py.source import Source

ME = os.getpid()
SIZE = 12345


class WithoutKprobes(LiveHost):
    def fentry_for_kprobes(self) -> bool:
        return True


def compiled(program: str) -> Unit:
    return compile_source(Source(program), Config(), WithoutKprobes())


def traced(program: str, workload: Callable[[], object], path: Path) -> list[str]:
    """What the program prints, all of whose probes must be fentry or fexit."""
    unit = compiled(program)
    targets = [attachment.target for spec in unit.programs for attachment in spec.attachments]
    assert targets and all(isinstance(target, Fentry) for target in targets), targets
    out = path / "out"
    fd = os.open(out, os.O_WRONLY | os.O_CREAT)
    session = Session(unit, Config(), lambda texts: TextOutput(SessionWriter(fd), texts))
    try:
        session.start()
        assert session.attached is not None and session.attached.failures == []
        workload()
        session.request_stop()
        assert session.run(60)
        session.finish()
    finally:
        session.close()
        os.close(fd)
    return out.read_text().splitlines()


def read_zero(times: int = 1) -> None:
    with open("/dev/zero", "rb", buffering=0) as file:
        for _ in range(times):
            file.read(SIZE)


def test_arguments(tmp_path):
    lines = traced(f"kprobe:vfs_read /pid == {ME}/ {{ @[arg2, func] = count(); }}", lambda: read_zero(3), tmp_path)
    assert f"@[{SIZE}, vfs_read]: 3" in lines


def test_return_value(tmp_path):
    lines = traced(f"kretprobe:vfs_read /pid == {ME}/ {{ @[retval, probe] = count(); }}", lambda: read_zero(2), tmp_path)
    assert f"@[{SIZE}, kretprobe:vfs_read]: 2" in lines


def test_a_record_behind_an_argument(tmp_path):
    program = f"kprobe:vfs_open /pid == {ME}/ {{ @[str(((struct path *)arg0)->dentry->d_name.name)] = count(); }}"
    lines = traced(program, (tmp_path / "opened_by_this_test").touch, tmp_path)
    assert "@[opened_by_this_test]: 1" in lines


def test_a_wildcard_tells_its_functions_apart(tmp_path):
    def workload() -> None:
        read_zero()
        with open("/dev/null", "wb", buffering=0) as file:
            file.write(b"x" * SIZE)

    program = f"kprobe:vfs_rea*, kprobe:vfs_write /pid == {ME} && arg2 == {SIZE}/ {{ @[func] = count(); }}"
    assert {"@[vfs_read]: 1", "@[vfs_write]: 1"} <= set(traced(program, workload, tmp_path))


def test_the_time_between_call_and_return(tmp_path):
    program = f"""
        kprobe:vfs_read /pid == {ME}/ {{ @start[tid] = nsecs; }}
        kretprobe:vfs_read /@start[tid]/ {{ @longer = min(nsecs - @start[tid]); delete(@start[tid]); }}
    """
    (line,) = [line for line in traced(program, read_zero, tmp_path) if line.startswith("@longer: ")]
    assert int(line.partition(": ")[2]) > 0


def test_a_function_of_a_module(tmp_path):
    lines = traced(f"kprobe:ovl_open /pid == {ME}/ {{ @[func] = count(); }}", Path(__file__).read_bytes, tmp_path)
    assert "@[ovl_open]: 1" in lines


@pytest.mark.parametrize("block", ['{ print(reg("ip")); }', "{ print(sarg0); }"])
def test_what_reads_registers_stays_a_kprobe(block):
    (spec,) = compiled(f"kprobe:vfs_read {block}").programs
    assert spec.kind == "kprobe"


def test_an_offset_stays_a_kprobe():
    (spec,) = compiled("kprobe:vfs_read+1 { exit(); }").programs
    assert spec.kind == "kprobe"


def test_a_return_value_is_not_there_at_the_entry():
    with pytest.raises(CompileError):
        compiled("kprobe:vfs_read { print(retval); }")
