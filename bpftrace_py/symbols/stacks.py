"""Stack traces: frames out of the kernel's maps, and frames as text.

The kernel side keeps each distinct stack once, in a hash map under a 64-bit hash of its frames (see `stack_id` in the
generated C): value u64 depth, then u64 frames, innermost first. What stands under an id never changes, so that it is
read once and remembered. Id 0 is an empty stack: a kernel thread has no user frames.
"""

from __future__ import annotations

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT = 1 << 16  # decoded stacks remembered by user space


class StackReader:
    """Frames by stack id.

    `lookup(id)` answers with the bytes of the map's value, or None if the map has no such id.
    """

    def __init__(self, lookup: Callable[[int], bytes | None]) -> None:
        self._lookup = lookup
        self._known: dict[int, tuple[int, ...]] = {}
        self.missing = 0  # ids that the kernel could not keep

    def frames(self, stack: int) -> tuple[int, ...] | None:
        """Addresses, innermost first; None if the kernel had no room to keep this stack (counted in `missing`)."""
        if stack == 0:
            return ()
        known = self._known.get(stack)
        if known is not None:
            return known
        value = self._lookup(stack)
        if value is None:
            self.missing += 1
            return None
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[stack] = result = decode(value)
        return result


def decode(value: bytes) -> tuple[int, ...]:
    """The frames in a value of a stack map. A depth beyond the value's end is cut: it is not ours to crash on."""
    from array import array  # here: it brings `collections`, a millisecond of each start

    words = array("Q", value[: len(value) & ~7])
    if not words:
        return ()
    return tuple(words[1 : 1 + words[0]])
