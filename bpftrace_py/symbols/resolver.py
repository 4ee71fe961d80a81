"""`Resolver`: text for the values that only user space can name. The `Resolver` protocol of output/values.py, live.

Everything is looked up when it is first asked for, and remembered. Nothing raises for a number that nobody knows: the
text is then what bpftrace prints, in most cases the number in hexadecimal.
"""

from __future__ import annotations

import os
import time

from bpftrace_py.symbols.kernel import KernelSymbols
from bpftrace_py.symbols.stacks import StackReader
from bpftrace_py.types import StackType

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bpftrace_py.symbols.addresses import AddressSpaces
    from bpftrace_py.symbols.user import UserSymbols

_CACHED = 1 << 14  # texts of stacks
_LOST_STACK = "[stack lost]"  # it came when the map of stacks was full; the session tells how many
_UNKNOWN_MODULE = "[unknown]"


class Resolver:
    """Names for one session.

    `kernel_stack` and `user_stack` answer a stack id with the bytes of the map's value (see `stacks.py`), or None.
    `probe_names` and `function_names` are those of the `Unit`.
    """

    def __init__(
        self,
        *,
        kernel_stack: Callable[[int], bytes | None] = lambda stack: None,
        user_stack: Callable[[int], bytes | None] = lambda stack: None,
        probe_names: Sequence[str] = (),
        function_names: Sequence[str] = (),
        demangle: bool = True,
    ) -> None:
        self.kernel = KernelSymbols()
        self._spaces: AddressSpaces | None = None
        self.kernel_stacks = StackReader(kernel_stack)
        self.user_stacks = StackReader(user_stack)
        self._probe_names = probe_names
        self._function_names = function_names
        self._shown_functions: dict[int, str] = {}
        self._demangle = demangle
        self._users: UserSymbols | None = None
        self._stack_texts: dict[tuple[StackType, int, int], tuple[int, str]] = {}
        self._account_names: dict[int, str] = {}
        self._clock: _Clock | None = None
        self._cgroups: _Cgroups | None = None

    @property
    def spaces(self) -> AddressSpaces:
        """What processes have mapped. A script without user addresses never asks."""
        if self._spaces is None:
            from bpftrace_py.symbols.addresses import AddressSpaces

            self._spaces = AddressSpaces()
        return self._spaces

    # --- life

    def start(self) -> bool:
        """To be called before attaching if the script has user stacks or `usym`: from now on what processes map is
        remembered, so that their stacks have names after they have gone. False where the kernel does not let us listen:
        then only processes that still run when a first event of theirs is handled have names."""
        return self.spaces.start()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """To be polled for reading beside the events; `poll` then takes in what waits."""
        return self._spaces.descriptors if self._spaces else ()

    def poll(self) -> bool:
        """To be called when a descriptor is readable, and when idle as long as it answers True (work is left)."""
        return self._spaces is not None and self._spaces.poll()

    def observe(self, pid: int) -> None:
        """A process of which user addresses have been recorded, and which may soon be gone."""
        self.spaces.observe(pid)

    def close(self) -> None:
        if self._spaces is not None:
            self._spaces.close()

    # --- addresses

    def kernel_symbol(self, address: int) -> str:
        """`do_nanosleep`, without offset."""
        found = self.kernel.find(address)
        return found[0] if found else _hexadecimal(address)

    def user_symbol(self, address: int, pid: int, probe_id: int) -> str:
        """`malloc`, without offset. `probe_id` is not needed: the process alone says what the address means."""
        found = self._user_names.find(pid, address)
        return found.name if found else _hexadecimal(address)

    @property
    def _user_names(self) -> UserSymbols:
        if self._users is None:
            from bpftrace_py.symbols.demangle import demangle
            from bpftrace_py.symbols.user import UserSymbols

            self._users = UserSymbols(self.spaces, demangle if self._demangle else None)
        return self._users

    # --- stacks

    def stack(self, type: StackType, stack_id: int, pid: int, probe_id: int) -> str:
        """The frames, innermost first, a line each, without margins; "" if there is none.

        Mode `bpftrace`: "name+offset"; `perf`: "address name+offset", for user frames with " (file)"; `raw`: "address".
        """
        key = (type, stack_id, pid)
        version = self._user_names.version(pid) if type.user else 0
        known = self._stack_texts.get(key)
        if known is not None and known[0] == version:
            return known[1]
        frames = (self.user_stacks if type.user else self.kernel_stacks).frames(stack_id)
        if frames is None:
            return _LOST_STACK
        frames = frames[: type.limit]
        if type.mode == "raw":
            lines = [f"{address:x}" for address in frames]
        elif type.user:
            lines = self._user_lines(frames, pid, type.mode == "perf")
        else:
            lines = self._kernel_lines(frames, type.mode == "perf")
        text = "\n".join(lines)
        if len(self._stack_texts) >= _CACHED:
            self._stack_texts.clear()
        self._stack_texts[key] = version, text
        return text

    def _kernel_lines(self, frames: Sequence[int], perf: bool) -> list[str]:
        lines = []
        for address in frames:
            found = self.kernel.find(address)
            name = f"{found[0]}+{found[1]}" if found else _hexadecimal(address)
            lines.append(f"{address:x} {name}" if perf else name)
        return lines

    def _user_lines(self, frames: Sequence[int], pid: int, perf: bool) -> list[str]:
        lines = []
        for address, found in zip(frames, self._user_names.find_all(pid, frames), strict=True):
            name = f"{found.name}+{found.offset}" if found else _hexadecimal(address)
            lines.append(f"{address:x} {name} ({found.path if found else _UNKNOWN_MODULE})" if perf else name)
        return lines

    # --- the rest

    def username(self, uid: int) -> str:
        """The account's name; "" if it has none."""
        name = self._account_names.get(uid)
        if name is None:
            import pwd

            try:
                name = pwd.getpwuid(uid).pw_name
            except (KeyError, OverflowError):
                name = ""
            self._account_names[uid] = name
        return name

    def timestamp(self, format: str, nanoseconds: int) -> str:
        """Local time of `nanoseconds` since boot (CLOCK_BOOTTIME) by strftime(3); `%f` is microseconds, six digits."""
        if self._clock is None:
            self._clock = _Clock()
        return self._clock.text(format, nanoseconds)

    def cgroup_path(self, filter: str, cgroup_id: int) -> str:
        """`hierarchy:path` for each mounted hierarchy (`unified` is cgroup2) whose name fits the filter (`*` stands for
        any characters, "" for all) and which has a group of this id, joined by commas; "" if there is none."""
        if self._cgroups is None:
            self._cgroups = _Cgroups()
        return self._cgroups.text(filter, cgroup_id)

    def error_name(self, number: int) -> str:
        """As strerror(3): "No such file or directory". The kernel's int arrives in 8 bytes."""
        low = number & 0xFFFFFFFF
        return os.strerror(low - (1 << 32) if low >> 31 else low)

    def probe_name(self, index: int) -> str:
        return self._probe_names[index] if 0 <= index < len(self._probe_names) else ""

    def function_name(self, index: int) -> str:
        """As in C++, if it is such a function."""
        known = self._shown_functions.get(index)
        if known is None:
            known = self._function_names[index] if 0 <= index < len(self._function_names) else ""
            if self._demangle and known.startswith("_Z"):
                from bpftrace_py.symbols.demangle import demangle

                known = demangle(known) or known
            self._shown_functions[index] = known
        return known


def _hexadecimal(address: int) -> str:
    return f"0x{address:x}" if address else "0"


class _Clock:
    """Times since boot as times of day. The offset is taken once: a clock that is set does not reorder events."""

    def __init__(self) -> None:
        before = time.time_ns()
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._offset = (before + time.time_ns()) // 2 - boot
        self._formats: dict[str, list[str]] = {}
        self._last: tuple[str, int] = ("", -1)  # events come many a second
        self._parts: list[str] = []

    def text(self, format: str, nanoseconds: int) -> str:
        seconds, rest = divmod(nanoseconds + self._offset, 1_000_000_000)
        if self._last != (format, seconds):
            moment = time.localtime(seconds)
            self._parts = [time.strftime(part, moment) if part else "" for part in self._split(format)]
            self._last = format, seconds
        return f"{rest // 1000:06d}".join(self._parts)

    def _split(self, format: str) -> list[str]:
        """The parts of a format between its `%f`."""
        parts = self._formats.get(format)
        if parts is None:
            # Two percent signs are one, and no conversion starts with the second.
            parts = [part.replace("\0", "%%") for part in format.replace("%%", "\0").split("%f")]
            self._formats[format] = parts
        return parts


class _Cgroups:
    """Paths of control groups by id, which is the inode number of their directory."""

    _RESCAN = 0.2  # seconds; between two walks for an id that is not known

    def __init__(self) -> None:
        self._roots = sorted(_cgroup_mounts().items(), key=lambda item: (item[0] != "unified", item[0]))
        self._paths: dict[str, dict[int, str]] = {}
        self._walked = 0.0

    def text(self, filter: str, cgroup_id: int) -> str:
        names = [name for name, _ in self._roots if not filter or _fits(name, filter)]
        found = self._find(names, cgroup_id)
        if not found and time.monotonic() - self._walked > self._RESCAN:
            self._paths = {name: dict(_walk(root)) for name, root in self._roots}
            self._walked = time.monotonic()
            found = self._find(names, cgroup_id)
        return ",".join(found)

    def _find(self, names: Sequence[str], cgroup_id: int) -> list[str]:
        return [
            f"{name}:{self._paths[name][cgroup_id]}" for name in names if cgroup_id in self._paths.get(name, ())
        ]


def _cgroup_mounts() -> dict[str, str]:
    """Where each hierarchy is mounted, the first place of each."""
    mounts: dict[str, str] = {}
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return mounts
    for line in lines:
        _, place, kind, *_ = line.split(" ")
        place = place.replace("\\040", " ")
        if kind == "cgroup2":
            mounts.setdefault("unified", place)
        elif kind == "cgroup":
            mounts.setdefault(os.path.basename(place), place)
    return mounts


def _walk(root: str) -> list[tuple[int, str]]:
    """(inode, path under `root`) of every group; parents first, so that a path that moves meanwhile is found once."""
    found = []
    for directory, _, _ in os.walk(root):
        try:
            found.append((os.stat(directory).st_ino, directory[len(root) :] or "/"))
        except OSError:
            continue  # removed meanwhile
    return found


def _fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern in which `*` alone is special."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    if not name.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        at = name.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(name) - at >= len(rest[-1]) and name.endswith(rest[-1])
