"""`Image`: a compiled unit as plain data. Bytecode, and the maps that it refers to."""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LD_IMM64, _PSEUDO_MAP_FD = 0x18, 1
_INSTRUCTION = struct.Struct("=BBhi")  # opcode, registers (source in the upper half), offset, immediate


class MapSpec:
    """What a map is created from. Sizes in bytes, of one CPU's value in a per-CPU map."""

    __slots__ = ("name", "kind", "key_size", "value_size", "max_entries", "flags")

    def __init__(self, name: str, kind: int, key_size: int, value_size: int, max_entries: int, flags: int) -> None:
        self.name, self.kind, self.key_size, self.value_size = name, kind, key_size, value_size
        self.max_entries, self.flags = max_entries, flags

    def plain(self) -> tuple[str, int, int, int, int, int]:
        return self.name, self.kind, self.key_size, self.value_size, self.max_entries, self.flags


class Code:
    """One program's bytecode. `relocations`: (offset of an immediate, index of the map whose fd goes there)."""

    __slots__ = ("instructions", "relocations")

    def __init__(self, instructions: bytes, relocations: tuple[tuple[int, int], ...]) -> None:
        self.instructions, self.relocations = instructions, relocations

    def linked(self, map_fds: tuple[int, ...]) -> bytes:
        """The bytecode with the maps' file descriptors in it."""
        code = bytearray(self.instructions)
        for offset, index in self.relocations:
            struct.pack_into("=i", code, offset, map_fds[index])
        return bytes(code)


class Image:
    """What BCC made of a unit: bytecode by program, and the maps that it needs."""

    __slots__ = ("maps", "programs", "license")

    def __init__(self, maps: tuple[MapSpec, ...], programs: dict[str, Code], license_name: bytes) -> None:
        self.maps, self.programs, self.license = maps, programs, license_name

    def plain(self) -> tuple[object, ...]:
        """Tuples of numbers, strings and bytes, for the compile cache."""
        return (
            tuple(m.plain() for m in self.maps),
            tuple((name, code.instructions, code.relocations) for name, code in self.programs.items()),
            self.license,
        )

    @classmethod
    def from_plain(cls, data: object) -> Image:
        """The reverse of `plain`. Raises `ValueError` for data of any other shape."""
        try:
            parts: Any = data
            maps, programs, license_name = parts
            specs = tuple(MapSpec(*spec) for spec in maps)
            codes = {name: Code(instructions, relocations) for name, instructions, relocations in programs}
            image = cls(specs, codes, license_name)
            sound = image._is_sound()
        except (TypeError, ValueError) as error:
            raise ValueError("not a compiled unit") from error
        if not sound:
            raise ValueError("not a compiled unit")
        return image

    def _is_sound(self) -> bool:
        return (
            isinstance(self.license, bytes)
            and all(isinstance(m.name, str) and all(isinstance(n, int) for n in m.plain()[1:]) for m in self.maps)
            and all(
                isinstance(name, str)
                and isinstance(code.instructions, bytes)
                and len(code.instructions) % _INSTRUCTION.size == 0
                and all(
                    0 <= offset <= len(code.instructions) - 4 and 0 <= index < len(self.maps)
                    for offset, index in code.relocations
                )
                for name, code in self.programs.items()
            )
        )


def unlink(instructions: bytes, index_by_fd: Mapping[int, int]) -> Code:
    """`Code` of bytecode that already has map file descriptors in it. Raises `KeyError` for a descriptor not known."""
    code, at, relocations = bytearray(instructions), 0, []
    while at < len(code):
        opcode, registers, _, immediate = _INSTRUCTION.unpack_from(code, at)
        if opcode == _LD_IMM64:  # two slots
            if registers >> 4 == _PSEUDO_MAP_FD:
                relocations.append((at + 4, index_by_fd[immediate]))
                struct.pack_into("=i", code, at + 4, 0)
            at += _INSTRUCTION.size
        at += _INSTRUCTION.size
    return Code(bytes(code), tuple(relocations))
