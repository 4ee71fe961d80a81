"""Loops in bytecode as kernels before 6.7 want them.

Their verifier first looks at the order of the instructions, depth first, and refuses a step that leads back to one that it is still
on its way from ("back-edge from insn 17 to 18"), unless that step is a jump. LLVM likes to place the end of a loop in front of its
beginning, so that control falls into it: no jump. What is missing is one to the next instruction; the verifier takes it out again
later. Linux 6.7 no longer asks (10e14e9652bf, "bpf: fix control-flow graph checking in privileged mode").
"""

from __future__ import annotations

import struct

_INSTRUCTION = struct.Struct("=BBhi")  # opcode, registers, offset, immediate
_JUMP_CLASSES = (0x05, 0x06)
_ALWAYS, _CALL, _EXIT = 0x05, 0x85, 0x95  # opcodes in that class that are not "jump if"
_TO_NEXT = _INSTRUCTION.pack(_ALWAYS, 0, 0, 0)


def with_jumps_back(code: bytes) -> bytes:
    """The same with a jump wherever control would fall back into a loop."""
    instructions = list(_INSTRUCTION.iter_unpack(code))
    targets = [_targets(at, instruction) for at, instruction in enumerate(instructions)]
    if all(to > at for at, each in enumerate(targets) for to in each):
        return code
    fallen_into = _fallen_into(instructions, targets)
    if not fallen_into:
        return code
    places, added = [], 0  # where each instruction will be
    for at in range(len(instructions)):
        added += at in fallen_into
        places.append(at + added)
    made = []
    for at, (opcode, registers, offset, immediate) in enumerate(instructions):
        if at in fallen_into:
            made.append(_TO_NEXT)
        if _jumps(opcode):
            offset = places[at + 1 + offset] - places[at] - 1
        made.append(_INSTRUCTION.pack(opcode, registers, offset, immediate))
    return b"".join(made)


def _jumps(opcode: int) -> bool:
    return opcode & 7 in _JUMP_CLASSES and opcode not in (_CALL, _EXIT)


def _targets(at: int, instruction: tuple[int, ...]) -> tuple[int, ...]:
    """Where control goes from an instruction, in the verifier's order. The second half of a 64-bit constant looks like one, too."""
    opcode, _, offset, _ = instruction
    if opcode == _EXIT:
        return ()
    if not _jumps(opcode):
        return (at + 1,)
    return (at + 1 + offset,) if opcode == _ALWAYS else (at + 1, at + 1 + offset)


def _fallen_into(instructions: list[tuple[int, ...]], targets: list[tuple[int, ...]]) -> set[int]:
    """The instructions that control falls back into, without a jump, from what follows them: as the verifier finds them."""
    found = set()
    next_target = [0] * len(targets)
    seen, on_the_way, path = {0}, {0}, [0]
    while path:
        at = path[-1]
        if next_target[at] == len(targets[at]):
            on_the_way.discard(path.pop())
            continue
        to = targets[at][next_target[at]]
        next_target[at] += 1
        if to not in seen:
            seen.add(to)
            on_the_way.add(to)
            path.append(to)
        elif to in on_the_way and not _jumps(instructions[at][0]):
            found.add(to)
    return found
