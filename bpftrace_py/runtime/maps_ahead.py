"""Creates the maps that take the kernel long beside the import of what a session needs: a tenth of a warm start.

A ring buffer of 8 MiB takes 2 ms, a per-CPU hash of 4096 elements, whose memory is taken at once, 3 to 5. On a machine with a second
CPU that is over when Python has imported the rest, or BCC has compiled. Each map is one call, without the interpreter's lock, in
a thread of its own: one that did more would be in the way of the imports, and take more than it gives.
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
_MOST = 8  # threads
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
    """Maps that are being created, begun at once."""

    def __init__(self, specs: Sequence[MapSpec]) -> None:
        self._begun = {spec.plain(): _Begun(spec) for spec in specs}

    def take(self, spec: MapSpec) -> int | None:
        """The file descriptor, which is the caller's from now on; None if this map was not begun, was taken, or failed."""
        begun = self._begun.pop(spec.plain(), None)
        return None if begun is None else begun.fd()

    def close(self) -> None:
        """Give up what nobody took."""
        while self._begun:
            fd = self._begun.popitem()[1].fd()
            if fd is not None:
                os.close(fd)


class _Begun:
    def __init__(self, spec: MapSpec) -> None:
        self._spec = spec
        self._fd: int | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()
        try:
            _thread.start_new_thread(self._create, ())
        except RuntimeError:  # no more threads may be started
            self._done.release()

    def _create(self) -> None:
        spec = self._spec
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
