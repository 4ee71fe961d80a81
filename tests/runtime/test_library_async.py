"""`async with trace(...)`: a session beside an asyncio event loop."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

import bpftrace_py
from bpftrace_py import trace
from tests.live import TIME_LIMIT

GETPPID = f'tracepoint:syscalls:sys_enter_getppid /pid == {os.getpid()}/ {{ @n = count(); printf("%d", tid); }} END {{ printf("end"); }}'


def run(main: object) -> None:
    asyncio.run(asyncio.wait_for(main, TIME_LIMIT))  # type: ignore[arg-type]


def test_events_and_maps() -> None:
    async def main() -> None:
        seen = []
        async with trace(GETPPID) as session:
            for _ in range(3):
                os.getppid()
            async for event in session:
                seen.append(event.text)
                if len(seen) == 3:
                    assert await session.read("n") == 3
                    with pytest.raises(KeyError):
                        await session.read("nope")
                    with pytest.raises(RuntimeError, match=r"await session\.read"):
                        session.maps  # noqa: B018
                    session.stop()
        assert seen == [str(threading.get_native_id())] * 3 + ["end"]
        assert session.maps["n"] == 3
        assert await session.read("n") == 3

    run(main())


def test_what_is_left_can_be_taken_afterwards() -> None:
    async def main() -> None:
        async with trace('BEGIN { printf("1"); printf("2"); } END { printf("3"); }') as session:
            pass
        assert [event.text async for event in session] == ["1", "2", "3"]

    run(main())


def test_a_program_that_ends_by_itself() -> None:
    async def main() -> None:
        async with trace('BEGIN { printf("1"); @x = 5; exit(); }') as session:
            assert await session.run(TIME_LIMIT) is True
            assert session.maps["x"] == 5
            assert [event.text async for event in session] == ["1"]
        async with trace("BEGIN { @x = 5; }") as session:
            assert await session.run(0.05) is False

    run(main())


def test_callbacks_are_called_in_the_event_loops_thread() -> None:
    async def main() -> None:
        seen: list[tuple[str, int]] = []
        program = 'interval:ms:10 { @n++; printf("%d", @n); if (@n == 300) { exit(); } }'.replace("ms:10", "us:500")
        async with trace(program, on_event=lambda event: seen.append((event.text, threading.get_ident()))) as session:
            await session.run()
            while len(seen) < 300:
                await asyncio.sleep(0.01)
        assert seen == [(str(n), threading.get_ident()) for n in range(1, 301)]

    run(main())


def test_the_event_loop_goes_on() -> None:
    """While a session loads, while events pour in, and while it detaches, another task has its turns."""

    async def main() -> None:
        turns = {"entering": 0, "events": 0, "leaving": 0}
        phase = "entering"

        async def other() -> None:
            while True:
                turns[phase] += 1
                await asyncio.sleep(0.001)

        task = asyncio.create_task(other())
        program = """BEGIN { $i = 0; while ($i < 300) { printf("%d", $i); $i++; } } interval:us:500 { printf("tick"); }
            tracepoint:sched:sched_switch { @[args->prev_pid] = count(); } END { printf("end"); }"""
        session_of = trace(program, cache=False)
        async with session_of as session:
            phase, count = "events", 0
            async for event in session:
                count += event.kind == "printf"
                if count == 600:
                    break
            phase = "leaving"
        task.cancel()
        assert all(number > 1 for number in turns.values()), turns

    run(main())


def test_errors_are_raised_where_they_belong() -> None:
    async def main() -> None:
        before = threading.active_count()
        with pytest.raises(bpftrace_py.HostError) as error:
            async with trace("BEGIN { @ = 1; }", command="/no/such/command"):
                raise AssertionError("not entered")
        assert error.value.diagnostics[0].code == "E0809"
        with pytest.raises(RuntimeError, match="mine"):
            async with trace(GETPPID):
                raise RuntimeError("mine")
        assert threading.active_count() == before

    descriptors = sorted(os.listdir("/proc/self/fd"))
    run(main())
    assert sorted(os.listdir("/proc/self/fd")) == descriptors


def test_a_task_that_is_cancelled_detaches() -> None:
    async def main() -> None:
        entered = asyncio.Event()

        async def work() -> None:
            async with trace(GETPPID) as session:
                entered.set()
                async for _ in session:
                    pass

        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [thread for thread in threading.enumerate() if thread.name == "bpftrace-py"]

    run(main())


def test_two_sessions_at_once() -> None:
    async def numbers(first: int) -> list[str]:
        program = 'BEGIN { @n = $1; } interval:ms:20 { @n++; printf("%d", @n); if (@n == $1 + 5) { exit(); } }'
        async with trace(program, parameters=[first]) as session:
            return [event.text async for event in session]

    async def main() -> None:
        found = await asyncio.gather(numbers(0), numbers(100))
        assert found == [[str(first + n) for n in range(1, 6)] for first in (0, 100)]

    run(main())
