"""What a session leaves behind on the machine: BPF maps and programs, pinned objects, tracefs probes, processes.

Other sessions may run at the same time, so that what belongs to the one under test has a mark: a map of its own name, which
every program that uses it keeps in the kernel, and a variable in the environment, which every process inherits.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from bpftrace_py.runtime import kernel

_MAP_GET_NEXT_ID, _MAP_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD = 12, 14, 15
_MAP_NAME = slice(24, 40)  # of struct bpf_map_info
_VARIABLE = "BPFTRACE_PY_TEST_MARK"
_TRACEFS = Path("/sys/kernel/tracing")
_LIMIT = 60.0  # seconds; the kernel frees what it detached when every CPU has been idle once


class Mark:
    """`env` is for the session, `map` (such as `@mark1a2b`) for every block of its program."""

    def __init__(self) -> None:
        self._token = os.urandom(3).hex()
        self.map = f"@mark{self._token}"
        self.env = {_VARIABLE: self._token}

    def maps(self) -> list[int]:
        """The ids of the maps of this name in the kernel."""
        return [number for number, name in map_names() if name == self.map[1:]]

    def processes(self) -> list[int]:
        """The processes that were given `env`, or inherited it."""
        wanted, found = f"{_VARIABLE}={self._token}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if wanted in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except (OSError, ValueError):
                continue  # it has gone
        return found

    def assert_nothing_left(self) -> None:
        """Wait until the kernel has freed everything, and fail if it does not."""
        deadline = time.monotonic() + _LIMIT
        while (maps := self.maps()) or (processes := self.processes()):
            assert time.monotonic() < deadline, f"left behind: maps {maps}, processes {processes}"
            time.sleep(0.05)
        assert tracefs_probes() == [], "probes in tracefs"
        assert pinned() == [], "pinned objects"


def map_names() -> Iterator[tuple[int, str]]:
    """The id and the name of every BPF map in the kernel."""
    number = 0
    while True:
        attributes = ctypes.create_string_buffer(struct.pack("=III", number, 0, 0), 12)
        if kernel._syscall(kernel._SYS_BPF, _MAP_GET_NEXT_ID, ctypes.addressof(attributes), 12, 0, 0, 0) < 0:
            return
        number = struct.unpack_from("=I", attributes, 4)[0]
        try:
            fd = kernel._bpf(_MAP_GET_FD_BY_ID, struct.pack("=III", number, 0, 0))
        except OSError:
            continue  # it has gone
        try:
            info = ctypes.create_string_buffer(80)
            kernel._bpf(_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, 80, ctypes.addressof(info)))
            yield number, info.raw[_MAP_NAME].split(b"\0", 1)[0].decode()
        finally:
            os.close(fd)


def tracefs_probes() -> list[str]:
    """Our own lines in the tables of kprobes and uprobes."""
    found = []
    for name in ("kprobe_events", "uprobe_events", "dynamic_events"):
        try:
            found += [line for line in (_TRACEFS / name).read_text().splitlines() if "bpftrace_py" in line]
        except OSError:
            continue  # this kernel has no such table
    return found


def pinned() -> list[str]:
    """Objects in BPF file systems whose names are ours."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "bpf"]
    return [str(path) for mount in mounts for path in Path(mount).rglob("*bpftrace*")]
