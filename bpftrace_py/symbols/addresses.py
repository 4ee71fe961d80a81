"""Address spaces: what each process has mapped executable, kept after it has gone.

Three sources: /proc/PID/maps when a process is first heard of, the same for all processes that run when tracing
starts (a little at a time, so that a machine with thousands does not wait), and the kernel's sideband for everything
after that. What is kept is small (28 bytes a mapping, shared by forks), and bounded.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bpftrace_py.symbols.sideband import Sideband

_ENDED_KEPT = 32768  # processes that have exited
_KNOWN = 65536  # processes known without the sideband
_PROGRAMS_KEPT = 4  # of one pid: what it ran before exec, whom the number belonged to before
_MAPPINGS_KEPT = 1 << 14  # of one program; a process that maps and unmaps code for ever
_RESCAN = 1.0  # seconds between two looks at the maps of a process that nobody tells us about
_AT_START = 0.02  # seconds spent on processes that already run before tracing starts: enough for some hundreds
_PACKED = struct.Struct("=QQQI")  # start, end, offset, number of the file
_DELETED = " (deleted)"


class MappedFile:
    """A file (or the vDSO) that processes map. `path` is as the mapping process sees it."""

    __slots__ = ("device", "inode", "last_mapped", "last_pid", "number", "path")

    def __init__(self, number: int, device: int, inode: int, path: str) -> None:
        self.number = number
        self.device = device
        self.inode = inode
        self.path = path
        self.last_pid = 0  # a process that mapped it: the way to the file if it is in another mount namespace
        self.last_mapped = 0  # CLOCK_MONOTONIC, ns: a file that was changed later is another one


class Mapping(NamedTuple):
    """The bytes from `offset` of a file at the addresses [start, end)."""

    start: int
    end: int
    offset: int
    file: MappedFile


class Program:
    """What a process has mapped while it ran one program, in order of time."""

    __slots__ = ("_decoded", "packed")

    def __init__(self, packed: bytes = b"") -> None:
        self.packed = packed
        self._decoded: tuple[int, list[tuple[int, int, int, int]]] = (0, [])

    def entries(self) -> list[tuple[int, int, int, int]]:
        """(start, end, offset, file number) of each mapping, the newest first: it hides older ones at its addresses."""
        if self._decoded[0] != len(self.packed):
            self._decoded = len(self.packed), list(_PACKED.iter_unpack(self.packed))[::-1]
        return self._decoded[1]


class Process:
    """One pid. `version` changes whenever an address may have got another meaning."""

    __slots__ = ("ended", "programs", "scanned", "version")

    def __init__(self, program: Program) -> None:
        self.programs = [program]
        self.ended = False
        self.version = 0
        self.scanned = 0.0  # time.monotonic() of the last look at /proc

    def run(self, program: Program) -> None:
        self.programs.append(program)
        del self.programs[:-_PROGRAMS_KEPT]
        self.version += 1


class AddressSpaces:
    """The mappings of all processes. `complete` says whether the sideband tells of every change."""

    def __init__(self) -> None:
        self.files: list[MappedFile] = []
        self._file_numbers: dict[tuple[int, int, bytes], int] = {}
        self._processes: dict[int, Process] = {}
        self._ended: dict[int, None] = {}  # in the order in which they exited
        self._sideband: Sideband | None = None
        self._waiting: Iterator[int] = iter(())

    # --- life

    def start(self) -> bool:
        """Listen to the kernel from now on. False where it does not let us: processes are then read when first seen.

        Of the processes that already run those that can be read in 20 ms are; `poll` reads the rest.
        """
        if self._sideband is None:
            try:
                self._sideband = Sideband()
            except OSError:
                return False
            self._waiting = iter(_running())
            self.poll(_AT_START)
        return True

    @property
    def complete(self) -> bool:
        return self._sideband is not None and not self._sideband.lost

    @property
    def descriptors(self) -> tuple[int, ...]:
        """To be polled for reading; then call `poll`."""
        return self._sideband.descriptors if self._sideband else ()

    def poll(self, budget: float = 0.002) -> bool:
        """Take in what the kernel tells, and spend up to `budget` seconds on processes that ran before `start`.

        True while some of these are left.
        """
        if self._sideband is not None:
            self._sideband.drain(self)
        end = time.monotonic() + budget
        for pid in self._waiting:
            self.observe(pid)
            if time.monotonic() > end:
                return True
        return False

    def close(self) -> None:
        if self._sideband is not None:
            self._sideband.close()
            self._sideband = None

    # --- what is known

    def observe(self, pid: int) -> None:
        """Remember what a process has mapped, if that is not known yet. Cheap when it is."""
        if pid > 0 and pid not in self._processes:
            found = self._scan(pid)
            if found is not None:
                if len(self._processes) >= _KNOWN and not self.complete:  # nobody tells us which of them have gone
                    self._processes.pop(next(iter(self._processes)))
                self._processes[pid] = found

    def process(self, pid: int, addresses: Sequence[int]) -> Process | None:
        """What is known about a process now; None if nothing.

        A process that nobody tells us about is looked at again if it has mapped none of what holds `addresses`.
        """
        self.poll(0.0)
        self.observe(pid)
        process = self._processes.get(pid)
        if process is None or process.ended or self.complete:
            return process
        now = time.monotonic()
        if now - process.scanned > _RESCAN and not all(self._inside(process.programs[-1], a) for a in addresses):
            process.scanned = now
            again = self._scan(pid)
            if again is not None and again.programs[0].packed != process.programs[-1].packed:
                process.run(again.programs[0])
        return process

    def mapping(self, program: Program, address: int) -> Mapping | None:
        for start, end, offset, number in program.entries():
            if start <= address < end:
                return Mapping(start, end, offset, self.files[number])
        return None

    def choose_program(self, process: Process, addresses: Sequence[int]) -> Program:
        """The program of a process that a stack is from: the newest of those that have most of its addresses mapped.

        A number can have been a shell before exec, or another process before that. Code is loaded at random addresses,
        so that the right one stands out.
        """
        if len(process.programs) == 1:
            return process.programs[0]
        best, most = process.programs[-1], -1
        for program in reversed(process.programs):
            count = sum(self._inside(program, address) for address in addresses)
            if count > most:
                best, most = program, count
        return best

    @staticmethod
    def _inside(program: Program, address: int) -> bool:
        return any(start <= address < end for start, end, _, _ in program.entries())

    # --- what the sideband tells

    def mapped(
        self, pid: int, start: int, end: int, offset: int, device: int, inode: int, path: bytes, moment: int
    ) -> None:
        if not _has_symbols(inode, path):
            return
        process = self._processes.get(pid)
        if process is None:  # it ran before us, and nobody has looked at it yet
            self.observe(pid)
            return
        program = process.programs[-1]
        entry = _PACKED.pack(start, end, offset, self._file(device, inode, path, pid, moment))
        if entry not in program.packed and len(program.packed) < _MAPPINGS_KEPT * _PACKED.size:
            program.packed += entry
            process.version += 1

    def executed(self, pid: int) -> None:
        self._revive(pid, Program())

    def forked(self, pid: int, parent: int) -> None:
        self.observe(parent)
        known = self._processes.get(parent)
        self._revive(pid, Program(known.programs[-1].packed if known else b""))

    def exited(self, pid: int) -> None:
        process = self._processes.get(pid)
        if process is None or process.ended:
            return
        process.ended = True
        self._ended[pid] = None
        if len(self._ended) > _ENDED_KEPT:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            del self._processes[oldest]

    def _revive(self, pid: int, program: Program) -> None:
        process = self._processes.get(pid)
        if process is None:
            self._processes[pid] = Process(program)
            return
        process.run(program)
        process.ended = False
        self._ended.pop(pid, None)

    # --- /proc

    def _scan(self, pid: int) -> Process | None:
        """A process as /proc shows it; None if it has gone, is a kernel thread's, or is hidden from us."""
        try:
            with open(f"/proc/{pid}/maps", "rb") as file:
                text = file.read()
        except OSError:
            return None
        return self.read_maps(text, pid)

    def read_maps(self, text: bytes, pid: int) -> Process | None:
        """A process as the text of its /proc/PID/maps shows it; None if it maps no code. A damaged line is left out."""
        packed = []
        now = time.monotonic_ns()
        for line in text.split(b"\n"):
            # start-end perms offset major:minor inode  path
            fields = line.split(None, 5)
            if len(fields) < 6 or fields[1][2:3] != b"x":
                continue
            start, _, end = fields[0].partition(b"-")
            major, _, minor = fields[3].partition(b":")
            try:
                inode, path = int(fields[4]), _unescape(fields[5])
                if _has_symbols(inode, path):
                    number = self._file(os.makedev(int(major, 16), int(minor, 16)), inode, path, pid, now)
                    packed.append(_PACKED.pack(int(start, 16), int(end, 16), int(fields[2], 16), number))
            except (ValueError, OverflowError, struct.error):
                continue
        if not packed:
            return None
        process = Process(Program(b"".join(packed)))
        process.scanned = time.monotonic()
        return process

    def _file(self, device: int, inode: int, path: bytes, pid: int, moment: int) -> int:
        key = (device, inode, path)
        number = self._file_numbers.get(key)
        if number is None:
            number = self._file_numbers[key] = len(self.files)
            self.files.append(MappedFile(number, device, inode, os.fsdecode(path).removesuffix(_DELETED)))
        self.files[number].last_pid, self.files[number].last_mapped = pid, moment
        return number


def _has_symbols(inode: int, path: bytes) -> bool:
    """Whether a mapping is of a file, or the vDSO: not anonymous memory, a heap or a stack."""
    return path == b"[vdso]" or (inode != 0 and path.startswith(b"/") and not path.startswith(b"//anon"))


def _unescape(path: bytes) -> bytes:
    """/proc writes a newline in a path as \\012, and nothing else so."""
    return path.replace(b"\\012", b"\n")


def _running() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
