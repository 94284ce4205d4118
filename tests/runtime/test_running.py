"""A Runtime from open to close: who may call it, from where, and what becomes of turns when it ends."""

import asyncio
import contextvars
import logging
import threading
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from pydantic import BaseModel

from salon import (
    ConfigurationError,
    Draining,
    Message,
    Runtime,
    RuntimeNotRunning,
    Session,
    SessionHandle,
    Settings,
    TurnFailed,
    TurnTimeout,
    receive,
)
from tests.runtime.places import Place
from tests.runtime.waiting import until

WHO = contextvars.ContextVar("who", default="nobody")


class State(BaseModel):
    count: int = 0


class Add(Message[int], name="add"):
    pass


class Sleep(Message[int], name="sleep"):
    seconds: float


class Ignore(Message[None], name="ignore"):
    pass


class Seen(Message[str], name="seen"):
    pass


class Counter(Session[State, anyio.Event], name="counter"):
    @receive
    async def add(self, message: Add) -> int:
        self.state.count += 1
        return self.state.count

    @receive
    async def sleep(self, message: Sleep) -> int:
        await anyio.sleep(message.seconds)
        self.state.count += 1
        return self.state.count

    @receive
    async def ignore(self, message: Ignore) -> None:
        with anyio.CancelScope(shield=True):
            await self.deps.wait()

    @receive
    async def seen(self, message: Seen) -> str:
        return WHO.get()


def counting(place: Place, **settings: Any) -> Runtime:
    return Runtime(Counter, store=place.store(), deps=anyio.Event(), settings=Settings.model_validate(settings))


async def test_leaving_the_block_finishes_what_was_accepted(place: Place) -> None:
    replies: list[int] = []

    async def ask(counter: SessionHandle[State]) -> None:
        replies.append(await counter.ask(Sleep(seconds=0.02)))

    runtime = await counting(place).open()
    counter = await runtime.create(Counter)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, counter)
        group.start_soon(ask, counter)
        await until(lambda: runtime.stats()["turns_running"])
        await runtime.close()
    assert replies == [1, 2]
    async with counting(place) as runtime:
        assert (await (await runtime.get(Counter, counter.session_id)).peek()).state.count == 2


async def test_a_cancelled_host_body_does_not_cut_turns(place: Place) -> None:
    ids: list[str] = []
    with anyio.CancelScope() as scope:
        async with counting(place) as runtime:
            counter = await runtime.create(Counter)
            ids.append(counter.session_id)
            async with anyio.create_task_group() as group:
                group.start_soon(counter.ask, Sleep(seconds=0.05))
                await until(lambda: runtime.stats()["turns_running"])
                scope.cancel()
    assert scope.cancelled_caught
    async with counting(place) as runtime:
        assert (await (await runtime.get(Counter, ids[0])).peek()).state.count == 1


async def test_turns_beyond_the_drain_deadline_are_cancelled_and_told(place: Place) -> None:
    outcomes: list[type[Exception]] = []

    async def ask(counter: SessionHandle[State]) -> None:
        try:
            await counter.ask(Sleep(seconds=60))
        except Draining as error:
            outcomes.append(type(error))

    async with anyio.create_task_group() as group:
        runtime = await counting(place, drain_deadline_s=0.02).open()
        counter = await runtime.create(Counter)
        group.start_soon(ask, counter)
        group.start_soon(ask, counter)
        await until(lambda: runtime.stats()["turns_running"])
        await runtime.close()
    assert outcomes == [Draining, Draining]


async def test_while_it_closes_nothing_more_is_admitted(place: Place) -> None:
    runtime = await counting(place).open()
    counter = await runtime.create(Counter)
    async with anyio.create_task_group() as group:
        group.start_soon(counter.ask, Sleep(seconds=0.05))
        await until(lambda: runtime.stats()["turns_running"])
        group.start_soon(runtime.close)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        with pytest.raises(Draining):
            await counter.ask(Add())
    with pytest.raises(RuntimeNotRunning):
        await counter.ask(Add())


async def test_a_turn_that_was_accepted_may_ask_others_while_the_runtime_drains(place: Place) -> None:
    class Relay(Message[int]):
        to: str

    class Relaying(Session[State, list[Any]], name="relaying"):
        @receive
        async def relay(self, message: Relay) -> int:
            runtime, closing = self.deps
            await closing.wait()
            counter: SessionHandle[State] = await runtime.get(Target, message.to)
            return await counter.ask(Add())

    class Target(Session[State], name="target"):
        @receive
        async def add(self, message: Add) -> int:
            self.state.count += 1
            return self.state.count

    deps: list[Any] = []
    closing, replies = anyio.Event(), list[int]()
    runtime = await Runtime(Relaying, Target, store=place.store(), deps=deps).open()
    deps += [runtime, closing]
    relaying, target = await runtime.create(Relaying), await runtime.create(Target)

    async def ask() -> None:
        replies.append(await relaying.ask(Relay(to=target.session_id)))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await until(lambda: runtime.stats()["turns_running"])
        group.start_soon(runtime.close)
        group.start_soon(runtime.close)
        await anyio.sleep(0.005)
        closing.set()
    assert replies == [1]


async def test_closing_from_a_handler_is_told_instead_of_hanging(place: Place) -> None:
    class Quit(Message[None]):
        pass

    class Quitting(Session[State, list[Runtime]], name="quitting"):
        @receive
        async def quit(self, message: Quit) -> None:
            await self.deps[0].close()

    deps: list[Runtime] = []
    async with Runtime(Quitting, store=place.store(), deps=deps) as runtime:
        deps.append(runtime)
        with pytest.raises(TurnFailed) as caught:
            await (await runtime.create(Quitting)).ask(Quit())

    assert str(caught.value.__cause__) == "close() waits for the turn that calls it. Leave the handler first."


async def test_open_and_close_may_be_called_from_different_tasks(place: Place) -> None:
    runtime = counting(place)
    async with anyio.create_task_group() as group:
        group.start_soon(runtime.open)
    counter = await runtime.create(Counter)
    assert await counter.ask(Add()) == 1
    async with anyio.create_task_group() as group:
        group.start_soon(runtime.close)
    async with counting(place) as again:
        assert await (await again.get(Counter, counter.session_id)).ask(Add()) == 2


async def test_a_turn_sees_the_context_of_the_opening_and_nobody_elses(place: Place) -> None:
    WHO.set("who opened")
    async with counting(place) as runtime:
        WHO.set("who asked")
        assert await (await runtime.create(Counter)).ask(Seen()) == "who opened"
    WHO.set("nobody")


async def test_a_handle_used_on_another_thread_says_so(place: Place) -> None:
    async with counting(place) as runtime:
        counter = await runtime.create(Counter)
        told: list[str] = []

        def elsewhere() -> None:
            try:
                asyncio.run(_ask(counter))
            except ConfigurationError as error:
                told.append(str(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)

    assert told == ["This handle lives on the event loop of thread MainThread; it was called from elsewhere."]


async def _ask(counter: Any) -> None:
    await counter.ask(Add())


async def test_two_runtimes_live_side_by_side(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Place(place.kind, tmp_path_factory.mktemp("other"))
    async with counting(place) as one, counting(other) as two:
        first, second = await one.create(Counter), await two.create(Counter)
        assert [await first.ask(Add()), await first.ask(Add()), await second.ask(Add())] == [1, 2, 1]


async def test_a_handler_that_ignores_cancellation_blocks_its_own_session_only_and_is_reported(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    release = anyio.Event()
    settings = Settings(tick_s=0.001, stuck_after_s=0.01)
    async with Runtime(Counter, store=place.store(), deps=release, settings=settings) as runtime:
        stuck, other = await runtime.create(Counter), await runtime.create(Counter)
        with pytest.raises(TurnTimeout):
            await stuck.ask(Ignore(), timeout_s=0.005)
        await until(lambda: runtime.stats()["turns_stuck"])
        explained = await runtime.explain(stuck.session_id)
        assert await other.ask(Add()) == 1
        with pytest.raises(TurnTimeout):
            await stuck.ask(Add(), timeout_s=0.005)
        release.set()
        assert await stuck.ask(Add()) == 1

        assert runtime.stats()["turns_stuck"] == 1
    turn = explained["turn"]
    assert isinstance(turn, dict)
    assert (turn["handler"], turn["stuck"], turn["cancelled"]) == ("Counter.ignore", True, "deadline")
    records = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(records) == 1
    assert "Counter.ignore" in records[0].getMessage()


async def test_a_nested_ask_has_what_is_left_of_its_turns_time(place: Place) -> None:
    class Outer(Message[int]):
        inner: str

    class Asking(Session[State, list[Runtime]], name="asking"):
        @receive
        async def outer(self, message: Outer) -> int:
            counter = await self.deps[0].get(Counter, message.inner)
            return await counter.ask(Sleep(seconds=30))

    runtimes: list[Any] = []
    async with counting(place, tick_s=0.001) as inner:
        runtimes.append(inner)
        counter = await inner.create(Counter)
        async with Runtime(Asking, store="memory://", deps=runtimes, settings=Settings(tick_s=0.001)) as outer:
            asking = await outer.create(Asking)
            with pytest.raises(TurnTimeout):
                await asking.ask(Outer(inner=counter.session_id), timeout_s=0.02)
        await until(lambda: inner.stats()["turns_timed_out"])
        assert await counter.ask(Add()) == 1
