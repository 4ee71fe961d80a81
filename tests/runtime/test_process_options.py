"""Processes and commands that are not what -p and -c need, events that this machine does not have, and users without rights:
what they are told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bpftrace_py.runtime.features import Features
from tests.live import command, run, run_command


def refused(*arguments: str) -> str:
    outcome = run_command(*arguments)
    assert outcome.status == 1, outcome
    assert outcome.stdout == ""
    return outcome.stderr


def test_cpid_needs_a_command() -> None:
    said = refused("-e", "BEGIN { print(cpid); exit(); }")
    assert "`cpid` is the process of the command that -c starts, and there is none" in said
    assert "hint: -c 'COMMAND' starts one" in said


def test_a_pid_that_cannot_be_one() -> None:
    assert "there is no process with the id 99999999999" in refused("-p", "99999999999", "-e", "BEGIN { exit(); }")
    for text in ("0", "-1", "abc", ""):
        assert run_command("-p", text, "-e", "BEGIN { exit(); }").status == 2


def test_a_program_without_its_option() -> None:
    said = refused("BEGIN { exit(); }")
    assert "the script BEGIN { exit(); } cannot be read: no such file or directory" in said
    assert "hint: -e goes before a program that is not in a file" in said
    assert "hint" not in refused("no_such_script.bt")


def test_a_process_and_a_command_exclude_each_other() -> None:
    outcome = run_command("-p", "1", "-c", "true", "-e", "BEGIN { exit(); }")
    assert outcome.status == 2
    assert "error[E0802]: -c and -p cannot be used together" in outcome.stderr


def test_a_zombie_has_ended() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['true']); import os\n"
    code += "os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT); print(p.pid, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdin is not None
        pid = parent.stdout.readline().strip()
        assert f"the process {pid} has ended" in refused("-p", pid, "-e", "BEGIN { exit(); }")
        parent.stdin.close()


def test_a_kernel_thread_is_a_process() -> None:
    outcome = run_command("-p", "2", "-e", 'BEGIN { printf("goes on\\n"); exit(); }')
    assert outcome.status == 0 and "goes on" in outcome.lines


def test_a_command_that_is_no_program(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no program\n")
    assert "cannot be started: it is not executable" in refused("-c", str(text), "-e", "BEGIN { }")
    assert "cannot be started: it is a directory" in refused("-c", str(tmp_path), "-e", "BEGIN { }")


def test_a_rate_above_the_kernel_s_limit() -> None:
    limit = Path("/proc/sys/kernel/perf_event_max_sample_rate").read_text().strip()
    said = refused_to_attach("profile:hz:10000000 { }")
    assert f"the rate is above the kernel's limit of {limit} Hz (kernel.perf_event_max_sample_rate)" in said


def test_a_hardware_event_on_a_machine_that_does_not_count_it() -> None:
    if Features().hardware_events:
        pytest.skip("this machine has a PMU")
    assert "this machine does not count such events" in refused_to_attach("hardware:cache-misses:1000 { }")


def refused_to_attach(program: str) -> str:
    outcome = run(program)
    assert outcome.status == 1, outcome
    return outcome.stderr


def test_kernel_addresses_that_are_hidden() -> None:
    """As for root in a container without CAP_SYSLOG."""
    setpriv = shutil.which("setpriv")
    assert setpriv, "setpriv is of util-linux"
    drop = ["--bounding-set", "-syslog", "--inh-caps", "-syslog"]
    if set(_first_addresses([setpriv, *drop])) != {"0" * 16}:
        pytest.skip("this kernel shows its addresses to users without CAP_SYSLOG, too")
    program = "tracepoint:raw_syscalls:sys_enter { @[kstack(2)] = count(); exit(); }"
    outcome = run_command(*drop, command(), "-e", program, tool=setpriv)
    assert "warning[W0921]: the kernel does not tell this user where its functions are" in outcome.stderr
    assert "W0921" not in run_command(*drop, command(), "-e", "BEGIN { exit(); }", tool=setpriv).stderr
    assert "W0921" not in run(program).stderr


def _first_addresses(prefix: list[str]) -> list[str]:
    shown = subprocess.run([*prefix, "head", "-20", "/proc/kallsyms"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in shown.splitlines()]


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("tracepoint:sys_enter_openat", "did you mean `tracepoint:syscalls:sys_enter_openat`?"),
        ("tracepoint:sched", "did you mean `tracepoint:sched:*`?"),
        ("rawtracepoint:sched:sched_switch", "did you mean `rawtracepoint:sched_switch`?"),
        ("uprobe:./a.out", "for example: uprobe:/bin/bash:readline"),
        ("uprobe:./a.out:ns::f", 'put the name in quotes: uprobe:./a.out:"ns::f"'),
        ("uprobe:libcx:malloc", "did you mean `libc"),
    ],
)
def test_hints_for_wrong_specs(spec: str, hint: str) -> None:
    assert hint in refused("-e", spec + " { @ = count(); }")
