"""The ring buffer's consumer, over memory laid out as the kernel lays it out."""

from __future__ import annotations

import os
import struct
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpftrace_py.runtime.ring_buffer import BUSY, DISCARDED, DRAIN_LIMIT, Poller, Ring, record_stride


class Kernel:
    """The producer's side of a ring buffer of `size` bytes, without a kernel."""

    def __init__(self, size: int = 4096, start: int = 0) -> None:
        self.size = size
        self.consumer, self.producer, self.memory = bytearray(4096), bytearray(4096), bytearray(2 * size)
        self.consumer[:8] = self.producer[:8] = struct.pack("=Q", start)

    @property
    def produced(self) -> int:
        return int(struct.unpack_from("=Q", self.producer)[0])

    @property
    def consumed(self) -> int:
        return int(struct.unpack_from("=Q", self.consumer)[0])

    def ring(self) -> Ring:
        return Ring(memoryview(self.consumer), memoryview(self.producer), memoryview(self.memory))

    def put(self, payload: bytes, flags: int = 0) -> int:
        """Reserve and write a record; where its header is."""
        position = self.produced
        stride = record_stride(len(payload))
        assert position + stride - self.consumed <= self.size, "the test needs a larger ring"
        self._write(position, struct.pack("=II", len(payload) | flags, 0) + payload)
        self.producer[:8] = struct.pack("=Q", position + stride)
        return position

    def commit(self, position: int, flags: int = 0) -> None:
        (header,) = struct.unpack_from("=I", self.memory, position % self.size)
        self._write(position, struct.pack("=I", header & ~BUSY | flags))

    def _write(self, position: int, data: bytes) -> None:
        for index, byte in enumerate(data):  # both mappings show the same memory
            at = (position + index) % self.size
            self.memory[at] = self.memory[at + self.size] = byte


class Seen:
    """A handler that keeps payloads and the lengths of runs. `stop_at` is an action that ends a drain."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.payloads: list[bytes] = []
        self.runs: list[int] = []
        self.stop_at = stop_at

    def run(self, action: int, records: memoryview, count: int) -> bool:
        stride = len(records) // count
        assert stride * count == len(records)
        for at in range(0, len(records), stride):
            (length,) = struct.unpack_from("=I", records, at)
            assert struct.unpack_from("=I", records, at + 8)[0] == action
            self.payloads.append(bytes(records[at + 8 : at + 8 + length]))
        self.runs.append(count)
        return action == self.stop_at


def payload(action: int, size: int, number: int = 0) -> bytes:
    return (struct.pack("=IQ", action, number) + bytes(range(256)) * 5)[:size]


def test_an_empty_ring_has_nothing() -> None:
    kernel, seen = Kernel(), Seen()
    assert kernel.ring().drain(seen) == 0 and not seen.runs and not kernel.ring().pending


def test_a_run_of_equal_records_is_handed_over_as_one() -> None:
    kernel, seen = Kernel(1 << 16), Seen()
    expected = [payload(3, 20, number) for number in range(1000)]
    for record in expected:
        kernel.put(record)
    ring = kernel.ring()
    assert ring.drain(seen) == 1000
    assert seen.payloads == expected and len(seen.runs) < 10
    assert kernel.consumed == kernel.produced == 1000 * 32


def test_a_run_never_holds_more_than_a_quarter_of_the_ring() -> None:
    kernel, seen = Kernel(1 << 12), Seen()
    for number in range(60):
        kernel.put(payload(0, 56, number))
    assert kernel.ring().drain(seen) == 60 and max(seen.runs) == 16


def test_kinds_of_equal_size_are_told_apart_by_their_action() -> None:
    kernel, seen = Kernel(1 << 14), Seen()
    expected = [payload(1 if number % 7 < 3 else 2, 24, number) for number in range(300)]
    for record in expected:
        kernel.put(record)
    assert kernel.ring().drain(seen) == 300 and seen.payloads == expected


def test_a_payload_that_looks_like_the_next_header_does_not_confuse() -> None:
    kernel, seen = Kernel(), Seen()
    small = payload(5, 8)
    disguised = struct.pack("=II", 5, 0) + struct.pack("=II", 8, 0) + small  # of 16-byte steps that look like `small`
    expected = [small, small, disguised, small]
    for record in expected:
        kernel.put(record)
    assert kernel.ring().drain(seen) == 4 and seen.payloads == expected


def test_records_wrap_around_the_end_of_the_memory() -> None:
    kernel, seen = Kernel(4096, start=4096 * 5 - 40), Seen()
    ring = kernel.ring()
    expected = [payload(1, 100, number) for number in range(30)]
    for record in expected:
        kernel.put(record)
    assert ring.drain(seen) == 30 and seen.payloads == expected


def test_positions_beyond_32_bits() -> None:
    kernel, seen = Kernel(4096, start=(1 << 40) + 4080), Seen()
    kernel.put(payload(1, 40))
    assert kernel.ring().drain(seen) == 1 and kernel.consumed == (1 << 40) + 4080 + 48


@pytest.mark.parametrize("before", [0, 1, 2, 50])
def test_a_busy_record_holds_up_what_is_behind_it(before: int) -> None:
    kernel, seen = Kernel(1 << 14), Seen()
    expected = [payload(1, 24, number) for number in range(before + 5)]
    for record in expected[:before]:
        kernel.put(record)
    busy = kernel.put(expected[before], BUSY)
    for record in expected[before + 1 :]:
        kernel.put(record)
    ring = kernel.ring()
    assert ring.drain(seen) == before and seen.payloads == expected[:before]
    assert ring.pending and ring.drain(seen) == 0
    kernel.commit(busy)
    assert ring.drain(seen) == 5 and seen.payloads == expected and not ring.pending


def test_discarded_records_are_skipped_and_not_counted() -> None:
    kernel, seen = Kernel(), Seen()
    kernel.put(payload(1, 24), DISCARDED)
    kernel.put(payload(1, 24, 1))
    later = kernel.put(payload(1, 64), BUSY)
    kernel.put(payload(1, 24, 2))
    ring = kernel.ring()
    assert ring.drain(seen) == 1
    kernel.commit(later, DISCARDED)
    assert ring.drain(seen) == 1
    assert seen.payloads == [payload(1, 24, 1), payload(1, 24, 2)] and kernel.consumed == kernel.produced
    assert ring.damaged == 0


def test_a_handler_can_stop_behind_its_records() -> None:
    kernel, seen = Kernel(), Seen(stop_at=9)
    for action in (1, 9, 1):
        kernel.put(payload(action, 24))
    ring = kernel.ring()
    assert ring.drain(seen) == 2 and ring.pending
    assert ring.drain(seen) == 1 and not ring.pending


def test_a_failed_handler_gets_its_records_again() -> None:
    kernel = Kernel()
    kernel.put(payload(1, 24))

    class Fails(Seen):
        def run(self, action: int, records: memoryview, count: int) -> bool:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        kernel.ring().drain(Fails())
    assert kernel.consumed == 0


def test_the_limit_is_exact() -> None:
    kernel, seen = Kernel(1 << 14), Seen()
    for number in range(100):
        kernel.put(payload(1, 24, number))
    ring = kernel.ring()
    assert [ring.drain(seen, 7), ring.drain(seen, 64), ring.drain(seen, 64)] == [7, 64, 29]


@given(st.data())
@settings(deadline=None)
def test_any_sequence_arrives_whole_and_in_order(data: st.DataObject) -> None:
    """Actions, sizes and flags mixed, in a ring that wraps, drained now and then."""
    kernel = Kernel(4096, start=data.draw(st.integers(0, 600)) * 8)
    ring, seen, expected, busy = kernel.ring(), Seen(), [], []
    kinds = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(4, 300)), min_size=1, max_size=4))
    for number in range(data.draw(st.integers(1, 120))):
        action, size = data.draw(st.sampled_from(kinds))
        if kernel.produced + record_stride(size) - kernel.consumed > kernel.size:
            while busy:
                kernel.commit(busy.pop(0))
            ring.drain(seen)
        flags = data.draw(st.sampled_from([0, 0, 0, 0, BUSY, DISCARDED]))
        position = kernel.put(payload(action, size, number), flags)
        if flags != DISCARDED:
            expected.append(payload(action, size, number))
        if flags == BUSY:
            busy.append(position)
    ring.drain(seen)
    assert seen.payloads == expected[: len(seen.payloads)]
    while busy:
        kernel.commit(busy.pop())
    ring.drain(seen)
    assert seen.payloads == expected and kernel.consumed == kernel.produced and ring.damaged == 0


@given(st.binary(min_size=64, max_size=512), st.integers(0, 1 << 64 - 1), st.integers(0, (1 << 64) - 1))
def test_hostile_memory_ends_in_a_count(noise: bytes, consumed: int, produced: int) -> None:
    kernel = Kernel(512)
    kernel.memory[: len(noise)] = noise
    kernel.consumer[:8], kernel.producer[:8] = struct.pack("=Q", consumed), struct.pack("=Q", produced)

    class Nothing:
        def run(self, action: int, records: memoryview, count: int) -> bool:
            return False

    ring = kernel.ring()
    for _ in range(200):
        before = kernel.consumed
        ring.drain(Nothing())
        if kernel.consumed == before:
            break
    else:
        pytest.fail("it does not come to an end")


def test_a_record_without_room_for_an_action_is_damage() -> None:
    kernel, seen = Kernel(), Seen()
    kernel.put(b"abc")
    kernel.put(payload(1, 8))
    ring = kernel.ring()
    assert ring.drain(seen) == 1 and ring.damaged == 1


# --- waiting


class FakeRing:
    """A ring for the poller: a pipe that is readable when the kernel would have woken us."""

    damaged = 0
    pending = False

    def __init__(self) -> None:
        self.fd, self.waker = os.pipe()

    def drain(self, handler: object, limit: int = 0) -> int:
        raise AssertionError("the poller does not drain")

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.waker)


def test_the_poller_asks_for_a_wake_up_once_it_is_quiet() -> None:
    ring, requests = FakeRing(), []
    poller = Poller(ring, lambda: requests.append(1))
    poller.PAUSE = 0.0
    poller._last = time.monotonic() + 3600  # the next events will be no drip
    poller.wait(3)
    for _ in range(poller.EMPTY_DRAINS):
        poller.wait(0)
    assert requests == []
    poller.wait(0)  # asks, and lets the caller look once more
    assert requests == [1]
    poller.wait(0, 0.001)  # waits
    assert requests == [1]
    os.write(ring.waker, b"x")
    poller.wait(0)  # is woken; nothing came of it, so that it has to ask again
    poller.wait(0)
    assert requests == [1, 1]
    poller.close()
    ring.close()


def test_a_new_poller_is_quiet() -> None:
    """The first event of a session does not wait for the end of a pause."""
    ring, requests = FakeRing(), []
    poller = Poller(ring, lambda: requests.append(1))
    poller.PAUSE = 3600.0
    poller.wait(0)
    assert requests == [1]
    poller.close()
    ring.close()


def test_the_poller_pauses_while_events_flow_and_not_while_they_drip() -> None:
    ring, requests = FakeRing(), []
    poller = Poller(ring, lambda: requests.append(1))
    poller.PAUSE = 0.0
    poller.wait(3)  # the last events were longer ago than the pause
    assert requests == [1]
    poller.PAUSE = 3600.0
    reader, writer = os.pipe()
    os.write(writer, b"x")
    poller.watch(reader)  # ends the pauses
    assert poller.wait(3) == [reader] and poller.wait(0) == [reader]
    assert requests == [1]
    poller.close()
    ring.close()
    os.close(reader)
    os.close(writer)


def test_events_that_are_handled_when_they_wake_us_count_as_events() -> None:
    """Many of them, and there are pauses, so that not each event of a flow has to wake us; a few, and we wait for the next."""
    ring, requests = FakeRing(), []
    poller = Poller(ring, lambda: requests.append(1))
    poller.on_wake = lambda: os.read(ring.fd, 1) == b"x"
    for pause, expected in ((0.0, [1, 1]), (3600.0, [1])):
        poller.PAUSE = 0.0
        poller.wait(3)
        while len(requests) % 2 == 0:
            poller.wait(0)
        requests[:] = [1]
        os.write(ring.waker, b"x")
        poller.PAUSE = pause
        poller.wait(0)  # is woken, and has handled the event
        reader, writer = os.pipe()
        os.write(writer, b"x")
        poller.watch(reader)  # ends a pause
        poller.wait(0)
        assert requests == expected
        poller.unwatch(reader)
        os.close(reader)
        os.close(writer)
    poller.close()
    ring.close()


def test_watched_descriptors_end_every_wait() -> None:
    ring, (reader, writer) = FakeRing(), os.pipe()
    poller = Poller(ring, lambda: None)
    poller.watch(reader)
    for _ in range(8):
        assert poller.wait(0, 0.001) == []
    timer = threading.Timer(0.02, os.write, (writer, b"x"))
    timer.start()
    waits = 0
    while poller.wait(0) != [reader]:
        waits += 1
        assert waits < 1000
    assert poller.wait(DRAIN_LIMIT) == [reader] and poller.wait(7) == [reader]
    poller.unwatch(reader)
    assert poller.wait(0, 0.001) == []
    timer.join()
    poller.close()
    ring.close()
    for fd in (reader, writer):
        os.close(fd)


def test_a_busy_record_is_looked_at_soon() -> None:
    ring = FakeRing()
    ring.pending = True
    poller = Poller(ring, lambda: None)
    poller.LONGEST = 3600.0  # only the pending record can end the wait
    for _ in range(poller.EMPTY_DRAINS + 3):
        poller.wait(0)
    poller.close()
    ring.close()


def test_what_is_added_after_the_closing_waits_for_the_opening():
    kernel, seen = Kernel(), Seen()
    ring = kernel.ring()
    kernel.put(b"before")
    ring.close_off()
    kernel.put(b"behind")
    assert ring.pending
    assert ring.drain(seen) == 1
    assert not ring.pending and ring.drain(seen) == 0
    ring.reopen()
    assert ring.pending and ring.drain(seen) == 1
    assert seen.payloads == [b"before", b"behind"]
