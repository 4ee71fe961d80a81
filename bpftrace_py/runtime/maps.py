"""Script maps, read and changed from user space.

Hashes are read by many elements a system call; what the CPUs have each counted is reduced by `struct`, `map` and
`sum`, with no Python loop over CPUs. Keys and values come out as `output/values.py` describes them.
"""

from __future__ import annotations

import errno
import gc
import os
import struct
from itertools import compress

from bpftrace_py import messages, types
from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.diagnostics import host_error
from bpftrace_py.output.values import Fields, Value, struct_code
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.loader import Loaded
from bpftrace_py.runtime.map_keys import compile_rows, encode_key
from bpftrace_py.types import UINT64, Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias, TypeVar

    T = TypeVar("T")

Element = tuple[tuple[Value, ...], Value]

_BATCH_BYTES = 1 << 20  # of the buffers for one batch; a larger one gains nothing
_SIGN, _WORD = 1 << 63, 1 << 64


class Maps:
    """The maps of a loaded unit, by their names in the script (without the @)."""

    def __init__(self, loaded: Loaded, fields: Fields | None = None) -> None:
        """`fields`: those of the records in the unit, by `RecordType.name`."""
        self._loaded = loaded
        self._fields = fields
        self._specs = {script_map.name: script_map for script_map in loaded.unit.maps}
        self._accesses: dict[str, _Scalar | _Keyed] = {}

    def _access(self, name: str) -> _Scalar | _Keyed:
        access = self._accesses.get(name)
        if access is None:
            script_map = self._specs[name]
            kind = _Keyed if script_map.keys else _Scalar
            access = self._accesses[name] = kind(script_map, self._loaded, self._fields)
        return access

    def read(self, name: str) -> list[Element]:
        """All (key, value) pairs, in no order. A map without keys has one, with key (), or none if nothing was stored.

        A `count()` without keys always has a value. Raises `HostError` if the kernel does not let the map be read.
        """
        slots = self._slots(name)
        if not self._specs[name].with_sum:
            return slots
        return [(key, counts[:-1]) for key, counts in slots]

    def histograms(self, name: str) -> list[tuple[tuple[Value, ...], list[int], int]]:
        """The same for a histogram map `with_sum`: key, counts, sum."""
        return [(key, slots[:-1], _wrapped([slots[-1]], True)[0]) for key, slots in self._slots(name)]

    def show(self, name: str, print_elements: Callable[[list[Element]], None]) -> None:
        """`print_elements(read(name))`, for maps of any size."""
        _uncollected(lambda: print_elements(self.read(name)))

    def _slots(self, name: str) -> list[Element]:
        """The elements as they are in the kernel: histograms with their sum as a last bucket, if they have one."""
        try:
            return _uncollected(self._access(name).read)
        except OSError as error:
            raise host_error(messages.MAP_UNREADABLE, map=name, reason=os.strerror(error.errno or 0)) from error

    def lookup(self, name: str, key: tuple[Value, ...]) -> Value | None:
        """The value under a key, None if there is none."""
        value = self._access(name).lookup(key)
        return value if value is None or not self._specs[name].with_sum else value[:-1]

    def clear(self, name: str) -> None:
        """Remove every element."""
        self._access(name).clear()

    def zero(self, name: str) -> None:
        """Set every value to zero, and keep the keys."""
        self._access(name).zero()

    def delete(self, name: str, key: tuple[Value, ...]) -> None:
        """Remove one element, if it is there."""
        self._access(name).delete(key)

    def lost(self) -> list[int]:
        """[events that found no room in the ring buffer, then for each map the updates that found no room]."""
        table = self._loaded.unit.lost
        return self._sums(table) if table is not None else [0] * (1 + len(self._specs))

    def _sums(self, table: str) -> list[int]:
        """A per-CPU array of u64, each slot summed over the CPUs."""
        kernel_map, cpus = self._loaded.maps[table], self._loaded.features.possible_cpus
        spec = kernel_map.spec
        unpack = struct.Struct(f"={cpus}Q").unpack
        return [sum(unpack(raw)) for raw in _slots(kernel_map.fd, spec.max_entries, 8 * cpus)]

    def take_pending(self) -> list[int]:
        """The numbers of the actions that found no room in the ring buffer since the last call, in their order."""
        table = self._loaded.unit.pending
        if table is None:
            return []
        kernel_map = self._loaded.maps[table]
        taken = []
        for index, raw in enumerate(_slots(kernel_map.fd, kernel_map.spec.max_entries, kernel_map.spec.value_size)):
            if any(raw):
                kernel.map_update(kernel_map.fd, struct.pack("=I", index), bytes(kernel_map.spec.value_size))
                taken.append(index)
        return taken


def _uncollected(work: Callable[[], T]) -> T:
    """`work()` without garbage collection, which would look through the growing list of elements again and again, and once
    more when it is allowed to: a third of the time of 100,000 keys. It would find nothing, as elements make no cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        if collecting:
            gc.enable()


def _slots(fd: int, count: int, size: int) -> Iterator[bytes]:
    """The values of an array map."""
    for index in range(count):
        value = kernel.map_lookup(fd, struct.pack("=I", index), size)
        assert value is not None, "an array map has all its slots"
        yield value


def bucket_count(value: Type) -> int:
    """Buckets of a histogram type, 1 for others."""
    if isinstance(value, types.LhistType):
        return value.buckets
    return types.HistType.BUCKETS if isinstance(value, types.HistType) else 1


# --- one CPU's value, and all CPUs' values reduced

Reduce: TypeAlias = "Callable[[memoryview], list[Any]]"  # the values of many elements, every CPU's -> one value an element


def compile_reduce(value: Type, cpus: int) -> Reduce:
    """The function that makes the values of an aggregate from every CPU's words; nothing at all counts as zero."""
    if isinstance(value, (types.CountType, *types.HISTOGRAMS)):
        unpack = struct.Struct(f"={cpus}Q").iter_unpack
        return lambda memory: list(map(sum, unpack(memory)))
    signed = bool(getattr(value, "signed", True))
    word = "q" if signed else "Q"
    if isinstance(value, types.SumType):
        totals = struct.Struct("=" + f"{word}8x" * cpus).iter_unpack
        return lambda memory: _wrapped(list(map(sum, totals(memory))), signed)
    if isinstance(value, (types.AvgType, types.StatsType)):
        counts = struct.Struct("=" + "Q8x" * cpus).iter_unpack
        totals = struct.Struct("=" + f"8x{word}" * cpus).iter_unpack
        return lambda memory: list(
            zip(map(sum, counts(memory)), _wrapped(list(map(sum, totals(memory))), signed), strict=True)
        )
    assert isinstance(value, (types.MinType, types.MaxType)), value
    best: Callable[..., Any] = min if isinstance(value, types.MinType) else max
    pairs = struct.Struct("=" + f"{word}Q" * cpus).iter_unpack
    return lambda memory: [best(compress(words[::2], words[1::2]), default=0) for words in pairs(memory)]


def _compile_values(value: Type, fields: Fields | None) -> Reduce:
    """The same for values that are not kept per CPU."""
    code = struct_code(value)
    if code.isalpha():
        return lambda memory: memory.cast(code).tolist()  # type: ignore[call-overload]
    rows = compile_rows((value,), fields)
    return lambda memory: [item for (item,) in rows(memory)]


def _wrapped(totals: list[int], signed: bool) -> list[int]:
    """Totals as 64-bit numbers: they overflow together as they would on one CPU."""
    low, high = (-_SIGN, _SIGN) if signed else (0, _WORD)
    if totals and (min(totals) < low or max(totals) >= high):
        return [(total - low) % _WORD + low for total in totals]
    return totals


def _is_percpu(script_map: ScriptMap) -> bool:
    return script_map.storage.startswith("percpu_")


# --- maps without keys


class _Scalar:
    """A map without keys: an array of one slot, or per-CPU with one slot a bucket."""

    def __init__(self, script_map: ScriptMap, loaded: Loaded, fields: Fields | None) -> None:
        self._type = script_map.value
        self._fd, spec = loaded.maps[script_map.table].fd, loaded.maps[script_map.table].spec
        self._percpu = _is_percpu(script_map)
        self._buckets = bucket_count(self._type) + script_map.with_sum
        cpus = loaded.features.possible_cpus if self._percpu else 1
        self._size = (spec.value_size + 7 & ~7) * cpus if self._percpu else spec.value_size
        # After zero() an aggregate has a value although no CPU has counted anything.
        self._zeroed = isinstance(self._type, types.CountType)
        if self._percpu:
            self._reduce: Callable[[memoryview], list[Any]] = compile_reduce(self._type, cpus)
        else:
            self._reduce = compile_rows((self._type, UINT64), fields)

    def read(self) -> list[Element]:
        raw = list(_slots(self._fd, self._buckets, self._size))
        if not any(map(any, raw)) and not self._zeroed:
            return []
        if not self._percpu:
            value, is_set = self._reduce(memoryview(raw[0]))[0]
            return [((), value)] if is_set else []
        values = [self._reduce(memoryview(slot))[0] for slot in raw]
        return [((), values if isinstance(self._type, types.HISTOGRAMS) else values[0])]

    def lookup(self, key: tuple[Value, ...]) -> Value | None:
        elements = self.read()
        return elements[0][1] if elements else None

    def _fill(self, value: bytes) -> None:
        for index in range(self._buckets):
            kernel.map_update(self._fd, struct.pack("=I", index), value)

    def clear(self) -> None:
        self._zeroed = isinstance(self._type, types.CountType)
        self._fill(bytes(self._size))

    def delete(self, key: tuple[Value, ...]) -> None:
        self.clear()

    def zero(self) -> None:
        if not self.read():
            return
        if self._percpu:
            self._zeroed = True
            self._fill(bytes(self._size))
        else:  # the last word says that there is a value
            self._fill(bytes(self._size - 8) + struct.pack("=Q", 1))


# --- maps with keys


class _Keyed:
    """A hash, perhaps per-CPU; a histogram's bucket is the last part of the key."""

    def __init__(self, script_map: ScriptMap, loaded: Loaded, fields: Fields | None) -> None:
        self._type, self._keys, self._fields = script_map.value, script_map.keys, fields
        self._histogram = isinstance(self._type, types.HISTOGRAMS)
        self._buckets = bucket_count(self._type) + script_map.with_sum
        parts = (*self._keys, UINT64) if self._histogram else self._keys
        self._fd, spec = loaded.maps[script_map.table].fd, loaded.maps[script_map.table].spec
        self._percpu, cpus = _is_percpu(script_map), loaded.features.possible_cpus
        self._key_size = spec.key_size
        assert types.TupleType(parts).size == spec.key_size, f"keys of {script_map.table}"
        self._value_size = (spec.value_size + 7 & ~7) * cpus if self._percpu else spec.value_size
        self._max_entries = spec.max_entries
        self._batch = loaded.features.batch
        self._key_rows = compile_rows(parts, fields)
        if self._percpu:
            self._values = compile_reduce(self._type, cpus)
        else:
            assert self._type.size == spec.value_size, f"values of {script_map.table}"
            self._values = _compile_values(self._type, fields)
        self._reader: kernel.BatchReader | None = None

    # --- elements as bytes

    def _runs(self, delete: bool = False) -> Iterator[tuple[memoryview, memoryview]]:
        """The keys and values of the map, a run at a time; each is gone when the next is asked for."""
        if not self._batch:
            yield from self._one_by_one()
            return
        reader = self._reader
        if reader is None:
            capacity = min(self._max_entries, max(64, _BATCH_BYTES // (self._key_size + self._value_size)))
            reader = self._reader = kernel.BatchReader(self._fd, self._key_size, self._value_size, capacity)
        first, more, left = True, True, 4 * self._max_entries + reader.capacity
        while more and left > 0:  # a program that stores faster than we read must not hold us
            try:
                count, more = reader.read(first, delete)
            except OSError as error:
                if error.errno != errno.ENOSPC or reader.capacity > 2 * self._max_entries:
                    raise
                reader.resize(2 * reader.capacity)  # one of the hash table's own buckets has more keys than that
                continue
            first = False
            left -= count
            yield (
                memoryview(reader.keys)[: count * self._key_size],
                memoryview(reader.values)[: count * self._value_size],
            )

    def _one_by_one(self) -> Iterator[tuple[memoryview, memoryview]]:
        """The same for kernels without batches. A key that is deleted meanwhile sends the kernel back to the start, so
        those that were seen are remembered, and the steps are bounded."""
        seen: dict[bytes, bytes] = {}
        key: bytes | None = None
        for _ in range(4 * self._max_entries):
            key = kernel.map_next_key(self._fd, key, self._key_size)
            if key is None:
                break
            value = kernel.map_lookup(self._fd, key, self._value_size) if key not in seen else None
            if value is not None:
                seen[key] = value
        yield memoryview(b"".join(seen)), memoryview(b"".join(seen.values()))

    # --- elements as values

    def read(self) -> list[Element]:
        if self._histogram:
            return self._read_histograms()
        elements: list[Element] = []
        for keys, values in self._runs():
            elements += zip(self._key_rows(keys), self._values(values), strict=True)
        return elements

    def _read_histograms(self) -> list[Element]:
        """Most histograms of a large map have few buckets and many equals: equal ones are one list, which nobody changes.
        What sorts and prints them then looks at each only once."""
        used: dict[tuple[Value, ...], tuple[int, ...]] = {}  # bucket, count, bucket, count, ...
        for keys, values in self._runs():
            for parts, count in zip(self._key_rows(keys), self._values(values), strict=True):
                key = parts[:-1]
                used[key] = (*used.get(key, ()), parts[-1], count)
        shared: dict[tuple[int, ...], list[int]] = {}
        for pairs in used.values():
            if pairs not in shared:
                counts = shared[pairs] = [0] * self._buckets
                for bucket, count in zip(pairs[::2], pairs[1::2], strict=True):
                    counts[bucket] += count
        return [(key, shared[pairs]) for key, pairs in used.items()]

    def _encoded(self, key: tuple[Value, ...]) -> list[bytes]:
        """The key's bytes; one for each bucket of a histogram."""
        raw = encode_key(self._keys, key, self._fields)
        if not self._histogram:
            return [raw]
        raw = raw.ljust(self._key_size - 8, b"\0")
        return [raw + struct.pack("=Q", bucket) for bucket in range(self._buckets)]

    def lookup(self, key: tuple[Value, ...]) -> Value | None:
        found = [kernel.map_lookup(self._fd, raw, self._value_size) for raw in self._encoded(key)]
        if not any(raw is not None for raw in found):
            return None
        values = [self._values(memoryview(raw))[0] if raw is not None else 0 for raw in found]
        return values if self._histogram else values[0]

    def delete(self, key: tuple[Value, ...]) -> None:
        for raw in self._encoded(key):
            kernel.map_delete(self._fd, raw)

    def clear(self) -> None:
        if self._batch:
            for _ in self._runs(delete=True):
                pass
            return
        for keys, _ in self._runs():
            for at in range(0, len(keys), self._key_size):
                kernel.map_delete(self._fd, bytes(keys[at : at + self._key_size]))

    def zero(self) -> None:
        keys = bytearray().join([bytes(run) for run, _ in self._runs()])
        # Only those that are still there: a program may have deleted some meanwhile.
        kernel.map_update_each(self._fd, keys, self._key_size, bytes(self._value_size), kernel.UPDATE_EXISTING)
