"""What processes map, as it happens: the kernel's perf sideband (PERF_RECORD_MMAP2, COMM, FORK, EXIT).

A process can be gone long before its stacks are printed, and /proc/PID/maps with it. A dummy perf event on each CPU
tells of every file that is mapped executable from now on, by any process. It costs half a millisecond to open, nothing
while nobody maps anything, and about 20 us of our time a program started (some 15 records).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

_SYS_PERF_EVENT_OPEN = {  # where it is not that of the generic table
    "x86_64": 298, "i686": 336, "armv7l": 364, "ppc64le": 319, "s390x": 331,
}.get(os.uname().machine, 241)  # fmt: skip
_FD_CLOEXEC = 8

# perf_event_attr (include/uapi/linux/perf_event.h)
_ATTR = struct.Struct("=IIQQQQQIIQQQQIiQIHH")
_TYPE_SOFTWARE, _COUNT_DUMMY, _SAMPLE_TIME = 1, 9, 4
_MMAP, _COMM, _TASK, _WATERMARK, _SAMPLE_ID_ALL, _MMAP2, _COMM_EXEC, _USE_CLOCKID = (
    1 << bit for bit in (8, 9, 13, 14, 18, 23, 24, 25)
)
_FLAGS = _MMAP | _COMM | _TASK | _WATERMARK | _SAMPLE_ID_ALL | _MMAP2 | _COMM_EXEC | _USE_CLOCKID

_LOST, _RECORD_COMM, _EXIT, _FORK, _RECORD_MMAP2 = 2, 3, 4, 7, 10
_MISC_EXEC = 1 << 13
_HEAD_INDEX, _TAIL_INDEX = 1024 // 8, 1032 // 8  # of data_head and data_tail, in 64-bit words of the control page

_HEADER = struct.Struct("=IHH")
_MMAP2_BODY = struct.Struct("=IIQQQIIQQII")
_TASK_BODY = struct.Struct("=IIII")
_PAIR = struct.Struct("=II")
_TIME = struct.Struct("=Q")
_LOST_BODY = struct.Struct("=QQ")


class Listener(Protocol):
    """Who hears of the records, in the order in which things happened."""

    def mapped(
        self, pid: int, start: int, end: int, offset: int, device: int, inode: int, path: bytes, moment: int
    ) -> None:
        """At `moment` (CLOCK_MONOTONIC, ns)."""

    def executed(self, pid: int) -> None:
        """The process runs another program: what it had mapped is gone."""

    def forked(self, pid: int, parent: int) -> None:
        """A new process (not a thread), with its parent's mappings."""

    def exited(self, pid: int) -> None:
        """The first thread of a process has ended, in nearly all cases with the process."""


class Record(NamedTuple):
    """A record of perf_event_open(2): its header, and `body` behind it."""

    time: int  # CLOCK_MONOTONIC, ns
    type: int
    misc: int
    body: bytes


def read_records(data: bytes) -> list[Record]:
    """The records that stand one behind the other in `data`, up to the first one that is cut short."""
    records = []
    position = 0
    while position + _HEADER.size <= len(data):
        kind, misc, size = _HEADER.unpack_from(data, position)
        if size < _HEADER.size or position + size > len(data):
            break
        body = data[position + _HEADER.size : position + size]
        moment = _TIME.unpack_from(body, len(body) - 8)[0] if len(body) >= 8 else 0
        records.append(Record(moment, kind, misc, body[:-8]))
        position += size
    return records


_FIXED_SIZES = {_RECORD_MMAP2: _MMAP2_BODY.size, _FORK: _TASK_BODY.size, _EXIT: _TASK_BODY.size, _RECORD_COMM: _PAIR.size,
                _LOST: _LOST_BODY.size}  # fmt: skip


def report(record: Record, listener: Listener) -> int:
    """Tell the listener; how many records the kernel says it lost."""
    body = record.body
    if len(body) < _FIXED_SIZES.get(record.type, 0):
        return 0
    if record.type == _RECORD_MMAP2:
        pid, _, start, length, offset, major, minor, inode, _, _, _ = _MMAP2_BODY.unpack_from(body)
        path = body[_MMAP2_BODY.size :].split(b"\0", 1)[0]
        if start + length < 1 << 64 and max(major, minor) < 1 << 31:
            listener.mapped(pid, start, start + length, offset, os.makedev(major, minor), inode, path, record.time)
    elif record.type == _FORK:
        pid, parent, _, _ = _TASK_BODY.unpack_from(body)
        if pid != parent:
            listener.forked(pid, parent)
    elif record.type == _EXIT:
        pid, _, thread, _ = _TASK_BODY.unpack_from(body)
        if pid == thread:
            listener.exited(pid)
    elif record.type == _RECORD_COMM:
        if record.misc & _MISC_EXEC:
            listener.executed(_PAIR.unpack_from(body)[0])
    elif record.type == _LOST:
        return int(_LOST_BODY.unpack_from(body)[1])
    return 0


class _Ring:
    """One CPU's buffer: a control page, then `size` bytes (a power of two) of records."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self._size = size
        page = mmap.PAGESIZE
        self._memory = mmap.mmap(descriptor, page + size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._view = memoryview(self._memory)
        self._control = self._view[:page].cast("Q")
        self._data = self._view[page:]

    def read(self, fence: threading.Lock) -> list[Record]:
        """Everything that has been written so far."""
        with fence:
            head = self._control[_HEAD_INDEX]
        at = self._control[_TAIL_INDEX]
        if at == head:
            return []
        # Releasing and taking a lock orders the reads of the data behind that of the head on every architecture.
        with fence:
            data = self._bytes(at, head)
        with fence:
            self._control[_TAIL_INDEX] = head
        return read_records(data)

    def _bytes(self, start: int, end: int) -> bytes:
        first, last = start % self._size, end % self._size
        if end - start > self._size:  # never from the kernel
            return b""
        if first < last:
            return self._data[first:last].tobytes()
        return self._data[first:].tobytes() + self._data[:last].tobytes()

    def close(self) -> None:
        self._data.release()
        self._control.release()
        self._view.release()
        self._memory.close()
        os.close(self.descriptor)


class Sideband:
    """The open events. `lost` counts records that found no room: what they said must be read from /proc instead."""

    def __init__(self, cpus: Sequence[int] | None = None) -> None:
        """Open on every CPU that is online. Raises `OSError` where perf events are not allowed or not there."""
        self.lost = 0
        self._fence = threading.Lock()
        self._held: list[Record] = []
        self._rings: list[_Ring] = []
        wanted = cpus if cpus is not None else _online_cpus()
        size = 512 << 10 if len(wanted) <= 16 else 128 << 10  # some 300 or 80 programs started between two drains
        try:
            for cpu in wanted:
                try:
                    self._rings.append(_Ring(_open_event(cpu, size // 2), size))
                except OSError as error:
                    if error.errno != errno.ENODEV:  # a CPU that has just gone
                        raise
        except OSError:
            self.close()
            raise

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Readable (for poll) when a buffer is half full."""
        return tuple(ring.descriptor for ring in self._rings)

    def drain(self, listener: Listener) -> None:
        """Report what has happened until now.

        The CPUs' buffers are read one after the other, so that a record can be seen before one that explains it
        (the fork on another CPU). Records are sorted by time, and those younger than this call wait for the next.
        """
        now = time.monotonic_ns()
        records, self._held = self._held, []
        for ring in self._rings:
            records += ring.read(self._fence)
        if not records:
            return
        records.sort(key=_moment)
        for index, record in enumerate(records):
            if record.time > now:
                self._held = records[index:]
                break
            self.lost += report(record, listener)

    def close(self) -> None:
        for ring in self._rings:
            ring.close()
        self._rings = []


def _moment(record: Record) -> int:
    return record.time


def _online_cpus() -> list[int]:
    try:
        with open("/sys/devices/system/cpu/online") as file:
            text = file.read().strip()
    except OSError:
        return list(range(os.cpu_count() or 1))
    cpus: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def _open_event(cpu: int, wakeup: int) -> int:
    """A dummy event on one CPU whose buffer wakes its reader once `wakeup` bytes wait in it."""
    attributes = ctypes.create_string_buffer(
        _ATTR.pack(
            _TYPE_SOFTWARE, _ATTR.size, _COUNT_DUMMY, 0, _SAMPLE_TIME, 0, _FLAGS, wakeup, 0, 0, 0, 0, 0, 0,
            time.CLOCK_MONOTONIC, 0, 0, 0, 0,
        ),
        _ATTR.size,
    )  # fmt: skip
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long] * 6
    descriptor: int = call(_SYS_PERF_EVENT_OPEN, ctypes.addressof(attributes), -1, cpu, -1, _FD_CLOEXEC)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor
