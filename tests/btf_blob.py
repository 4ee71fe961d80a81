"""Writes small BTF blobs for tests: types are numbered from 1 in the order in which they are added."""

from __future__ import annotations

import struct


class BtfBlob:
    """With `base`, the blob of a module that continues it: numbers and string offsets count on from there."""

    def __init__(self, base: BtfBlob | None = None) -> None:
        self._types: list[bytes] = []
        self._strings = bytearray(b"" if base else b"\0")
        self._offsets: dict[str, int] = dict(base._offsets) if base else {"": 0}
        self._first_type = len(base._types) if base else 0
        self._first_string = len(base._strings) if base else 0

    def string(self, text: str) -> int:
        if text not in self._offsets:
            self._offsets[text] = self._first_string + len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._offsets[text]

    def add(
        self, kind: int, name: str = "", value: int = 0, entries: int = 0, flag: bool = False, tail: bytes = b""
    ) -> int:
        """A record; `value` is its size or type. The number of the type."""
        info = flag << 31 | kind << 24 | entries
        self._types.append(struct.pack("<III", self.string(name), info, value) + tail)
        return self._first_type + len(self._types)

    def integer(self, name: str, size: int, encoding: int = 0, bits: int | None = None, offset: int = 0) -> int:
        word = encoding << 24 | offset << 16 | (8 * size if bits is None else bits)
        return self.add(1, name, size, tail=struct.pack("<I", word))

    def pointer(self, target: int) -> int:
        return self.add(2, value=target)

    def array(self, element: int, count: int, index: int = 1) -> int:
        return self.add(3, tail=struct.pack("<III", element, index, count))

    def record(
        self, name: str, size: int, members: list[tuple[str, int, int]], *, union: bool = False, flag: bool = False
    ) -> int:
        """Members are (name, type, offset in bits; with `flag`, the width of a bit-field << 24 on top)."""
        tail = b"".join(struct.pack("<III", self.string(n), t, o) for n, t, o in members)
        return self.add(5 if union else 4, name, size, len(members), flag, tail)

    def enum(self, name: str, values: list[tuple[str, int]], size: int = 4, signed: bool = False) -> int:
        tail = b"".join(struct.pack("<II", self.string(n), v & 0xFFFFFFFF) for n, v in values)
        return self.add(6, name, size, len(values), signed, tail)

    def enum64(self, name: str, values: list[tuple[str, int]], signed: bool = False) -> int:
        tail = b"".join(struct.pack("<IQ", self.string(n), v & (1 << 64) - 1) for n, v in values)
        return self.add(19, name, 8, len(values), signed, tail)

    def forward(self, name: str, *, union: bool = False) -> int:
        return self.add(7, name, flag=union)

    def typedef(self, name: str, target: int) -> int:
        return self.add(8, name, target)

    def const(self, target: int) -> int:
        return self.add(10, value=target)

    def prototype(self, parameters: list[tuple[str, int]], result: int) -> int:
        tail = b"".join(struct.pack("<II", self.string(n), t) for n, t in parameters)
        return self.add(13, value=result, entries=len(parameters), tail=tail)

    def function(self, name: str, parameters: list[tuple[str, int]], result: int) -> int:
        return self.add(12, name, self.prototype(parameters, result))

    def tag(self, name: str, target: int) -> int:
        return self.add(18, name, target)

    def data(self) -> bytes:
        types = b"".join(self._types)
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self._strings))
        return header + types + bytes(self._strings)
