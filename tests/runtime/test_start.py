"""What a start imports, and how the command finds its modules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import run_command

OPENS = "tracepoint:syscalls:sys_enter_openat { @[comm, str(args->filename)] = count(); exit(); }"
MAPS = (
    'BEGIN { @a[1, "x"] = sum(1); @b = avg(2); @c = hist(3); @d[comm] = lhist(4, 0, 9, 1); '
    'printf("%d %s\\n", pid, comm); print(@a); exit(); }'
)
SLOW = {
    "site", "typing", "re", "inspect", "dataclasses", "click", "ply", "bcc", "elftools", "json", "subprocess",
    "collections", "contextlib", "enum", "functools", "signal", "threading",
}  # fmt: skip


def script() -> str:
    """The installed command, as the interpreter reads it."""
    return str(Path(sys.executable).with_name("bpftrace-py"))


@pytest.mark.parametrize("program", [OPENS, MAPS])
def test_a_warm_start_imports_nothing_slow(program: str, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    python = str(Path(script()).with_name("python3"))
    imported: list[set[str]] = []
    for _ in range(2):
        done = subprocess.run(
            [python, "-S", "-X", "importtime", script(), "-e", program],
            env=environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        imported.append(set(re.findall(r"^import time:[^|]+\|[^|]+\| *(\S+)$", done.stderr, re.MULTILINE)))
    cold, warm = imported
    assert {"ply.yacc", "bpftrace_py.compiler"} <= cold
    assert not cold & {"bcc", "typing", "inspect"}  # BCC is for a process of its own
    assert "site" not in cold, "something was not found without it"
    assert not {name for name in warm if name.partition(".")[0] in SLOW}
    assert "bpftrace_py.runtime.session" in warm
    assert "bpftrace_py.messages.registry" not in warm  # nothing is said


def test_it_is_called_what_it_is_called() -> None:
    assert run_command("-q", "-e", 'BEGIN { printf("%s\\n", comm); exit(); }', tool=script()).lines[0] == "bpftrace-py"


@pytest.mark.parametrize("started", ["link", "relative", "sh"])
def test_however_it_is_started(started: str, tmp_path: Path) -> None:
    if started == "link":
        (tmp_path / "bpftrace-py").symlink_to(script())
        words = [str(tmp_path / "bpftrace-py")]
    else:
        words = ["./bpftrace-py"] if started == "relative" else ["/bin/sh", "bpftrace-py"]
    done = subprocess.run(
        [*words, "-d", "-e", "BEGIN { exit(); }"],
        cwd=Path(script()).parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "int BEGIN(" in done.stdout


def test_where_modules_are_not_where_they_use_to_be_site_finds_them(tmp_path: Path) -> None:
    """A copy of the script in a directory of its own, with the virtual environment's interpreter beside it."""
    (tmp_path / "bin").mkdir()
    copy = tmp_path / "bin/bpftrace-py"
    copy.write_text(Path(script()).read_text())
    copy.chmod(0o755)
    (tmp_path / "bin/python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "bin/python3").chmod(0o755)
    done = subprocess.run([copy, "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("bpftrace-py "), done.stderr
