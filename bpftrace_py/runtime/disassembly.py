"""BPF bytecode as text, as the kernel's verifier writes it: `0: (b7) r0 = 0`.

The encoding is that of the instruction set (RFC 9669): opcode, destination and source register, offset, immediate. Calls
are shown by the helper's number, map references by the map's name.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_INSTRUCTION = struct.Struct("=BBhi")
_LD_IMM64 = 0x18
_SIZES = {0x00: "u32", 0x08: "u16", 0x10: "u8", 0x18: "u64"}
_ALU = {
    0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=", 0x60: "<<=", 0x70: ">>=", 0x90: "%=",
    0xA0: "^=", 0xB0: "=", 0xC0: "s>>=",
}  # fmt: skip
_JUMPS = {
    0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&", 0x50: "!=", 0x60: "s>", 0x70: "s>=", 0xA0: "<", 0xB0: "<=", 0xC0: "s<",
    0xD0: "s<=",
}  # fmt: skip
_ATOMICS = {0x00: "add", 0x40: "or", 0x50: "and", 0xA0: "xor", 0x01: "fetch_add", 0x41: "fetch_or", 0x51: "fetch_and",
            0xA1: "fetch_xor", 0xE1: "xchg", 0xF1: "cmpxchg"}  # fmt: skip


def disassemble(code: bytes, map_names: Mapping[int, str]) -> list[str]:
    """A line for each instruction. `map_names` has the map's name by the byte offset of the immediate that refers to it.

    An instruction that is not known is shown by its fields.
    """
    lines, at = [], 0
    while at < len(code):
        opcode, registers, offset, immediate = _INSTRUCTION.unpack_from(code, at)
        number = at // 8
        if opcode == _LD_IMM64 and at + 16 <= len(code):
            high = _INSTRUCTION.unpack_from(code, at + 8)[3]
            name = map_names.get(at + 4)
            value = f"map[{name}]" if name else hex((immediate & 0xFFFFFFFF) | (high & 0xFFFFFFFF) << 32)
            text = f"r{registers & 15} = {value}"
            at += 8
        else:
            text = _instruction(number, opcode, registers & 15, registers >> 4, offset, immediate)
        lines.append(f"{number}: ({opcode:02x}) {text}")
        at += 8
    return lines


def _instruction(number: int, opcode: int, to: int, source: int, offset: int, immediate: int) -> str:
    kind = opcode & 7
    if kind in (4, 7):
        return _alu(opcode, "r" if kind == 7 else "w", to, source, immediate)
    if kind in (5, 6):
        return _jump(number, opcode, "r" if kind == 5 else "w", to, source, offset, immediate)
    size, mode = _SIZES[opcode & 0x18], opcode & 0xE0
    if kind == 1 and mode in (0x60, 0x80):
        signed = size.replace("u", "s") if mode == 0x80 else size
        return f"r{to} = *({signed} *)(r{source} {offset:+d})"
    if kind == 2 and mode == 0x60:
        return f"*({size} *)(r{to} {offset:+d}) = {immediate}"
    if kind == 3 and mode == 0x60:
        return f"*({size} *)(r{to} {offset:+d}) = r{source}"
    if kind == 3 and mode == 0xC0 and immediate in _ATOMICS:
        return f"lock {_ATOMICS[immediate]} *({size} *)(r{to} {offset:+d}), r{source}"
    return f"unknown: registers {to} {source}, offset {offset}, immediate {immediate}"


def _alu(opcode: int, letter: str, to: int, source: int, immediate: int) -> str:
    operation = opcode & 0xF0
    if operation == 0x80:
        return f"{letter}{to} = -{letter}{to}"
    if operation == 0xD0:
        return f"r{to} = {'be' if opcode & 8 else 'le'}{immediate} r{to}"
    operand = f"{letter}{source}" if opcode & 8 else str(immediate)
    return f"{letter}{to} {_ALU.get(operation, '?=')} {operand}"


def _jump(number: int, opcode: int, letter: str, to: int, source: int, offset: int, immediate: int) -> str:
    operation = opcode & 0xF0
    target = number + 1 + offset
    if operation == 0x00:
        return f"goto {number + 1 + immediate if letter == 'w' else target}"
    if operation == 0x80:
        return f"call pc{immediate:+d}" if source == 1 else f"call helper#{immediate}"
    if operation == 0x90:
        return "exit"
    operand = f"{letter}{source}" if opcode & 8 else str(immediate)
    return f"if {letter}{to} {_JUMPS.get(operation, '?')} {operand} goto {target}"
