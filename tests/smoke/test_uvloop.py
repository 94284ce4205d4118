"""The main paths on uvloop, which is asyncio with another loop beneath."""

import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from salon import Runtime
from salon.testing import FaultPoint, FaultyStore, History, SeededChance, check
from tests.consistency.crowd import SETTINGS, Crowd, open_all, write_finals
from tests.consistency.notebook import Append, Desk, Notebook, read
from tests.runtime.conftest import place as place
from tests.runtime.places import Place

NAMES = ["s0", "s1", "s2"]


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    return "asyncio", {"use_uvloop": True}


async def test_it_is_uvloop_that_runs() -> None:
    import asyncio

    import uvloop

    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)


async def test_a_crowd_a_restart_and_a_store_in_trouble_leave_a_history_that_can_be(place: Place) -> None:
    history, desk = History(), Desk(anyio.sleep)
    for life in range(2):
        store = FaultyStore(place.store(), [FaultPoint("commit", 12, "after", "unknown")])
        async with Runtime(Notebook, store=store, deps=desk, settings=SETTINGS) as runtime:
            crowd = Crowd(history, SeededChance(life), desk, life)
            await crowd.play(await open_all(runtime, NAMES))
        assert store.fired
        assert crowd.met["TurnTimeout"] * crowd.met["Refused"] * crowd.met["TurnFailed"] > 0
    await write_finals(history, place, desk, NAMES)

    assert check(history, acknowledged_min=60) == []
    assert desk.overlaps == []


async def test_a_long_conversation_comes_back_with_its_pages(place: Place) -> None:
    elements = [f"line {number}" for number in range(150)]
    async with Runtime(Notebook, store=place.store(), deps=Desk(anyio.sleep)) as runtime:
        notebook = await runtime.create(Notebook)
        for element in elements:
            await notebook.ask(Append(element=element))
        assert int(str(runtime.stats()["snapshots"])) > 0
    async with Runtime(Notebook, store=place.store(), deps=Desk(anyio.sleep)) as runtime:
        again = await runtime.get(Notebook, notebook.session_id)

        assert elements == await read(await again.peek())


async def test_a_loop_that_is_never_idle_does_not_starve_the_store(place: Place) -> None:
    """Without the storage thread's share of the processor this takes seconds for a hundred commits."""
    is_done, places = False, list[int]()

    async def keep_busy() -> None:
        while not is_done:
            end = time.perf_counter() + 0.0005
            while time.perf_counter() < end:
                pass
            await anyio.lowlevel.checkpoint()

    async with Runtime(Notebook, store=place.store(), deps=Desk(anyio.sleep)) as runtime:
        notebook = await runtime.create(Notebook)
        async with anyio.create_task_group() as group:
            group.start_soon(keep_busy)
            with anyio.fail_after(20):
                places += [await notebook.ask(Append(element=str(number))) for number in range(100)]
            is_done = True

    assert list(range(100)) == places
