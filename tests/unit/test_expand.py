"""How attach points become programs: which targets share one, and of which kind it is."""

from __future__ import annotations

import pytest

from bpftrace_py.codegen import unit
from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import CompileError
from bpftrace_py.source import Source
from tests.fake_host import FakeHost


def compiled(text: str, host: FakeHost | None = None) -> unit.Unit:
    return compile_source(Source(text), Config(), host or FakeHost())


def kinds(found: unit.Unit) -> list[tuple[str, int]]:
    return [(p.kind, len(p.attachments)) for p in found.programs]


def test_a_tracepoint_without_args_is_raw() -> None:
    found = compiled("tracepoint:sched:sched_switch { @ = count(); }")
    assert kinds(found) == [("raw_tracepoint", 1)]
    assert isinstance(found.programs[0].attachments[0].target, unit.RawTracepoint)


@pytest.mark.parametrize("body", ["@ = sum(args->prev_pid)", "@[kstack] = count()", "@[ustack(3)] = count()"])
def test_a_tracepoint_with_args_or_stacks_is_not(body: str) -> None:
    assert kinds(compiled(f"tracepoint:sched:sched_switch {{ {body}; }}")) == [("tracepoint", 1)]


def test_few_system_calls_are_attached_one_by_one() -> None:
    assert kinds(compiled("tracepoint:syscalls:sys_enter_read, t:syscalls:sys_exit_read { @ = count(); }")) == [
        ("tracepoint", 2)
    ]


def test_many_system_calls_are_told_apart_by_number() -> None:
    found = compiled("tracepoint:syscalls:sys_* { @[probe] = count(); }")
    targets = [p.attachments[0].target for p in found.programs]
    assert sorted(t.event for t in targets if isinstance(t, unit.RawTracepoint)) == ["sys_enter", "sys_exit"]
    assert "tracepoint:syscalls:sys_enter_read" in found.probe_names
    assert "case 0:" in found.c_source  # read is number 0 on x86-64


def test_which_probe_by_cookie() -> None:
    found = compiled("kprobe:vfs_* { @[probe] = count(); }")
    (program,) = found.programs
    assert [found.probe_names[(a.cookie or 0) & 0xFFFFFFFF] for a in program.attachments] == [
        a.target.name for a in program.attachments
    ]
    assert len({a.cookie for a in program.attachments}) == len(program.attachments)


def test_a_map_whose_only_assignment_was_left_out_is_not_told_of() -> None:
    with pytest.raises(CompileError) as raised:
        compiled("kprobe:no_such_function { @ = count(); } interval:s:1 { print(@); clear(@no_map); }")
    assert [d.code for d in raised.value.diagnostics] == ["E0212"]


def test_a_missing_function_of_several_is_left_out() -> None:
    found = compiled("kprobe:vfs_read, kprobe:no_such_function { @ = count(); }")
    assert [a.target.name for p in found.programs for a in p.attachments] == ["kprobe:vfs_read"]
    assert found.warnings == ("the kernel has no function `no_such_function`",)
    with pytest.raises(CompileError):
        compiled("kprobe:no_such_function, kprobe:nor_this { @ = count(); }")


def test_fentry_stands_in_for_kprobes() -> None:
    host = FakeHost()
    host.has_fentry_only = True
    found = compiled("kprobe:vfs_read { @ = sum(arg2); } kretprobe:vfs_read { @r = hist(retval); }", host)
    assert kinds(found) == [("fentry", 1), ("fexit", 1)]
    assert [a.target.name for p in found.programs for a in p.attachments] == ["kprobe:vfs_read", "kretprobe:vfs_read"]
    assert "((u64 *)ctx)[2]" in found.c_source and "((u64 *)ctx)[4]" in found.c_source  # the third argument; the result


@pytest.mark.parametrize("program", ['kprobe:vfs_read { print(reg("ip")); }', "kprobe:vfs_read { print(sarg0); }"])
def test_fentry_has_no_registers(program: str) -> None:
    host = FakeHost()
    host.has_fentry_only = True
    assert kinds(compiled(program, host)) == [("kprobe", 1)]
