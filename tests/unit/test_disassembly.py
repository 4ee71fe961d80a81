"""Bytecode as text, against encodings from the instruction set's own document (RFC 9669)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftrace_py.runtime.disassembly import disassemble


def encode(opcode: int, to: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, to | source << 4, offset, immediate)


@pytest.mark.parametrize(
    "code, text",
    [
        (encode(0xB7, 0, immediate=-1), "0: (b7) r0 = -1"),
        (encode(0xBF, 6, 1), "0: (bf) r6 = r1"),
        (encode(0x07, 2, immediate=-8), "0: (07) r2 += -8"),
        (encode(0x0F, 1, 2), "0: (0f) r1 += r2"),
        (encode(0x2C, 1, 2), "0: (2c) w1 *= w2"),
        (encode(0xC7, 3, immediate=32), "0: (c7) r3 s>>= 32"),
        (encode(0x87, 3), "0: (87) r3 = -r3"),
        (encode(0xDC, 3, immediate=16), "0: (dc) r3 = be16 r3"),
        (encode(0x79, 1, 10, -16), "0: (79) r1 = *(u64 *)(r10 -16)"),
        (encode(0x61, 1, 6, 4), "0: (61) r1 = *(u32 *)(r6 +4)"),
        (encode(0x7B, 10, 0, -8), "0: (7b) *(u64 *)(r10 -8) = r0"),
        (encode(0x72, 10, offset=-1, immediate=7), "0: (72) *(u8 *)(r10 -1) = 7"),
        (encode(0xDB, 1, 2, 8, 0), "0: (db) lock add *(u64 *)(r1 +8), r2"),
        (encode(0xDB, 1, 2, 0, 0xE1), "0: (db) lock xchg *(u64 *)(r1 +0), r2"),
        (encode(0x85, immediate=14), "0: (85) call helper#14"),
        (encode(0x85, 0, 1, immediate=5), "0: (85) call pc+5"),
        (encode(0x05, offset=3), "0: (05) goto 4"),
        (encode(0x15, 0, offset=2), "0: (15) if r0 == 0 goto 3"),
        (encode(0xCD, 1, 2, -1), "0: (cd) if r1 s< r2 goto 0"),
        (encode(0x26, 1, offset=1, immediate=9), "0: (26) if w1 > 9 goto 2"),
        (encode(0x95), "0: (95) exit"),
    ],
)
def test_instructions(code: bytes, text: str) -> None:
    assert disassemble(code, {}) == [text]


def test_a_wide_load_takes_two_slots() -> None:
    code = encode(0x18, 1, 0, 0, 0x55667788) + encode(0, immediate=0x11223344) + encode(0x95)
    assert disassemble(code, {}) == ["0: (18) r1 = 0x1122334455667788", "2: (95) exit"]
    assert disassemble(code, {4: "events"})[0] == "0: (18) r1 = map[events]"


@given(st.binary(max_size=64).map(lambda code: code[: len(code) & ~7]))
def test_any_bytes_give_text(code: bytes) -> None:
    assert bool(disassemble(code, {})) == bool(code)
