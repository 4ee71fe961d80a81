"""The one gate to the kernel: bpf(2), perf_event_open(2), mount(2), prctl(2), as functions that raise `OSError`.

File descriptors are plain integers, owned by the caller. Structures are packed here and nowhere else; their layouts are
those of <linux/bpf.h> and <linux/perf_event.h>. The kernel takes a `union bpf_attr` of any length that it knows or
whose unknown tail is zero, so each command passes just the members that it uses.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Sequence

# --- numbers of the ABI (include/uapi/linux/bpf.h, perf_event.h)

MAP_TYPE_HASH = 1
MAP_TYPE_PERCPU_HASH = 5
MAP_TYPE_RINGBUF = 27

PROG_TYPE_KPROBE, PROG_TYPE_TRACEPOINT, PROG_TYPE_PERF_EVENT = 2, 5, 7
PROG_TYPE_RAW_TRACEPOINT, PROG_TYPE_TRACING = 17, 26

UPDATE_ANY, UPDATE_MISSING, UPDATE_EXISTING = 0, 1, 2

ATTACH_NONE, ATTACH_FENTRY, ATTACH_FEXIT, ATTACH_PERF_EVENT = 0, 24, 25, 41
ATTACH_KPROBE_MULTI, ATTACH_UPROBE_MULTI = 42, 48

PERF_TYPE_HARDWARE, PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT = 0, 1, 2
PERF_COUNT_SW_CPU_CLOCK = 0

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY = 0, 1, 2, 3, 4
_PROG_LOAD, _PROG_TEST_RUN, _RAW_TRACEPOINT_OPEN, _MAP_LOOKUP_BATCH, _LINK_CREATE = 5, 10, 17, 24, 28
_MAP_LOOKUP_AND_DELETE_BATCH = 25
_OBJ_GET_INFO_BY_FD, _BTF_GET_FD_BY_ID, _BTF_GET_NEXT_ID = 15, 19, 23

_PROG_INFO_MISSES = 208  # where struct bpf_prog_info has recursion_misses
_PROG_INFO_SIZE = _PROG_INFO_MISSES + 8

_PERF_IOC_SET_BPF = 0x40042408
_PERF_FLAG_FD_CLOEXEC = 8
_PERF_ATTR_FREQUENCY = 1 << 10  # bit of perf_event_attr's flag word: sample_period is a frequency

# System call numbers where libc has no wrapper. The unlisted architectures use the generic table (arm64, riscv64, ...).
_MACHINE = os.uname().machine
_SYS_BPF, _SYS_PERF_EVENT_OPEN = {
    "x86_64": (321, 298),
    "i686": (357, 336),
    "armv7l": (386, 364),
    "ppc64le": (361, 319),
    "s390x": (351, 331),
}.get(_MACHINE, (280, 241))

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 7  # ctypes passes a bare int as 32 bits
_LOG_TRIES = 5  # the kernel answers EAGAIN to a program load that a signal interrupts


def buffer(size: int) -> ctypes.Array[ctypes.c_char]:
    """Zeroed memory of `size` bytes that the kernel may write to, readable through `memoryview`."""
    return (ctypes.c_char * max(size, 1))()


def address_of(memory: ctypes.Array[ctypes.c_char]) -> int:
    """Where a buffer is: the kernel takes addresses as 64-bit numbers."""
    return ctypes.addressof(memory)


def _fail(what: str = "") -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what) if what else OSError(number, os.strerror(number))


def _bpf(command: int, attr: bytes) -> int:
    """bpf(2) with a read-only view of `attr`; what commands write back goes to memory that `attr` points to."""
    memory = ctypes.create_string_buffer(attr, len(attr))
    result: int = _syscall(_SYS_BPF, command, ctypes.addressof(memory), len(attr), 0, 0, 0)
    if result < 0:
        raise _fail()
    return result


def _object_name(name: str) -> bytes:
    """At most 15 characters of those that the kernel allows in the name of a map or program."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name[:15]).encode()


# --- maps


def map_create(kind: int, key_size: int, value_size: int, max_entries: int, flags: int, name: str) -> int:
    """A new map; sizes in bytes."""
    return _bpf(
        _MAP_CREATE,
        struct.pack("=7I16s", kind, key_size, value_size, max_entries, flags, 0, 0, _object_name(name)),
    )


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """The value under `key`, None if there is none. `value_size` counts every CPU's slot of a per-CPU map."""
    memory, value = ctypes.create_string_buffer(key, len(key)), buffer(value_size)
    try:
        _bpf(_MAP_LOOKUP, struct.pack("=IIQQQ", fd, 0, ctypes.addressof(memory), ctypes.addressof(value), 0))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return value.raw


def map_update(fd: int, key: bytes, value: bytes, flags: int = UPDATE_ANY) -> None:
    """Set the value under `key`. `flags`: one of UPDATE_ANY, UPDATE_MISSING, UPDATE_EXISTING."""
    key_memory, value_memory = (
        ctypes.create_string_buffer(key, len(key)),
        ctypes.create_string_buffer(value, len(value)),
    )
    _bpf(_MAP_UPDATE, struct.pack("=IIQQQ", fd, 0, ctypes.addressof(key_memory), ctypes.addressof(value_memory), flags))


def map_delete(fd: int, key: bytes) -> bool:
    """Remove `key`; whether it was there."""
    memory = ctypes.create_string_buffer(key, len(key))
    try:
        _bpf(_MAP_DELETE, struct.pack("=IIQ", fd, 0, ctypes.addressof(memory)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """The key behind `key` (the first one for None or for a key that has gone), None at the end."""
    after = 0
    if key is not None:
        memory = ctypes.create_string_buffer(key, key_size)
        after = ctypes.addressof(memory)
    result = buffer(key_size)
    try:
        _bpf(_MAP_NEXT_KEY, struct.pack("=IIQQ", fd, 0, after, ctypes.addressof(result)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return result.raw


def map_update_each(fd: int, keys: bytearray, key_size: int, value: bytes, flags: int) -> int:
    """Set each of the keys that lie in `keys` one after another to `value`; how many the kernel accepted.

    `flags` as in `map_update`; a key that they forbid is passed over. (The batch command knows no such flags.)
    """
    memory = ctypes.create_string_buffer(value, len(value))
    attr = ctypes.create_string_buffer(struct.pack("=IIQQQ", fd, 0, 0, ctypes.addressof(memory), flags), 32)
    start, where, accepted = _bytearray_address(keys), ctypes.addressof(attr), 0
    for key in range(start, start + len(keys), key_size):
        struct.pack_into("=Q", attr, 8, key)
        if _syscall(_SYS_BPF, _MAP_UPDATE, where, 32, 0, 0, 0) == 0:
            accepted += 1
        elif ctypes.get_errno() not in (errno.ENOENT, errno.EEXIST):
            raise _fail()
    return accepted


def _bytearray_address(memory: bytearray) -> int:
    """Where a bytearray's bytes are; they stay there for as long as its size is not changed."""
    return ctypes.addressof((ctypes.c_char * len(memory)).from_buffer(memory)) if memory else 0


class BatchReader:
    """Reads a map by many elements a system call (kernel 5.6), into buffers that it keeps.

    After `read`, the elements are in `keys` and `values`: `count` times `key_size` and `value_size` bytes, the latter
    with every CPU's slot.
    """

    __slots__ = ("_addresses", "_attr", "_cursors", "_fd", "_key_size", "_value_size", "capacity", "keys", "values")

    def __init__(self, fd: int, key_size: int, value_size: int, capacity: int) -> None:
        self._fd, self._key_size, self._value_size = fd, key_size, value_size
        # The cursor is a u32 for hashes and arrays; for other maps it is a key.
        self._cursors = (buffer(max(key_size, 8)), buffer(max(key_size, 8)))
        self._attr = ctypes.create_string_buffer(64)
        self.resize(capacity)

    def resize(self, capacity: int) -> None:
        """Room for `capacity` elements; what was read is gone."""
        self.capacity = capacity
        self.keys, self.values = bytearray(capacity * self._key_size), bytearray(capacity * self._value_size)
        self._addresses = _bytearray_address(self.keys), _bytearray_address(self.values)

    def read(self, first: bool, delete: bool = False) -> tuple[int, bool]:
        """Fill the buffers from the start (`first`) or from where the last call stopped: (elements, more to come).

        `delete` removes what it reads (hashes only). ENOSPC: one of the map's hash buckets is larger than `capacity`.
        """
        source, target = self._cursors
        struct.pack_into(
            "=QQQQIIQQ", self._attr, 0,
            0 if first else ctypes.addressof(source), ctypes.addressof(target),
            *self._addresses, self.capacity, self._fd, 0, 0,
        )  # fmt: skip
        command = _MAP_LOOKUP_AND_DELETE_BATCH if delete else _MAP_LOOKUP_BATCH
        result = _syscall(_SYS_BPF, command, ctypes.addressof(self._attr), 56, 0, 0, 0)
        number = ctypes.get_errno() if result < 0 else 0
        if number not in (0, errno.ENOENT):  # ENOENT: the end was reached
            raise OSError(number, os.strerror(number))
        self._cursors = (target, source)
        count: int = struct.unpack_from("=I", self._attr, 32)[0]
        return count, number == 0


# --- programs


class LoadError(OSError):
    """The kernel refused a program. `log` is what its verifier said."""

    def __init__(self, number: int, log: str) -> None:
        super().__init__(number, os.strerror(number))
        self.log = log


def prog_load(
    kind: int, code: bytes, license_name: bytes, name: str, *,
    expected_attach_type: int = 0, attach_btf_id: int = 0, attach_btf_object: int = 0, log_size: int = 1 << 24,
) -> int:  # fmt: skip
    """Verify and load `code` (8-byte instructions). Raises `LoadError`; the log is asked for on a second try only."""
    code_memory = ctypes.create_string_buffer(code, len(code))
    license_memory = ctypes.create_string_buffer(license_name)

    def load(log: ctypes.Array[ctypes.c_char] | None) -> int:
        attr = struct.pack(
            "=IIQQIIQII16sIIIIQIIQIII",
            kind, len(code) // 8, ctypes.addressof(code_memory), ctypes.addressof(license_memory),
            1 if log else 0, len(log) if log else 0, ctypes.addressof(log) if log else 0, 0, 0, _object_name(name),
            0, expected_attach_type, 0, 0, 0, 0, 0, 0, 0, attach_btf_id, attach_btf_object,
        )  # fmt: skip
        for _ in range(_LOG_TRIES - 1):
            try:
                return _bpf(_PROG_LOAD, attr)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
        return _bpf(_PROG_LOAD, attr)

    try:
        return load(None)
    except OSError as refused:
        number = refused.errno or 0
    log = buffer(log_size)
    try:
        return load(log)
    except OSError as refused:
        # ENOSPC now would mean a full log, which says less than the first errno.
        number = number if refused.errno == errno.ENOSPC else refused.errno or number
    raise LoadError(number, log.value.decode(errors="replace"))


def prog_misses(fd: int) -> int:
    """How often a program was not run for an event, as its CPU was in it, or in another one, already (Linux 5.12; 0 before).

    What is counted depends on the kernel (kernel/bpf, kernel/trace): for programs of tracing links since then, for those of raw
    tracepoints, kprobes and tracepoints later, for those of perf events never.
    """
    info = buffer(_PROG_INFO_SIZE)
    try:
        _bpf(_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, _PROG_INFO_SIZE, ctypes.addressof(info)))
    except OSError:
        return 0
    misses: int = struct.unpack_from("=Q", info, _PROG_INFO_MISSES)[0]
    return misses


def prog_test_run(fd: int) -> int:
    """Run a program once, without a context (BPF_PROG_TEST_RUN); what it returned."""
    attr = ctypes.create_string_buffer(80)
    struct.pack_into("=I", attr, 0, fd)
    if _syscall(_SYS_BPF, _PROG_TEST_RUN, ctypes.addressof(attr), 80, 0, 0, 0) < 0:
        raise _fail()
    result: int = struct.unpack_from("=I", attr, 4)[0]
    return result


# --- links


def raw_tracepoint_open(prog: int, event: str | None, cookie: int | None = None) -> int:
    """Attach to a raw tracepoint, or (`event` None) a tracing program to the function that it was loaded for.

    E2BIG: a cookie was given and the kernel (before 6.10) has none here.
    """
    memory = ctypes.create_string_buffer(event.encode()) if event is not None else None
    attr = struct.pack("=QII", ctypes.addressof(memory) if memory else 0, prog, 0)
    return _bpf(_RAW_TRACEPOINT_OPEN, attr if cookie is None else attr + struct.pack("=Q", cookie))


def link_tracing(prog: int, attach_type: int, cookie: int) -> int:
    """Attach a tracing program with a cookie (kernel 5.19); the function is the one it was loaded for."""
    return _bpf(_LINK_CREATE, struct.pack("=IIIIIIQ", prog, 0, attach_type, 0, 0, 0, cookie))


def link_perf_event(prog: int, event: int, cookie: int) -> int:
    """Attach to a perf event with a cookie (kernel 5.15). The link keeps the event: its fd may be closed."""
    return _bpf(_LINK_CREATE, struct.pack("=IIIIQ", prog, event, ATTACH_PERF_EVENT, 0, cookie))


def _u64_array(values: Sequence[int] | None) -> ctypes.Array[ctypes.c_uint64] | None:
    return (ctypes.c_uint64 * len(values))(*values) if values is not None else None


def _address(memory: ctypes.Array[ctypes.c_uint64] | ctypes.Array[ctypes.c_char] | None) -> int:
    return ctypes.addressof(memory) if memory is not None else 0


def link_uprobe_multi(
    prog: int, path: str, offsets: Sequence[int], *, cookies: Sequence[int] | None = None,
    semaphores: Sequence[int] | None = None, on_return: bool = False, pid: int = 0,
) -> int:  # fmt: skip
    """Attach at many places of one file (kernel 6.6). One failing place fails them all. `pid` 0: every process."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    arrays = (_u64_array(offsets), _u64_array(semaphores), _u64_array(cookies))
    return _bpf(
        _LINK_CREATE,
        struct.pack(
            "=IIIIQQQQIIII", prog, 0, ATTACH_UPROBE_MULTI, 0, _address(name), *(_address(a) for a in arrays),
            len(offsets), int(on_return), pid, 0,
        ),
    )  # fmt: skip


def link_kprobe_multi(
    prog: int, functions: Sequence[str], *, cookies: Sequence[int] | None = None, on_return: bool = False
) -> int:
    """Attach to the entry (or return) of many kernel functions (kernel 5.18). One failing function fails them all."""
    names = [ctypes.create_string_buffer(f.encode()) for f in functions]
    pointers, cookie_array = _u64_array([ctypes.addressof(n) for n in names]), _u64_array(cookies)
    return _bpf(
        _LINK_CREATE,
        struct.pack(
            "=IIIIIIQQQ", prog, 0, ATTACH_KPROBE_MULTI, 0, int(on_return), len(names), _address(pointers), 0,
            _address(cookie_array),
        ),
    )  # fmt: skip


# --- BTF


def module_btf_open(module: str) -> int:
    """The BTF of a loaded kernel module, as a file descriptor. ENOENT if it has none."""
    number = 0
    while True:
        attr = ctypes.create_string_buffer(struct.pack("=III", number, 0, 0), 12)
        if _syscall(_SYS_BPF, _BTF_GET_NEXT_ID, ctypes.addressof(attr), 12, 0, 0, 0) < 0:
            raise _fail(module)
        number = struct.unpack_from("=I", attr, 4)[0]
        fd = _bpf(_BTF_GET_FD_BY_ID, struct.pack("=I", number))
        name = buffer(64)  # MODULE_NAME_LEN
        info = ctypes.create_string_buffer(struct.pack("=QIIQII", 0, 0, 0, ctypes.addressof(name), len(name), 0), 32)
        try:
            _bpf(_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, 32, ctypes.addressof(info)))
        except OSError:
            os.close(fd)
            raise
        from_kernel: int = struct.unpack_from("=I", info, 28)[0]
        if from_kernel and name.value.decode(errors="replace") == module:
            return fd
        os.close(fd)


# --- perf events


def perf_event_open(
    kind: int, config: int, *, period: int = 0, frequency: int = 0, config1: int = 0, config2: int = 0,
    pid: int = -1, cpu: int = 0,
) -> int:  # fmt: skip
    """A perf event that samples every `period` events (ns for cpu-clock) or `frequency` times a second."""
    attr = ctypes.create_string_buffer(112)  # PERF_ATTR_SIZE_VER5
    struct.pack_into(
        "=IIQQQQQIIQQ", attr, 0, kind, 112, config, frequency or period, 0, 0, _PERF_ATTR_FREQUENCY if frequency else 0,
        0, 0, config1, config2,
    )  # fmt: skip
    result: int = _syscall(_SYS_PERF_EVENT_OPEN, ctypes.addressof(attr), pid, cpu, -1, _PERF_FLAG_FD_CLOEXEC, 0)
    if result < 0:
        raise _fail()
    return result


def perf_probe_open(pmu: int, name: str, offset: int, *, config: int, pid: int = -1, cpu: int = 0) -> int:
    """An event of the kprobe or uprobe PMU: `name` is a function or a file. `config`: the PMU's retprobe bit, and for a
    uprobe the semaphore's file offset in the upper half. A probe fires on every CPU; `cpu` is where its event lives."""
    memory = ctypes.create_string_buffer(os.fsencode(name))
    if pid > 0:
        cpu = -1
    return perf_event_open(pmu, config, config1=ctypes.addressof(memory), config2=offset, pid=pid, cpu=cpu)


def perf_set_bpf(event: int, prog: int) -> None:
    """Attach without a cookie (any kernel)."""
    fcntl.ioctl(event, _PERF_IOC_SET_BPF, prog)


# --- the rest


def mount(source: str, target: str, kind: str) -> None:
    """mount(2) of a file system of a kind, without options."""
    if _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(0), None) != 0:
        raise _fail(target)


def prctl(option: int, argument: int = 0) -> int:
    """prctl(2)."""
    result: int = _syscall_prctl(option, argument, 0, 0, 0)
    if result < 0:
        raise _fail()
    return result


_syscall_prctl = _libc.prctl
_syscall_prctl.restype = ctypes.c_int
_syscall_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4

# setresuid(2) itself: libc's function of that name changes every thread of the process.
_SYS_SETRESUID = {"x86_64": 117, "ppc64le": 164, "s390x": 208, "aarch64": 147, "riscv64": 147, "loongarch64": 147}.get(
    _MACHINE
)


def set_thread_euid(uid: int) -> None:
    """Change the effective uid of the calling thread only. ENOSYS where the call's number is not known."""
    if _SYS_SETRESUID is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _syscall(_SYS_SETRESUID, -1, uid, -1, 0, 0, 0) < 0:
        raise _fail()
