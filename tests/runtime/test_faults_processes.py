"""Faults of processes: the traced ones die, are replaced, fork like mad; our own are killed, or there are many of them.

docs/reliability.md lists these tests.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.leftovers import Mark
from tests.live import Session, command, run_command
from tests.testprogs.build import program as built

_CLONE3 = 435  # the same on every architecture


@pytest.fixture
def mark() -> Iterator[Mark]:
    made = Mark()
    yield made
    made.assert_nothing_left()


@contextmanager
def running(*words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin
        process.stdin.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_leaves_nothing_behind(number: int, mark: Mark) -> None:
    blocks = "uprobe:libc:read, tracepoint:raw_syscalls:sys_enter, profile:hz:99, software:cs:1, interval:ms:10"
    program = f'BEGIN {{ printf("%d\\n", cpid); }} {blocks} {{ {mark.map} = count(); }}'
    with Session("-q", "-c", "sleep 1000", "-e", program, env=mark.env) as session:
        session.wait_attached()
        assert mark.maps() and len(mark.processes()) >= 2
        session.signal(number)
        assert session.wait().status == (-9 if number == signal.SIGKILL else 0)
    mark.assert_nothing_left()


def test_a_broken_pipe_leaves_nothing_behind(mark: Mark) -> None:
    program = f'interval:ms:1 {{ {mark.map} = count(); printf("line\\n"); }}'
    script = f'"$0" -q -c "sleep 1000" -e \'{program}\' | head -n 3; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", script, command()], capture_output=True, text=True, timeout=60, env={**os.environ, **mark.env}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "line\nline\nline\n", "")


def test_a_traced_process_dies(mark: Mark) -> None:
    with running(built("functions"), "0", "5") as process:
        program = f'uprobe:{built("functions")}:wild_one {{ {mark.map} = count(); printf("called\\n"); }} END {{ printf("end\\n"); }}'
        with Session("-q", "-p", str(process.pid), "-e", program, env=mark.env) as session:
            session.wait_for("called")
            process.kill()
            done = session.wait()
    assert (done.status, done.stderr) == (0, "")
    assert "\nend\n" in done.stdout and f"\n{mark.map}: " in done.stdout


def test_a_traced_process_is_replaced_by_exec(mark: Mark) -> None:
    """The process goes on under its id, and so does the session: probes in the new program's file fire, with its names."""
    target = built("functions")
    with running("sh", "-c", f'read go; exec "{target}" 0 5') as process:
        program = f'uprobe:{target}:wild_one {{ {mark.map} = count(); printf("%s %s\\n", comm, ustack(1)); }}'
        with Session("-q", "-p", str(process.pid), "-e", program, env=mark.env) as session:
            session.wait_attached()
            assert session.stdout == ""
            assert process.stdin
            process.stdin.write(b"go\n")
            session.wait_for(r"^functions \n\s+wild_one\+0")
            process.kill()
            done = session.wait()
    assert (done.status, done.stderr) == (0, "")


def test_the_binary_of_a_traced_process_is_deleted(mark: Mark, tmp_path: Path) -> None:
    """The file lives on as long as the process does: probes go on to fire, and have their names."""
    copy = shutil.copy(built("functions"), tmp_path / "copy")
    with running(copy, "0", "5") as process:
        program = f'uprobe:{copy}:wild_one {{ {mark.map}++; printf("%d %s\\n", {mark.map}, ustack(1)); }}'
        with Session("-q", "-p", str(process.pid), "-e", program, env=mark.env) as session:
            session.wait_for(r"^1 \n\s+wild_one\+0")
            os.unlink(copy)
            seen = session.stdout.count("wild_one")
            session.wait_for(rf"^{seen + 20} \n\s+wild_one\+0")
            done = session.interrupt()
    assert (done.status, done.stderr) == (0, "")


def test_a_binary_that_is_deleted_before_it_is_attached_to(mark: Mark, tmp_path: Path) -> None:
    copy = shutil.copy(built("functions"), tmp_path / "copy")
    with running(copy, "0", "5") as process:
        os.unlink(copy)
        done = run_command(
            "-p", str(process.pid), "-e", f"uprobe:{copy}:wild_one {{ {mark.map} = count(); }}", env=mark.env
        )
        assert done.status == 1
        assert f"error[E0216]: `{copy}` does not exist\n" in done.stderr
        program = f"uprobe:/proc/{process.pid}/exe:wild_one {{ {mark.map} = count(); exit(); }}"
        done = run_command("-q", "-p", str(process.pid), "-e", program, env=mark.env)
        assert (done.status, done.stdout.strip()[:-1]) == (0, f"{mark.map}: "), "the kernel still has it there"


def test_a_command_that_cannot_start(mark: Mark, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("\x7fELF and no more")
    wrong.chmod(0o755)
    for name, reason in (
        ("/no/such", "no such file or directory"),
        (wrong, "it is neither a program for this machine nor a script that begins with `#!` (`-c 'sh SCRIPT'` runs one that does not)"),
        (tmp_path, "it is a directory"),
    ):
        done = run_command("-c", str(name), "-e", f"BEGIN {{ {mark.map} = 1; }}", env=mark.env)
        assert (done.status, done.stdout) == (1, "")
        assert done.stderr == f"error[E0809]: the command {name} of -c cannot be started: {reason}\n"
        mark.assert_nothing_left()


def with_id(pid: int, words: list[str]) -> bool:
    """Start a process that has this id: False if another has taken it."""
    holder = (ctypes.c_int * 1)(pid)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size
    arguments = ctypes.create_string_buffer(
        struct.pack("=10Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(holder), 1)
    )
    libc = ctypes.CDLL(None, use_errno=True)
    made = libc.syscall(ctypes.c_long(_CLONE3), ctypes.c_void_p(ctypes.addressof(arguments)), ctypes.c_long(80))
    if made == 0:
        os.execv(words[0], words)
    return made == pid


def test_the_id_of_a_traced_process_is_used_again(mark: Mark) -> None:
    """While we do not look, the process ends and another one gets its id: it is not taken for the first."""
    target = str(built("functions"))
    for _ in range(20):
        with running("sleep", "1000") as process:
            program = f'uprobe:{target}:wild_one {{ {mark.map} = count(); }} END {{ printf("end\\n"); }}'
            with Session("-q", "-p", str(process.pid), "-e", program, env=mark.env) as session:
                session.wait_attached()
                session.signal(signal.SIGSTOP)
                process.kill()
                process.wait()
                reused = with_id(process.pid, [target, "0", "5"])
                session.signal(signal.SIGCONT)
                done = session.wait()
                assert done.status == 0 and done.stdout.startswith("end\n")
            if reused:
                os.kill(process.pid, 0)  # and it was left alone
                os.kill(process.pid, signal.SIGKILL)
                os.waitpid(process.pid, 0)
                return
    pytest.fail("the id was never free")


FORKS = """
import os
for _ in range(2000):
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_a_fork_storm_of_the_command(mark: Mark, tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(FORKS)
    program = (
        f"tracepoint:sched:sched_process_fork /pid == cpid/ {{ {mark.map}[ustack(1)] = count(); @forks = count(); }}"
    )
    done = run_command("-q", "-c", f"{sys.executable} {script}", "-e", program, env=mark.env)
    assert done.status == 0 and done.stderr.replace("__BPFTRACE_NOTIFY_PROBES_ATTACHED\n", "") == ""
    assert "@forks: 2000\n" in done.stdout


def test_a_fork_storm_around_a_traced_process(mark: Mark, tmp_path: Path) -> None:
    """Processes come and go by thousands, each with a map of its memory to be remembered: counts stay exact."""
    script = tmp_path / "forks.py"
    script.write_text(f"input()\n{FORKS}")
    with running(sys.executable, script) as process:
        program = f"""uprobe:libc:_exit {{ {mark.map}[usym(reg("ip"))] = count(); }}
            tracepoint:sched:sched_process_exit {{ @ended = count(); }}"""
        with Session("-q", "-p", str(process.pid), "-e", program, env=mark.env) as session:
            session.wait_attached()
            assert process.stdin
            process.stdin.write(b"\n")
            process.wait(60)
            done = session.wait()
    assert done.status == 0 and "Traceback" not in done.stderr
    assert int(done.stdout.partition("@ended: ")[2].split()[0]) >= 2000


def test_many_instances_at_once(mark: Mark, tmp_path: Path) -> None:
    """All compile the same program for the first time, at the same time, into the same cache."""
    program = f'BEGIN {{ {mark.map} = $1; printf("%d\\n", $1); }} interval:ms:50 {{ {mark.map} += 0; exit(); }}'
    environment = {**mark.env, "XDG_CACHE_HOME": str(tmp_path)}
    sessions = [Session("-q", "-e", program, str(7), env=environment) for _ in range(6)]
    for session in sessions:
        with session:
            done = session.wait()
            assert (done.status, done.stdout) == (0, f"7\n\n\n{mark.map}: 7\n"), done.stderr
    names = os.listdir(tmp_path / "bpftrace-py")
    assert names and all(len(name) == 64 for name in names), "no half-written entry stays"


def test_a_stopped_session_that_goes_on_has_lost_nothing_silently(mark: Mark) -> None:
    """Ctrl-Z for a while: what found no room meanwhile is counted."""
    program = f'tracepoint:syscalls:sys_enter_getpgid /comm == "producer"/ {{ {mark.map} = count(); printf("%d\\n", args->pid); }}'
    with Session("-q", "-e", program, env={**mark.env, "BPFTRACE_RING_BYTES": "65536"}) as session:
        session.wait_attached()
        session.signal(signal.SIGSTOP)
        subprocess.run([built("producer"), "20000"], input=b"\n", check=True, stdout=subprocess.DEVNULL)
        session.signal(signal.SIGCONT)
        time.sleep(0.2)
        done = session.interrupt()
    printed = sum(line.isdigit() for line in done.lines)
    assert f"{mark.map}: 20000" in done.stdout
    assert f"lost {20000 - printed} events: they came faster than they could be printed" in done.stderr


def test_the_current_directory_is_deleted(mark: Mark, tmp_path: Path) -> None:
    """BCC, clang and the search for headers ask for it."""
    gone = tmp_path / "gone"
    program = f"#include <linux/in.h>\nstruct a {{ int x; }}; BEGIN {{ {mark.map} = sizeof(struct a) + AF_INET; exit(); }}"
    for arguments in (["-e", program], ["-c", "true", "-e", program]):
        gone.mkdir()
        script = 'cd "$0" && rmdir "$0" && exec "$@"'
        done = subprocess.run(
            ["/bin/bash", "-c", script, str(gone), command(), "--no-cache", *arguments],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, f"{mark.map}: 6" in done.stdout) == (0, True), done.stderr
    gone.mkdir()
    done = subprocess.run(
        ["/bin/bash", "-c", script, str(gone), command(), "--include", "a.h", "-e", program],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "error[E0351]" in done.stderr) == (1, True)
