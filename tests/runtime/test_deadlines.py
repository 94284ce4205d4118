"""One deadline for queue, run and commit; who does not end in time blocks only its own session (promises 1, 7)."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from salon import (
    Message,
    OutcomeUnknown,
    Receipt,
    ReplyTimeout,
    Runtime,
    SalonError,
    Session,
    SessionHandle,
    Settings,
    Store,
    TurnOver,
    TurnTimeout,
    receive,
)
from salon.testing import FaultPoint, FaultyStore, SeededChance, VirtualClock
from tests.runtime.acts import Act, Page, Say, Script, asked, ended, lines, passing
from tests.runtime.places import Place
from tests.runtime.waiting import until


class Stage:
    def __init__(self, runtime: Runtime, clock: VirtualClock, script: Script, act: SessionHandle[Page]) -> None:
        self.runtime, self.clock, self.script, self.act = runtime, clock, script, act
        self.outcomes: dict[str, int | type[SalonError]] = {}
        self.at: dict[str, float] = {}

    async def ask(self, text: str, timeout_s: float | None = None) -> None:
        began = self.clock.monotonic()
        self.outcomes[text] = await asked(self.act.ask(Say(text=text), timeout_s=timeout_s))
        self.at[text] = self.clock.monotonic() - began

    @property
    def stats(self) -> Any:
        return self.runtime.stats()


@asynccontextmanager
async def staged(
    place: Place, *, store: Store | None = None, let_go: anyio.Event | None = None, **settings: Any
) -> AsyncGenerator[Stage]:
    """`let_go` is set at the end, so that a test that fails ends too."""
    clock, script = VirtualClock(), Script()
    script.now = clock.monotonic
    given = Settings.model_validate({"commit_stall_s": 1000, **settings})
    async with Runtime(
        Act, store=store or place.store(), deps=script, settings=given, clock=clock, chance=SeededChance(1)
    ) as runtime:
        try:
            yield Stage(runtime, clock, script, await runtime.create(Act))
        finally:
            for event in (*script.closed.values(), *([let_go] if let_go is not None else [])):
                event.set()


async def test_the_time_in_the_queue_and_the_time_of_the_run_count_together(place: Place) -> None:
    async with staged(place) as stage:
        first, second = stage.script.close("first"), stage.script.close("second")
        async with anyio.create_task_group() as group:
            group.start_soon(stage.ask, "first")
            await until(lambda: len(stage.script.began) == 1)
            group.start_soon(stage.ask, "second", 5)
            await stage.clock.advance(3)
            first.set()
            await passing(stage.clock, lambda: len(stage.script.began) == 2)
            await passing(stage.clock, lambda: "second" in stage.outcomes)

        assert {"first": 1, "second": TurnTimeout} == stage.outcomes
        assert 5.0 <= stage.at["second"] <= 5.1
        assert ["first"] == await lines(stage.act)  # rolled back
        assert not second.is_set()
        del stage.script.closed["second"]
        assert 2 == await stage.act.ask(Say(text="second"))


@pytest.mark.parametrize("told", [True, False], ids=["told", "asked"])
async def test_a_message_whose_deadline_passes_in_the_queue_never_begins(place: Place, told: bool) -> None:
    async with staged(place) as stage:
        hold = stage.script.close("hold")

        async def follow(receipt: Receipt[int]) -> None:
            stage.outcomes["late"] = await ended(receipt)

        async with anyio.create_task_group() as group:
            group.start_soon(stage.ask, "hold")
            await until(lambda: stage.script.began)
            if told:
                receipt = await stage.act.tell(Say(text="late"), timeout_s=2)
                group.start_soon(follow, receipt)
                group.start_soon(stage.ask, "behind it")
                await passing(stage.clock, lambda: stage.stats["turns_timed_out"])
            else:
                group.start_soon(stage.ask, "late", 2)
                group.start_soon(stage.ask, "behind it")
                await passing(stage.clock, lambda: "late" in stage.outcomes)
                assert 2.0 <= stage.at["late"] <= 2.1
            hold.set()
            await passing(stage.clock, lambda: "behind it" in stage.outcomes)
        letters = (await stage.runtime.dead_letters().list()).items
        assert TurnTimeout is stage.outcomes["late"]
        expected = [("say", "expired", 0)] if told else []
        assert expected == [(each.message, each.reason, each.attempts) for each in letters]
        assert ["hold", "behind it"] == stage.script.texts == await lines(stage.act)


async def test_a_told_message_without_a_deadline_waits_as_long_as_it_takes_and_then_has_the_usual_time(
    place: Place,
) -> None:
    async with staged(place, turn_timeout_s=10, mailbox_age_max_s=100_000) as stage:
        hold = stage.script.close("hold")
        stage.script.close("slow")
        await stage.act.tell(Say(text="hold"), timeout_s=1000)
        await until(lambda: stage.script.began)
        slow, last = [await stage.act.tell(Say(text=text)) for text in ("slow", "last")]
        await stage.clock.advance(9)
        hold.set()
        await passing(stage.clock, lambda: len(stage.script.began) == 2)
        ran_s = await passing(stage.clock, lambda: len(stage.script.began) == 3)

        assert 10.0 <= ran_s <= 10.2
        assert [TurnTimeout, 2] == [await ended(slow), await ended(last)]
        assert "failed" == await slow.status()


async def test_a_deadline_that_passes_while_the_store_has_the_turn_leaves_its_outcome_open(place: Place) -> None:
    store = FaultyStore(place.store(), [FaultPoint("commit", 2, "before", "stall")])
    async with staged(place, store=store) as stage:
        async with anyio.create_task_group() as group:
            group.start_soon(stage.ask, "x", 5)
            await store.wait_until_stalled()
            waited_s = await passing(stage.clock, lambda: stage.outcomes)
            assert {"x": OutcomeUnknown} == stage.outcomes
            assert 5.0 <= waited_s <= 5.5  # nothing cancels it any more, and its caller need not wait for ever
            store.release()
        assert 2 == await stage.act.ask(Say(text="y"))
        assert ["x", "y"] == await lines(stage.act)  # it was applied after all


async def test_what_returns_after_its_deadline_reaches_nobody_and_changes_nothing(place: Place) -> None:
    used: list[type[Exception]] = []
    release = anyio.Event()

    class Late(Message[int], name="late"):
        pass

    class Deaf(Session[Page], name="deaf"):
        @receive
        async def late(self, message: Late) -> int:
            turn, state = self.turn, self.state
            with anyio.CancelScope(shield=True):
                await release.wait()
            state.count = 99
            for use in (lambda: turn.id, lambda: self.state):
                try:
                    use()
                except TurnOver as error:
                    used.append(type(error))
            return 99

        @receive
        async def say(self, message: Say) -> int:
            self.state.count += 1
            return self.state.count

    clock = VirtualClock()
    settings = Settings(stuck_after_s=3)
    async with Runtime(Deaf, store=place.store(), settings=settings, clock=clock, chance=SeededChance(1)) as runtime:
        deaf, other = await runtime.create(Deaf), await runtime.create(Deaf)
        outcomes: list[object] = []

        async def ask() -> None:
            outcomes.append(await asked(deaf.ask(Late(), timeout_s=2)))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await passing(clock, lambda: outcomes)
            assert [TurnTimeout] == outcomes  # at the deadline, whatever the handler does
            assert 1 == await other.ask(Say())
            receipt = await deaf.tell(Say())
            shown: Any = await runtime.explain(deaf.session_id)
            assert ("deadline", False) == (shown["turn"]["cancelled"], shown["turn"]["stuck"])
            release.set()
            assert 1 == await receipt.wait()
        assert [TurnOver, TurnOver] == used
        assert [TurnTimeout] == outcomes


async def test_a_handler_that_ignores_its_cancellation_blocks_its_own_session_and_is_reported(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    release = anyio.Event()

    async def shielded(text: str) -> None:
        if text == "stuck":
            with anyio.CancelScope(shield=True):
                await release.wait()

    async with staged(place, let_go=release, stuck_after_s=3, concurrent_turns_max=1) as stage:
        stage.script.before = shielded
        other = await stage.runtime.create(Act)
        async with anyio.create_task_group() as group:
            group.start_soon(stage.ask, "stuck", 2)
            await passing(stage.clock, lambda: stage.outcomes)
            behind = await stage.act.tell(Say(text="behind it"))
            reported_s = await passing(stage.clock, lambda: stage.stats["turns_stuck"])
            assert 2.9 <= reported_s <= 3.2
            (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert "Act.say" in record.getMessage()
            shown: Any = await stage.runtime.explain(stage.act.session_id)
            assert shown["turn"]["stuck"] is True
            assert "Act.say" == shown["turn"]["handler"]
            assert 1 == await other.ask(Say(text="others go on"))  # though it had the only slot
            assert "queued" == await behind.status()
            release.set()
            assert 1 == await behind.wait()
        assert ["behind it"] == await lines(stage.act)
        assert 1 == stage.stats["turns_stuck"]


async def test_the_time_of_a_handler_counts_from_its_begin_and_never_beyond_the_deadline(place: Place) -> None:
    class Slow(Message[int], name="slow"):
        pass

    class Bounded(Session[Page, Script], name="bounded"):
        @receive(timeout_s=4)
        async def slow(self, message: Slow) -> int:
            self.deps.began.append(("slow", 1))
            await anyio.sleep_forever()
            return 0

        @receive
        async def say(self, message: Say) -> int:
            self.deps.began.append((message.text, 1))
            await self.deps.closed["hold"].wait()
            return 0

    clock, script = VirtualClock(), Script()
    hold = script.close("hold")
    async with Runtime(Bounded, store=place.store(), deps=script, clock=clock, chance=SeededChance(1)) as runtime:
        bounded = await runtime.create(Bounded)
        outcomes: list[object] = []

        async def ask(message: Message[int], timeout_s: float | None = None) -> None:
            outcomes.append(await asked(bounded.ask(message, timeout_s=timeout_s)))

        async with anyio.create_task_group() as group:
            group.start_soon(ask, Say(text="hold"))
            await until(lambda: script.began)
            group.start_soon(ask, Slow())
            await clock.advance(10)
            hold.set()
            await passing(clock, lambda: len(script.began) == 2)
            ran_s = await passing(clock, lambda: len(outcomes) == 2)
            assert 4.0 <= ran_s <= 4.2

            group.start_soon(ask, Slow(), 1)
            ran_s = await passing(clock, lambda: len(outcomes) == 3)
            assert 1.0 <= ran_s <= 1.2
        assert [0, TurnTimeout, TurnTimeout] == outcomes


async def test_who_stops_waiting_does_not_stop_the_turn(place: Place) -> None:
    async with staged(place) as stage:
        hold = stage.script.close("x")
        receipt = await stage.act.tell(Say(text="x"))
        errors: list[ReplyTimeout] = []

        async def wait() -> None:
            try:
                await receipt.wait(2)
            except ReplyTimeout as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await passing(stage.clock, lambda: errors)
        assert receipt is errors[0].receipt
        hold.set()
        assert 1 == await receipt.wait()


async def test_a_turn_knows_when_it_must_be_done(place: Place) -> None:
    class When(Message[float], name="when"):
        pass

    class Aware(Session[Page], name="aware"):
        @receive
        async def when(self, message: When) -> float:
            return (self.turn.deadline - clock.wall()).total_seconds()

    clock = VirtualClock()
    async with Runtime(Aware, store=place.store(), clock=clock, chance=SeededChance(1)) as runtime:
        aware = await runtime.create(Aware)
        assert 7 == pytest.approx(await aware.ask(When(), timeout_s=7), abs=0.001)
        assert 300 == pytest.approx(await aware.ask(When()), abs=0.001)
        assert 11 == pytest.approx(await (await aware.tell(When(), timeout_s=11)).wait(), abs=0.001)
