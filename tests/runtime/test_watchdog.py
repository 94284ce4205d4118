"""Something blocks the event loop: another thread says so, with the place, and only while it is so."""

import logging
import threading
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from salon import Message, Runtime, Session, Settings, SystemClock, receive
from tests.runtime.places import Place

SHORT = Settings(tick_s=0.001, loop_stall_s=0.02)


class State(BaseModel):
    count: int = 0


class Block(Message[bool], name="block"):
    """Keep the loop until somebody has noticed."""


class Rest(Message[int], name="rest"):
    pass


class Careless(Session[State, threading.Event], name="careless"):
    @receive
    async def block(self, message: Block) -> bool:
        await anyio.sleep(0.002)  # the tick has begun
        return self.deps.wait(20)

    @receive
    async def rest(self, message: Rest) -> int:
        await anyio.sleep(0.06)
        self.state.count += 1
        return self.state.count


class Noticing(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.noticed = threading.Event()
        self.threads: list[str] = []
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "stood still" in record.getMessage():
            self.threads.append(threading.current_thread().name)
            self.texts.append(record.getMessage())
            self.noticed.set()


@pytest.fixture
def noticing() -> Any:
    handler = Noticing()
    logging.getLogger("salon").addHandler(handler)
    yield handler
    logging.getLogger("salon").removeHandler(handler)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.blocks_loop("this is what is noticed")
async def test_a_handler_that_blocks_the_loop_is_told_while_it_blocks_with_the_place(
    place: Place, noticing: Noticing
) -> None:
    async with Runtime(Careless, store=place.store(), deps=noticing.noticed, settings=SHORT) as runtime:
        careless = await runtime.create(Careless)

        assert await careless.ask(Block()) is True  # the loop was still blocked when it was told

        assert 1 == runtime.stats()["loop_stalls"]
    assert [threading.current_thread().name] != noticing.threads
    assert 1 == len(noticing.texts)
    assert "Careless.block" in noticing.texts[0]
    assert "test_watchdog.py" in noticing.texts[0]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_handler_that_only_waits_and_an_idle_runtime_are_no_stall(place: Place, noticing: Noticing) -> None:
    async with Runtime(Careless, store=place.store(), deps=noticing.noticed, settings=SHORT) as runtime:
        careless = await runtime.create(Careless)
        looks = Looks(runtime)
        assert await careless.ask(Rest()) == 1
        await anyio.sleep(0.06)

        assert looks.count > 2
        assert [] == noticing.texts


class Looks:
    """Counts how often somebody looked."""

    def __init__(self, runtime: Runtime) -> None:
        self.count = 0
        watchdog = runtime._running().stalls.watchdog  # pyright: ignore[reportPrivateUsage]
        self._monotonic = SystemClock().monotonic
        watchdog._monotonic = self._counted  # pyright: ignore[reportPrivateUsage]

    def _counted(self) -> float:
        self.count += 1
        return self._monotonic()


async def test_over_memory_nobody_looks_and_nothing_is_told(noticing: Noticing) -> None:
    async with Runtime(Careless, store="memory://", deps=noticing.noticed, settings=SHORT) as runtime:
        careless = await runtime.create(Careless)
        looks = Looks(runtime)
        assert await careless.ask(Rest()) == 1

        assert 0 == looks.count
        assert 0 == runtime.stats()["loop_stalls"]
