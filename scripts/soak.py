"""`make soak`: as many events as two processes can make, for ten minutes (SOAK_SECONDS), and then the books.

Each producer numbers its events and counts them itself; nothing here believes the program under test. At the end

    events made = events printed + events that the program says it lost
    numbers missing from what was printed, for each producer = what was made - what was printed
    numbers of one producer only ever rise (nothing is printed twice or out of order)
    memory and open files are as they were after the first fifth of the time

The exit status is 1 if one of these does not hold. It attaches to the kernel and needs root.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
PRODUCERS = 2
MEMORY_MAY_GROW = 4 << 20  # bytes: buffers that were not yet as large as they get
PROGRAM = 'tracepoint:syscalls:sys_enter_getpgid /comm == "producer"/ { @made[pid] = count(); printf("%d %d\\n", pid, args->pid); }'
ATTACHED = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"
_NUMBER = (1 << 30) - 1  # the producers' numbers, which they send with bit 30 set, start again behind this


class Printed:
    """Reads what the session prints: how many events, and how many numbers are missing, by producer."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.events: dict[bytes, int] = {}
        self.missing: dict[bytes, int] = {}
        self.disorder = 0
        self.rest: list[bytes] = []  # lines that are no events: the map at the end
        self._last: dict[bytes, int] = {}
        self._stream = stream
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        tail = b""
        while chunk := os.read(self._stream.fileno(), 1 << 20):
            lines = (tail + chunk).split(b"\n")
            tail = lines.pop()
            self._take(lines)

    def _take(self, lines: list[bytes]) -> None:
        last, events, missing = self._last, self.events, self.missing
        for line in lines:
            producer, _, text = line.partition(b" ")
            if not producer.isdigit() or not text.isdigit():
                self.rest.append(line)
                continue
            number = int(text) & _NUMBER
            step = (number - last.get(producer, 0)) & _NUMBER
            if not 0 < step < _NUMBER // 2:
                self.disorder += 1
            last[producer] = number
            events[producer] = events.get(producer, 0) + 1
            missing[producer] = missing.get(producer, 0) + step - 1


class Usage:
    """Memory (bytes) and open files of a process, second by second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.memory: list[int] = []
        self.files: list[int] = []

    def sample(self) -> None:
        status = Path(f"/proc/{self._pid}/status").read_text()
        self.memory.append(int(re.findall(r"^VmRSS:\s*(\d+)", status, re.MULTILINE)[0]) << 10)
        self.files.append(len(os.listdir(f"/proc/{self._pid}/fd")))

    def grown(self) -> tuple[int, int]:
        """Bytes and files by which the last fifth of the time is above the second fifth."""
        fifth = max(1, len(self.memory) // 5)
        early, late = slice(fifth, 2 * fifth), slice(-fifth, None)
        return max(self.memory[late]) - max(self.memory[early]), max(self.files[late]) - max(self.files[early])


def main() -> int:
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    with tempfile.TemporaryDirectory() as directory:
        producer = f"{directory}/producer"
        subprocess.run(["cc", "-O2", "-o", producer, ROOT / "tests/testprogs/producer.c"], check=True)
        return soak(producer, seconds)


def soak(producer: str, seconds: float) -> int:
    session = subprocess.Popen(
        [Path(sys.executable).with_name("bpftrace-py"), "-q", "-e", PROGRAM],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, ATTACHED: "1", "NO_COLOR": "1"},
    )  # fmt: skip
    assert session.stdout and session.stderr
    try:
        first = session.stderr.readline().decode()
        if first.strip() != ATTACHED:
            print(first + session.stderr.read().decode(), end="", file=sys.stderr)
            return 1
        said: list[bytes] = []
        errors = threading.Thread(target=lambda stream: said.extend(stream), args=(session.stderr,))
        errors.start()
        printed, usage = Printed(session.stdout), Usage(session.pid)
        made = produce(producer, seconds, usage)
        session.send_signal(signal.SIGINT)
        status = session.wait(120)
        printed.thread.join()
        errors.join()
    finally:
        session.kill()
        session.wait()
    return balance(made, printed, b"".join(said).decode(), usage, status)


def produce(producer: str, seconds: float, usage: Usage) -> dict[bytes, int]:
    """Let the producers run; what each of them made, by its process id."""
    running = [
        subprocess.Popen([producer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) for _ in range(PRODUCERS)
    ]
    for process in running:
        assert process.stdin
        process.stdin.write(b"\n")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(1.0, seconds / 10))
        usage.sample()
    for process in running:
        process.terminate()
    return {str(process.pid).encode(): int(process.communicate()[0]) for process in running}


def balance(made: dict[bytes, int], printed: Printed, said: str, usage: Usage, status: int) -> int:
    """Print the books: 0 if they balance."""
    told = [int(count) for count in re.findall(r"^Lost (\d+) events", said, re.MULTILINE)]
    totals = [int(count) for count in re.findall(r"lost (\d+) events: they came faster", said)]
    lost = sum(totals)
    counted = {key: int(value) for line in printed.rest for key, value in re.findall(rb"^@made\[(\d+)\]: (\d+)$", line)}
    total, out = sum(made.values()), sum(printed.events.values())
    more_memory, more_files = usage.grown()
    checks = {
        f"exit status {status}": status == 0,
        f"made {total:,} = printed {out:,} + lost {lost:,}": total == out + lost,
        f"the kernel's count() of them is {sum(counted.values()):,}": counted == made,
        f"lost while it ran, told {len(told)} times: {sum(told):,}; as a total: {lost:,}": sum(told) == lost,
        f"events out of order or printed twice: {printed.disorder}": printed.disorder == 0,
        f"memory {usage.memory[-1] / 1e6:.1f} MB, grown by {more_memory / 1e6:.1f} MB": more_memory <= MEMORY_MAY_GROW,
        f"open files {usage.files[-1]}, {more_files} more": more_files <= 0,
    }
    for pid, count in made.items():
        # What is missing behind the last number that was printed has no gap to show it.
        inside, shown = printed.missing.get(pid, 0), printed.events.get(pid, 0)
        text = f"producer {pid.decode()}: made {count:,}, printed {shown:,}, {inside:,} missing in between"
        checks[text] = 0 <= count - shown - inside <= lost
    for text, holds in checks.items():
        print(f"{'ok' if holds else 'WRONG':6}{text}")
    return int(not all(checks.values()))


if __name__ == "__main__":
    sys.exit(main())
