"""asyncio lets anybody cancel any task, and lets a cancellation wander: neither may reach another session's turn."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import anyio
import pytest
from anyio.lowlevel import checkpoint

from salon_actors import ForeignCancellation, Raised
from tests.actors.stage import actor, innocents, says, settle, staged, waits

pytestmark = pytest.mark.usefixtures("sight", "quiet")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


async def test_a_cancellation_that_leaves_a_handler_fails_only_its_turn() -> None:
    async def careless() -> None:
        task = asyncio.ensure_future(asyncio.sleep(9))
        task.cancel()
        await task

    async with staged() as stage:
        one, go = actor(), anyio.Event()
        replies = await innocents(stage, go)
        with pytest.raises(ForeignCancellation):
            await stage.submit(one, careless)
        (ending,) = stage.play.endings
        assert isinstance(ending, Raised)
        assert isinstance(ending.error.__cause__, asyncio.CancelledError)
        go.set()

        assert [await each for each in replies] == [0, 1, 2, 3]
        assert await stage.submit(one, says("alive")) == "alive"


@pytest.mark.parametrize("awaits", [False, True])
async def test_a_handler_that_cancels_its_own_task_hurts_nobody_else(awaits: bool) -> None:
    async def careless() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if awaits:
            with suppress(asyncio.CancelledError):
                await checkpoint()
        return "returned"

    async with staged() as stage:
        one, go = actor(), anyio.Event()
        replies = await innocents(stage, go)
        reply = stage.submit(one, careless)
        behind = stage.submit(one, waits(go, "behind"))
        assert await reply == "returned"
        await settle()
        assert not behind.done()
        go.set()

        assert [await each for each in (behind, *replies)] == ["behind", 0, 1, 2, 3]
        assert stage.scheduler.retired.total() >= 1


async def holding_asyncio_timeout(timeouts: list[asyncio.Timeout]) -> AsyncGenerator[int, None]:
    async with asyncio.timeout(1000) as timeout:
        timeouts.append(timeout)
        yield 1


async def test_an_abandoned_generator_with_a_timeout_of_asyncio_never_cancels_another_turn() -> None:
    timeouts, kept = list[asyncio.Timeout](), list[AsyncGenerator[int, None]]()

    async def careless() -> str:
        kept.append(holding_asyncio_timeout(timeouts))
        async for _ in kept[-1]:
            return "left early"
        raise AssertionError

    async with staged() as stage:
        go = anyio.Event()
        for _ in range(3):
            assert await stage.submit(actor(), careless) == "left early"
        replies = await innocents(stage, go)
        for timeout in timeouts:
            timeout.reschedule(asyncio.get_running_loop().time())
        await anyio.sleep(0.001)
        assert all(timeout.expired() or timeout.when() for timeout in timeouts)
        await settle()
        go.set()

        assert [await each for each in replies] == [0, 1, 2, 3]
        assert 3 <= stage.scheduler.retired.total()
    for generator in kept:
        with suppress(BaseException):
            await generator.aclose()


async def test_generators_that_end_within_their_turn_do_not_retire_the_worker() -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        async with asyncio.timeout(1000):
            for number in range(3):
                yield number
                await checkpoint()

    async def careful() -> list[int]:
        async with aclosing(numbers()) as left_early:
            first = await anext(left_early)
        return [first] + [number async for number in numbers()]

    async with staged() as stage:
        before = sys.get_asyncgen_hooks()
        assert await stage.submit(actor(), careful) == [0, 0, 1, 2]
        await settle()

        assert (1 if stage.scheduler.is_fast else 0) == stage.scheduler.worker_count
        assert 0 == stage.scheduler.retired.total() or not stage.scheduler.is_fast
        during = sys.get_asyncgen_hooks()

    after = sys.get_asyncgen_hooks()
    assert before.finalizer == during.finalizer == after.finalizer
    assert "_asyncgen_firstiter_hook" in repr(after.firstiter)


async def test_generators_of_the_host_are_none_of_our_business() -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    async with staged() as stage:
        await stage.submit(actor(), says("so that a worker is there"))
        generator = numbers()
        assert await anext(generator) == 1
        assert await stage.submit(actor(), says("alive")) == "alive"
        assert 0 == stage.scheduler.retired.total() or not stage.scheduler.is_fast
        assert generator in list(asyncio.get_running_loop()._asyncgens)  # type: ignore[attr-defined]
        await generator.aclose()
