"""The examples in the tables of the language, each of which is in docs/language.md: compiled, and run where they can attach."""

from __future__ import annotations

import importlib.util
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bpftrace_py import transpile
from bpftrace_py.language.builtins import BUILTINS, find
from bpftrace_py.language.functions import FUNCTIONS
from bpftrace_py.language.probe_types import PROBE_TYPES
from bpftrace_py.runtime.features import Features
from tests.fake_host import FakeHost
from tests.live import Session, run_command
from tests.testprogs.build import program as traced_program

ROOT = Path(__file__).resolve().parents[2]
NUMBERED = [found for name in ("arg0", "sarg0") if (found := find(name)) is not None]
EXAMPLES = {
    **{f"builtin {b.name}": b.example for b in (*BUILTINS.values(), *NUMBERED)},
    **{f"function {f.name}": f.example for f in FUNCTIONS.values()},
    **{f"probe {p.name}": p.example for p in PROBE_TYPES.values()},
}


def _type_into_bash() -> None:
    """An interactive shell, whose readline() returns one line."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "-i"])
    os.write(terminal, b"exit 0\n")
    try:
        while os.read(terminal, 1 << 12):
            pass
    except OSError:  # EIO: it has gone
        pass
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)


def _cat() -> None:
    subprocess.run(["/bin/cat", "/etc/hostname"], check=True, capture_output=True)


def _victim() -> None:
    """A process of that name that calls kill()."""
    script = "open('/proc/self/comm', 'w').write('victim'); import os; os.kill(os.getpid(), 0)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL


def _sleep() -> None:
    subprocess.run(["/bin/sleep", "0.01"], check=True)


def _page_faults() -> None:
    subprocess.run([sys.executable, "-c", "bytearray(64 << 20)"], check=True)


def _compute() -> None:
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass


def _nothing() -> None:
    pass


def _packet() -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("127.0.0.1", 9))


NUMBER = r"^\d+$"

# What each example prints, and for those that do not end by themselves what makes their events happen.
PRINTS: dict[str, str | tuple[str, Callable[[], None]]] = {
    **{f"builtin {name}": NUMBER for name in ("pid", "tid", "uid", "gid", "numaid", "cgroup", "cpid")},
    **{f"builtin {name}": "^1$" for name in ("nsecs", "elapsed", "cpu", "curtask", "rand")},
    "builtin username": r"^root$",
    "builtin comm": "^bpftrace-py$",
    "builtin kstack": r"\]: \d+$",
    "builtin ustack": r"\]: \d+$",
    "builtin retval": ("^exit 0$", _type_into_bash),
    "builtin func": (r"^@\[vfs_\w+\]: \d+$", _cat),
    "builtin probe": "^BEGIN$",
    "builtin ctx": "^[01]$",
    "builtin args": ("^/etc/hostname$", _cat),
    "builtin arg0": (r"^-?\d+$", _type_into_bash),
    "builtin sarg0": (r"^-?\d+$", _type_into_bash),
    "function printf": r"^\d+ bpftrace-py$",
    "function print": r"^\(1, bpftrace-py\)$",
    "function time": r"^\d\d:\d\d:\d\d$",
    "function join": ("^/bin/cat /etc/hostname$", _cat),
    "function cat": r"^[\d.]+ [\d.]+ [\d.]+ \d+/\d+ \d+$",
    "function system": r"\b20\d\d\b",
    "function exit": r"\A\s*\Z",
    "function clear": r"\A\s*\Z",
    "function zero": r"^@\[1\]: 0$",
    "function delete": r"\A\s*\Z",
    "function count": "^@: 1$",
    **{f"function {name}": r"^@: \d+$" for name in ("sum", "avg", "min", "max")},
    "function stats": r"^@: count 1, average \d+, total \d+$",
    "function hist": r"^\[\S+, \S+\) +1 \|@+\|$",
    "function lhist": r"^\[\d+K?, (?:\d+K?|\.\.\.)\) +1 \|@+\|$",
    "function str": "^abc$",
    "function buf": "^abc$",
    "function strncmp": "^0$",
    "function kptr": "^1$",
    "function uptr": "^(?:0x)?0$",
    "function bswap": "^13330$",  # 0x3412
    "function ksym": "^(?:0x)?0$",
    "function usym": "^(?:0x)?0$",
    "function kaddr": "^1$",
    "function uaddr": (r"^(?:0x)?[0-9a-f]+$", _type_into_bash),
    "function reg": (r"^readline", _type_into_bash),
    "function kstack": r"\A(?:\n|    .*\n)+\Z",
    "function ustack": r"\A(?:\n|    .*\n)+\Z",
    "function cgroupid": NUMBER,
    "function cgroup_path": r"^\S+:/",
    "function strftime": r"^\d\d:\d\d:\d\d$",
    "function strerror": "^No such file or directory$",
    "function path": (r"^/etc/hostname$", _cat),
    "function ntop": r"^127\.0\.0\.1$",
    "function pton": "^127$",
    "function macaddr": ("^00:00:00:00:00:00$", _packet),
    "function signal": (r"\A\s*\Z", _victim),
    "probe BEGIN": ("^start$", _nothing),
    "probe END": ("^end$", _nothing),
    "probe kprobe": (r"^@\[sleep\]: \d+$", _sleep),
    "probe kretprobe": (r"^@\[-?\d+\]: \d+$", _cat),
    "probe uprobe": (r"^@\[\d+\]: \d+$", _type_into_bash),
    "probe uretprobe": ("^exit 0$", _type_into_bash),
    "probe tracepoint": (r"^@\[cat\]: \d+$", _cat),
    "probe rawtracepoint": (r"^@: \d+$", _sleep),
    "probe usdt": (r"^@\[\d+\]: \d+$", _nothing),
    "probe profile": (r"^\]: \d+$", _compute),
    "probe interval": (r"^\d\d:\d\d:\d\d$", _nothing),
    "probe software": (r"^@\[python\S*\]: \d+$", _page_faults),
    "probe hardware": (r"^@\[\d+\]: \d+$", _compute),
    "probe kfunc": (r"^\[\S+, \S+\) +\d+ \|@* *\|$", _cat),
    "probe kretfunc": (r"^\[\S+, \S+\) +\d+ \|@* *\|$", _cat),
}
# It would fail every allocation of the machine's kernel.
ONLY_COMPILED = {"function override"}


def _needed(program: str) -> str | None:
    """The property of `Features` that an example needs."""
    kinds = (("kprobe:", "kprobe"), ("kretprobe:", "kprobe"), ("kfunc:", "fentry"), ("kretfunc:", "fentry"),
             ("hardware:", "hardware_events"))  # fmt: skip
    return next((feature for prefix, feature in kinds if program.startswith(prefix)), None)


@pytest.fixture(scope="module")
def tick() -> str:
    """The program that the usdt example speaks of."""
    return str(traced_program("tick"))


def _program(name: str, tick: str) -> str:
    program = EXAMPLES[name].replace("/root/tick", tick)
    if name == "function cgroupid":
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        place = next(mount[1] for mount in mounts if mount[2] == "cgroup2")
        program = program.replace("/sys/fs/cgroup/unified", place)
    return program


def test_every_entry_has_an_example_and_an_expectation() -> None:
    assert all(EXAMPLES.values())
    assert set(EXAMPLES) == set(PRINTS) | ONLY_COMPILED


@pytest.mark.parametrize("name", sorted(ONLY_COMPILED))
def test_compiles_for_a_kernel_that_has_it(name: str) -> None:
    host = FakeHost()
    host.functions.append("should_failslab")
    assert "override_return(" in transpile(EXAMPLES[name], host=host).c_source


@pytest.mark.parametrize("name", PRINTS)
def test_compiles(name: str, tick: str) -> None:
    done = run_command("-d", "-e", _program(name, tick))
    assert (done.status, done.stderr) == (0, "")
    assert "int " in done.stdout


@pytest.mark.parametrize("name", PRINTS)
def test_runs(name: str, tick: str) -> None:
    program = _program(name, tick)
    feature = _needed(program)
    if feature is not None and not getattr(Features(), feature):
        pytest.skip(f"this kernel has no {feature.replace('_', ' ')}")
    expected = PRINTS[name]
    if name == "builtin cpid":
        done = run_command("-q", "-c", "sleep 1000", "-e", program)
    elif isinstance(expected, str):
        done = run_command("-q", "-e", program)
    elif name == "probe usdt":
        done = run_command("-q", "-c", f"{tick} 5", "-e", program)
        expected = expected[0]
    else:
        expected, workload = expected
        with Session("-q", "-e", program) as session:
            session.wait_attached()
            workload()
            if "interval" in name:
                session.wait_for(expected)
            done = session.interrupt()
    assert done.status == 0
    assert re.sub(r"^warning.*\n(?:  hint.*\n)?", "", done.stderr, flags=re.MULTILINE) == ""
    assert re.search(expected, done.stdout, re.MULTILINE), done.stdout


def test_the_document_is_up_to_date() -> None:
    """docs/language.md is what scripts/make_language_doc.py makes of the tables."""
    path = ROOT / "scripts" / "make_language_doc.py"
    spec = importlib.util.spec_from_file_location("make_language_doc", path)
    assert spec is not None and spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    text = generator.DOCUMENT.read_text(encoding="utf-8")
    assert generator.filled_in(text) == text, "run `python scripts/make_language_doc.py`"
    for name in (*BUILTINS, *FUNCTIONS, *PROBE_TYPES):
        assert f"| `{name}" in text
