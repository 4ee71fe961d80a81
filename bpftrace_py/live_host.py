"""`LiveHost`: the facts about this machine, each read when first asked for and then remembered."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache, cached_property

from bpftrace_py.host import KernelTypes, UserTypes

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from typing import Any

    from bpftrace_py.ktypes.btf import Btf

_TRACEFS_PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_KALLSYMS = "/proc/kallsyms"
_KPROBE_BLACKLIST = "/sys/kernel/debug/kprobes/blacklist"
_FORMAT_LIMIT = 1 << 20  # bytes; the largest format file has a few thousand

# Text symbols that are no functions, or that no kprobe can have: padding before functions, control-flow integrity
# checks, static calls' trampolines, BPF's dispatchers, compiler thunks; marks that the linker sets around sections.
_NOT_FUNCTIONS = (
    "__pfx_", "__cfi_", "__SCT__", "__SCK__", "__kcfi_", "__x86_indirect_", "__x86_return_", "__kstrtab_", "_kbl_addr_",
    "bpf_dispatcher_", "$", ".",
)  # fmt: skip
_SECTION_MARKS = ("_stext", "_etext", "_sinittext", "_einittext", "_text", "_text_start", "_text_end")


class LiveHost:
    """`host.Host`, answered by this machine.

    `btf_path` is a BTF file to use in place of the running kernel's. `tracefs` is the directory where tracefs is
    mounted (found if None); where it is mounted nowhere, root mounts it, unless `may_mount` is False.
    """

    def __init__(self, btf_path: str | None = None, tracefs: str | None = None, may_mount: bool = True) -> None:
        self.architecture = os.uname().machine
        self._btf_path = btf_path
        self._tracefs = tracefs
        self._may_mount = may_mount
        self._formats: dict[tuple[str, str], str | None] = {}
        self._symbols: dict[str, int | None] = {}
        self._cgroups: dict[str, int | None] = {}
        self._module_types: dict[str, KernelTypes | None] = {}
        self._user_types: dict[str, UserTypes | None] = {}

    def cpu_count(self) -> int:
        """The number of CPUs that the kernel knows of, online or not: what per-CPU maps have room for."""
        return self._cpu_count

    @cached_property
    def _cpu_count(self) -> int:
        try:
            with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
                ranges = file.read(4096).strip()
            return 1 + max(int(part.rpartition("-")[2]) for part in ranges.split(","))
        except (OSError, ValueError):
            return os.cpu_count() or 1

    # --- tracepoints

    @cached_property
    def tracefs(self) -> str | None:
        """The directory of tracefs, None where there is none."""
        if self._tracefs is not None:
            return self._tracefs
        found = _find_tracefs()
        if found is None and self._may_mount and mount_tracefs():
            found = _find_tracefs()
        return found

    def tracepoint_events(self) -> Iterable[tuple[str, str]]:
        return self._events

    @cached_property
    def _events(self) -> list[tuple[str, str]]:
        if self.tracefs is None:
            return []
        try:
            with open(f"{self.tracefs}/available_events", encoding="utf-8", errors="surrogateescape") as file:
                pairs = {(category, event) for category, _, event in (line.strip().partition(":") for line in file)}
        except OSError:
            pairs = set(_walk_events(f"{self.tracefs}/events"))
        return sorted(pair for pair in pairs if pair[0] and pair[1])

    def tracepoint_format(self, category: str, event: str) -> str | None:
        key = (category, event)
        if key not in self._formats:
            self._formats[key] = self._read_format(category, event)
        return self._formats[key]

    def _read_format(self, category: str, event: str) -> str | None:
        if self.tracefs is None or not _is_file_name(category) or not _is_file_name(event):
            return None
        try:
            with open(f"{self.tracefs}/events/{category}/{event}/format", "rb") as file:
                return file.read(_FORMAT_LIMIT).decode("utf-8", "surrogateescape")
        except OSError:
            return None

    # --- types

    def task_comm(self) -> int | None:
        from bpftrace_py.ktypes import btf_image

        try:
            with open(btf_image.KERNEL, "rb") as file, btf_image.contents(file) as data:
                return btf_image.member_offset(data, "task_struct", "comm")
        except OSError:
            return None

    def syscall_number(self, event: str) -> int | None:
        return syscall_number(self.architecture, event)

    def kernel_types(self) -> KernelTypes | None:
        return self._kernel_types

    @cached_property
    def _kernel_types(self) -> Btf | None:
        from bpftrace_py.ktypes.btf import load

        types = load(self._btf_path)
        if types is None and self._btf_path is not None:
            from bpftrace_py import messages
            from bpftrace_py.diagnostics import host_error

            expected = "a file with BTF that can be read"
            raise host_error(messages.BAD_VARIABLE, name="BPFTRACE_BTF", text=self._btf_path, expected=expected)
        return types

    def modules_with_types(self) -> Iterable[str]:
        if self._btf_path is not None or self.kernel_types() is None:
            return []
        from bpftrace_py.ktypes.btf import modules

        return modules()

    def module_types(self, module: str) -> KernelTypes | None:
        if module not in self._module_types:
            from bpftrace_py.ktypes.btf import load_module

            kernel = self._kernel_types if module in self.modules_with_types() else None
            self._module_types[module] = None if kernel is None else load_module(kernel, module)
        return self._module_types[module]

    def user_types(self, path: str) -> UserTypes | None:
        if path not in self._user_types:
            from bpftrace_py.ktypes.dwarf_types import load

            self._user_types[path] = load(path)
        return self._user_types[path]

    def files_without_types(self) -> list[str]:
        """The files that `user_types` was asked for, and of which there is no debug information."""
        return [path for path, types in self._user_types.items() if types is None]

    # --- functions and symbols

    def kernel_functions(self) -> Iterable[str]:
        return self._functions

    @cached_property
    def _functions(self) -> list[str]:
        if self.tracefs is not None:
            try:
                with open(f"{self.tracefs}/available_filter_functions", encoding="utf-8", errors="replace") as file:
                    names = dict.fromkeys(line.partition(" ")[0].strip() for line in file)
                return [name for name in names if name and not name.startswith("__ftrace_invalid_address__")]
            except OSError:
                pass  # locked down or without ftrace: the symbol table says nearly the same
        return functions_of(self._kallsyms, _kprobe_blacklist())

    def module_of(self, function: str) -> str:
        return self._modules.get(function, "")

    @cached_property
    def _modules(self) -> dict[str, str]:
        """The module of each function that is in one, by name; of two the one that the kernel has first."""
        found: dict[str, str] = {}
        at = self._kallsyms.find(b"\t[")  # the kernel's own symbols stand first
        if at < 0:
            return found
        for line in self._kallsyms[self._kallsyms.rfind(b"\n", 0, at) :].split(b"\n"):
            symbol, bracket, module = line.partition(b"\t[")
            fields = symbol.split(b" ", 2)
            if bracket and len(fields) == 3 and fields[1] in b"tTwW":
                found.setdefault(fields[2].decode("ascii", "replace"), module[:-1].decode("ascii", "replace"))
        return found

    @cached_property
    def _kallsyms(self) -> bytes:
        """Lines of `address type name[\\t[module]]`, with a newline before the first."""
        try:
            with open(_KALLSYMS, "rb", buffering=0) as file:
                chunks = [b"\n"]
                while chunk := file.read(1 << 20):
                    chunks.append(chunk)
        except OSError:
            return b"\n"
        return b"".join(chunks)

    def kernel_symbol(self, name: str) -> int | None:
        """The address of a symbol; None too where the kernel hides addresses (`kptr_restrict`)."""
        if name not in self._symbols:
            self._symbols[name] = find_symbol(self._kallsyms, name)
        return self._symbols[name]

    def fentry_for_kprobes(self) -> bool:
        if sys.platform != "linux":  # where not even the modules that would find out can be imported
            return False
        from bpftrace_py.runtime.features import Features

        features = Features()
        return features.privileged and not features.kprobe and features.fentry

    # --- cgroups

    def cgroup_id(self, path: str) -> int | None:
        """The id that `bpf_get_current_cgroup_id` gives for the cgroup v2 directory `path`."""
        if path not in self._cgroups:
            self._cgroups[path] = _cgroup_id(path)
        return self._cgroups[path]


# Where the kernel's name of a call is not the one by which programs know it.
_CALL_NAMES = {
    "newuname": "uname", "sendfile64": "sendfile", "newfstat": "fstat", "newlstat": "lstat", "newstat": "stat",
    "umount": "umount2",
}  # fmt: skip


@cache
def _syscall_table() -> Any:
    from system_calls import syscalls

    return syscalls()


def syscall_number(architecture: str, event: str) -> int | None:
    """The number of a system call, which is part of the architecture's interface and never changes."""
    try:
        number: int = _syscall_table().get(_CALL_NAMES.get(event, event), architecture)
    except LookupError:
        return None
    except Exception as error:  # the library's own errors derive from Exception alone
        if type(error).__module__.partition(".")[0] != "system_calls":
            raise
        return None
    return number


def _is_file_name(text: str) -> bool:
    return bool(text) and "/" not in text and "\0" not in text and text not in (".", "..")


def _find_tracefs() -> str | None:
    return next((place for place in _TRACEFS_PLACES if os.path.isdir(f"{place}/events")), None)


def mount_tracefs() -> bool:
    """Mount tracefs at its usual place, as trace-cmd and perf do for their users; False if we may not or cannot."""
    place = _TRACEFS_PLACES[0]
    if os.geteuid() != 0 or not os.path.isdir(place):
        return False
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mount(b"tracefs", place.encode(), b"tracefs", ctypes.c_ulong(0), None) == 0)


def _walk_events(directory: str) -> Iterator[tuple[str, str]]:
    """(category, event) of every event directory, for kernels that do not let `available_events` be read."""
    try:
        categories = [entry.name for entry in os.scandir(directory) if entry.is_dir()]
    except OSError:
        return
    for category in categories:
        # The `ftrace` category is the tracer's own: its events cannot be enabled.
        if category == "ftrace":
            continue
        try:
            entries = list(os.scandir(f"{directory}/{category}"))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir():
                yield category, entry.name


def find_symbol(kallsyms: bytes, name: str) -> int | None:
    """The address of a symbol in the text of /proc/kallsyms, the kernel's own before a module's."""
    if not name or not name.isascii() or any(c <= " " or c == "[" for c in name):
        return None
    encoded = name.encode()
    for ending in (b"\n", b"\t"):  # a module's symbols have "\t[module]" behind them
        at = kallsyms.find(b" " + encoded + ending)
        if at > 0:
            fields = kallsyms[kallsyms.rfind(b"\n", 0, at) + 1 : at].split()
            try:
                return int(fields[0], 16) or None
            except (ValueError, IndexError):
                return None
    return None


def _is_in(address: str, addresses: range) -> bool:
    try:
        return int(address, 16) in addresses
    except ValueError:  # the kernel writes nothing of the kind
        return False


def functions_of(kallsyms: bytes, blacklist: frozenset[str]) -> list[str]:
    """The functions that kprobes may be set on, as far as the symbol table tells: text, kept after start-up."""
    initial = range(find_symbol(kallsyms, "_sinittext") or 0, find_symbol(kallsyms, "_einittext") or 0)
    names: dict[str, None] = {}
    for line in kallsyms.decode("ascii", "replace").split("\n"):
        parts = line.split(None, 3)
        if len(parts) < 3 or parts[1] not in "tTwW" or (len(parts) > 3 and parts[3] == "[bpf]"):
            continue
        name = parts[2]
        if name.startswith(_NOT_FUNCTIONS) or name.endswith(_SECTION_MARKS) or name in blacklist or ".cold" in name:
            continue
        if initial and _is_in(parts[0], initial):
            continue
        names[name] = None
    return list(names)


def _kprobe_blacklist() -> frozenset[str]:
    """Functions that the kernel refuses to probe: lines of `0xfrom-0xto<tab>name`."""
    try:
        with open(_KPROBE_BLACKLIST, encoding="ascii", errors="replace") as file:
            return frozenset(line.split()[-1] for line in file if line.strip())
    except OSError:
        return frozenset()


def _cgroup_id(path: str) -> int | None:
    if "\0" in path:
        return None
    try:
        inode = os.stat(path).st_ino
    except OSError:
        return None
    return _file_handle(path) or inode


def _file_handle(path: str) -> int | None:
    """The 8 bytes of the file handle of a directory in a cgroup file system: its id. Before Linux 5.5 the inode number
    was just the lower half of it."""
    import ctypes

    class FileHandle(ctypes.Structure):
        _fields_ = [("handle_bytes", ctypes.c_uint), ("handle_type", ctypes.c_int), ("id", ctypes.c_uint64)]

    libc = ctypes.CDLL(None, use_errno=True)
    handle = FileHandle(handle_bytes=8)
    mount_id = ctypes.c_int()
    at_fdcwd, at_symlink_follow = -100, 0x400
    result = libc.name_to_handle_at(
        at_fdcwd, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount_id), at_symlink_follow
    )
    return int(handle.id) if result == 0 and handle.handle_bytes == 8 else None
