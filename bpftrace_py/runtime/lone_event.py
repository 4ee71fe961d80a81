"""The way of an event that comes alone, from the wake-up to its line, with as few calls as can be.

A person watches a terminal when events are rare. By then the caches have forgotten this program, and each Python function on the
way costs some 5 us: the general way, by `Ring.drain` and `Decoder.run`, has twelve (80 us), this one has itself, and one more where
an argument is no number. It takes the one record that it was woken for, if that is a `printf` whose text goes out as it is;
anything else it leaves alone.
"""

from __future__ import annotations

import os

from bpftrace_py.runtime.ring_buffer import HEADER_SIZE, Ring

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftrace_py.output.base import Output
    from bpftrace_py.runtime.decoder import Decoder, Lone
    from bpftrace_py.runtime.event_loop import EventLoop
    from bpftrace_py.runtime.ring_buffer import Consumer


def on_wake(ring: Consumer, decoder: Decoder, output: Output, loop: EventLoop) -> Callable[[], bool] | None:
    """What a `Poller` is to call first when the ring buffer has woken it; it answers whether it has handled an event. None where
    all events must go the general way."""
    if not isinstance(ring, Ring) or not output.printf_as_it_is or output.writer.mode == "full":
        return None
    consumed, produced, words, data, mask = ring.consumed, ring.produced, ring.words, ring.data, ring.size - 1
    writer, fd, write = output.writer, output.writer.fd, os.write
    # By the record's first word, its length, and its third, the action. A record that is still written has the highest bit set.
    known: dict[int, Lone] = {}

    def take_one() -> bool:
        position = consumed[0]
        if position >= produced[0]:  # looked at first: the header of what is reserved from now on may be an old one
            return False
        offset = position & mask
        at = offset >> 2
        header = words[at]
        kind = words[at + 2] << 32 | header
        lone = known.get(kind)
        if lone is None:
            made = decoder.lone(words[at + 2], (header + HEADER_SIZE + 7) & ~7)
            if made is not None:
                known[kind] = made
            return False
        unpack, format, stride = lone
        text = format(unpack(data, offset))
        consumed[0] = position + stride
        written = 0
        if not writer.waiting:
            try:
                written = write(fd, text)
            except OSError:
                pass  # `flush` meets it again, and knows what to do
        if written != len(text):
            writer.write(text[written:])
            writer.flush()
        loop.handled += 1
        return True

    return take_one
