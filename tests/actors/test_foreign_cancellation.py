"""asyncio lets anybody cancel any task, and lets a cancellation wander: neither may reach another session's turn."""

import asyncio
from contextlib import suppress

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
