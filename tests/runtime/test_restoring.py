"""What stood in the inbox when a process ended, and what became of it when the store went wrong: nothing is lost."""

import math
from collections import Counter
from contextlib import suppress
from typing import Any

import anyio
import pytest
from pydantic import field_validator

from salon import (
    Draining,
    Fenced,
    Interrupted,
    MessageInvalid,
    NoHandler,
    NotApplied,
    OutcomeUnknown,
    SalonError,
    SchemaTooNew,
    Session,
    SessionParked,
    TurnFailed,
    TurnInterrupted,
    TurnTimeout,
    receive,
)
from salon.message import Message
from salon.testing import FaultPoint, VirtualClock
from tests.runtime.lives import Aging, Clerk, Desk, Note, Sheet, Stubborn, cut_of, life, lines_of
from tests.runtime.places import Place
from tests.runtime.waiting import until


async def leave_in_inbox(
    place: Place, desk: Desk, *messages: Message[Any], clock: VirtualClock | None = None
) -> list[str]:
    """A process dies while a note runs and these messages wait behind it; their turns."""
    desk.closed.add("first")
    async with life(place, desk, clock=clock) as it:
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        await until(lambda: "first" in desk.began)
        turns = [(await clerk.tell(message)).turn for message in messages]
        it.kill()
    desk.began.clear()
    desk.open()
    return turns


# Messages that today's code cannot read


class Sparse(Session[Sheet, Desk], name="clerk"):
    """Yesterday's clerk, who knew notes alone."""

    @receive
    async def note(self, message: Note) -> int:
        await self.deps.hear(message.text, self.turn.attempt)
        return 0


class NewerNote(Message[int], name="note", schema_version=2):
    text: str


class NewerClerk(Session[Sheet, Desk], name="clerk"):
    @receive
    async def note(self, message: NewerNote) -> int:
        return 0


class StrictNote(Message[int], name="note"):
    text: str

    @field_validator("text")
    @classmethod
    def _odd(cls, text: str) -> str:
        if text == "odd":
            raise KeyError(text)
        if text == "invalid":
            raise ValueError(text)
        return text


class StrictClerk(Session[Sheet, Desk], name="clerk"):
    @receive
    async def note(self, message: StrictNote) -> int:
        await self.deps.hear(message.text, self.turn.attempt)
        return 0


async def test_a_message_of_an_unknown_type_is_a_dead_letter_with_its_bytes_and_the_session_goes_on(
    place: Place,
) -> None:
    desk = Desk()
    unknown, known = await leave_in_inbox(place, desk, Stubborn(text="odd"), Note(text="even"))
    async with life(place, desk, types=(Sparse,)) as it:
        clerk = await it.runtime.get_or_create(Sparse, name="clerk")
        assert 0 == await (await clerk.receipt(turn=known)).wait(5)
        with pytest.raises(NoHandler):
            await (await clerk.receipt(turn=unknown)).wait(5)
        assert "dead_lettered" == await (await clerk.receipt(turn=unknown)).status()
        letters = it.runtime.dead_letters()
        opened = await letters.inspect(unknown)

        assert ["even"] == desk.began
        assert (b"odd" in opened.body, opened.message) == (True, None)
        assert ("stubborn", "unreadable", 0, "NoHandler") == (
            opened.letter.message,
            opened.letter.reason,
            opened.letter.attempts,
            opened.letter.cause,
        )
    async with life(place, desk) as it:
        await it.runtime.dead_letters().redrive(unknown)
        await until(lambda: desk.began == ["even", "odd"])


async def test_a_message_of_a_newer_schema_is_a_dead_letter(place: Place) -> None:
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 3, "before", "die"), types=(NewerClerk,)) as it:
        clerk = await it.runtime.get_or_create(NewerClerk, name="clerk")
        receipt = await clerk.tell(NewerNote(text="newer"))
        await until(lambda: it.store.is_dead)
    async with life(place, desk) as it:
        old = await it.clerk()
        with pytest.raises(SchemaTooNew):
            await (await old.receipt(turn=receipt.turn)).wait(5)
        assert [("note", "unreadable", 1)] == await it.letters()
        assert b"newer" in (await it.runtime.dead_letters().inspect(receipt.turn)).body


@pytest.mark.parametrize(("text", "error"), [("odd", SalonError), ("invalid", MessageInvalid)])
async def test_a_message_that_does_not_decode_any_more_is_a_dead_letter(
    place: Place, text: str, error: type[SalonError]
) -> None:
    """Also when the bot's own validator raises what no validator should."""
    desk = Desk()
    turns = await leave_in_inbox(place, desk, Note(text="a"), Note(text=text), Note(text="b"))
    async with life(place, desk, types=(StrictClerk,)) as it:
        clerk = await it.runtime.get_or_create(StrictClerk, name="clerk")
        await (await clerk.receipt(turn=turns[2])).wait(5)
        with pytest.raises(error):
            await (await clerk.receipt(turn=turns[1])).wait(5)

        assert ["a", "b"] == desk.began
        assert [("note", "interrupted", 1), ("note", "unreadable", 0)] == await it.letters()
    async with life(place, desk, types=(StrictClerk,)) as it:
        assert 2 == len(await it.letters())
        clerk = await it.runtime.get_or_create(StrictClerk, name="clerk")
        assert "dead_lettered" == await (await clerk.receipt(turn=turns[1])).status()
        with pytest.raises(error):
            await (await clerk.receipt(turn=turns[1])).wait(5)


# Deadlines and ages


async def test_a_told_deadline_counts_over_a_restart(place: Place) -> None:
    desk, clock = Desk(closed={"first"}), VirtualClock()
    async with life(place, desk, clock=clock) as it:
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        late = await clerk.tell(Note(text="late"), timeout_s=30)
        soon = await clerk.tell(Note(text="soon"), timeout_s=90)
        await until(lambda: desk.began)
        it.kill()
    clock.step_wall(60)
    desk.began.clear()
    async with life(place, desk, clock=clock) as it:
        clerk = await it.clerk()
        assert 1 == await (await clerk.receipt(turn=soon.turn)).wait()
        with pytest.raises(TurnTimeout):
            await (await clerk.receipt(turn=late.turn)).wait()
        assert ["soon"] == desk.began
        assert {("note", "interrupted", 1), ("note", "expired", 0)} == set(await it.letters())
    async with life(place, desk, clock=clock) as it:
        with pytest.raises(TurnTimeout, match="before it began"):  # the record says what its sender was told
            await (await (await it.clerk()).receipt(turn=late.turn)).wait()


async def test_a_message_that_has_waited_for_longer_than_its_age_is_a_dead_letter(place: Place) -> None:
    desk, clock = Desk(closed={"first"}), VirtualClock()
    async with life(place, desk, clock=clock, tick_s=1) as it:
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        old = await clerk.tell(Aging(text="old"))
        await until(lambda: desk.began)
        await clock.advance(30)
        young = await clerk.tell(Aging(text="young"))
        assert "queued" == await old.status()
        await clock.advance(32)
        desk.open()
        assert 2 == await young.wait()
        with pytest.raises(TurnTimeout):
            await old.wait()
        assert (["first", "young"], [("aging", "expired", 0)]) == (desk.began, await it.letters())


@pytest.mark.parametrize(("away_s", "expected"), [(55, ["old"]), (65, [])])
async def test_the_age_of_a_message_counts_while_nothing_runs(place: Place, away_s: float, expected: list[str]) -> None:
    desk, clock = Desk(), VirtualClock()
    (turn,) = await leave_in_inbox(place, desk, Aging(text="old"), clock=clock)
    clock.step_wall(away_s)
    async with life(place, desk, clock=clock) as it:
        clerk = await it.clerk()
        while await clerk.outcome(turn) is None:  # noqa: ASYNC110
            await anyio.sleep(0.001)
        assert expected == desk.began == await lines_of(clerk)
        assert (("aging", "expired", 0) in await it.letters()) == (not expected)


# The store goes wrong


async def test_a_message_that_the_store_refused_was_never_accepted(place: Place) -> None:
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 2, "instead", "refuse")) as it:
        clerk = await it.clerk()
        with pytest.raises(NotApplied) as caught:
            await clerk.tell(Note(text="a"))
        assert (True, Note(text="a")) == (caught.value.retryable, caught.value.message)
        await until(lambda: it.runtime.stats()["store_is_well"])
        assert 1 == await (await clerk.tell(Note(text="b"))).wait(5)
    async with life(place, desk) as it:
        assert (["b"], []) == (await lines_of(await it.clerk()), await it.letters())


@pytest.mark.parametrize("when", ["instead", "after"])
async def test_a_message_of_which_nobody_knows_whether_it_was_accepted_runs_once_if_it_was(
    place: Place, when: Any
) -> None:
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 2, when, "unknown")) as it:
        clerk = await it.clerk()
        with pytest.raises(OutcomeUnknown) as caught:
            await clerk.tell(Note(text="a"))
        assert not caught.value.retryable
        await until(lambda: desk.began == (["a"] if when == "after" else []) and it.runtime.stats()["reloads"])
        assert (2 if when == "after" else 1) == await (await clerk.tell(Note(text="b"))).wait(5)
        assert 0 == it.stat("sessions_parked")
    async with life(place, desk) as it:
        expected = ["a", "b"] if when == "after" else ["b"]
        assert (expected, []) == (await lines_of(await it.clerk()), await it.letters())


@pytest.mark.parametrize(("effect", "when"), [("refuse", "instead"), ("unknown", "instead"), ("unknown", "after")])
async def test_a_message_whose_mark_the_store_did_not_take_waits_for_better_days(
    place: Place, effect: Any, when: Any
) -> None:
    desk = Desk(closed={"first"})
    async with life(place, desk, FaultPoint("commit", 6, when, effect, times=3)) as it:
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        second = await clerk.tell(Note(text="second"))
        third = await clerk.tell(Note(text="third"))
        desk.open()
        assert [3, 2] == [await third.wait(5), await second.wait(5)]
        assert (["first", "second", "third"], [1, 1, 1]) == (desk.began, desk.attempts)
        assert [] == await it.letters()


@pytest.mark.parametrize("message", [Note, Stubborn])
@pytest.mark.parametrize("outage", [1, 3])
async def test_a_turn_whose_end_was_refused_is_told_of_when_it_cannot_come_back(
    place: Place, outage: int, message: type[Note] | type[Stubborn]
) -> None:
    """The third write is the end of its turn."""
    desk, told = Desk(), list[str]()
    async with life(place, desk, FaultPoint("commit", 3, "instead", "refuse", times=outage)) as it:
        clerk = await it.clerk()
        receipt = await clerk.tell(message(text="a"))
        with pytest.raises(NotApplied):
            await receipt.wait(5)
        told.append("not applied")
        it.kill()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        assert 1 == await (await clerk.tell(Note(text="b"))).wait(5)
        assert (["a", "b"], ["b"], []) == (desk.began, await lines_of(clerk), await it.letters())
        with pytest.raises(NotApplied):
            await clerk.receipt(turn=receipt.turn)


async def test_a_turn_whose_end_was_refused_is_not_over_while_it_may_come_back(place: Place) -> None:
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 3, "instead", "refuse", times=math.inf)) as it:
        clerk = await it.clerk()
        receipt = await clerk.tell(Stubborn(text="a"), key="k")
        await until(lambda: it.stat("not_applied"))
        await anyio.sleep(0.003)
        assert "running" == await receipt.status()
        it.kill()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        assert 1 == await (await clerk.receipt(key="k")).wait(5)
        assert ([1, 2], ["a"]) == (desk.attempts, await lines_of(clerk))


@pytest.mark.parametrize("when", ["instead", "after"])
@pytest.mark.parametrize("message", [Note, Stubborn])
async def test_a_turn_of_whose_end_nobody_knows_has_one_fate(
    place: Place, when: Any, message: type[Note] | type[Stubborn]
) -> None:
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 3, when, "unknown")) as it:
        clerk = await it.clerk()
        receipt = await clerk.tell(message(text="a"))
        with suppress(OutcomeUnknown, TurnInterrupted):  # whoever asks late hears what it was
            await receipt.wait(5)
        await until(lambda: it.stat("reloads"))
        receipt = await clerk.receipt(turn=receipt.turn)
        if when == "instead" and message is Note:
            with pytest.raises(TurnInterrupted):
                await receipt.wait(5)
        else:
            assert 1 == await receipt.wait(5)
        expected = ["a"] if (when, message) != ("instead", Note) else []
        assert expected == await lines_of(clerk)
        assert ([] if expected else [("note", "interrupted", 1)]) == await it.letters()
        assert 0 == it.stat("sessions_parked")


@pytest.mark.parametrize("message", [Note, Stubborn])
@pytest.mark.parametrize("write", [1, 2])
async def test_a_message_whose_session_another_one_has_written_has_one_fate(
    place: Place, write: int, message: type[Note] | type[Stubborn]
) -> None:
    """The first write to the session accepts it, the second is the end of its turn."""
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", write, "instead", "fence", sid=1)) as it:
        clerk = await it.clerk()
        if write == 1:
            with pytest.raises(Fenced):
                await clerk.tell(message(text="a"))
            expected: list[str] = []
        else:
            receipt = await clerk.tell(message(text="a"))
            with suppress(Fenced, TurnInterrupted):
                await receipt.wait(5)
            with suppress(TurnInterrupted):
                await (await clerk.receipt(turn=receipt.turn)).wait(5)
            expected = ["a"] if message is Stubborn else []
        letters = [("note", "interrupted", 1)] if write == 2 and message is Note else []
        assert (expected, letters) == (await lines_of(clerk), await it.letters())
        assert len(expected) + 1 == await (await clerk.tell(Note(text="b"))).wait(5)
    async with life(place, desk) as it:
        assert ([*expected, "b"], letters) == (await lines_of(await it.clerk()), await it.letters())


@pytest.mark.parametrize(("effect", "when"), [("refuse", "instead"), ("unknown", "instead"), ("unknown", "after")])
async def test_a_dead_letter_is_written_though_the_store_did_not_take_it_at_once(
    place: Place, effect: Any, when: Any
) -> None:
    desk = Desk(closed={"a"})
    async with life(place, desk) as it:
        receipt = await (await it.clerk()).tell(Note(text="a"))
        await until(lambda: desk.began)
        it.kill()
    async with life(place, desk, FaultPoint("commit", 1, when, effect)) as it:
        clerk = await it.clerk()
        await until(lambda: it.store.fired)
        while not await it.letters():  # noqa: ASYNC110
            await anyio.sleep(0.001)
        receipt = await clerk.receipt(turn=receipt.turn)
        await until(lambda: it.stat("commits") or it.stat("reloads"))
        while not isinstance(await clerk.outcome(receipt.turn), Interrupted):  # noqa: ASYNC110
            await anyio.sleep(0.001)
        assert [("note", "interrupted", 1)] == await it.letters()
        assert ["a: crash 1"] == await cut_of(clerk)


async def test_messages_are_brought_in_though_the_store_could_not_say_at_once_who_has_some(place: Place) -> None:
    desk = Desk()
    await leave_in_inbox(place, desk, Note(text="a"))
    points = FaultPoint("mail_waits", 1, "instead", "refuse", times=2), FaultPoint("load", 1, "instead", "refuse")
    async with life(place, desk, *points, breaker_open_s=0.002):
        await until(lambda: desk.began == ["a"])


# The runtime closes


async def test_what_has_not_begun_when_the_runtime_closes_counts_no_attempt(place: Place) -> None:
    desk = Desk(closed={"first"})
    async with life(place, desk, drain_deadline_s=0.05) as it:
        clerk = await it.clerk()
        first = await clerk.tell(Stubborn(text="first"))
        await until(lambda: desk.began)
        second = await clerk.tell(Note(text="second"))
        await it.runtime.close()
    for receipt in (first, second):
        with pytest.raises(SalonError):
            await receipt.wait(1)
    desk.open()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        assert 2 == await (await clerk.receipt(turn=second.turn)).wait(5)
        assert (["first", "first", "second"], [1, 2, 1]) == (desk.began, desk.attempts)
        assert [] == await it.letters()


@pytest.mark.parametrize("dies", [False, True])
async def test_a_message_that_waits_for_a_slot_when_the_runtime_ends_has_not_begun(place: Place, dies: bool) -> None:
    desk = Desk(closed={"first"})
    async with life(place, desk, drain_deadline_s=0.05, concurrent_turns_max=1) as it:
        one, two = await it.clerk(), await it.runtime.create(Clerk, name="two")
        await one.tell(Stubborn(text="first"))
        await until(lambda: desk.began)
        waiting = await two.tell(Note(text="waits"))
        if dies:
            it.kill()
    desk.open()
    async with life(place, desk) as it:
        two = await it.runtime.get_or_create(Clerk, name="two")
        assert 1 == await (await two.receipt(turn=waiting.turn)).wait(5)
        assert [] == await it.letters()


async def test_a_message_whose_mark_is_on_its_way_when_the_runtime_closes_has_not_begun(place: Place) -> None:
    """Creation, first, second, end of first, mark of second: the fifth write is the mark."""
    desk = Desk(closed={"first"})
    async with life(place, desk, FaultPoint("commit", 5, "before", "stall"), drain_deadline_s=0.2) as it:
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        await until(lambda: desk.began)
        second = await clerk.tell(Note(text="second"))
        desk.open()
        await it.store.wait_until_stalled()
        async with anyio.create_task_group() as group:
            group.start_soon(it.runtime.close)
            with pytest.raises(Draining):
                await second.wait()
            it.store.release()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        assert 2 == await (await clerk.receipt(turn=second.turn)).wait(5)
        assert (["first", "second"], [1, 1], []) == (desk.began, desk.attempts, await it.letters())


@pytest.mark.parametrize("verb", ["ask", "tell"])
async def test_what_is_overtaken_before_it_begins_has_not_begun(place: Place, verb: str) -> None:
    """The scheduler may take either first; of many, some are overtaken."""
    numbers = range(12)
    desk = Desk(closed={f"urgent {number}" for number in numbers})
    async with life(place, desk) as it:
        clerks = [await it.runtime.create(Clerk, name=str(number)) for number in numbers]

        async def urgent(number: int) -> None:
            with suppress(SalonError):
                message = Note(text=f"urgent {number}")
                send = clerks[number].tell if verb == "tell" else clerks[number].ask
                await send(message, priority="high")

        async with anyio.create_task_group() as group:
            for number in numbers:
                group.start_soon(clerks[number].tell, Note(text=f"normal {number}"))
                group.start_soon(urgent, number)
            await until(lambda: all(f"urgent {number}" in desk.began for number in numbers))
            await anyio.sleep(0.005)
            it.kill()
            group.cancel_scope.cancel()
    overtaken = [number for number in numbers if f"normal {number}" not in desk.began]
    desk.open()
    async with life(place, desk) as it:
        await until(lambda: all(f"normal {number}" in desk.began for number in numbers))
        letters = Counter(await it.letters())
        assert overtaken
        assert letters[("note", "interrupted", 1)] == (12 if verb == "tell" else 0)


async def test_who_waits_for_a_told_message_when_the_runtime_closes_is_told_so(place: Place) -> None:
    desk, errors = Desk(closed={"first"}), list[type[SalonError]]()
    async with life(place, desk, drain_deadline_s=0.02) as it:
        clerk = await it.clerk()
        receipts = [await clerk.tell(Note(text=text)) for text in ("first", "second")]

        async def wait(number: int) -> None:
            try:
                await receipts[number].wait()
            except SalonError as error:
                errors.append(type(error))

        async with anyio.create_task_group() as group:
            group.start_soon(wait, 0)
            group.start_soon(wait, 1)
            await until(lambda: desk.began)
            await it.runtime.close()
    assert [Draining, Draining] == errors


# Parked and full


async def test_messages_of_a_session_that_is_parked_or_full_at_a_restart_are_all_there(place: Place) -> None:
    desk = Desk()
    texts = [f"n{number}" for number in range(30)]
    turns = await leave_in_inbox(place, desk, *(Note(text=text) for text in texts))
    desk.closed.add("n0")
    settings: dict[str, Any] = {
        "mailbox_messages_max": 5,
        "messages_max": 10,
        "crash_budget": 1,
        "parked_first_s": 60,
        "parked_max_s": 60,
    }
    async with life(place, desk, **settings) as it:
        clerk = await it.clerk()
        with pytest.raises(SessionParked):
            await clerk.tell(Note(text="more"))
        assert ([], 30) == (desk.began, (await it.runtime.explain(clerk.session_id))["waiting"])
        desk.open()
        await it.runtime.resume(clerk.session_id)
        await (await clerk.receipt(turn=turns[-1])).wait(5)

        assert texts == desk.began == await lines_of(clerk)
        assert [("note", "interrupted", 1)] == await it.letters()


async def test_a_failure_of_a_told_message_ends_it(place: Place) -> None:
    desk = Desk()
    desk.failing["a"] = 1
    async with life(place, desk) as it:
        clerk = await it.clerk()
        receipt = await clerk.tell(Note(text="a"))
        with pytest.raises(TurnFailed):
            await receipt.wait(5)
        it.kill()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        assert 1 == await (await clerk.tell(Note(text="b"))).wait(5)
        assert (["a", "b"], ["b"]) == (desk.began, await lines_of(clerk))
