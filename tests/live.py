"""Runs `bpftrace-py` (or its peer, Debian's `bpftrace`) as a command and watches what it prints.

Tests wait here for conditions, never for times: a session tells when its probes are attached and when it has printed
what the test looks for. The time limits only keep a broken session from hanging the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

ROOT = Path(__file__).resolve().parents[1]

ATTACHED = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"
IN_GUEST = "BPFTRACE_PY_IN_GUEST" in os.environ
# Seconds. The guest is emulated and 10-20 times slower.
TIME_LIMIT = 300.0 if IN_GUEST else 60.0


def command() -> str:
    """The installed `bpftrace-py` of the environment that runs the tests.

    BPFTRACE_PY_TEST_COMMAND=bpftrace runs live tests through the peer instead: a way to test the tests.
    """
    if other := os.environ.get("BPFTRACE_PY_TEST_COMMAND"):
        return other
    script = Path(sys.executable).with_name("bpftrace-py")
    assert script.exists(), f"{script} is missing: run `make setup`"
    return str(script)


def peer() -> str:
    """Debian's `bpftrace`. Its absence is a failure and not a skip: `make setup` installs it."""
    path = shutil.which("bpftrace")
    assert path, "bpftrace is not installed: run `make setup`, or `apt-get install bpftrace`"
    return path


@dataclass(frozen=True)
class Outcome:
    """What an ended session left, without the line that tells of attached probes (on either stream)."""

    stdout: str
    stderr: str
    status: int  # negative: the number of the signal that ended it

    @property
    def complaints(self) -> str:
        """Standard error, but for the count of events that the kernel passed over: a program on events of interrupts may miss one."""
        return re.sub(r"^warning\[W0915\]: .*\n  hint: .*\n", "", self.stderr, flags=re.MULTILINE)

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


class Session:
    """A started command whose output is collected while it runs. A context manager: leaving it ends the command.

    `Session("-e", program)` is bpftrace-py with these arguments; `tool` is another command to run instead.
    """

    def __init__(
        self,
        *arguments: str,
        tool: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        input: str | None = None,
    ) -> None:
        environment = {**os.environ, ATTACHED: "1", "NO_COLOR": "1", **(env or {})}
        self._text = {"stdout": "", "stderr": ""}
        self._attached = False
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [tool or command(), *arguments],
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd,
        )
        assert self.process.stdout and self.process.stderr
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("stdout", self.process.stdout), ("stderr", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()
        if input is not None:
            assert self.process.stdin
            self.process.stdin.write(input.encode())
            self.process.stdin.close()

    def _read(self, name: str, stream: IO[bytes]) -> None:
        notice = f"{ATTACHED}\n"
        while chunk := os.read(stream.fileno(), 1 << 16):
            with self._changed:
                # Latin-1 and back keeps a character that is cut by the chunk's end whole.
                self._text[name] += chunk.decode("latin-1")
                if not self._attached and notice in self._text[name]:
                    self._text[name] = self._text[name].replace(notice, "", 1)
                    self._attached = True
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        with self._changed:
            return self._decoded("stdout")

    @property
    def stderr(self) -> str:
        with self._changed:
            return self._decoded("stderr")

    def _decoded(self, name: str) -> str:
        return self._text[name].encode("latin-1").decode("utf-8", "replace")

    def _ended(self) -> bool:
        return not any(reader.is_alive() for reader in self._readers)

    def _wait_until(self, condition: Callable[[], bool], what: str, limit: float | None) -> None:
        deadline = time.monotonic() + (limit or TIME_LIMIT)
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                ended = self._ended()
                if ended and condition():
                    return
                if ended or left <= 0:
                    reason = "it ended" if ended else "the time limit passed"
                    output = f"stdout:\n{self._decoded('stdout')}\nstderr:\n{self._decoded('stderr')}"
                    raise AssertionError(f"{reason} before {what}\n{output}")
                # The readers' threads end after their last notification: look again soon.
                self._changed.wait(min(left, 0.2))

    def wait_attached(self, limit: float | None = None) -> Session:
        """Return when all probes are attached; fail if the command ends before."""
        self._wait_until(lambda: self._attached, "its probes were attached", limit)
        return self

    def wait_for(self, pattern: str, *, stream: str = "stdout", limit: float | None = None) -> re.Match[str]:
        """Return the first match of a regular expression (multi-line mode) in what was printed so far, or will be."""
        found: list[re.Match[str]] = []

        def matches() -> bool:
            match = re.search(pattern, self._decoded(stream), re.MULTILINE)
            if match:
                found.append(match)
            return match is not None

        self._wait_until(matches, f"{stream} matched {pattern!r}", limit)
        return found[0]

    def signal(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def wait(self, limit: float | None = None) -> Outcome:
        """Wait for the command's own end."""
        try:
            self.process.wait(limit or TIME_LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end\nstdout:\n{self.stdout}\nstderr:\n{self.stderr}") from None
        for reader in self._readers:
            reader.join(10)
        return Outcome(self.stdout, self.stderr, self.process.returncode)

    def interrupt(self) -> Outcome:
        """Ctrl-C, and what the command made of it."""
        self.signal(signal.SIGINT)
        return self.wait()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()


def tool(name: str) -> str:
    """The path of a program that `scripts/setup test` has brought."""
    path = shutil.which(name) or shutil.which(name, path=str(ROOT / "build/prometheus/usr/bin"))
    assert path, f"{name} is not there: run scripts/setup test"
    return path


def wait_until(condition: Callable[[], bool], limit: float = 30.0) -> None:
    """Until `condition` holds. Fails if it does not in so many seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


def run_command(*arguments: str, limit: float | None = None, **options: object) -> Outcome:
    """Run the whole command to its own end. The options are those of `Session`."""
    with Session(*arguments, **options) as session:  # type: ignore[arg-type]
        return session.wait(limit)


def run(program: str, *parameters: str, **options: object) -> Outcome:
    """Run a program that ends by itself: `bpftrace-py -e program parameters...`."""
    return run_command("-e", program, *parameters, **options)  # type: ignore[arg-type]


def trace(
    program: str, workload: Callable[[], object], *parameters: str, until: str | None = None, **options: object
) -> Outcome:
    """Attach the program, run the workload, wait until stdout matches the pattern `until` (if given), then Ctrl-C."""
    with Session("-e", program, *parameters, **options) as session:  # type: ignore[arg-type]
        session.wait_attached()
        workload()
        if until is not None:
            session.wait_for(until)
        return session.interrupt()
