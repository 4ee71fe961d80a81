"""What is traced: small C programs, compiled when they are needed, and a library with many functions."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SOURCES = Path(__file__).parent / "workloads"
_built: dict[str, str] = {}


def scratch() -> str:
    """The directory for everything that is made on the way. Not below the checkout: nothing of it is to be kept."""
    path = os.path.join(tempfile.gettempdir(), f"bpftrace-py-bench-{os.geteuid()}")
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def _compile(name: str, text: str, *flags: str) -> str:
    tag = hashlib.sha256((text + repr(flags)).encode()).hexdigest()[:12]
    target = os.path.join(scratch(), f"{name}-{tag}")
    if not os.path.exists(target):
        # -fno-omit-frame-pointer: stacks are walked by frame pointers, by us and by the peer.
        command = ["gcc", "-O2", "-fno-omit-frame-pointer", *flags, "-o", f"{target}.new", "-x", "c", "-"]
        subprocess.run(command, input=text, text=True, check=True)
        os.rename(f"{target}.new", target)
    return target


def program(name: str) -> str:
    """The path of a compiled workload. Its command name is `name`: it lies in a directory of its own."""
    if name not in _built:
        compiled = _compile(name, (SOURCES / f"{name}.c").read_text())
        directory = f"{compiled}.d"
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, name)
        if not os.path.exists(path):
            os.link(compiled, path)
        _built[name] = path
    return _built[name]


def library(functions: int) -> str:
    """The path of a shared library with so many functions, named bench_0 and so on."""
    text = "".join(f"int bench_{i}(int x) {{ return x + {i}; }}\n" for i in range(functions))
    return _compile(f"libbench{functions}.so", text, "-shared", "-fPIC")


def calls(kind: str, count: int, producers: int = 1, rate: int = 0) -> list[str]:
    """The command line of `workloads/calls.c`."""
    return [program("calls"), kind, str(count), str(producers), str(rate)]


def run(command: list[str]) -> None:
    """Run a workload to its end."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A workload that runs beside; it and its children are killed at the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it had ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
