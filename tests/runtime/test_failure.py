"""What becomes of messages whose handlers fail, and of sessions and types that fail too often (promise 11)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from salon import (
    Message,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Runtime,
    SchemaTooNew,
    Session,
    SessionHandle,
    SessionParked,
    Settings,
    TurnFailed,
    TurnStopped,
    receive,
)
from salon.testing import FaultPoint, FaultyStore, SeededChance, VirtualClock
from tests.runtime.acts import Act, Broken, Keep, Page, Say, Script, Try, asked, ended, lines, passing
from tests.runtime.places import Place
from tests.runtime.reading import labels
from tests.runtime.waiting import until

PARKING: dict[str, Any] = {"crash_budget": 3, "crash_window_s": 60.0, "parked_first_s": 10.0, "parked_max_s": 30.0}


class Stage:
    """An open runtime over virtual time, with one session."""

    def __init__(self, runtime: Runtime, clock: VirtualClock, script: Script, act: SessionHandle[Page]) -> None:
        self.runtime, self.clock, self.script, self.act = runtime, clock, script, act

    async def letters(self) -> list[tuple[str, str, str, int, int]]:
        page = await self.runtime.dead_letters().list()
        return [(each.message, each.reason, each.cause, each.attempts, each.state_version) for each in page.items]

    async def explain(self) -> dict[str, Any]:
        return dict(await self.runtime.explain(self.act.session_id))


@asynccontextmanager
async def staged(place: Place, *, seed: int = 1, **settings: Any) -> AsyncGenerator[Stage]:
    clock, script = VirtualClock(), Script()
    script.now = clock.monotonic
    given = Settings.model_validate({"crash_budget": 1000, "turn_timeout_s": 10_000, **settings})
    async with Runtime(
        Act, store=place.store(), deps=script, settings=given, clock=clock, chance=SeededChance(seed)
    ) as runtime:
        yield Stage(runtime, clock, script, await runtime.create(Act))


async def test_a_failure_is_told_and_rolled_back_and_the_rest_of_the_mailbox_survives(place: Place) -> None:
    async with staged(place) as stage:
        stage.script.failures["b"] = 1
        receipts = [await stage.act.tell(Say(text=text)) for text in ("a", "b", "c")]

        assert [1, TurnFailed, 2] == [await ended(receipt) for receipt in receipts]
        assert ["a", "c"] == await lines(stage.act)
        assert [] == await stage.letters()
        assert "failed" == await receipts[1].status()


async def test_a_failure_names_the_class_of_its_cause_and_none_of_its_words(place: Place) -> None:
    async with staged(place) as stage:
        stage.script.failures["secret"] = 1
        with pytest.raises(TurnFailed, match="Broken") as failed:
            await stage.act.ask(Say(text="secret"))

    assert "secret" not in str(failed.value)
    assert isinstance(failed.value.__cause__, Broken)
    assert Say(text="secret") == failed.value.message


async def test_a_retry_waits_its_back_off_at_the_head_of_the_queue(place: Place) -> None:
    async with staged(place) as stage:
        stage.script.failures["a"] = 2
        first = await stage.act.tell(Try(text="a"))
        await until(lambda: stage.script.began)
        second = await stage.act.tell(Say(text="b"))
        await passing(stage.clock, lambda: len(stage.script.began) == 4)

        assert [1, 2] == [await first.wait(), await second.wait()]
        assert [("a", 1), ("a", 2), ("a", 3), ("b", 1)] == stage.script.began
        waits = [later - earlier for earlier, later in zip(stage.script.at, stage.script.at[1:], strict=False)]
        assert 0.5 <= waits[0] <= 1.1
        assert 1.0 <= waits[1] <= 2.1
        assert 2 == stage.runtime.stats()["turns_retried"]
        assert ["a", "b"] == await lines(stage.act)


async def test_no_two_sessions_wait_equally_long_for_their_second_attempt(place: Place) -> None:
    waits = set[float]()
    async with staged(place) as stage:
        for _ in range(5):
            act = await stage.runtime.create(Act)
            stage.script.failures["a"], began = 1, len(stage.script.began)
            receipt = await act.tell(Try(text="a"))
            await passing(stage.clock, lambda began=began: len(stage.script.began) == began + 2)  # type: ignore[misc]
            assert 1 == await receipt.wait()
            waits.add(round(stage.script.at[-1] - stage.script.at[-2], 6))

    assert len(waits) >= 4


async def test_readers_of_a_retry_forget_what_they_saw_and_see_the_next_attempt(place: Place) -> None:
    async with staged(place) as stage:
        stage.script.failures["a"] = 2
        seen: list[str] = []

        async def read(after: str | None = None) -> None:
            async with stage.act.stream(Try(text="a")) as events:
                seen.extend(await labels(aiter(events)))

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await passing(stage.clock, lambda: len(seen) > 1)

    assert ["accepted 0", "a 1", "restarted 2", "a 2", "restarted 3", "a 3", "done 1"] == seen


async def test_an_ask_waits_for_its_retries_and_gets_the_reply_of_the_last(place: Place) -> None:
    async with staged(place) as stage:
        stage.script.failures["a"] = 3
        replies: list[int] = []

        async def ask() -> None:
            replies.append(await stage.act.ask(Try(text="a")))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await passing(stage.clock, lambda: replies)

        assert [1] == replies
        assert [1, 2, 3, 4] == [attempt for _, attempt in stage.script.began]
        assert [] == await stage.letters()


async def test_an_ask_whose_time_ends_before_its_next_attempt_is_not_kept_waiting(place: Place) -> None:
    async with staged(place) as stage:
        stage.script.failures["a"] = 3

        assert TurnFailed is await asked(stage.act.ask(Try(text="a"), timeout_s=0.3))
        assert [("a", 1)] == stage.script.began


async def test_nobody_rests_for_a_message_that_was_stopped_between_two_attempts(place: Place) -> None:
    async with staged(place) as stage:
        stage.script.failures["a"] = 4
        receipt = await stage.act.tell(Try(text="a"))
        await until(lambda: stage.runtime.stats()["turns_retried"])
        await stage.act.stop(receipt.turn)
        with pytest.raises(TurnStopped, match="between two attempts"):
            await receipt.wait()

        before_s = stage.clock.monotonic()
        with anyio.fail_after(5):
            assert 1 == await stage.act.ask(Say(text="b"))
        assert before_s == stage.clock.monotonic()
        assert ["a", "b"] == stage.script.texts


async def test_a_session_that_is_parked_rests_on_when_its_next_attempt_was_stopped(place: Place) -> None:
    async with staged(place, **PARKING) as stage:
        await fail(stage, 2)
        stage.script.failures["a"] = 4
        receipt = await stage.act.tell(Try(text="a"))
        await until(lambda: stage.runtime.stats()["sessions_parked"])
        await stage.act.stop(receipt.turn)
        with pytest.raises(TurnStopped, match="between two attempts"):
            await receipt.wait()
        with pytest.raises(SessionParked) as parked:
            await stage.act.ask(Say(text="b"))
        assert parked.value.retry_after_s is not None
        await stage.clock.advance(parked.value.retry_after_s + 0.1)
        assert 1 == await stage.act.ask(Say(text="b"))


async def test_retries_that_are_used_up_end_in_the_dead_letters_and_can_be_sent_again(place: Place) -> None:
    async with staged(place) as stage:
        assert 1 == await stage.act.ask(Say(text="before"))
        stage.script.failures["a"] = 4
        receipt = await stage.act.tell(Try(text="a"))
        await passing(stage.clock, lambda: stage.runtime.stats()["dead_lettered"])

        assert TurnFailed is await ended(receipt)
        assert "dead_lettered" == await receipt.status()
        assert [("try", "failed", "Broken", 4, 2)] == await stage.letters()

        letters = stage.runtime.dead_letters()
        (letter,) = (await letters.list()).items
        assert Try(text="a") == (await letters.inspect(letter.id)).message
        await letters.redrive(letter.id)
        await passing(stage.clock, lambda: len(stage.script.began) == 6)
        assert ("a", 1) == stage.script.began[-1]
        assert 3 == await stage.act.ask(Say(text="after"))
        assert ["before", "a", "after"] == await lines(stage.act)
        assert [] == await stage.letters()


async def test_a_redriven_message_of_which_nobody_knows_runs_if_the_store_has_it(place: Place) -> None:
    script = Script()
    store = FaultyStore(place.store(), [FaultPoint("write", 4, "after", "unknown")])
    async with Runtime(Act, store=store, deps=script) as runtime:
        act = await runtime.create(Act)
        script.failures["a"] = 1
        assert TurnFailed is await ended(await act.tell(Keep(text="a")))
        (letter,) = (await runtime.dead_letters().list()).items
        with pytest.raises(OutcomeUnknown):
            await runtime.dead_letters().redrive(letter.id)
        await until(lambda: runtime.stats()["commits"] == 2)
        assert ["a", "a"] == script.texts
        assert ["a"] == await lines(act)
        assert [] == (await runtime.dead_letters().list()).items


@pytest.mark.parametrize("told", [True, False], ids=["told", "asked"])
async def test_a_message_in_quarantine_is_put_aside_at_its_first_failure(place: Place, told: bool) -> None:
    async with staged(place) as stage:
        stage.script.failures["a"] = 1
        if told:
            assert TurnFailed is await ended(await stage.act.tell(Keep(text="a")))
        else:
            assert TurnFailed is await asked(stage.act.ask(Keep(text="a")))

        assert [("keep", "failed", "Broken", 1, 1)] == await stage.letters()
        assert 1 == stage.runtime.stats()["dead_lettered"]
        assert 1 == await stage.act.ask(Say(text="b"))
        (letter,) = (await stage.runtime.dead_letters().list()).items
        await stage.runtime.dead_letters().drop(letter.id)
        assert [] == await stage.letters()


async def test_dead_letters_outlive_the_process_and_the_message_is_not_in_the_inbox_too(place: Place) -> None:
    async with staged(place) as stage:
        stage.script.failures["a"] = 1
        await ended(await stage.act.tell(Keep(text="a")))
    async with staged(place, seed=2) as stage:
        assert [("keep", "failed", "Broken", 1, 1)] == await stage.letters()
        await stage.clock.advance(5)
        assert [] == stage.script.began
        assert 0 == stage.runtime.stats()["messages_restored"]


async def test_a_refusal_is_an_answer_neither_tried_again_nor_counted_as_a_crash(place: Place) -> None:
    async def refuse(text: str) -> None:
        raise Refused("no", text)

    async with staged(place, **PARKING) as stage:
        stage.script.before = refuse
        for number in range(8):
            with pytest.raises(Refused) as refused:
                await stage.act.ask(Try(text=f"{number}"))
            assert ("no", f"{number}") == (refused.value.code, refused.value.detail)
        assert Refused is await ended(await stage.act.tell(Keep(text="told")))

        assert 9 == len(stage.script.began)
        assert [] == await stage.letters()
        assert 0 == stage.runtime.stats()["sessions_parked"]


# Parking


async def fail(stage: Stage, times: int) -> None:
    for _ in range(times):
        stage.script.failures["x"] = 1
        assert TurnFailed is await asked(stage.act.ask(Say(text="x")))


async def test_a_session_that_keeps_crashing_rests_and_its_queue_waits_with_it(place: Place) -> None:
    async with staged(place, **PARKING) as stage:
        other = await stage.runtime.create(Act)
        await fail(stage, 2)
        hold = stage.script.close("x")
        stage.script.failures["x"] = 1
        crashing = await stage.act.tell(Say(text="x"))
        await until(lambda: len(stage.script.began) == 3)
        waiting = await stage.act.tell(Say(text="kept"))
        hold.set()
        assert TurnFailed is await ended(crashing)
        del stage.script.closed["x"]

        with pytest.raises(SessionParked) as parked:
            await stage.act.ask(Say(text="refused"))
        assert parked.value.retry_after_s is not None
        assert 5.0 <= parked.value.retry_after_s <= 10.0
        assert (1, True, Say(text="refused")) == (parked.value.depth, parked.value.retryable, parked.value.message)
        with pytest.raises(SessionParked):
            await stage.act.tell(Say(text="refused"))
        shown = await stage.explain()
        assert ("suspended", True, 1) == (shown["phase"], shown["suspended"], shown["waiting"])
        assert parked.value.retry_after_s == shown["parked_s"]
        assert 1 == stage.runtime.stats()["sessions_parked_now"]

        assert 1 == await other.ask(Say(text="elsewhere"))  # nobody else notices
        assert "queued" == await waiting.status()
        rested_s = await passing(stage.clock, lambda: "kept" in stage.script.texts)
        assert parked.value.retry_after_s <= rested_s + 0.1

        assert 1 == await waiting.wait()
        assert ["kept"] == await lines(stage.act)
        assert "refused" not in stage.script.texts


async def test_after_its_rest_a_session_is_on_trial_one_failure_parks_it_for_longer(place: Place) -> None:
    async with staged(place, **PARKING) as stage:
        await fail(stage, 3)
        await stage.clock.advance(10.1)
        await fail(stage, 1)
        with pytest.raises(SessionParked) as parked:
            await stage.act.ask(Say(text="x"))
        assert 10.0 <= (parked.value.retry_after_s or 0) <= 20.0

        await stage.clock.advance(20.1)
        assert 1 == await stage.act.ask(Say(text="well"))
        await fail(stage, 2)  # healthy again: the whole budget is there
        assert 2 == await stage.act.ask(Say(text="well"))
        assert 2 == stage.runtime.stats()["sessions_parked"]


async def test_a_retry_of_a_parked_session_waits_for_its_rest_and_is_the_trial(place: Place) -> None:
    async with staged(place, **PARKING) as stage:
        await fail(stage, 2)
        stage.script.failures["a"] = 1
        receipt = await stage.act.tell(Try(text="a"))
        waited_s = await passing(stage.clock, lambda: ("a", 2) in stage.script.began)

        assert 5.0 <= waited_s <= 10.2
        assert 1 == await receipt.wait()


async def test_a_session_that_is_resumed_goes_on_at_once_and_others_are_not_touched(place: Place) -> None:
    async with staged(place, **PARKING) as stage:
        await fail(stage, 3)
        with pytest.raises(SessionParked):
            await stage.act.ask(Say(text="x"))

        await stage.runtime.resume(stage.act.session_id)
        assert 1 == await stage.act.ask(Say(text="mended"))
        await stage.runtime.resume(stage.act.session_id)  # harmless
        await fail(stage, 2)
        assert 2 == await stage.act.ask(Say(text="the budget is whole"))


async def test_what_waits_in_a_parked_session_is_there_after_a_restart(place: Place) -> None:
    async with staged(place, **PARKING) as stage:
        await fail(stage, 2)
        stage.script.failures["a"] = 1
        await stage.act.tell(Try(text="a"))
        await passing(stage.clock, lambda: stage.runtime.stats()["sessions_parked"])
        session_id = stage.act.session_id
    async with staged(place, seed=2, **PARKING) as stage:
        await passing(stage.clock, lambda: ("a", 2) in stage.script.began)
        act = await stage.runtime.get(Act, session_id)
        assert 2 == await act.ask(Say(text="b"))
        assert ["a", "b"] == await lines(act)


async def test_crashes_are_forgotten_in_time_without_another_message(place: Place) -> None:
    async with staged(place, **PARKING) as stage:
        await fail(stage, 1)
        parking = stage.runtime._running().mishaps.parking  # pyright: ignore[reportPrivateUsage]
        assert 1 == len(parking)
        await stage.clock.advance(200)
        assert 0 == len(parking)

        await stage.clock.advance(200)  # until what has ended is forgotten too
        assert None is stage.clock.next_due_s  # and nobody is woken any more


# The breaker


class Old(BaseModel):
    count: int = 0


class Count(Message[int], name="count"):
    pass


class Newer(Session[Old], name="counter", schema_version=2):
    @receive
    async def count(self, message: Count) -> int:
        self.state.count += 1
        return self.state.count


class Older(Session[Old], name="counter", schema_version=1):
    @receive
    async def count(self, message: Count) -> int:
        self.state.count += 1
        return self.state.count


class Other(Session[Old], name="other"):
    @receive
    async def count(self, message: Count) -> int:
        self.state.count += 1
        return self.state.count


async def test_a_type_whose_sessions_all_fail_to_come_into_memory_is_not_even_read_for_a_while(place: Place) -> None:
    async with Runtime(Newer, store=place.store()) as runtime:
        ids = [(await runtime.create(Newer)).session_id for _ in range(5)]
    clock = VirtualClock()
    settings = Settings(breaker_failures=3, breaker_window_s=30, breaker_open_s=10)
    async with Runtime(
        Older, Other, store=place.store(), settings=settings, clock=clock, chance=SeededChance(1)
    ) as runtime:
        for session_id in ids[:3]:
            with pytest.raises(SchemaTooNew):
                await runtime.get(Older, session_id)
        with pytest.raises(SessionParked) as parked:
            await runtime.get(Older, ids[3])
        assert 10.0 == parked.value.retry_after_s
        assert (3, 1) == (runtime.stats()["activations_failed"], runtime.stats()["activations_refused"])
        assert 1 == runtime.stats()["types_not_activated"]
        assert 1 == await (await runtime.create(Other)).ask(Count())  # other types go on

        await clock.advance(10)
        with pytest.raises(SchemaTooNew):  # the trial
            await runtime.get(Older, ids[3])
        with pytest.raises(SessionParked):
            await runtime.get(Older, ids[4])


async def test_one_session_that_cannot_be_read_among_healthy_ones_opens_no_breaker(place: Place) -> None:
    async with Runtime(Newer, store=place.store()) as runtime:
        bad = (await runtime.create(Newer)).session_id
    async with Runtime(Older, store=place.store()) as runtime:
        healthy = [(await runtime.create(Older)).session_id for _ in range(6)]
    settings = Settings(breaker_failures=2)
    async with Runtime(Older, store=place.store(), settings=settings) as runtime:
        for session_id in healthy:
            with pytest.raises(SchemaTooNew):
                await runtime.get(Older, bad)
            assert 1 == await (await runtime.get(Older, session_id)).ask(Count())
        assert (6, 0) == (runtime.stats()["activations_failed"], runtime.stats()["activations_refused"])


async def test_messages_of_sessions_that_a_breaker_kept_out_run_when_it_closes(place: Place) -> None:
    script = Script()
    script.failures["a"] = 1
    clock = VirtualClock()
    async with Runtime(Act, store=place.store(), deps=script, clock=clock, chance=SeededChance(1)) as runtime:
        act = await runtime.create(Act)
        await act.tell(Try(text="a"))
        await until(lambda: script.began)
    async with Runtime(
        Act, store=place.store(), deps=script, clock=clock, chance=SeededChance(2), settings=Settings(breaker_open_s=2)
    ) as runtime:
        breaker = runtime._running().residents.breaker  # pyright: ignore[reportPrivateUsage]
        for _ in range(10):
            breaker.failed("act", clock.monotonic())
        await passing(clock, lambda: runtime.stats()["activations_refused"])
        assert 1 == len(script.began)

        await passing(clock, lambda: len(script.began) == 2)
        await until(lambda: runtime.stats()["commits"])
        assert [("a", 1), ("a", 2)] == script.began
        assert ["a"] == await lines(await runtime.get(Act, act.session_id))


async def test_a_handler_that_lets_out_an_error_that_says_later_is_no_crash_of_its_session(place: Place) -> None:
    async def meet_a_busy_session(text: str) -> None:
        raise RateLimited("session", 1.0)

    async with staged(place, **PARKING) as stage:
        stage.script.before = meet_a_busy_session
        for _ in range(8):
            assert TurnFailed is await asked(stage.act.ask(Say(text="x")))
        assert 0 == stage.runtime.stats()["sessions_parked"]

        letter = await stage.act.tell(Keep(text="y"))  # though what its handler says about failures still counts
        assert TurnFailed is await ended(letter)
        assert [("keep", "failed", "RateLimited", 1, 1)] == await stage.letters()
