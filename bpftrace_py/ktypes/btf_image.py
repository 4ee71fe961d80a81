"""The bytes of a BTF blob, and where each type's record stands in them.

The format: https://docs.kernel.org/bpf/btf.html. Records follow each other, of different lengths; a type's number is
its place in that sequence, so someone has to walk it once. libbpf walks the running kernel's 126,000 types in 3 ms, a
loop in Python in 20 ms: libbpf is asked, where it is there, about the running kernel's own BTF, which the kernel has
validated. Any other file is walked here, where every step is checked. Only little-endian machines and files are known.
"""

from __future__ import annotations

import mmap
import struct
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import BinaryIO

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNCTION, PROTOTYPE, VARIABLE, DATA_SECTION, FLOAT, DECLARATION_TAG, TYPE_TAG, ENUM64 = range(12, 20)

DIRECTORY = "/sys/kernel/btf"
KERNEL = f"{DIRECTORY}/vmlinux"
KIND_FLAG = 1 << 31  # in the info of a struct: the upper byte of a member's offset is the width of a bit field

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_RECORD = struct.Struct("<III")  # name, info, size or type
# Words (of 4 bytes) of a record: a fixed part, and what each of its `vlen` entries adds.
_FIXED_WORDS = (0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3) + (0,) * 12
_ENTRY_WORDS = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3) + (0,) * 12
_SEARCHES_BEFORE_INDEX = 100  # a search takes 0.02 to 3 ms
MAX_BYTES = 1 << 26  # of a blob; a distribution kernel's has 5 to 10 MB


class BtfImage:
    """A BTF blob. Type 0 is `void` and has no record; all positions are byte offsets into `data`."""

    def __init__(self, data: bytes | mmap.mmap, types_at: int, strings_at: int, strings_end: int) -> None:
        self.data = data
        self.types_at = types_at
        self.strings_at = strings_at
        self.strings_end = strings_end
        self.types_end = types_at
        self.first, self.count = 1, 1  # its own types have the numbers from `first` to below `count`
        self._searches = 0
        self._index: dict[bytes, list[int]] | None = None
        self._position: Callable[[int], int] = lambda number: types_at

    def position(self, number: int) -> int | None:
        """Where the record of a type is; None if there is no such type."""
        return self._position(number) if 0 < number < self.count else None

    def record(self, number: int) -> tuple[int, int, int, int, int] | None:
        """(kind, name, info, size or type, position) of a type, `name` being an offset for `string`."""
        at = self.position(number)
        if at is None:
            return None
        name, info, size = _RECORD.unpack_from(self.data, at)
        return info >> 24 & 31, name, info, size, at

    def bytes_at(self, at: int, size: int) -> bytes:
        """`size` bytes at a position, fewer at the end."""
        return self.data[at : at + size]

    def words(self, at: int, count: int) -> tuple[int, ...]:
        """Numbers of 4 bytes at a position; 0 behind the end."""
        data = self.bytes_at(at, 4 * count)
        return tuple(int.from_bytes(data[4 * i : 4 * i + 4], "little") for i in range(count))

    def string(self, offset: int) -> str:
        """The string at an offset of the string section; empty where there is none."""
        start = self.strings_at + offset
        if start >= self.strings_end:
            return ""
        end = self.data.find(b"\0", start, self.strings_end)
        return self.data[start : end if end >= 0 else self.strings_end].decode("utf-8", "replace")

    def find(self, name: str, kinds: tuple[int, ...]) -> int | None:
        """The first type of that name and one of these kinds."""
        self._searches += 1
        if self._searches > _SEARCHES_BEFORE_INDEX:
            if self._index is None:
                self._index = self._build_index()
            numbers = self._index.get(name.encode("utf-8", "surrogateescape"), ())
            return next((n for n in numbers if self.data[(self.position(n) or 0) + 7] & 31 in kinds), None)
        return next(self.find_all(name, kinds), None)

    def find_all(self, name: str, kinds: tuple[int, ...]) -> Iterator[int]:
        """Every type of that name and one of these kinds: looks for the bytes that such a record begins with."""
        return (n for n, at in self._owners(name, kinds) if self.position(n) == at)

    def _build_index(self) -> dict[bytes, list[int]]:
        """Name -> types, in order: 100 ms, so only for those who ask for many."""
        names: dict[int, bytes] = {}
        at = 0
        for name in self.data[self.strings_at : self.strings_end].split(b"\0"):
            names[at] = name
            at += len(name) + 1
        index: dict[bytes, list[int]] = {}
        unpack = struct.Struct("<I").unpack_from
        for number in range(1, self.count):
            name = names.get(unpack(self.data, self._position(number))[0], b"")
            if name:
                index.setdefault(name, []).append(number)
        return index

    def find_enumerator(self, name: str) -> tuple[int, int] | None:
        """(enum's type, position of its entry) of the first enum constant of that name."""
        for number, at in self._owners(name):
            record = self.record(number)
            assert record is not None
            kind, _, info, _, start = record
            entry = 4 * _ENTRY_WORDS[kind]
            if kind in (ENUM, ENUM64) and at >= start + 12 and (at - start - 12) % entry == 0 and info & 0xFFFF:
                return number, at
        return None

    def _owners(self, name: str, kinds: tuple[int, ...] | None = None) -> Iterator[tuple[int, int]]:
        """(type, position) of each of the `places`."""
        for at in self.places(name, kinds):
            yield self._owner(at), at

    def places(self, name: str, kinds: tuple[int, ...] | None = None) -> Iterator[int]:
        """Each place in the type section where the name's offset stands, on a word's boundary.

        With `kinds`, only places that could be the start of a record of one of these kinds.
        """
        for offset in self._string_offsets(name):
            needle = offset.to_bytes(4, "little")
            at = self.data.find(needle, self.types_at, self.types_end)
            while at >= 0:
                aligned = (at - self.types_at) % 4 == 0
                if aligned and (kinds is None or (at + 8 <= self.types_end and self.data[at + 7] & 31 in kinds)):
                    yield at
                at = self.data.find(needle, at + 1, self.types_end)

    def _string_offsets(self, name: str) -> Iterator[int]:
        """Every offset at which the string section has the name."""
        if not name or "\0" in name:
            return
        encoded = b"\0" + name.encode("utf-8", "surrogateescape") + b"\0"
        at = self.data.find(encoded, self.strings_at, self.strings_end)
        while at >= 0:
            yield at + 1 - self.strings_at
            at = self.data.find(encoded, at + 1, self.strings_end)

    def _owner(self, at: int) -> int:
        """The type whose record holds the byte at `at`."""
        return bisect_right(range(1, self.count), at, key=self._position)


class ModuleImage(BtfImage):
    """The BTF of a kernel module. It continues the kernel's (`base`): its first type has the number behind the last one
    there, offsets of strings count on, and types refer to the kernel's. Positions behind the base's bytes are its own."""

    def __init__(self, base: BtfImage, own: BtfImage) -> None:
        super().__init__(own.data, own.types_at, own.strings_at, own.strings_end)
        self._base, self._own = base, own
        self.types_end = own.types_end
        self.first, self.count = base.count, base.count + own.count - 1
        self._position = self._place

    def _place(self, number: int) -> int:
        if number < self._base.count:
            return self._base._position(number)
        return len(self._base.data) + self._own._position(number - self._base.count + 1)

    def is_own(self, number: int) -> bool:
        """Whether a type is the module's, not the kernel's."""
        return number >= self.first

    def record(self, number: int) -> tuple[int, int, int, int, int] | None:
        if not self.is_own(number):
            return self._base.record(number)
        found = self._own.record(number - self._base.count + 1)
        return None if found is None else (*found[:4], len(self._base.data) + found[4])

    def bytes_at(self, at: int, size: int) -> bytes:
        start = at - len(self._base.data)
        return self._base.bytes_at(at, size) if start < 0 else self.data[start : start + size]

    def string(self, offset: int) -> str:
        start = offset - (self._base.strings_end - self._base.strings_at)
        return self._base.string(offset) if start < 0 else super().string(start)

    def find(self, name: str, kinds: tuple[int, ...]) -> int | None:
        """The module's own first. It is small: no index is made."""
        found = next(self.find_all(name, kinds), None)
        return self._base.find(name, kinds) if found is None else found

    def find_enumerator(self, name: str) -> tuple[int, int] | None:
        found = super().find_enumerator(name)
        return self._base.find_enumerator(name) if found is None else found

    def _owners(self, name: str, kinds: tuple[int, ...] | None = None) -> Iterator[tuple[int, int]]:
        for number, at in super()._owners(name, kinds):
            yield number + self._base.count - 1, at + len(self._base.data)

    def _owner(self, at: int) -> int:
        return self._own._owner(at)

    def _string_offsets(self, name: str) -> Iterator[int]:
        """A name that the kernel has is not in the module's strings again. Those need not begin with an empty one."""
        yield from self._base._string_offsets(name)
        before = self._base.strings_end - self._base.strings_at
        first = name.encode("utf-8", "surrogateescape") + b"\0"
        if name and self.bytes_at(self.strings_at, len(first)) == first:
            yield before
        for offset in self._own._string_offsets(name):
            yield before + offset


def parse_module(data: bytes, base: BtfImage) -> ModuleImage | None:
    """The image in the BTF of a kernel module; None if it is not valid."""
    own = parse(data)
    return None if own is None else ModuleImage(base, own)


def parse(data: bytes, trusted: bool = False) -> BtfImage | None:
    """The image in a BTF blob; None if it is not valid. `trusted`: it comes from the kernel, libbpf may walk it."""
    image = _unwalked(data)
    if image is None:
        return None
    types_size = image.types_end - image.types_at
    if trusted and _walk_with_libbpf(image, types_size):
        return image
    return image if _walk(image, types_size) else None


class contents:  # noqa: N801: reads as what it gives
    """The bytes of an open file while it is entered: the kernel's own pages where it lets us (6.16), to copy 6 MB takes 3 ms."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._mapped: mmap.mmap | None = None

    def __enter__(self) -> bytes | mmap.mmap:
        try:
            self._mapped = mmap.mmap(self._file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
        except (OSError, ValueError):  # ValueError: the file is empty
            return self._file.read()
        return self._mapped

    def __exit__(self, *exception: object) -> None:
        if self._mapped is not None:
            self._mapped.close()


def member_offset(data: bytes | mmap.mmap, record: str, member: str) -> int | None:
    """Where a struct of the kernel's own BTF has a member, in bytes. It looks for that record's bytes alone, which takes 1 ms;
    walking all records takes 10."""
    image = _unwalked(data)
    if image is None:
        return None
    for at in image.places(record, (STRUCT,)):
        info = int.from_bytes(data[at + 4 : at + 8], "little")
        entries = data[at + 12 : min(at + 12 + 12 * (info & 0xFFFF), image.types_end)]
        for name, _, offset in struct.iter_unpack("<III", entries[: len(entries) // 12 * 12]):
            if image.string(name) == member:
                return int(offset & 0xFFFFFF if info & KIND_FLAG else offset) // 8
    return None


def _unwalked(data: bytes | mmap.mmap) -> BtfImage | None:
    """An image that does not know where its records start; None if the header is not valid."""
    if len(data) < _HEADER.size or len(data) > MAX_BYTES:
        return None
    magic, version, _, header, types_at, types_size, strings_at, strings_size = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != 1 or header < _HEADER.size or sys.byteorder != "little":
        return None
    types_at += header
    strings_at += header
    if types_at % 4 or types_at + types_size > len(data) or strings_at + strings_size > len(data):
        return None
    image = BtfImage(data, types_at, strings_at, strings_at + strings_size)
    image.types_end = types_at + types_size
    return image


def _walk(image: BtfImage, size: int) -> bool:
    """Find where each record starts; False if they do not fill the type section."""
    words = memoryview(image.data)[image.types_at : image.types_at + size - size % 4].cast("I")
    end = len(words)
    starts = [0]
    at = 0
    try:
        while at < end:
            starts.append(at)
            info = words[at + 1]
            kind = info >> 24 & 31
            step = _FIXED_WORDS[kind] + _ENTRY_WORDS[kind] * (info & 0xFFFF)
            if not step:
                return False  # a kind that we do not know, so we cannot know its length
            at += step
    except IndexError:
        return False
    if at != end or size % 4:
        return False
    first = image.types_at
    image.count = len(starts)
    image.types_end = first + size
    image._position = lambda number: first + 4 * starts[number]
    return True


def _walk_with_libbpf(image: BtfImage, size: int) -> bool:
    """The same by libbpf; False if it is not there or is an old one."""
    import ctypes

    try:
        libbpf = ctypes.CDLL("libbpf.so.1")
        libbpf.btf__new.restype = ctypes.c_void_p
        libbpf.btf__new.argtypes = [ctypes.c_char_p, ctypes.c_uint32]
        libbpf.btf__type_cnt.argtypes = [ctypes.c_void_p]
        type_by_id = libbpf.btf__type_by_id
        type_by_id.restype = ctypes.c_void_p
        type_by_id.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    except (OSError, AttributeError):
        return False
    handle = libbpf.btf__new(image.data, len(image.data))  # kept while the process lives: its memory is the index
    if not handle:
        return False
    count = libbpf.btf__type_cnt(handle)
    first = type_by_id(handle, 1) if count > 1 else None
    if first is None:
        return False
    base = first - image.types_at
    image.count = count
    image.types_end = image.types_at + size
    image._position = lambda number: type_by_id(handle, number) - base
    return True
