"""The two programs that are compared, and one run of either."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from types import TracebackType
from typing import IO

from bench.workloads import scratch

_ATTACHED = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"  # both print it, when asked by a variable of this name
_LIMITS = {"BPFTRACE_MAX_PROBES": "4000"}  # the peer's default is 512
ATTACH_TIMEOUT = 300.0


class BenchError(Exception):
    """A measurement that could not be made; the text says why."""


class Tracer:
    """A program that understands bpftrace's command line. `cold` has it start without anything cached each time."""

    def __init__(self, name: str, command: str, *, cold: bool = False) -> None:
        self.name, self.command, self.cold = name, command, cold

    def as_cold(self) -> Tracer:
        """The same program, with an empty cache each time."""
        return Tracer(self.name, self.command, cold=True)

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """That of a run. The cache is ours alone: what the user has in his is not touched."""
        cache = os.path.join(scratch(), "cache")
        if self.cold:
            shutil.rmtree(os.path.join(scratch(), "cold"), ignore_errors=True)
            os.makedirs(os.path.join(scratch(), "cold"), exist_ok=True)
            cache = tempfile.mkdtemp(dir=os.path.join(scratch(), "cold"))
        # PYTHONDONTWRITEBYTECODE, for one, would have us compile our own modules at each start.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BPFTRACE_", "PYTHON"))}
        return {**kept, "XDG_CACHE_HOME": cache, _ATTACHED: "1", **_LIMITS, **(extra or {})}

    def version(self) -> str:
        output = subprocess.run([self.command, "--version"], capture_output=True, text=True, check=True).stdout
        return output.strip()


def ours() -> Tracer:
    """The command installed beside the running interpreter."""
    command = os.path.join(os.path.dirname(sys.executable), "bpftrace-py")
    if not os.path.exists(command):
        raise BenchError(f"{command} is missing: `make setup` makes it")
    return Tracer("bpftrace-py", command)


def peer() -> Tracer:
    """Debian's bpftrace."""
    command = shutil.which("bpftrace")
    if command is None:
        raise BenchError("bpftrace is not installed: apt-get install bpftrace")
    return Tracer("bpftrace", command)


class Run:
    """A tracer at work. `stdout` is where its output goes; None: a pipe, which is read by `wait_for`."""

    def __init__(
        self, tracer: Tracer, program: str, *arguments: str, stdout: int | IO[bytes] | None = None,
        environment: dict[str, str] | None = None, wrapper: list[str] | None = None,
    ) -> None:  # fmt: skip
        argv = [*(wrapper or []), tracer.command, *arguments, *(["-e", program] if program else [])]
        prepared = tracer.environment(environment)
        self.errors: list[str] = []
        self.output = b""
        self._attached = threading.Event()
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            argv, env=prepared, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode(errors="replace").rstrip()
            if text == _ATTACHED:
                self.attached_at = time.monotonic()
                self._attached.set()
            else:
                self.errors.append(text)
        self._attached.set()  # it has ended

    def wait_attached(self) -> None:
        """Until all probes are attached. Raises `BenchError` if the program ends before."""
        if not self._attached.wait(ATTACH_TIMEOUT) or self._process.poll() is not None:
            self.kill()
            raise BenchError("\n".join(self.errors) or "it ended before its probes were attached")

    def wait_for(self, text: bytes, timeout: float = 60.0) -> float:
        """Read the pipe until it has brought `text`: when that was (`time.monotonic`)."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout
        while text not in self.output:
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self.kill()
                raise BenchError(f"nothing printed {text!r} within {timeout:.0f} s")
            data = os.read(fd, 1 << 16)
            if not data:
                self.kill()
                raise BenchError("\n".join(self.errors) or "it ended too early")
            self.output += data
        return time.monotonic()

    def wait(self, timeout: float = 600.0) -> float:
        """Until it ends by itself: when that was. The pipe, if there is one, is read to its end."""
        if self._process.stdout is not None:
            self.output += self._process.stdout.read()
        status = self._process.wait(timeout)
        ended = time.monotonic()
        self._reader.join()
        if status not in (0, -signal.SIGINT, 128 + signal.SIGINT):
            raise BenchError(f"exit status {status}: " + "\n".join(self.errors))
        return ended

    def interrupt(self) -> float:
        """End it as Ctrl-C does, and wait: when it had ended."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        """End it at once, and wait until the kernel has detached everything."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._reader.join()

    def cpu_ns(self) -> int:
        """CPU time of all its threads so far, in user space and in system calls."""
        total = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total

    def program_cost(self) -> tuple[int, int]:
        """(ns, runs) of its BPF program that ran most often, by kernel.bpf_stats_enabled."""
        best = (0, 0)
        for fd in os.listdir(f"/proc/{self.pid}/fdinfo"):
            with open(f"/proc/{self.pid}/fdinfo/{fd}", encoding="ascii") as file:
                fields = dict(line.split(":", 1) for line in file if ":" in line)
            if "run_cnt" in fields:
                best = max(best, (int(fields["run_time_ns"]), int(fields["run_cnt"])), key=lambda cost: cost[1])
        return best

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
