"""Control falls back into no loop: kernels before 6.7 want a jump there."""

from __future__ import annotations

import struct

import pytest

from bpftrace_py.runtime.back_edges import with_jumps_back

SET, ADD, CALL, GOTO, IF_NOT, EXIT = 0xB7, 0x07, 0x85, 0x05, 0x55, 0x95
CONSTANT, REST = 0x18, 0x00  # the two halves of a 64-bit constant
MAY_GOTO = 0xE5


def code(*instructions: tuple[int, int]) -> bytes:
    """Instructions as (opcode, offset)."""
    return b"".join(struct.pack("=BBhi", opcode, 0, offset, at) for at, (opcode, offset) in enumerate(instructions))


def shape(made: bytes) -> list[tuple[int, int]]:
    return [(opcode, offset) for opcode, _, offset, _ in struct.iter_unpack("=BBhi", made)]


def test_a_jump_stands_where_control_falls_into_a_loop():
    made = with_jumps_back(
        code((SET, 0), (GOTO, 1), (ADD, 0), (CONSTANT, 0), (REST, 0), (CALL, 0), (IF_NOT, 1), (GOTO, -6), (EXIT, 0))
    )
    assert shape(made) == [
        (SET, 0), (GOTO, 2), (ADD, 0), (GOTO, 0), (CONSTANT, 0), (REST, 0), (CALL, 0), (IF_NOT, 1), (GOTO, -7), (EXIT, 0)
    ]  # fmt: skip
    assert with_jumps_back(made) == made


def test_loops_in_each_other():
    made = with_jumps_back(
        code((GOTO, 3), (ADD, 0), (GOTO, 1), (ADD, 0), (CALL, 0), (IF_NOT, -3), (MAY_GOTO, -6), (EXIT, 0))
    )
    assert shape(made) == [
        (GOTO, 4), (ADD, 0), (GOTO, 2), (ADD, 0), (GOTO, 0), (CALL, 0), (IF_NOT, -4), (MAY_GOTO, -7), (EXIT, 0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "instructions",
    [
        [(SET, 0), (IF_NOT, 1), (ADD, 0), (CALL, 0), (EXIT, 0)],  # no loop
        [(SET, 0), (CALL, 0), (ADD, 0), (IF_NOT, -3), (EXIT, 0)],  # back by a jump only
        [(SET, 0), (GOTO, 2), (CALL, 0), (GOTO, 0), (IF_NOT, -3), (EXIT, 0)],  # and into it by one
    ],
)
def test_other_programs_are_as_they_were(instructions: list[tuple[int, int]]):
    assert with_jumps_back(code(*instructions)) == code(*instructions)
