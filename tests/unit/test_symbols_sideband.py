"""The reader of perf buffers, on buffers made here: a file mapped in place of an event's."""

from __future__ import annotations

import mmap
import os
import struct

import pytest

from bpftrace_py.symbols.sideband import Sideband, _Ring

SIZE = 4096
PAGE = mmap.PAGESIZE


class Heard:
    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


def record(kind: int, body: bytes, *, time: int = 1, misc: int = 0) -> bytes:
    body += struct.pack("=Q", time)
    return struct.pack("=IHH", kind, misc, 8 + len(body)) + body


def mapped(pid: int, start: int, path: bytes, time: int = 1) -> bytes:
    body = struct.pack("=IIQQQIIQQII", pid, pid, start, 0x1000, 0x2000, 254, 1, 77, 0, 5, 2) + path + b"\0"
    return record(10, body.ljust((len(body) + 7) & ~7, b"\0"), time=time)


def task(kind: int, pid: int, parent: int, thread: int, time: int = 1) -> bytes:
    return record(kind, struct.pack("=IIIIQ", pid, parent, thread, parent, time), time=time)


def comm(pid: int, name: bytes, misc: int, time: int = 1) -> bytes:
    return record(3, struct.pack("=II", pid, pid) + name.ljust(8, b"\0"), misc=misc, time=time)


class Buffer:
    """The kernel's side of a ring."""

    def __init__(self, at: int = 0):
        self.descriptor = os.memfd_create("ring")
        os.truncate(self.descriptor, PAGE + SIZE)
        self.head = at
        os.pwrite(self.descriptor, struct.pack("=QQ", at, at), 1024)

    def write(self, data: bytes) -> None:
        for byte in range(len(data)):
            os.pwrite(self.descriptor, data[byte : byte + 1], PAGE + (self.head + byte) % SIZE)
        self.head += len(data)
        os.pwrite(self.descriptor, struct.pack("=Q", self.head), 1024)

    @property
    def tail(self) -> int:
        return struct.unpack("=Q", os.pread(self.descriptor, 8, 1032))[0]


@pytest.fixture
def sideband():
    result = Sideband(cpus=())
    yield result
    result.close()


def attach(sideband: Sideband, buffer: Buffer) -> None:
    sideband._rings.append(_Ring(os.dup(buffer.descriptor), SIZE))


def drain(sideband: Sideband) -> list[tuple]:
    heard = Heard()
    sideband.drain(heard)
    return heard.calls


def test_each_kind_of_record(sideband):
    buffer = Buffer()
    attach(sideband, buffer)
    buffer.write(
        task(7, 20, 10, 20, 1) + task(7, 20, 20, 21, 2) + comm(20, b"prog", 1 << 13, 3) + comm(20, b"named", 0, 4)
        + mapped(20, 0x400000, b"/bin/a b", 5) + task(4, 20, 20, 21, 6) + task(4, 20, 10, 20, 7)
        + record(2, struct.pack("=QQ", 1, 9), time=8) + record(99, b"12345678", time=9)
    )  # fmt: skip
    assert drain(sideband) == [
        ("forked", 20, 10),  # not the thread 21
        ("executed", 20),  # not the process that only gave itself a name
        ("mapped", 20, 0x400000, 0x401000, 0x2000, os.makedev(254, 1), 77, b"/bin/a b", 5),
        ("exited", 20),
    ]
    assert sideband.lost == 9
    assert buffer.tail == buffer.head
    assert drain(sideband) == []


@pytest.mark.parametrize("at", [SIZE - 1 * 8, SIZE - 3 * 8, SIZE * 5 - 40, (1 << 40) + SIZE - 16])
def test_records_that_wrap_around(sideband, at):
    buffer = Buffer(at)
    attach(sideband, buffer)
    buffer.write(mapped(1, 0x1000, b"/first") + mapped(2, 0x2000, b"/second", 2))
    assert [(call[1], call[-2]) for call in drain(sideband)] == [(1, b"/first"), (2, b"/second")]


def test_many_rounds(sideband):
    buffer = Buffer()
    attach(sideband, buffer)
    for number in range(300):
        buffer.write(mapped(number, 0x1000, b"/x" * (number % 9 + 1), number))
        assert [call[1] for call in drain(sideband)] == [number]


def test_a_full_buffer(sideband):
    buffer = Buffer(64)
    attach(sideband, buffer)
    one = task(4, 5, 1, 5)
    assert SIZE % len(one) != 0
    count = SIZE // len(one)
    buffer.write(one * count + record(99, b"\0" * (SIZE - count * len(one) - 16)))
    assert drain(sideband) == [("exited", 5)] * count


def test_cpus_are_merged_by_time(sideband):
    first, second = Buffer(), Buffer()
    attach(sideband, first)
    attach(sideband, second)
    first.write(mapped(9, 0x1000, b"/late", 30))
    second.write(task(7, 9, 1, 9, 10) + comm(9, b"x", 1 << 13, 20))
    assert [call[0] for call in drain(sideband)] == ["forked", "executed", "mapped"]


def test_what_is_younger_than_the_drain_waits(sideband, monkeypatch):
    first, second = Buffer(), Buffer()
    attach(sideband, first)
    attach(sideband, second)
    monkeypatch.setattr("bpftrace_py.symbols.sideband.time.monotonic_ns", lambda: 100)
    first.write(task(4, 9, 1, 9, 90))
    second.write(mapped(9, 0x1000, b"/future", 101))
    assert [call[0] for call in drain(sideband)] == ["exited"]
    first.write(task(7, 9, 1, 9, 100))  # it was on its way while the other buffer was read
    monkeypatch.setattr("bpftrace_py.symbols.sideband.time.monotonic_ns", lambda: 200)
    assert [call[0] for call in drain(sideband)] == ["forked", "mapped"]


def test_a_damaged_record_ends_the_batch(sideband):
    buffer = Buffer()
    attach(sideband, buffer)
    buffer.write(task(4, 5, 1, 5) + struct.pack("=IHH", 4, 0, 0) + b"\0" * 24)
    assert drain(sideband) == [("exited", 5)]
    buffer.write(task(4, 6, 1, 6))
    assert drain(sideband) == [("exited", 6)]


def test_closing_closes_the_descriptors():
    sideband = Sideband(cpus=())
    attach(sideband, Buffer())
    (descriptor,) = sideband.descriptors
    sideband.close()
    with pytest.raises(OSError):
        os.fstat(descriptor)
    assert sideband.descriptors == ()


