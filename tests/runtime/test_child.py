"""The command of -c: it stands at its first instruction until it is let go, and is never left behind."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bpftrace_py.diagnostics import HostError
from bpftrace_py.runtime.child import Child, open_process, probes_look_into
from tests.live import wait_until


def state(pid: int) -> str:
    """The letter of a process's state, "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def run_to_its_end(child: Child) -> None:
    child.start()
    assert select.select([child.pidfd], [], [], 20)[0]
    assert child.ended


def code(error: pytest.ExceptionInfo[HostError]) -> str:
    return error.value.diagnostics[0].code


def test_it_stands_at_its_first_instruction(tmp_path: Path) -> None:
    child = Child(f"touch {tmp_path}/made")
    try:
        assert state(child.pid) == "t"
        # The new image is mapped, and the dynamic loader has not yet mapped any library.
        maps = Path(f"/proc/{child.pid}/maps").read_text()
        assert os.path.realpath("/bin/touch") in maps
        assert "libc.so" not in maps
        assert not (tmp_path / "made").exists()
        run_to_its_end(child)
        assert (tmp_path / "made").exists()
    finally:
        child.close()


def test_it_may_stand_before_it_is_executed(tmp_path: Path) -> None:
    child = Child(f"touch {tmp_path}/made", executed=False)
    try:
        assert state(child.pid) == "t"
        assert os.readlink(f"/proc/{child.pid}/exe") == os.readlink("/proc/self/exe")
        assert not (tmp_path / "made").exists()
        run_to_its_end(child)
        assert (tmp_path / "made").exists()
    finally:
        child.close()


@pytest.mark.parametrize("text", ["\x7fELF and no more", "#!/no/such/interpreter\n", "text"])
def test_what_may_not_be_executable_is_tried_at_once(tmp_path: Path, text: str) -> None:
    odd = tmp_path / "odd"
    odd.write_text(text)
    odd.chmod(0o755)
    with pytest.raises(HostError) as error:
        Child(str(odd), executed=False)
    assert code(error) == "E0809"


def test_a_command_that_goes_away_before_it_is_executed(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copy("/bin/true", copy)
    child = Child(str(copy), executed=False)
    copy.unlink()
    with pytest.raises(HostError) as error:
        child.start()
    child.close()
    assert code(error) == "E0809"
    assert "no such file or directory" in error.value.diagnostics[0].text


def test_its_signals_are_those_of_a_new_program(tmp_path: Path) -> None:
    child = Child(f"sh -c 'grep Sig /proc/self/status > {tmp_path}/out'", executed=False)
    child.start()
    wait_until(lambda: child.ended)
    child.close()
    ignored = next(line for line in (tmp_path / "out").read_text().splitlines() if line.startswith("SigIgn"))
    assert not int(ignored.split()[1], 16) & 1 << signal.SIGPIPE - 1


@pytest.mark.parametrize(
    "program, expected",
    [
        ("t:syscalls:sys_enter_execve { }", False), ("BEGIN { print(1); }", False), ("k:vfs_read { }", False),
        ("usdt::x { }", True), ("END { } U:/a:b { }", True), ("uprobe:/bin/sh:main { }", True), ("ur :a:b { }", True),
    ],
)  # fmt: skip
def test_which_programs_look_into_it(program: str, expected: bool) -> None:
    assert probes_look_into(program) == expected


def test_words_are_split_as_a_shell_does(tmp_path: Path) -> None:
    child = Child(f"""sh -c 'printf %s "$1" > {tmp_path}/out' sh "two words" """)
    child.start()
    wait_until(lambda: child.ended)
    child.close()
    assert (tmp_path / "out").read_text() == "two words"


@pytest.mark.parametrize(("command", "status"), [("true", 0), ("sh -c 'exit 7'", 7), ("sh -c 'kill -SEGV $$'", -11)])
def test_how_it_ended(command: str, status: int) -> None:
    child = Child(command)
    try:
        assert child.exit_status is None
        child.start()
        wait_until(lambda: child.ended)
        assert child.exit_status == status
    finally:
        child.close()


def test_what_we_ended_tells_no_status() -> None:
    child = Child("sleep 100")
    child.start()
    child.signal(signal.SIGKILL)
    wait_until(lambda: child.ended)
    assert child.exit_status is None
    child.close()


def test_why_a_command_cannot_be_executed(tmp_path: Path) -> None:
    files = {"text": "echo x\n", "interpreter": "#!/no/such/interpreter -x\n", "not_executable": ""}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600 if name == "not_executable" else 0o700)
    expected = {
        f"{tmp_path}/text": "neither a program for this machine nor a script that begins with `#!`",
        f"{tmp_path}/interpreter": "its interpreter /no/such/interpreter -x does not exist",
        f"{tmp_path}/not_executable": "it is not executable",
        f"{tmp_path}/missing": "no such file or directory",
        str(tmp_path): "it is a directory",
        "no_such_command_anywhere": "there is no such command in PATH",
    }
    for command, reason in expected.items():
        for executed in (True, False):
            with pytest.raises(HostError) as caught:
                Child(command, executed=executed)
            assert code(caught) == "E0809" and reason in caught.value.diagnostics[0].text


def test_one_that_was_never_started_does_nothing(tmp_path: Path) -> None:
    child = Child(f"touch {tmp_path}/made")
    child.close()
    assert state(child.pid) == ""
    assert not (tmp_path / "made").exists()


def test_closing_ends_it() -> None:
    child = Child("sleep 1000")
    child.start()
    child.close()
    assert state(child.pid) == ""


def test_closing_ends_one_that_ignores_sigterm(tmp_path: Path) -> None:
    child = Child(f"""sh -c 'trap "" TERM; touch {tmp_path}/ready; while :; do sleep 0.1; done'""")
    child.start()
    wait_until((tmp_path / "ready").exists)
    child.close()
    assert state(child.pid) == ""


def test_signals_are_passed_on(tmp_path: Path) -> None:
    child = Child(f"""sh -c 'trap "touch {tmp_path}/got; exit" INT; touch {tmp_path}/ready; while :; do sleep 0.1; done'""")
    child.start()
    wait_until((tmp_path / "ready").exists)
    child.signal(signal.SIGINT)
    wait_until(lambda: child.ended)
    child.close()
    assert (tmp_path / "got").exists()


@pytest.mark.parametrize(
    "command, expected",
    [("", "E0807"), ("   ", "E0807"), ("echo 'open", "E0808"), ("/no/such/program", "E0809"), ("no-such-program-here", "E0809"),
     ("/tmp", "E0809"), ("/etc/passwd", "E0809")],
)  # fmt: skip
def test_what_cannot_be_started_is_said(command: str, expected: str) -> None:
    with pytest.raises(HostError) as error:
        Child(command)
    assert code(error) == expected


@pytest.mark.parametrize("start", ["", "child.start()"])
def test_it_does_not_outlive_us(start: str) -> None:
    """Killed, we cannot clean up: the kernel does."""
    script = f"""
import os, signal
from bpftrace_py.runtime.child import Child
child = Child("sleep 1000")
{start}
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    wait_until(lambda: state(pid) in ("", "Z"))


def test_a_process_that_ends_is_noticed() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    fd = open_process(process.pid)
    assert not select.select([fd], [], [], 0)[0]
    process.kill()
    process.wait()
    assert select.select([fd], [], [], 20)[0]
    os.close(fd)


def test_no_such_process() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(HostError) as error:
        open_process(process.pid)
    assert code(error) == "E0810"


def test_a_thread_is_not_a_process() -> None:
    release, ids = threading.Event(), []
    started = threading.Event()

    def work() -> None:
        ids.append(threading.get_native_id())
        started.set()
        release.wait()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    try:
        with pytest.raises(HostError) as error:
            open_process(ids[0])
    finally:
        release.set()
        thread.join()
    assert code(error) == "E0811"
    assert f"-p {os.getpid()}" in (error.value.diagnostics[0].hint or "")
