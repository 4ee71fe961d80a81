"""The linker's cache, which may be that of a container: what it claims is not believed."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from bpftrace_py.probes.library_cache import libraries


def cache(names: bytes, places: list[tuple[int, int, int]]) -> bytes:
    """`places`: (flags, offset of the name, offset of the path) in `names`."""
    at = 48 + 24 * len(places)
    entries = b"".join(struct.pack("=iIIIQ", flags, at + name, at + path, 0, 0) for flags, name, path in places)
    return b"glibc-ld.so.cache1.1" + struct.pack("=II", len(places), len(names)) + bytes(20) + entries + names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path


def test_libraries_of_64_bits_come_first(root: Path) -> None:
    names = b"libc.so.6\0/lib32/libc.so.6\0/lib/libc.so.6\0"
    (root / "etc/ld.so.cache").write_bytes(cache(names, [(3, 0, 10), (0x303, 0, 27)]))
    assert list(libraries(str(root))) == [("libc.so.6", "/lib/libc.so.6"), ("libc.so.6", "/lib32/libc.so.6")]


def test_a_pipe_in_its_place_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "etc/ld.so.cache")
    assert list(libraries(str(root))) == []


def test_names_without_an_end_cost_nothing(root: Path) -> None:
    """A hundred thousand entries whose names are all of four megabytes."""
    (root / "etc/ld.so.cache").write_bytes(cache(b"x" * (4 << 20), [(0x303, 0, 0)] * 100_000))
    assert all(len(name) <= 4096 and len(path) <= 4096 for name, path in libraries(str(root)))


@pytest.mark.parametrize("damaged", [b"", b"glibc-ld.so.cache1.1", b"ld.so-1.7.0\0\xff\xff\xff\xff", b"x" * 100])
def test_a_damaged_cache_is_empty(root: Path, damaged: bytes) -> None:
    (root / "etc/ld.so.cache").write_bytes(damaged)
    assert list(libraries(str(root))) == []
