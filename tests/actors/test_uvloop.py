"""A smoke run under uvloop: the same engine, another asyncio loop."""

import sys
from collections.abc import AsyncGenerator

import anyio
import pytest

from salon_actors import Cancelled
from tests.actors.stage import Stage, TurnLost, actor, innocents, says, settle, staged, waits
from tests.actors.test_accidents import holding_fail_after, put_away

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run there"),
    pytest.mark.usefixtures("quiet"),
]


async def play(stage: Stage) -> None:
    kept, scopes = list[AsyncGenerator[int, None]](), list[anyio.CancelScope]()
    go = anyio.Event()

    async def careless() -> str:
        kept.append(holding_fail_after(scopes))
        await anext(kept[0])
        return "left early"

    one = actor()
    late = stage.submit(one, waits(anyio.Event()), within_s=1)
    await stage.clock.advance(1)
    with pytest.raises(TurnLost):
        await late
    assert isinstance(stage.play.endings[0], Cancelled)
    replies = await innocents(stage, go)
    assert await stage.submit(one, careless) == "left early"
    scopes[0].cancel()
    await settle()
    go.set()
    assert [await each for each in replies] == [0, 1, 2, 3]
    done = anyio.Event()
    stage.host.later(0.001, stage.host.post, done.set)
    await done.wait()
    assert [await stage.submit(one, says(number)) for number in range(100)] == list(range(100))
    assert stage.scheduler.is_fast
    await put_away(kept)


def test_the_engine_runs_under_uvloop() -> None:
    loops = list[str]()

    async def main() -> None:
        import asyncio

        loops.append(type(asyncio.get_running_loop()).__module__)
        async with staged() as stage:
            await play(stage)

    anyio.run(main, backend="asyncio", backend_options={"use_uvloop": True})

    assert ["uvloop"] == loops
