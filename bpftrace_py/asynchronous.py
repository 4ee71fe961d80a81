"""`AsyncTraceSession`: a session beside an asyncio event loop, which it never blocks.

All of the session, from loading to detaching, happens in a thread of its own: each of these steps may wait in the kernel.
Events come over to the event loop's thread as they are; the loop is woken once for all that came since it last looked.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpftrace_py.codegen.unit import Unit
    from bpftrace_py.diagnostics import Diagnostic
    from bpftrace_py.library import TraceSession
    from bpftrace_py.results import Event
    from bpftrace_py.runtime.handover import Handover

_AT_A_TIME = 100  # events after which other tasks have their turn


class AsyncTraceSession:
    """What `async with trace(...)` gives: see `trace`. To be used in the event loop's thread, `stop` in any.

    `async for event in session` yields events until the program ends. With `on_event`, that is called with them in the
    event loop's thread instead.
    """

    def __init__(self, session: TraceSession) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._on_event, session._on_event = session._on_event, self._arrived
        self._handover: Handover | None = None
        self._news = asyncio.Event()
        self._told = False  # whether the event loop has been woken, and has not looked yet
        self._abandoned = False
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name="bpftrace-py", daemon=True)

    # --- the session's thread

    def _work(self) -> None:
        session = self._session
        try:
            session.__enter__()
            assert session._session is not None
            self._handover = session._session.handover()
        except BaseException as error:
            self._tell(self._started, error)
            return
        self._tell(self._started)
        error_: BaseException | None = None
        try:
            session._session.run()
            if not self._abandoned:
                session._finish()
        except BaseException as error:
            error_ = error
        finally:
            session._close()
        self._tell(self._ended, error_)

    def _tell(self, future: asyncio.Future[None], error: BaseException | None = None) -> None:
        def settle() -> None:
            if not future.done():
                future.set_result(None) if error is None else future.set_exception(error)
            self._look()

        with suppress(RuntimeError):  # the event loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(settle)

    def _arrived(self, event: Event) -> None:
        self._session._keep(event)
        if not self._told:
            self._told = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._look)

    # --- the event loop's thread

    def _look(self) -> None:
        self._told = False
        if self._on_event is not None:
            self._deliver(self._on_event)
        self._news.set()

    def _deliver(self, on_event: Callable[[Event], object]) -> None:
        events = self._session._events
        for _ in range(_AT_A_TIME):
            if not events:
                return
            on_event(events.popleft())
        self._loop.call_soon(self._look)

    async def _start(self) -> AsyncTraceSession:
        self._thread.start()
        try:
            await asyncio.shield(self._started)
        except asyncio.CancelledError:
            self._abandoned = True
            self._started.add_done_callback(self._give_up)
            raise
        return self

    def _give_up(self, started: asyncio.Future[None]) -> None:
        """Nobody waits any more for what has been started just now."""
        if started.exception() is None:
            self.stop()

    async def _leave(self, failed: bool) -> None:
        self._abandoned = failed
        self.stop()
        try:
            await asyncio.shield(self._ended)
        finally:
            if self._ended.done():
                self._thread.join()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events()

    async def _events(self) -> AsyncIterator[Event]:
        events = self._session._events
        while True:
            for _ in range(_AT_A_TIME):
                if not events:
                    break
                yield events.popleft()
            if events:
                await asyncio.sleep(0)
                continue
            if self._ended.done():
                self._ended.result()
                return
            self._news.clear()
            if not events and not self._ended.done():
                await self._news.wait()

    async def run(self, seconds: float | None = None) -> bool:
        """Wait for the end of the program, or for so long. Whether it has ended."""
        await asyncio.wait((self._ended,), timeout=seconds)
        if self._ended.done():
            self._ended.result()
        return self._ended.done()

    def stop(self) -> None:
        """End the program, as Ctrl-C ends the command. From any thread; returns at once."""
        self._session.stop()

    async def read(self, name: str) -> Any:
        """A map, by its name without the @, as it is now, or was at the end: what `maps` has after the end."""
        self._session._check_name(name)
        if not self._ended.done() and self._handover is not None:
            future = asyncio.wrap_future(self._handover.submit(lambda: self._session._read(name)))
            try:
                return await future
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                await self.run()  # the program ended meanwhile
        return self.maps[name]

    @property
    def maps(self) -> Mapping[str, Any]:
        """The maps at the end of the program. Raises `RuntimeError` as long as it runs: `read` is for that."""
        if not self._ended.done():
            raise RuntimeError(
                "the maps are not here before the program has ended: `await session.read(name)` reads one"
            )
        return self._session.maps

    @property
    def unit(self) -> Unit | None:
        """What the program was compiled to."""
        return self._session.unit

    @property
    def warnings(self) -> list[Diagnostic]:
        """What the compiler had to say about it."""
        return self._session.warnings

    @property
    def dropped(self) -> int:
        """Events that were not taken before `EVENTS_KEPT` newer ones came."""
        return self._session.dropped

    @property
    def lost_events(self) -> int:
        """How many events found no room, after the end of the program."""
        return self._session._lost

    @property
    def missed_events(self) -> int:
        """For how many events the kernel ran no program, as the CPU was in one already; after the end of the program."""
        return self._session._missed
