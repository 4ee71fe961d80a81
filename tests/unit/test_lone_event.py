"""An event that comes alone goes a shorter way to its line, or the general one where it must."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bpftrace_py.output.base import Writer
from bpftrace_py.output.json import JsonOutput
from bpftrace_py.output.text import TextOutput
from bpftrace_py.output.values import Texts
from bpftrace_py.runtime.decoder import Decoder
from bpftrace_py.runtime.lone_event import on_wake
from bpftrace_py.runtime.ring_buffer import BUSY, DISCARDED
from tests.unit.test_decoder import NONE, PRINT, TABLE, TIME, Log, record
from tests.unit.test_ring_buffer import Kernel
from tests.unit.test_values import FIELDS, Names

LINE = record(PRINT, (7).to_bytes(8, "little") + b"dd".ljust(16, b"\0") + (512).to_bytes(8, "little"))


@dataclass
class Setup:
    """A ring buffer, what reads it, and a pipe for what is printed."""

    mode: str = "line"
    make: Callable[[Writer, Texts], Any] = TextOutput
    kernel: Kernel = field(default_factory=lambda: Kernel(256))

    def __post_init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_NONBLOCK)
        texts = Texts(Names(), FIELDS)
        self.output = self.make(Writer(self.write, self.mode), texts)
        self.ring, self.loop = self.kernel.ring(), cast(Any, SimpleNamespace(handled=0))
        self.decoder = Decoder(TABLE, texts, self.output.printf, cast(Any, Log()))
        self.take = on_wake(self.ring, self.decoder, self.output, self.loop)

    def printed(self) -> bytes:
        try:
            return os.read(self.read, 1 << 16)
        except BlockingIOError:
            return b""

    def drain(self) -> bytes:
        self.ring.drain(self.decoder)
        self.decoder.flush()
        self.output.writer.flush()
        return self.printed()

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    made.close()


def test_a_line_is_out_at_once_once_its_kind_was_seen(setup: Setup) -> None:
    assert setup.take
    setup.kernel.put(LINE)
    setup.take()
    assert setup.printed() == b"" and setup.drain() == b"7 dd 512\n"
    for count in range(1, 40):  # around the ring several times
        setup.kernel.put(LINE)
        assert setup.take()
        assert setup.printed() == b"7 dd 512\n"
        assert setup.loop.handled == count
        assert setup.kernel.consumed == setup.kernel.produced
    assert not setup.take()
    assert setup.printed() == b""  # what stands there is old
    assert setup.drain() == b""


def test_it_takes_one_and_leaves_what_comes_behind(setup: Setup) -> None:
    assert setup.take
    for payload in (LINE, record(NONE)):  # makes both kinds known
        setup.kernel.put(payload)
        setup.take()
        setup.drain()
    setup.kernel.put(LINE)
    setup.kernel.put(record(NONE))
    setup.take()
    assert setup.printed() == b"7 dd 512\n"
    setup.take()
    assert setup.printed() == b"none\n"


@pytest.mark.parametrize("flags", [BUSY, DISCARDED])
def test_records_that_are_not_there_are_left_alone(setup: Setup, flags: int) -> None:
    assert setup.take
    setup.kernel.put(LINE)
    setup.take()
    setup.drain()
    position = setup.kernel.put(LINE, flags)
    setup.take()
    assert setup.printed() == b"" and setup.kernel.consumed == position
    if flags == BUSY:
        setup.kernel.commit(position)
        setup.take()
        assert setup.printed() == b"7 dd 512\n"


def test_other_actions_and_nonsense_are_for_the_general_way(setup: Setup) -> None:
    assert setup.take
    for payload in (record(TIME), record(len(TABLE)), record(PRINT)):  # the last is too short
        position = setup.kernel.put(payload)
        for _ in range(2):
            setup.take()
        assert setup.kernel.consumed == position and setup.printed() == b""
        setup.drain()
    assert setup.loop.handled == 0


def test_it_prints_behind_what_still_waits(setup: Setup) -> None:
    assert setup.take
    setup.kernel.put(LINE)
    setup.take()
    setup.drain()
    setup.output.writer.write(b"before\n")
    setup.kernel.put(LINE)
    setup.take()
    assert setup.printed() == b"before\n7 dd 512\n"


def test_what_does_not_fit_the_pipe_is_written_later(setup: Setup) -> None:
    assert setup.take
    setup.kernel.put(LINE)
    setup.take()
    setup.drain()
    with suppress(BlockingIOError):
        while True:
            os.write(setup.write, b"x" * 4096)
    threading.Timer(0.05, os.read, (setup.read, 4096)).start()
    setup.kernel.put(LINE)
    assert setup.take()  # waits for room
    assert b"".join(iter(setup.printed, b"")).strip(b"x") == b"7 dd 512\n"


def test_a_reader_that_has_gone_is_noticed(setup: Setup) -> None:
    assert setup.take
    setup.kernel.put(LINE)
    setup.take()
    setup.drain()
    os.close(setup.read)
    setup.kernel.put(LINE)
    with pytest.raises(BrokenPipeError):
        setup.take()
    setup.read = os.dup(setup.write)


@pytest.mark.parametrize("options", [{"mode": "full"}, {"make": JsonOutput}])
def test_where_a_line_is_not_written_at_once_there_is_no_shorter_way(options: dict[str, Any]) -> None:
    made = Setup(**options)
    assert made.take is None
    made.close()
