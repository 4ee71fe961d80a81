"""Creates the ring buffer beside the import of what a session needs: a fifteenth of a warm start.

8 MiB take the kernel 2 ms. On a machine with a second CPU that is over when Python has imported the rest. It is one call,
without the interpreter's lock: a thread that did more would be in the way of the imports, and take more than it gives.
"""

from __future__ import annotations

import _thread
import os

from bpftrace_py.runtime import kernel


class RingAhead:
    """A ring buffer map of `size` bytes, begun at once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._fd: int | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._create, ())

    def _create(self) -> None:
        try:
            self._fd = kernel.map_create(kernel.MAP_TYPE_RINGBUF, 0, 0, self.size, 0, "events")
        except OSError:
            pass  # the loader will try it, and tell
        finally:
            self._done.release()

    def take(self, size: int) -> int | None:
        """The file descriptor, which is the caller's from now on; None if it has another size, was taken, or failed."""
        if size != self.size:
            return None
        with self._done:
            fd, self._fd = self._fd, None
        return fd

    def close(self) -> None:
        """Give it up if nobody took it."""
        fd = self.take(self.size)
        if fd is not None:
            os.close(fd)
