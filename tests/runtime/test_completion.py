"""Completion in real shells: keys typed at a terminal, and what the shell makes of them."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import time
from pathlib import Path

import pytest

from bpftrace_py.cli import USAGE
from tests.live import TIME_LIMIT
from tests.live import command as installed

COMPLETIONS = Path(__file__).resolve().parents[2] / "completions"
PROMPT = "ready> "


class Shell:
    """An interactive shell at a terminal of its own."""

    def __init__(self, name: str, directory: Path) -> None:
        self._text = ""
        environment = {
            "PATH": f"{Path(installed()).parent}:{os.environ['PATH']}", "HOME": str(directory), "TERM": "dumb", "PS1": PROMPT,
            "INPUTRC": "/dev/null", "ZDOTDIR": str(directory), "BASH_SILENCE_DEPRECATION_WARNING": "1", "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        if name == "bash":
            (directory / "rc").write_text(f"PS1='{PROMPT}'\nsource {COMPLETIONS / 'bpftrace-py.bash'}\n")
            arguments = ["bash", "--noprofile", "--rcfile", str(directory / "rc"), "-i"]
        else:
            (directory / ".zshrc").write_text(
                f"fpath=({COMPLETIONS} $fpath)\nautoload -U compinit\ncompinit -u -D\nPS1='{PROMPT}'\nunsetopt zle_bracketed_paste\n"
            )
            arguments = ["zsh", "-d", "-i"]
        path = shutil.which(name)
        assert path, f"{name} is not installed: run `make setup`"
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(directory)
            os.execve(path, arguments, environment)
        self._wait_for(re.escape(PROMPT))

    def _wait_for(self, pattern: str) -> str:
        """What was printed so far, once it matches."""
        deadline = time.monotonic() + TIME_LIMIT
        while not re.search(pattern, self._text):
            assert time.monotonic() < deadline, f"{pattern!r} did not come in {self._text!r}"
            if select.select([self._terminal], [], [], 0.2)[0]:
                self._text += os.read(self._terminal, 1 << 12).decode()
        return self._text

    def complete(self, typed: str, pattern: str) -> str:
        """Type this and TAB: what is printed by the time it matches."""
        self._text = ""
        os.write(self._terminal, typed.encode() + b"\t")
        return self._wait_for(pattern)

    def close(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    started = Shell(request.param, tmp_path)
    yield started
    started.close()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("bpftrace-py -l tracepoint:sched:sched_process_for", r"sched_process_fork"),
        ("bpftrace-py -l 'tracepoint:sched:sched_process_for", r"'tracepoint:sched:sched_process_fork"),
        ("bpftrace-py -e 'tracepoint:sched:sched_process_for", r"'tracepoint:sched:sched_process_fork"),
        (
            "bpftrace-py -e 'BEGIN { exit(); } tracepoint:sched:sched_process_for",
            r"exit\(\); } tracepoint:sched:sched_process_fork",
        ),
        ("bpftrace-py -e 'rawtr", r"'rawtracepoint:"),
        ("bpftrace-py --usdt", r"--usdt-file-activation"),
        ("bpftrace-py -B fu", r"-B full"),
        ("bpftrace-py -f js", r"-f json"),
        ("bpftrace-py -f fla", r"-f flamegraph"),
        ("bpftrace-py --export pro", r"--export prometheus:"),
        ("bpftrace-py -I sub", r"-I subdirectory/"),
        ("bpftrace-py -p 99999999", r"-p 99999999"),
        ("bpftrace-py -c hostna", r"-c hostna\x07?me"),  # the bell: there may be several that begin so
    ],
)
def test_completion(shell: Shell, typed: str, completed: str, tmp_path: Path) -> None:
    (tmp_path / "subdirectory").mkdir()
    shell.complete(typed, completed)


def test_a_script_is_completed_as_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "opensnoop.bt").write_text("BEGIN { exit(); }\n")
    shell.complete("bpftrace-py opensn", r"opensnoop\.bt")


@pytest.mark.parametrize("file", ["bpftrace-py.bash", "_bpftrace-py"])
def test_every_option_is_there(file: str) -> None:
    text = (COMPLETIONS / file).read_text(encoding="utf-8")
    section = USAGE.partition("OPTIONS:\n")[2].partition("ENVIRONMENT:")[0]
    options = set(re.findall(r"^    (-\S+?)(?:,|\s|$)", section, re.MULTILINE)) | set(re.findall(r"--[a-z-]+", section))
    assert len(options) > 20
    for option in options - {"-dd", "-kk"}:  # zsh has them as repetitions
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), option
