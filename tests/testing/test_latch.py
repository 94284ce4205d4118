"""The latch: open for ever, across threads and loops, and no trouble with loops that have ended."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio

from salon.testing.latch import Latch


async def test_an_open_latch_holds_nobody() -> None:
    latch = Latch()
    latch.open()
    latch.open()

    await latch.wait()
    assert latch.is_open


async def test_opening_it_from_a_thread_wakes_every_waiter() -> None:
    latch, passed = Latch(), list[int]()

    async def wait(number: int) -> None:
        await latch.wait()
        passed.append(number)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(wait, number)
        await anyio.wait_all_tasks_blocked()
        assert passed == []
        await anyio.to_thread.run_sync(latch.open)

    assert sorted(passed) == [0, 1, 2, 3, 4]


async def test_a_cancelled_waiter_leaves_the_others_waiting_and_the_latch_shut() -> None:
    latch, passed = Latch(), list[int]()

    async def wait() -> None:
        await latch.wait()
        passed.append(1)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(latch.wait)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert (passed, latch.is_open) == ([], False)
        latch.open()

    assert passed == [1]


@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_a_waiter_whose_loop_has_ended_is_no_error(backend_name: str) -> None:
    latch = Latch()
    waiting: list[Coroutine[Any, Any, None]] = []

    async def leave_one_waiting() -> None:
        waiting.append(latch.wait())
        waiting[0].send(None)

    if backend_name == "trio":
        trio.run(leave_one_waiting)
    else:
        asyncio.run(leave_one_waiting())

    latch.open()
    waiting[0].close()
    assert latch.is_open
