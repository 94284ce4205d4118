"""One hook a thread tells every host which generators begin: overlapping hosts share it, others' hooks stay in it."""

import asyncio
import gc
import sys
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from salon_actors import current_host_loop
from salon_actors.asyncio_host import AsyncioHostLoop
from salon_actors.first_iterations import FirstIterations
from tests.actors.stage import Stage, actor, says, settle

pytestmark = pytest.mark.usefixtures("quiet")

WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run there")
ROLLS = 1100
"""More than Python allows calls within calls."""


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=WINDOWS)])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    def on_a_loop_of_its_own(main: Callable[[], Awaitable[None]]) -> None:
        anyio.run(main, backend="asyncio", backend_options={"use_uvloop": request.param == "uvloop"})

    return on_a_loop_of_its_own


async def numbers() -> AsyncGenerator[int, None]:
    yield 1
    yield 2


def hook() -> Any:
    return sys.get_asyncgen_hooks().firstiter


class Foreign:
    """Somebody else's hook, which calls the one before it."""

    def __init__(self) -> None:
        self.heard: list[AsyncGenerator[Any, Any]] = []
        self.before = hook()
        sys.set_asyncgen_hooks(firstiter=self.hear)

    def hear(self, generator: AsyncGenerator[Any, Any]) -> None:
        self.heard.append(generator)
        self.before(generator)

    def leave(self) -> None:
        sys.set_asyncgen_hooks(firstiter=self.before)


async def opened() -> Stage:
    stage = Stage()
    await stage.scheduler.open()
    return stage


async def closed(stage: Stage) -> None:
    await stage.scheduler.close()
    await stage.host.close()


async def retires_for_an_abandoned_generator(stage: Stage) -> bool:
    kept = list[AsyncGenerator[int, None]]()

    async def careless() -> str:
        kept.append(numbers())
        async for _ in kept[0]:
            return "left early"
        raise AssertionError

    before = stage.scheduler.retired.total()
    assert await stage.submit(actor(), careless) == "left early"
    await settle()
    await kept[0].aclose()
    return stage.scheduler.retired.total() == before + 1


@pytest.mark.parametrize("rolls", [ROLLS])
async def test_any_number_of_overlapping_hosts_leaves_generators_alone(rolls: int) -> None:
    before = sys.get_asyncgen_hooks()
    stage = await opened()
    for _ in range(rolls):
        following = await opened()
        await closed(stage)
        stage = following
    during = [number async for number in numbers()]
    assert await stage.submit(actor(), says("alive")) == "alive"
    await closed(stage)

    assert [1, 2] == during == [number async for number in numbers()]
    assert before == sys.get_asyncgen_hooks()


def test_overlapping_hosts_are_forgotten_and_the_last_still_sees_what_is_abandoned(run: Any) -> None:
    async def main() -> None:
        before, alive = hook(), weakref.WeakSet[Stage]()
        previous = stage = await opened()
        alive.add(stage)
        for _ in range(ROLLS):
            previous, stage = stage, await opened()
            alive.add(stage)
            await closed(previous)
        del previous
        gc.collect()

        assert [stage] == list(alive)
        assert await retires_for_an_abandoned_generator(stage)
        await closed(stage)
        assert before == hook()

    run(main)


def test_each_of_several_hosts_sees_its_own_workers_only(run: Any) -> None:
    async def main() -> None:
        stages = [await opened() for _ in range(3)]
        for stage in stages:
            await stage.submit(actor(), says("so that a worker is there"))
        for number in (1, 0):
            assert await retires_for_an_abandoned_generator(stages[number])
        assert [1, 1, 0] == [stage.scheduler.retired.total() for stage in stages]
        for stage in stages:
            await closed(stage)

    run(main)


def test_a_hook_that_somebody_puts_between_two_hosts_stays(run: Any) -> None:
    async def main() -> None:
        asyncio_hook = hook()
        one = await opened()
        foreign = Foreign()
        for _ in range(ROLLS):
            following = await opened()
            await closed(one)
            one = following

        generator = numbers()
        assert await anext(generator) == 1
        assert [generator] == foreign.heard
        await generator.aclose()
        assert await retires_for_an_abandoned_generator(one)
        await closed(one)
        assert foreign.hear == hook()
        assert [1, 2] == [number async for number in numbers()]
        assert 3 == len(foreign.heard)

        foreign.leave()
        one = await opened()
        assert await retires_for_an_abandoned_generator(one)
        await closed(one)
        assert asyncio_hook == hook()

    run(main)


def test_a_host_whose_hook_somebody_has_replaced_listens_again_with_its_next_worker(run: Any) -> None:
    async def main() -> None:
        asyncio_hook = hook()
        one = await opened()
        foreign = Foreign()
        two = await opened()
        foreign.leave()  # And with it the hook that was put in later.

        assert await retires_for_an_abandoned_generator(two)
        sys.set_asyncgen_hooks(firstiter=asyncio_hook)
        await one.host.close()
        stage = await opened()
        assert await retires_for_an_abandoned_generator(stage)
        await closed(stage)
        await closed(two)
        await closed(one)
        assert asyncio_hook == hook()

    run(main)


def test_a_host_sees_what_is_abandoned_when_its_loop_is_run_a_second_time() -> None:
    with asyncio.Runner() as runner:
        stage = runner.run(opened())
        assert runner.run(retires_for_an_abandoned_generator(stage))
        runner.run(closed(stage))
        assert [] == [task for task in asyncio.all_tasks(runner.get_loop()) if not task.done()]
    assert hook() is None


def test_a_closed_host_hears_of_nothing_any_more(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = list[AsyncioHostLoop]()

    class Eavesdropped(dict[Any, Any]):
        """The table of watches, which is asked for every generator that a host hears of."""

        def __init__(self, host: AsyncioHostLoop) -> None:
            super().__init__()
            self.host = host

        def get(self, key: Any, default: Any = None, /) -> Any:
            heard.append(self.host)
            return super().get(key, default)

    async def watching() -> AsyncioHostLoop:
        host = current_host_loop()
        assert isinstance(host, AsyncioHostLoop)
        monkeypatch.setattr(host, "_watches", Eavesdropped(host))
        with anyio.CancelScope() as scope:
            assert host.watch(scope).is_fast
            await checkpoint()
        return host

    async def main() -> None:
        one, two = await watching(), await watching()
        assert [1, 2] == [number async for number in numbers()]
        assert {one, two} == set(heard)
        heard.clear()
        await one.close()
        await one.close()
        assert [1, 2] == [number async for number in numbers()]
        assert [two] == heard
        with anyio.CancelScope() as scope:
            one.watch(scope)
            await checkpoint()
        await two.close()
        assert [1, 2] == [number async for number in numbers()]
        assert [two] == heard

    run(main)


def test_a_generator_driven_by_hand_where_no_loop_runs_is_told_to_the_hook_of_before_only() -> None:
    heard, told = list[object](), list[object]()
    ours = FirstIterations(told.append)
    ours.join(lambda task, generator: heard.append(generator))
    sys.set_asyncgen_hooks(firstiter=ours)
    generator = numbers()
    try:
        with suppress(StopIteration):
            generator.asend(None).send(None)
    finally:
        sys.set_asyncgen_hooks(firstiter=None)

    assert [generator] == told
    assert [] == heard
