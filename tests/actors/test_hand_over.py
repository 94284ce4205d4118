"""A host may cancel tasks that it does not own, such as all of them: no message is lost on its way to a worker."""

import asyncio
from typing import Any

import anyio
import pytest

from salon_actors import ForeignCancellation
from tests.actors.stage import actor, innocents, says, settle, staged, waits

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def worker_tasks() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if "_work" in (task.get_name() + repr(task.get_coro()))]


@pytest.mark.parametrize("moment", ["parked", "parked and just woken", "just woken", "gone"])
async def test_a_message_is_not_lost_when_its_worker_is_cancelled_by_a_stranger(moment: str) -> None:
    async with staged() as stage:
        await stage.submit(actor(), says("so that a worker is parked"))
        await settle()
        (worker,) = worker_tasks()
        replies = list[Any]()
        if moment == "just woken":
            replies.append(stage.submit(actor(), says(0)))
        worker.cancel()
        if moment == "gone":
            await settle()
        if moment != "parked":
            replies += [stage.submit(actor(), says(0)) for _ in range(3)]
        await settle()

        for reply in replies:
            assert await reply == 0
        assert await stage.submit(actor(), says("alive")) == "alive"
        assert worker not in worker_tasks()


async def test_a_turn_whose_worker_is_cancelled_by_a_stranger_fails_alone() -> None:
    async with staged() as stage:
        one, go = actor(), anyio.Event()
        hit = stage.submit(one, waits(anyio.Event()))
        await settle()
        (worker,) = worker_tasks()
        replies = await innocents(stage, go)
        behind = stage.submit(one, says("behind"))
        worker.cancel()

        with pytest.raises(ForeignCancellation):
            await hit
        assert await behind == "behind"
        go.set()
        assert [await each for each in replies] == [0, 1, 2, 3]
