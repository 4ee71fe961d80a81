"""The consumer of a BPF ring buffer (kernel 5.8), made for a million records a second from Python.

The kernel's layout (kernel/bpf/ringbuf.c): one page that user space writes, holding the consumer's position; one page
with the producer's position; then the data, mapped twice in a row, so that no record ever wraps. Positions count bytes
since the start and never go back. A record is an eight-byte header, whose first u32 is the length with two flags, and
`length` bytes, rounded up to a multiple of eight.

What makes it fast: records of one probe come in runs. A run of equal headers and equal action numbers is recognised by
comparing strided slices of the memory, two comparisons for thousands of records, and goes to the handler as one piece.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import sys
from time import monotonic

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol
else:
    Protocol = object

BUSY, DISCARDED, LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1
HEADER_SIZE = 8
_BATCH = 4096  # records a run
_NEVER = 1 << 64  # no position in a ring
DRAIN_LIMIT = 1 << 16  # records a drain: so often the session looks at its other work


def record_stride(length: int) -> int:
    """Bytes from a record with `length` bytes of payload to the next one."""
    return (length + HEADER_SIZE + 7) & ~7


class Handler(Protocol):
    """What the records of a ring buffer are given to."""

    def run(self, action: int, records: memoryview, count: int) -> bool:
        """Take `count` records of the same size in a row, each with its header; `action` is the first u32 of each.

        `records` is the ring's memory: it must not be used after the return. True ends the drain behind these records.
        """


class Consumer(Protocol):
    """What reads a ring buffer."""

    fd: int
    damaged: int  # records skipped because they make no sense

    def drain(self, handler: Handler, limit: int = DRAIN_LIMIT) -> int:
        """Hand all committed records to `handler` in the order in which they were reserved, at most `limit`.

        Returns how many there were. It ends early at a record that is still being written.
        """

    @property
    def pending(self) -> bool:
        """Whether a record is reserved that the last drain did not take."""

    def close_off(self) -> None:
        """From now on `drain` and `pending` know only what is reserved now, until `reopen`."""

    def reopen(self) -> None: ...

    def close(self) -> None: ...


def open_ring_buffer(fd: int, size: int) -> Consumer:
    """The consumer of the ring buffer map `fd` of `size` bytes of data. Raises `OSError` if it cannot be mapped.

    Reading positions and headers in memory needs loads in program order (the producer's position before the header, the
    header before the payload) and the consumer's position stored last. x86 guarantees that for plain loads and stores;
    other architectures (arm64, riscv, power) need barriers, which Python cannot make: there, libbpf's consumer is used.
    """
    if os.uname().machine == "x86_64" and sys.maxsize > 1 << 32:
        return MappedRing(fd, size)
    return LibbpfRing(fd)


class Ring:
    """The algorithm, over any memory that has the layout. Positions are native u64.

    `consumer` and `producer` hold the positions in their first eight bytes; `data` is the doubled data.
    """

    def __init__(self, consumer: memoryview, producer: memoryview, data: memoryview) -> None:
        self.damaged = 0
        self.consumed = consumer[:8].cast("Q")
        self.produced = producer[:8].cast("Q")
        self.data = data
        self.words = data.cast("I")
        self.size = len(data) // 2
        self._guess = 1  # how long the next run may be: as the last one
        self._closed_off_at = _NEVER
        assert self.size & (self.size - 1) == 0, "a ring buffer's size is a power of two"

    @property
    def pending(self) -> bool:
        return self.consumed[0] < min(self.produced[0], self._closed_off_at)

    def close_off(self) -> None:
        self._closed_off_at = self.produced[0]

    def reopen(self) -> None:
        self._closed_off_at = _NEVER

    def drain(self, handler: Handler, limit: int = DRAIN_LIMIT) -> int:
        words, data, mask = self.words, self.data, self.size - 1
        position, taken, end = self.consumed[0], 0, 0
        while taken < limit:
            if position >= end:
                end = min(self.produced[0], self._closed_off_at)
                if position >= end:
                    break
            offset = position & mask
            header = words[offset >> 2]
            if header & BUSY:
                break
            length = header & LENGTH
            stride = (length + HEADER_SIZE + 7) & ~7
            if position + stride > end or end - position > self.size:
                # Never seen: the kernel's memory says nonsense, and there is no way to find the next record.
                self.damaged += 1
                position = self.consumed[0] = end
                break
            if header & DISCARDED or length < 4:
                self.damaged += not header & DISCARDED
                position = self.consumed[0] = position + stride
                continue
            most = min((end - position) // stride, limit - taken)
            action = words[(offset >> 2) + 2]
            count = self._run_length(offset >> 2, stride >> 2, header, action, most) if most > 1 else 1
            stop = handler.run(action, data[offset : offset + count * stride], count)
            # Only now: what lies before the consumer's position belongs to the producers.
            position = self.consumed[0] = position + count * stride
            taken += count
            if stop:
                break
        return taken

    def _run_length(self, start: int, stride: int, header: int, action: int, most: int) -> int:
        """How many records from `start` on (both in words) have this header and action; at most `most`.

        Record i is where it is expected if all before it are of the run, so the first place that differs is either a
        record's header or word, and ends the run, or lies behind one that does.
        """
        words = self.words
        second = start + stride
        if words[second] != header or words[second + 2] != action:
            self._guess = 1
            return 1
        # A quarter of the ring at most: the producers wait for the space.
        most = min(most, _BATCH, max(1, (self.size >> 4) // stride))
        count = min(most, self._guess * 4)
        stop = start + count * stride
        headers, actions = words[start:stop:stride].tobytes(), words[start + 2 : stop : stride].tobytes()
        same = _common(headers, headers[:4] * count)
        same = min(same, _common(actions, actions[:4] * count))
        self._guess = same
        return same


def _common(words: bytes, expected: bytes) -> int:
    """How many u32 at the start of two equally long texts are equal, by halving."""
    if words == expected:
        return len(words) // 4
    low, high = 0, len(words) // 4  # `low` words are equal, `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        if words[low * 4 : middle * 4] == expected[low * 4 : middle * 4]:
            low = middle
        else:
            high = middle
    return low


class MappedRing(Ring):
    """A ring buffer map read in place."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self.fd = fd
        self._consumer_page = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        try:
            self._rest = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        except OSError:
            self._consumer_page.close()
            raise
        rest = memoryview(self._rest)
        super().__init__(memoryview(self._consumer_page), rest[:page], rest[page:])

    def close(self) -> None:
        """Unmap. The file descriptor stays the caller's."""
        for view in (self.consumed, self.produced, self.words, self.data):
            view.release()
        self._consumer_page.close()
        self._rest.close()


class LibbpfRing:
    """A ring buffer map read by libbpf, one callback a record: slower, and right on every architecture."""

    # libbpf does not tell what it left; the poller's longest wait bounds the delay of a record that was still busy.
    pending = False

    def __init__(self, fd: int) -> None:
        import ctypes

        self.fd = fd
        self.damaged = 0
        self._ctypes = ctypes
        self._library = library = ctypes.CDLL("libbpf.so.1", use_errno=True)
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        library.ring_buffer__new.restype = ctypes.c_void_p
        library.ring_buffer__new.argtypes = [ctypes.c_int, callback, ctypes.c_void_p, ctypes.c_void_p]
        library.ring_buffer__consume.argtypes = library.ring_buffer__free.argtypes = [ctypes.c_void_p]
        library.ring_buffer__free.restype = None
        self._callback = callback(self._record)  # kept: C holds a pointer to it
        self._ring: int | None = library.ring_buffer__new(fd, self._callback, None, None)
        if not self._ring:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._handler: Handler | None = None
        self._left = self._taken = 0
        self._error: BaseException | None = None

    def close_off(self) -> None:
        """Nothing: libbpf does not tell how far the ring is filled. Who drains it while it is filled needs a limit."""

    def reopen(self) -> None:
        """Nothing, too."""

    def drain(self, handler: Handler, limit: int = DRAIN_LIMIT) -> int:
        assert self._ring, "closed"
        self._handler, self._left, self._taken = handler, limit, 0
        result = self._library.ring_buffer__consume(self._ring)
        error, self._error = self._error, None
        if error is not None:
            raise error
        if result < 0 and result != -errno.ECANCELED:
            raise OSError(-result, os.strerror(-result))
        return self._taken

    def _record(self, context: int | None, address: int, length: int) -> int:
        """libbpf calls this for each record; a negative answer ends its loop behind the record."""
        assert self._handler
        if length < 4:
            self.damaged += 1
            return 0
        ctypes = self._ctypes
        # The header lies before the payload, and the padding behind it: all of the ring's own memory.
        memory = (ctypes.c_char * record_stride(length)).from_address(address - HEADER_SIZE)
        view = memoryview(memory).cast("B")
        self._taken += 1
        try:
            stop = self._handler.run(int.from_bytes(view[8:12], sys.byteorder), view, 1)
        except BaseException as error:  # ctypes would print and forget it: `drain` raises it
            self._error = error
            return -errno.ECANCELED
        return -errno.ECANCELED if stop or self._taken >= self._left else 0

    def close(self) -> None:
        if self._ring:
            self._library.ring_buffer__free(self._ring)
            self._ring = None


class Poller:
    """Decides how to wait between drains, so that a busy ring costs no wake-ups and a quiet one no time.

    While events flow it sleeps 10 ms at a time: the program does not wake us (BPF_RB_NO_WAKEUP). After three empty
    drains, or if events come more than 10 ms apart, it calls `request_wakeup`, which sets the word that makes the
    program wake us at its next event, lets the caller drain once more (an event may have come just before), and then
    waits in epoll. The program must look at the word after it has reserved its record.
    """

    PAUSE = 0.010  # seconds between drains while events flow
    EMPTY_DRAINS = 3  # more is quiet
    # The program reads the word without a barrier, so that the wake-up for an event just after the request can get lost,
    # however rarely: look then. An event that comes later has seen the word.
    LONGEST = 0.25
    BUSY = 0.001  # a record was being written when the last drain stopped at it

    def __init__(self, ring: Consumer, request_wakeup: Callable[[], None]) -> None:
        self._ring = ring
        self._request_wakeup = request_wakeup
        self._others = select.epoll()  # what ends every wait
        self._all = select.epoll()  # and the ring
        self._all.register(ring.fd, select.EPOLLIN)
        self._all.register(self._others.fileno(), select.EPOLLIN)
        # Between drains there is always something in the ring: only a new wake-up counts, as of an event that cannot wait.
        self._urgent = select.epoll()
        self._urgent.register(ring.fd, select.EPOLLIN | select.EPOLLET)
        self._urgent.register(self._others.fileno(), select.EPOLLIN)
        self._empty = self.EMPTY_DRAINS  # nothing flows yet: the first event wakes us, and does not wait for the end of a pause
        self._only_the_ring = [(ring.fd, select.EPOLLIN)]
        # Called at once when the ring has woken us: whether it has handled an event. `bool` answers that it has not.
        self.on_wake: Callable[[], bool] = bool
        self._requested = False
        self._quiet = False  # a wait after the request has ended without an event
        self._last = 0.0  # when there were events, monotonic

    def watch(self, fd: int, events: int = select.EPOLLIN) -> None:
        """End waits when `fd` (a signalfd, pidfd, pipe) is ready."""
        self._others.register(fd, events)

    def unwatch(self, fd: int) -> None:
        self._others.unregister(fd)

    def wait(self, drained: int, timeout: float | None = None) -> list[int]:
        """Wait until it is time to drain again; `drained` is what the last drain returned.

        At most `timeout` seconds. Returns those of the watched file descriptors that are ready.
        """
        longest = timeout if timeout is not None and (self._quiet or timeout < self.LONGEST) else self.LONGEST
        if drained >= DRAIN_LIMIT:
            return self._ready(0)  # there is more
        if drained:
            self._empty = self.EMPTY_DRAINS + 1 if self._is_sparse() else 0
            self._requested = self._quiet = False
        else:
            self._empty += 1
        if self._empty <= self.EMPTY_DRAINS:
            self._urgent.poll(min(self.PAUSE, longest))
            return self._ready(0)
        if not self._requested:
            self._requested = True
            self._request_wakeup()
            return self._ready(0)
        if self._ring.pending:
            longest = min(longest, self.BUSY)
        ready = self._all.poll(longest)
        if ready == self._only_the_ring and self.on_wake():
            self._empty = self.EMPTY_DRAINS + 1 if self._is_sparse() else 0
        if not ready:
            self._quiet = longest >= self.LONGEST
            return []
        for fd, _ in ready:
            if fd == self._ring.fd:
                self._requested = self._quiet = False  # the program has cleared the word
        # Only the event counts: what else may be ready is found the next time, after the line is out.
        return self._ready(0) if self._requested else []

    def _is_sparse(self) -> bool:
        """There was an event: whether the last one was longer ago than a pause."""
        now = monotonic()
        sparse, self._last = now - self._last > self.PAUSE, now
        return sparse

    def _ready(self, timeout: float) -> list[int]:
        return [fd for fd, _ in self._others.poll(timeout)]

    def close(self) -> None:
        self._urgent.close()
        self._all.close()
        self._others.close()
