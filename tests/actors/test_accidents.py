"""What one turn leaves behind must not reach another: where the backend shows its cancel scopes, and where not."""

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from contextvars import ContextVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

from salon_actors import Ending, Envelope, ForeignCancellation, Returned
from tests.actors.stage import Play, Someone, TurnLost, actor, innocents, says, settle, staged, waits

pytestmark = pytest.mark.usefixtures("quiet")

Abandoned = Callable[[list[anyio.CancelScope]], AsyncGenerator[int, None]]


async def holding_fail_after(scopes: list[anyio.CancelScope]) -> AsyncGenerator[int, None]:
    with anyio.fail_after(1000) as scope:
        scopes.append(scope)
        yield 1


async def holding_move_on_after(scopes: list[anyio.CancelScope]) -> AsyncGenerator[int, None]:
    with anyio.move_on_after(1000) as scope:
        scopes.append(scope)
        await checkpoint()
        yield 1


async def holding_two_scopes(scopes: list[anyio.CancelScope]) -> AsyncGenerator[int, None]:
    with anyio.CancelScope() as outer, anyio.CancelScope(shield=True) as inner:
        scopes += [outer, inner]
        yield 1


async def holding_a_task_group(scopes: list[anyio.CancelScope]) -> AsyncGenerator[int, None]:
    async with anyio.create_task_group() as group:
        scopes.append(group.cancel_scope)
        group.start_soon(anyio.sleep_forever)
        yield 1


async def holding_a_task_group_in_a_scope(scopes: list[anyio.CancelScope]) -> AsyncGenerator[int, None]:
    with anyio.fail_after(1000) as scope:
        async with anyio.create_task_group() as group:
            scopes += [scope, group.cancel_scope]
            group.start_soon(anyio.sleep_forever)
            await checkpoint()
            yield 1


async def put_away(kept: list[AsyncGenerator[int, None]]) -> None:
    """Close them here, for a collected one makes a noise; what they hold was closed in its own task long ago."""
    for generator in kept:
        with suppress(BaseException):
            await generator.aclose()


ABANDONED: list[Abandoned] = [
    holding_fail_after,
    holding_move_on_after,
    holding_two_scopes,
    holding_a_task_group,
    holding_a_task_group_in_a_scope,
]


@pytest.mark.parametrize("abandoned", ABANDONED, ids=lambda abandoned: abandoned.__name__)
async def test_an_abandoned_generator_never_cancels_another_turn(abandoned: Abandoned, sight: str) -> None:
    scopes, kept = list[anyio.CancelScope](), list[AsyncGenerator[int, None]]()

    async def careless() -> str:
        kept.append(abandoned(scopes))
        async for _ in kept[0]:
            return "left early"
        raise AssertionError

    async with staged() as stage:
        one, go = actor(), anyio.Event()
        before = stage.scheduler.worker_count
        reply = stage.submit(one, careless)
        behind = stage.submit(one, waits(go, "behind"))
        replies = await innocents(stage, go)
        assert await reply == "left early"
        for scope in scopes:
            scope.cancel()  # What its own deadline would do some time later.
        await settle()
        assert not behind.done()
        go.set()

        assert [await each for each in (behind, *replies)] == ["behind", 0, 1, 2, 3]
        assert await stage.submit(one, says("alive")) == "alive"
        assert (sight == "sees") is stage.scheduler.is_fast
        assert stage.scheduler.retired.total() >= 1
        assert all(isinstance(ending, Returned) for ending in stage.play.endings)
        assert before == 0
    await put_away(kept)


async def test_the_children_of_an_abandoned_task_group_are_cancelled() -> None:
    kept, ended = list[AsyncGenerator[int, None]](), anyio.Event()

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async def nursery() -> AsyncGenerator[int, None]:
        async with anyio.create_task_group() as group:
            group.start_soon(child)
            yield 1

    async def careless() -> None:
        kept.append(nursery())
        await anext(kept[0])
        await checkpoint()

    async with staged() as stage:
        await stage.submit(actor(), careless)
        await ended.wait()
    await put_away(kept)


async def test_the_locked_versions_take_the_fast_path() -> None:
    async with staged() as stage:
        for number in range(50):
            assert await stage.submit(actor(), says(number)) == number
            await settle()

        assert stage.scheduler.is_fast
        assert 0 == stage.scheduler.retired.total()
        assert 1 == stage.scheduler.worker_count


async def test_a_blind_worker_retires_after_every_turn(sight: str) -> None:
    async with staged() as stage:
        tasks = set[int]()
        kept = list[object]()

        async def handler() -> None:
            kept.append(anyio.get_current_task())
            tasks.add(anyio.get_current_task().id)

        for _ in range(10):
            await stage.submit(actor(), handler)

        assert (10 if sight == "blind" else 1) == stage.scheduler.retired.total() + (sight == "sees")


async def test_well_behaved_scopes_do_not_retire_a_worker() -> None:
    async def handler() -> str:
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(checkpoint)
        await anyio.to_thread.run_sync(int)
        async with aclosing(holding_fail_after([])) as generator:
            async for _ in generator:
                break
        return "tidy"

    async with staged() as stage:
        for _ in range(3):
            assert await stage.submit(actor(), handler) == "tidy"

        assert 0 == stage.scheduler.retired.total()


async def test_a_retiring_worker_hands_on_its_queue_and_the_wake(sight: str) -> None:
    kept = list[AsyncGenerator[int, None]]()

    async def careless() -> None:
        kept.append(holding_fail_after([]))
        await anext(kept[-1])

    async with staged() as stage:
        one = actor()
        replies = [stage.submit(one, careless if number % 2 else says(None)) for number in range(10)]
        replies += [stage.submit(actor(), careless) for _ in range(10)]
        for reply in replies:
            assert await reply is None

        await stage.scheduler.wait_idle()
        assert 15 <= stage.scheduler.retired.total()
    await put_away(kept)


async def test_a_stray_cancelled_scope_that_ends_its_own_turn_fails_only_that(sight: str) -> None:
    kept, scopes = list[AsyncGenerator[int, None]](), list[anyio.CancelScope]()

    async def careless() -> None:
        kept.append(holding_fail_after(scopes))
        await anext(kept[0])
        scopes[0].cancel()
        await anyio.sleep_forever()

    async with staged() as stage:
        one, go = actor(), anyio.Event()
        replies = await innocents(stage, go)
        with pytest.raises(ForeignCancellation):
            await stage.submit(one, careless)
        go.set()

        assert [await each for each in replies] == [0, 1, 2, 3]
        assert await stage.submit(one, says("alive")) == "alive"
    await put_away(kept)


class Odd(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, Odd, GeneratorExit, StopAsyncIteration])
async def test_whatever_a_handler_raises_stays_with_its_turn(error: type[BaseException]) -> None:
    async def handler() -> None:
        raise error

    async def later() -> None:
        await checkpoint()
        raise error

    async with staged() as stage:
        for careless in (handler, later):
            with pytest.raises(error):
                await stage.submit(actor(), careless)

        assert await stage.submit(actor(), says("alive")) == "alive"
        assert 0 == stage.scheduler.retired.total()


variable = ContextVar("variable", default="unset")


async def test_every_turn_gets_a_fresh_copy_of_the_context_at_opening(sight: str) -> None:
    seen = list[str]()

    async def handler() -> None:
        seen.append(variable.get())
        variable.set("a turn's")
        await checkpoint()
        assert "a turn's" == variable.get()
        async with anyio.create_task_group() as group:
            group.start_soon(child)

    async def child() -> None:
        seen.append(variable.get())

    def finish(one: Someone, envelope: Envelope, ending: Ending, /) -> bool:
        finished.add(variable.get())
        return Play.finish(stage.play, one, envelope, ending)

    finished = set[str]()
    variable.set("the opener's")
    async with staged() as stage:
        variable.set("the first caller's")
        one, go = actor(), anyio.Event()

        async def caller(name: str) -> None:
            variable.set(name)
            # Enough at once that workers are spawned from here, too.
            replies = [stage.submit(actor(), handler) for _ in range(5)] + [stage.submit(one, handler)]
            for reply in replies:
                await reply

        stage.play.finish = finish  # type: ignore[method-assign]
        await caller("alice")
        blocking = [stage.submit(actor(), waits(go)) for _ in range(5)]
        async with anyio.create_task_group() as group:
            for name in ("bob", "carol"):
                group.start_soon(caller, name)
        go.set()
        for reply in blocking:
            await reply

        assert {"the opener's": 18, "a turn's": 18} == {value: seen.count(value) for value in set(seen)}
        assert {"the opener's"} == finished


async def test_a_cancelled_turn_cleans_up_in_its_own_context() -> None:
    seen = list[str]()

    async def handler() -> None:
        variable.set("mine")
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(variable.get())

    async with staged() as stage:
        reply = stage.submit(actor(), handler, within_s=1)
        await stage.clock.advance(1)
        with pytest.raises(TurnLost):
            await reply

        assert ["mine"] == seen


@pytest.mark.blocks_loop("collecting the garbage of a whole test run takes its time")
async def test_a_collected_generator_never_cancels_another_turn(sight: str, backend: str) -> None:
    def ignore(*_: object) -> None: ...

    if backend == "asyncio":
        asyncio.get_running_loop().set_exception_handler(ignore)
    scopes = list[anyio.CancelScope]()

    async def careless() -> str:
        async for _ in holding_fail_after(scopes):
            return "left early"
        raise AssertionError

    async with staged() as stage:
        one, go = actor(), anyio.Event()
        replies = await innocents(stage, go)
        with warnings.catch_warnings(action="ignore"):
            for _ in range(5):
                assert await stage.submit(one, careless) == "left early"
                gc.collect()
                await settle()
        for scope in scopes:
            scope.cancel()
        await settle()
        go.set()

        assert [await each for each in replies] == [0, 1, 2, 3]
        assert await stage.submit(one, says("alive")) == "alive"
        assert 5 <= stage.scheduler.retired.total()
