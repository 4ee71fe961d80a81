"""User symbols: (pid, address) to function, offset and file.

A file is read when a first address in it is asked for, wherever it can still be reached: at its path, through the
process's own root (another mount namespace), or through the mapping itself (a deleted file). It must be the file that
was mapped: its inode tells. Names come from the ELF file, from its debug file, or for code that a JIT compiler made
from the map that it writes for perf.
"""

from __future__ import annotations

import ctypes
import os
import stat
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bpftrace_py.symbols.addresses import AddressSpaces, MappedFile, Mapping, Program

_JIT_MAP_BYTES = 64 << 20
_RECHECK = 1.0  # seconds between two looks at the map of a JIT compiler
_CACHED = 1 << 16  # addresses


class UserSymbol(NamedTuple):
    """A function in a file, and a place in it."""

    name: str
    offset: int  # bytes from its start
    path: str  # of the file it is in, as the process sees it


class _CodeFile:
    """The functions of one ELF file."""

    def __init__(self, path: str, root: str) -> None:
        from bpftrace_py.symbols.elf import ElfFile

        elf = ElfFile(path, root)
        elf.symbol_at(0)  # reads the tables: the file need not stay open, which would keep its file system busy
        elf.close()
        self._elf = elf

    def find(self, offset: int) -> tuple[str, int] | None:
        """The function at a place in the file, and how far into it that is."""
        address = self._elf.address_of(offset)
        symbol = None if address is None else self._elf.symbol_at(address)
        if symbol is None or address is None:
            return None
        return symbol.name, address - symbol.address


class _JitMap:
    """What a JIT compiler says it has put where: the lines "start size name" of /tmp/perf-PID.map."""

    def __init__(self, text: bytes) -> None:
        entries: list[tuple[int, int, str]] = []
        for line in text.splitlines():
            fields = line.split(None, 2)
            try:
                start, size = int(fields[0], 16), int(fields[1], 16)
                entries.append((start, size, os.fsdecode(fields[2])))
            except (ValueError, IndexError):
                continue  # the last line may be half written
        entries.sort(key=lambda entry: entry[0])  # of equal starts the last written stays last
        self._starts = [entry[0] for entry in entries]
        self._entries = entries

    def find(self, address: int) -> tuple[str, int] | None:
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        start, size, name = self._entries[at]
        return (name, address - start) if address < start + size else None


class UserSymbols:
    """Names for addresses in processes.

    `demangle` makes a C++ name of a mangled one, or answers None; without it names stay as the linker knows them.
    """

    def __init__(self, spaces: AddressSpaces, demangle: Callable[[str], str | None] | None = None) -> None:
        self._spaces = spaces
        self._demangle = demangle
        self._files: dict[int, tuple[_CodeFile | None, int]] = {}  # by number; and last_pid when it was tried
        self._jit: dict[int, tuple[float, tuple[int, int], _JitMap | None]] = {}
        self._places: dict[tuple[int, int], UserSymbol | None] = {}  # by file number and offset

    def version(self, pid: int) -> int:
        """Changes when addresses of a process may have got another meaning; -1 if nothing is known of it."""
        process = self._spaces.process(pid, ())
        return -1 if process is None else process.version

    def find(self, pid: int, address: int) -> UserSymbol | None:
        """The function at one address of a process, None if it is not known."""
        return self.find_all(pid, (address,))[0]

    def find_all(self, pid: int, addresses: Sequence[int]) -> list[UserSymbol | None]:
        """The function at each address of one stack."""
        process = self._spaces.process(pid, addresses)
        if process is None:
            return [None] * len(addresses)
        program = self._spaces.choose_program(process, addresses)
        return [self._find(pid, program, address) for address in addresses]

    def _find(self, pid: int, program: Program, address: int) -> UserSymbol | None:
        mapping = self._spaces.mapping(program, address)
        if mapping is None:
            jit = self._jit_map(pid)
            found = jit.find(address) if jit else None
            return UserSymbol(found[0], found[1], f"/tmp/perf-{pid}.map") if found else None
        place = (mapping.file.number, address - mapping.start + mapping.offset)
        if place in self._places:
            return self._places[place]
        file = self._code_file(pid, mapping)
        found = file.find(place[1]) if file else None
        symbol = UserSymbol(self._readable(found[0]), found[1], mapping.file.path) if found else None
        if file is not None:
            if len(self._places) >= _CACHED:
                self._places.clear()
            self._places[place] = symbol
        return symbol

    def _readable(self, name: str) -> str:
        return (self._demangle(name) or name) if self._demangle else name

    # --- files

    def _code_file(self, pid: int, mapping: Mapping) -> _CodeFile | None:
        from bpftrace_py.symbols.elf import ElfError

        file = mapping.file
        known = self._files.get(file.number)
        if known is not None and (known[0] is not None or known[1] == file.last_pid):
            return known[0]
        result = None
        for path, root in _ways_to(pid, mapping):
            try:
                result = _CodeFile(path, root)
            except ElfError:
                continue
            break
        self._files[file.number] = result, file.last_pid
        return result

    # --- JIT compilers

    def _jit_map(self, pid: int) -> _JitMap | None:
        checked, identity, known = self._jit.get(pid, (-_RECHECK, (0, 0), None))
        now = time.monotonic()
        if now - checked < _RECHECK:
            return known
        opened = _open_jit_map(pid)
        if opened is not None:
            with open(opened, "rb") as file:
                status = os.fstat(opened)
                if (status.st_size, status.st_mtime_ns) != identity:
                    identity = status.st_size, status.st_mtime_ns
                    known = _JitMap(file.read(_JIT_MAP_BYTES))
        self._jit[pid] = now, identity, known
        return known


def _ways_to(pid: int, mapping: Mapping) -> Iterator[tuple[str, str]]:
    """Where the file of a mapping may be reached now: (path, root that it is under), the best first.

    The device number is not always that of stat(2) (btrfs, overlayfs), the inode's is. A new file can have got the
    inode of one that was deleted: what was changed after it was last mapped is only believed where the mapping itself
    leads.
    """
    file = mapping.file
    if file.path == "[vdso]":
        yield from _own_vdso()
        return
    here = _unchanged(file.path, file)
    if here == (file.device, file.inode):
        yield file.path, ""
    processes = dict.fromkeys((pid, file.last_pid))
    for each in processes:
        root = f"/proc/{each}/root"
        if _unchanged(root + file.path, file):
            yield root + file.path, root
    for each in processes:
        for link in (f"/proc/{each}/map_files/{mapping.start:x}-{mapping.end:x}", f"/proc/{each}/exe"):
            if _inode(link) == file.inode:
                yield link, f"/proc/{each}/root"
    if here is not None:
        yield file.path, ""


def _unchanged(path: str, file: MappedFile) -> tuple[int, int] | None:
    """Device and inode of `path` if it has the inode that was mapped, and has not been changed since."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    changed = status.st_ctime_ns - (time.time_ns() - time.monotonic_ns())
    return (status.st_dev, status.st_ino) if status.st_ino == file.inode and changed <= file.last_mapped else None


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _own_vdso() -> Iterator[tuple[str, str]]:
    """The vDSO is no file, but all processes of this architecture have the one that we have."""
    try:
        with open("/proc/self/maps") as maps:
            line = next((line for line in maps if line.rstrip().endswith("[vdso]")), None)
        if line is None:
            return
        start, _, end = line.split(None, 1)[0].partition("-")
        image = ctypes.string_at(int(start, 16), int(end, 16) - int(start, 16))
        descriptor = os.memfd_create("vdso", os.MFD_CLOEXEC)
    except OSError:
        return
    try:
        os.write(descriptor, image)
        yield f"/proc/self/fd/{descriptor}", ""
    finally:
        os.close(descriptor)


def _open_jit_map(pid: int) -> int | None:
    """Open the map of a live process, where it sees /tmp, under the number by which it knows itself.

    Anybody can write to /tmp: the file must belong to the process's user or to root, and be a plain file.
    """
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
        with open(f"/proc/{pid}/status", "rb") as status:
            numbers = next((line.split() for line in status if line.startswith(b"NSpid:")), [b"", b"%d" % pid])
    except OSError:
        return None
    path = f"/proc/{pid}/root/tmp/perf-{int(numbers[-1])}.map"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid in (0, owner):
        return descriptor
    os.close(descriptor)
    return None
