"""Ctrl-C and its kin: the first ends a session in order, the second at once, and nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bpftrace_py.runtime.child import descendants
from tests.leftovers import Mark
from tests.live import Session, command, run, wait_until

PROGRAM = 'BEGIN { printf("begin\\n"); @ = 1; } END { printf("end\\n"); }'
# Detaching one probe of a process takes about a tenth of a second, so that a second signal finds it at work.
SLOW_TO_DETACH = "uprobe:libc:str*,uprobe:libc:mem* { @ = count(); }"


def programs() -> set[int]:
    """The ids of the BPF programs that any process on this machine has open."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/fdinfo/*"):
        try:
            match = re.search(r"^prog_id:\s*(\d+)$", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        if match:
            found.add(int(match[1]))
    return found


def own_programs(pid: int) -> set[int]:
    found = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        match = re.search(r"^prog_id:\s*(\d+)$", path.read_text(), re.MULTILINE)
        if match:
            found.add(int(match[1]))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_ends_it_in_order(number: int) -> None:
    with Session("-q", "-e", PROGRAM) as session:
        session.wait_for("^begin$")
        session.signal(number)
        done = session.wait()
    assert (done.status, done.stdout) == (0, "begin\nend\n\n\n@: 1\n")


def test_a_signal_is_heeded_at_once_when_nothing_happens() -> None:
    with Session("-q", "-e", "interval:s:1000 { @ = count(); }") as session:
        session.wait_attached()
        time.sleep(1)  # long enough for it to wait without looking
        assert session.interrupt().status == 0


def test_what_was_attached_is_gone() -> None:
    with Session("-q", "-e", "tracepoint:raw_syscalls:sys_enter { @ = count(); }") as session:
        session.wait_attached()
        mine = own_programs(session.pid)
        assert mine
        session.interrupt()
    assert not mine & programs()


def test_a_second_signal_ends_it_at_once() -> None:
    """While END runs a command, which goes with it, and so does what the command has started."""
    mark = Mark()
    program = f'interval:ms:10 {{ {mark.map} = count(); }} END {{ {mark.map} = count(); system("echo first; sleep 1000; true"); }}'
    with Session("-q", "-e", program, env=mark.env) as session:
        session.wait_attached()
        session.signal(signal.SIGINT)
        session.wait_for("^first$")
        assert session.process.poll() is None
        session.signal(signal.SIGINT)
        done = session.wait()
    assert done.status == 130
    assert "Traceback" not in done.stderr
    mark.assert_nothing_left()


def test_a_second_signal_takes_the_command_along() -> None:
    with Session("-q", "-c", "sleep 1000", "-e", 'BEGIN { printf("%d\\n", cpid); } ' + SLOW_TO_DETACH) as session:
        child = int(session.wait_for(r"^\d+$")[0])
        session.signal(signal.SIGINT)
        session.signal(signal.SIGINT)
        assert session.wait().status in (0, 130)
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{child}") and "Z" not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline, "the command outlived the session"
        time.sleep(0.01)


def test_the_signal_is_passed_on_to_the_command(tmp_path: Path) -> None:
    script = tmp_path / "command"
    script.write_text(f"#!/bin/sh\ntrap 'echo interrupted > {tmp_path}/out; exit' INT\necho ready\nwhile :; do :; done\n")
    script.chmod(0o755)
    # In no terminal's foreground: that would send it to the command, too.
    with Session(command(), "-q", "-c", str(script), "-e", "BEGIN { @ = 1; }", tool="setsid") as session:
        session.wait_for("^ready$")
        done = session.interrupt()
    assert (done.status, done.lines[-1]) == (0, "@: 1")
    assert (tmp_path / "out").read_text() == "interrupted\n"


def below(pid: int, name: str) -> str:
    """What /proc says under this name of each process that descends from `pid`."""
    texts = []
    for descendant in descendants(pid):
        try:
            texts.append(Path(f"/proc/{descendant}/{name}").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return "".join(texts)


def test_while_it_compiles_it_ends_quietly() -> None:
    with Session("--no-cache", "-q", "-e", PROGRAM) as session:
        wait_until(lambda: "libbcc.so" in below(session.pid, "maps") or "begin" in session.stdout)
        done = session.interrupt()
    # Before the session it ends as any command does; too late for the compiler, it may find the session running.
    assert done.status in (0, 130, -signal.SIGINT)
    assert done.stderr in ("", "__BPFTRACE_NOTIFY_PROBES_ATTACHED\n")
    assert done.status == 0 or done.stdout == ""


def test_nohup_is_respected() -> None:
    with Session("-q", "-e", PROGRAM, tool=None) as plain:
        plain.wait_for("^begin$")
        plain.interrupt()
    process = subprocess.Popen(["nohup", command(), "-q", "-e", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    try:
        assert process.stdout.readline() == "begin\n"
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stdout.read() == "end\n\n\n@: 1\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_head_ends_it_quietly() -> None:
    done = subprocess.run(
        ["bash", "-c", f"""{command()} -q -e 'interval:ms:1 {{ printf("line\\n"); }}' | head -n 3; echo ${{PIPESTATUS[0]}}"""],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("line\nline\nline\n0\n", "")


@pytest.mark.parametrize("command_line", ["exec sleep 1000", "sleep 1000; true", "(sleep 1000; true) & sleep 1000; true"])
def test_a_system_command_that_runs_is_ended_with_it(command_line: str) -> None:
    mark = Mark()
    with Session("-q", "-e", f'BEGIN {{ {mark.map} = 1; system("echo began; {command_line}"); }}', env=mark.env) as session:
        session.wait_for("^began$")
        assert session.interrupt().status == 0
    mark.assert_nothing_left()


def test_what_a_command_of_c_has_started_is_ended_with_it() -> None:
    mark = Mark()
    words = ["-q", "-c", "sh -c 'sleep 1000; true'", "-e", f'BEGIN {{ {mark.map} = 1; printf("began\\n"); }}']
    with Session(*words, env=mark.env) as session:
        session.wait_for("^began$")
        session.wait_attached()
        wait_until(lambda: "sleep\n" in below(session.pid, "comm"))
        assert session.interrupt().status == 0
    mark.assert_nothing_left()


def test_commands_that_make_the_events_they_are_for_do_not_keep_it_going() -> None:
    with Session("-e", 't:syscalls:sys_enter_execve { system("echo again"); }') as session:
        session.wait_attached()
        subprocess.run(["true"], check=True)
        session.wait_for("^again\nagain\nagain$")
        assert session.interrupt().status == 0


def test_commands_of_end_run_as_long_as_they_take() -> None:
    outcome = run('BEGIN { exit(); } END { system("sleep 0.7; echo done"); printf("after\\n"); }')
    assert outcome.lines[1:3] == ["done", "after"]


def test_commands_that_wait_behind_others_are_left_out_and_counted() -> None:
    with Session("-q", "-e", 'interval:ms:20 { @++; system("sleep 0.5; echo slept"); }') as session:
        session.wait_for("^slept$")
        outcome = session.interrupt()
    assert outcome.status == 0
    asked = int(re.search(r"^@: (\d+)$", outcome.stdout, re.MULTILINE)[1])
    left_out = int(re.search(r"^warning\[W0913\]: (\d+) commands of system\(\) were not run", outcome.stderr, re.MULTILINE)[1])
    assert 5 < left_out <= asked - outcome.lines.count("slept")
