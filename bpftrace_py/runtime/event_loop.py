"""`EventLoop`: takes events out of the ring buffer until something ends the session.

What can end it: `request_stop` (from `exit()`, a signal, another thread), the end of a process that is watched, and the
reader of our output going away. What makes it work besides: losses are looked for while events flow, and told.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Protocol

    from bpftrace_py.runtime.decoder import Decoder
    from bpftrace_py.runtime.ring_buffer import Consumer, Poller
else:
    import _signal as signal  # `signal` makes enumerations of all its numbers: 2 ms

    Protocol = object

LOOK_FOR_LOSSES = 0.05  # seconds between looks at the counters while events flow
IDLE_LOOK, RAREST_LOOK = 1.0, 4.0  # and while none do, more rarely with time: maps can be full without any event
_MOST_PRESENT = 1 << 19  # events that are handled after the session was told to stop: about what a ring buffer holds
_BUSY_TRIES = 50  # milliseconds that are given to a record that is still being written
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopFlag:
    """Whether and why a session is to end. Setting it wakes the event loop; any thread or signal handler may.

    `fd` becomes readable when it is set.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.exited = False
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __bool__(self) -> bool:
        return self.reason is not None

    def set(self, reason: str, in_order: bool = True) -> None:
        """The first reason stays. `exited` tells that an `exit()` was met among the events, then or later: what is in the
        ring buffer came after it. That cannot be said of one whose record was lost (`in_order` is False)."""
        self.exited = self.exited or (reason == "exit" and in_order)
        if self.reason is None:
            self.reason = reason
        self.wake()

    def wake(self) -> None:
        if self._write >= 0:
            try:
                os.write(self._write, b"\0")
            except BlockingIOError:
                pass  # full of earlier calls: it is readable

    @property
    def write_fd(self) -> int:
        """For `signal.set_wakeup_fd`, which writes to it as soon as a signal comes."""
        return self._write

    def clear_wakes(self) -> None:
        try:
            os.read(self.fd, 1 << 12)
        except BlockingIOError:
            pass

    def close(self) -> None:
        write, self._write = self._write, -1
        if write >= 0:
            os.close(write)
            os.close(self.fd)


class Signals:
    """While it is entered, the first SIGINT, SIGTERM or SIGHUP sets the flag; a second one ends the process at once,
    after `at_once` has done what the kernel will not do.

    For the main thread only. `received` is the first signal's number. At the sudden end the kernel takes back everything
    that is attached, and kills the command of `-c` (see `child.py`).
    """

    def __init__(self, flag: StopFlag, on_signal: Callable[[int], None], at_once: Callable[[], None]) -> None:
        self._flag = flag
        self._on_signal = on_signal
        self._at_once = at_once
        self.received: int | None = None
        self._before: list[tuple[int, Any]] = []
        self._wakeup_before = -1

    def __enter__(self) -> Signals:
        # Without this, a signal between the look at the flag and the wait would be noticed after the wait.
        self._wakeup_before = signal.set_wakeup_fd(self._flag.write_fd, warn_on_full_buffer=False)
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup(1)
            self._before.append((number, signal.signal(number, self._handle)))
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            try:
                self._at_once()
            finally:
                os._exit(128 + number)
        self.received = number
        self._flag.set("signal")
        self._on_signal(number)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before, warn_on_full_buffer=False)


class Losses(Protocol):
    """What looks at the counters of lost events and updates."""

    def look(self) -> None: ...


class EventLoop:
    """Drains `ring` into `decoder` until `flag` is set. A unit without events has neither ring nor poller."""

    def __init__(
        self, flag: StopFlag, ring: Consumer | None, poller: Poller | None, decoder: Decoder, settle: Callable[[], None],
        losses: Losses,
    ) -> None:  # fmt: skip
        self._flag = flag
        self._ring = ring
        self._poller = poller
        self._decoder = decoder
        self._settle = settle
        self._losses = losses
        self.handled = 0  # events so far
        self._looked = 0.0
        self._idle_look = IDLE_LOOK
        self._background: Callable[[], bool] | None = None
        self._watched: dict[int, Callable[[], None]] = {}
        self._plain: select.epoll | None = None if poller else select.epoll()
        self.watch(flag.fd, flag.clear_wakes)

    def watch(self, fd: int, ready: Callable[[], None], events: int = select.EPOLLIN) -> None:
        """Call `ready` when `fd` is. It must take the cause away or `unwatch`."""
        (self._poller.watch if self._poller else self._register)(fd, events)
        self._watched[fd] = ready

    def unwatch(self, fd: int) -> None:
        if self._watched.pop(fd, None) is None:
            return
        if self._poller:
            self._poller.unwatch(fd)
        elif self._plain:
            self._plain.unregister(fd)

    def _register(self, fd: int, events: int) -> None:
        assert self._plain
        self._plain.register(fd, events)

    def run(self, deadline: float | None = None) -> None:
        """Until the flag is set, or `deadline` (of `time.monotonic`) has passed."""
        while not self._flag:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            self.step(left)

    def step(self, timeout: float | None = None) -> None:
        """Handle what is there, then wait for more, at most `timeout` seconds."""
        drained = self.drain_some()
        if self._flag:
            return
        if self._background and not drained:
            if not self._background():
                self._background = None
            timeout = 0.0
        if drained:
            self._idle_look = IDLE_LOOK
        longest = self._idle_look if timeout is None else min(timeout, self._idle_look)
        if self._poller:
            ready = self._poller.wait(drained, longest)
        else:
            assert self._plain
            ready = [fd for fd, _ in self._plain.poll(longest)]
        for fd in ready:
            action = self._watched.get(fd)
            if action is not None:
                action()
        if not drained and self._look(self._idle_look):
            self._idle_look = min(2 * self._idle_look, RAREST_LOOK)

    def _look(self, every: float) -> bool:
        """Look at the losses if the last look was so many seconds ago: whether it was."""
        now = time.monotonic()
        if now - self._looked < every:
            return False
        self._looked = now
        self._losses.look()
        return True

    def in_background(self, work: Callable[[], bool]) -> None:
        """Call `work` now, and when there are no events as long as it answers that some is left."""
        if work():
            self._background = work

    def drain_some(self) -> int:
        """Handle what is in the ring buffer now, at most one drain's worth: how many events that was."""
        if self._ring is None:
            return 0
        drained = self._ring.drain(self._decoder)
        if drained:
            self.handled += drained
            self._decoder.flush()
            self._settle()
            self._look(LOOK_FOR_LOSSES)
        return drained

    def drain_present(self) -> None:
        """Handle what is in the ring buffer now, while probes may be adding to it; stop at an `exit()`."""
        if self._ring is None:
            return
        # Handling an event may make the next one, as a command of system() does for `kprobe:do_nanosleep`.
        self._ring.close_off()
        left, tries = _MOST_PRESENT, _BUSY_TRIES
        while left > 0 and tries and not self._flag.exited:
            drained = self.drain_some()
            left -= drained
            if not drained:
                if not self._ring.pending:
                    return
                tries -= 1
                time.sleep(0.001)

    def drain_all(self) -> None:
        """Handle everything that is in the ring buffer; nothing may be adding to it any more."""
        while self.drain_some():
            pass

    def discard(self) -> None:
        """Throw away what is in the ring buffer."""
        if self._ring is not None:
            self._ring.reopen()
            while self._ring.drain(_NOTHING):
                pass

    def close(self) -> None:
        if self._poller:
            self._poller.close()
        if self._plain:
            self._plain.close()
        if self._ring:
            self._ring.close()


class _Nothing:
    """A handler that does nothing."""

    def run(self, action: int, records: memoryview, count: int) -> bool:
        return False


_NOTHING = _Nothing()
