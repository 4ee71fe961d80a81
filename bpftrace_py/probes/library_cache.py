"""The dynamic linker's cache (`/etc/ld.so.cache`): which libraries the system has, and where.

The format is described by glibc's `sysdeps/generic/dl-cache.h`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpftrace_py.symbols.file_reader import ElfError, FileReader

_MAGIC = b"glibc-ld.so.cache1.1"
_OLD_MAGIC = b"ld.so-1.7.0\0"
_LARGEST = 64 << 20  # bytes
_LONGEST = 4096  # of a path
_HEADER = struct.Struct("=20sII20x")
_ENTRY = struct.Struct("=iIIIQ")
# The part of an entry's flags that tells the ABI: libraries of 32 bits are in the same cache.
_ABI = 0xFF00
_I386_ON_X86_64 = 0x0000


def libraries(root: str = "") -> Iterator[tuple[str, str]]:
    """The (file name, path) of each library, the one that the linker prefers first; 64-bit ones before others."""
    try:
        file = FileReader(f"{root}/etc/ld.so.cache")
        data = file.read_at(0, min(file.length, _LARGEST))
        file.close()
    except ElfError:
        return
    start = 0
    if data.startswith(_OLD_MAGIC) and len(data) >= 16:
        # An old table stands before the new one, which is aligned to 8 bytes.
        start = 16 + 12 * struct.unpack_from("=I", data, 12)[0] + 7 & ~7
    if len(data) < start + _HEADER.size or not data.startswith(_MAGIC, start):
        return
    _, count, _ = _HEADER.unpack_from(data, start)
    first = start + _HEADER.size
    if first + count * _ENTRY.size > len(data):
        return
    entries = [_ENTRY.unpack_from(data, first + index * _ENTRY.size) for index in range(count)]
    for _, name, path, _, _ in sorted(entries, key=lambda entry: entry[0] & _ABI == _I386_ON_X86_64):
        yield _text(data, start + name), _text(data, start + path)


def _text(data: bytes, at: int) -> str:
    end = data.find(b"\0", at, at + _LONGEST)  # a container's cache may claim anything
    return data[at : max(at, end)].decode("utf-8", "surrogateescape")
