from __future__ import annotations

import struct

from bpftrace_py.symbols.stacks import StackReader, decode


def value(*frames: int, depth: int | None = None, room: int = 127) -> bytes:
    words = (len(frames) if depth is None else depth, *frames)
    return struct.pack(f"={len(words)}Q", *words).ljust(8 + 8 * room, b"\xee")


def test_decode_takes_as_many_frames_as_there_are():
    assert decode(value(0xFFFFFFFF81000001, 2, 3)) == (0xFFFFFFFF81000001, 2, 3)
    assert decode(value()) == ()
    assert decode(value(1, 2, depth=1)) == (1,)


def test_decode_of_damaged_values():
    assert decode(b"") == ()
    assert decode(value(7, depth=1 << 60, room=1)) == (7,)
    assert decode(value(7, 8, room=2)[:-3]) == (7,)


def test_a_stack_is_read_once():
    asked = []

    def lookup(stack):
        asked.append(stack)
        return value(10, 11) if stack == 5 else None

    reader = StackReader(lookup)
    assert reader.frames(5) == (10, 11)
    assert reader.frames(5) == (10, 11)
    assert asked == [5]
    assert reader.missing == 0


def test_the_empty_stack_is_not_looked_up():
    reader = StackReader(lambda stack: 1 / 0)
    assert reader.frames(0) == ()


def test_a_stack_that_the_kernel_had_no_room_for_is_counted_and_asked_for_again():
    there = {}
    reader = StackReader(there.get)
    assert reader.frames(9) is None
    assert reader.missing == 1
    there[9] = value(1)
    assert reader.frames(9) == (1,)
