"""Creates the maps that take the kernel long beside the import of what a session needs: a tenth of a warm start.

A ring buffer of 8 MiB takes 2 ms, a per-CPU hash of 4096 elements, whose memory is taken at once, 3 to 5. With a second CPU, most of
that is over when Python has imported the rest, or BCC has compiled. A thread makes one call for each map, without the
interpreter's lock: one that did more would be in the way of the imports, and take more than it gives. So would more threads than
there are other CPUs.
"""

from __future__ import annotations

import _thread
import os

from bpftrace_py import types
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.image import MapSpec

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpftrace_py.codegen.unit import ScriptMap, Unit

_LARGE_RING = 1 << 20  # bytes; a smaller one takes the kernel less than starting a thread for it
_MANY_ELEMENTS = 512  # of a per-CPU hash, the same
_MOST = 8
_TWO_WORDS = (types.SumType, types.MinType, types.MaxType, types.AvgType, types.StatsType)


def costly_maps(unit: Unit) -> list[MapSpec]:
    """The maps of a unit that are worth beginning early, as its compiled image will have them."""
    specs = [_percpu_hash(m) for m in unit.maps if m.storage == "percpu_hash" and m.max_entries >= _MANY_ELEMENTS]
    if unit.events is not None and unit.ring_bytes >= _LARGE_RING:
        specs.insert(0, MapSpec(unit.events, kernel.MAP_TYPE_RINGBUF, 0, 0, unit.ring_bytes, 0))
    return specs[:_MOST]


def _percpu_hash(script_map: ScriptMap) -> MapSpec:
    keys = script_map.keys
    if isinstance(script_map.value, types.HISTOGRAMS):
        keys += (types.UINT64,)  # the bucket
    value_size = 16 if isinstance(script_map.value, _TWO_WORDS) else 8
    return MapSpec(
        script_map.table, kernel.MAP_TYPE_PERCPU_HASH, types.TupleType(keys).size, value_size, script_map.max_entries, 0
    )


class MapsAhead:
    """Maps that are being created, begun at once, one after another on each CPU but this one."""

    def __init__(self, specs: Sequence[MapSpec]) -> None:
        self._parts = {spec.plain(): _Part(spec) for spec in specs}
        self._waiting = list(self._parts.values())  # those that no thread has begun
        for _ in range(min(len(specs), len(os.sched_getaffinity(0)) - 1)):
            try:
                _thread.start_new_thread(self._create_all, ())
            except RuntimeError:  # no more threads may be started
                break

    def _create_all(self) -> None:
        while True:
            try:
                part = self._waiting.pop(0)
            except IndexError:
                return
            part.create()

    def take(self, spec: MapSpec) -> int | None:
        """The file descriptor, which is the caller's from now on; None if this map was not begun, was taken, or failed."""
        part = self._parts.pop(spec.plain(), None)
        if part is None:
            return None
        try:
            self._waiting.remove(part)
        except ValueError:  # a thread has it
            return part.fd()
        return None

    def close(self) -> None:
        """Give up what nobody took."""
        for part in list(self._parts.values()):
            fd = self.take(part.spec)
            if fd is not None:
                os.close(fd)


class _Part:
    """One map, for one thread to create."""

    def __init__(self, spec: MapSpec) -> None:
        self.spec = spec
        self._fd: int | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()

    def create(self) -> None:
        spec = self.spec
        try:
            self._fd = kernel.map_create(
                spec.kind, spec.key_size, spec.value_size, spec.max_entries, spec.flags, spec.name
            )
        except OSError:
            pass  # the loader will try it, and tell
        finally:
            self._done.release()

    def fd(self) -> int | None:
        """What the thread has made, when it has."""
        with self._done:
            return self._fd
