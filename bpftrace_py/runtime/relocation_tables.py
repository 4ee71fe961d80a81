"""Gives back memory that only the dynamic linker needed: a fifth of what a process with LLVM takes.

The linker reads 20 MB of symbols and relocations while it loads libLLVM and libclang-cpp, and nobody reads them again. They are
pages of the files, never written, which the kernel can map again if somebody does.
"""

from __future__ import annotations

import ctypes
import mmap
import struct

_LIBRARIES = ("/libLLVM", "/libclang-cpp")
_ELF64 = b"\x7fELF\x02"
_HEADER, _SEGMENT, _ENTRY = struct.Struct("=32xQ14xHH"), struct.Struct("=I12xQ16xQ8x"), struct.Struct("=QQ")
_PT_DYNAMIC = 2
_DT_PLTRELSZ, _DT_RELA, _DT_RELASZ, _DT_JMPREL = 2, 7, 8, 23
_MADV_DONTNEED = 4


def give_back() -> None:
    """Unmap the pages of those tables from this process. Where the libraries look otherwise, nothing happens."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        lines = [line.split() for line in file]
    for line in lines:
        # The first part of a library, which is not written: what has been written would be lost.
        if len(line) == 6 and any(name in line[5] for name in _LIBRARIES) and "w" not in line[1] and int(line[2], 16) == 0:
            start, end = (int(address, 16) for address in line[0].split("-"))
            length = (_tables_end(start, end) - start) // mmap.PAGESIZE * mmap.PAGESIZE
            if 0 < length <= end - start:
                libc.madvise(start, length, _MADV_DONTNEED)


def _tables_end(start: int, end: int) -> int:
    """Where the relocations of a library end, before which are its symbols; `start` if that is not how it is laid out."""
    segments_at, size, count = _HEADER.unpack_from(ctypes.string_at(start, _HEADER.size))
    if ctypes.string_at(start, len(_ELF64)) != _ELF64 or segments_at + size * count > end - start:
        return start
    dynamic: dict[int, int] = {}
    for at in range(start + segments_at, start + segments_at + size * count, size):
        kind, address, length = _SEGMENT.unpack(ctypes.string_at(at, _SEGMENT.size))
        if kind == _PT_DYNAMIC:
            dynamic = dict(_ENTRY.iter_unpack(ctypes.string_at(start + address, length // _ENTRY.size * _ENTRY.size)))
    ends = [start]
    for table, table_size in ((_DT_RELA, _DT_RELASZ), (_DT_JMPREL, _DT_PLTRELSZ)):
        place = dynamic.get(table, 0)
        place += start if place < start else 0  # the dynamic linker may have made an address of it
        ends.append(place + dynamic.get(table_size, 0))
    return max(ends) if max(ends) <= end else start
