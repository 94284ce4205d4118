"""Receipts, streams and outcomes after a restart answer definitely: with the record, or that nothing was applied."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from salon import Accepted, Done, Failed, Interrupted, NotApplied, OutcomeUnknown, SessionHandle
from salon.turn_id import turn_id, turn_number
from tests.runtime.lives import Clerk, Desk, Note, Sheet, life
from tests.runtime.places import Place
from tests.runtime.waiting import until


async def kinds(stream: Any) -> list[str]:
    async with stream as events:
        return [event.kind async for event in events]


def looks(clerk: SessionHandle[Sheet]) -> list[Callable[[str], Awaitable[object]]]:
    """Every way to ask after a turn."""

    async def by_receipt(turn: str) -> object:
        return await clerk.receipt(turn=turn)

    async def by_stream(turn: str) -> object:
        return await kinds(clerk.attach(turn))

    return [clerk.outcome, by_receipt, by_stream]


async def test_after_a_restart_a_receipt_answers_with_the_record(place: Place) -> None:
    desk = Desk(refused={"no"})
    async with life(place, desk) as it:
        clerk = await it.clerk()
        yes, no = await clerk.tell(Note(text="yes")), await clerk.tell(Note(text="no"))
        await until(lambda: len(desk.began) == 2)
    async with life(place, desk) as it:
        clerk = await it.clerk()
        again = await clerk.receipt(turn=yes.turn)

        assert (yes.turn, "done", 1) == (again.turn, await again.status(), await again.wait(1))
        outcome = await clerk.outcome(yes.turn)
        assert isinstance(outcome, Done)
        assert 1 == outcome.reply
        refused = await clerk.outcome(no.turn)
        assert isinstance(refused, Failed)
        assert ("Refused", "no", "no") == (refused.error.name, refused.error.code, refused.error.detail)
        assert ["done"] == await kinds(clerk.attach(yes.turn))
        assert ["done"] == await kinds(again.events())
        assert ["failed"] == await kinds(clerk.attach(no.turn))


async def test_a_receipt_of_before_follows_the_message_in_the_next_life(place: Place) -> None:
    desk = Desk(closed={"first", "second"})
    async with life(place, desk) as it:
        clerk = await it.clerk()
        first, second = await clerk.tell(Note(text="first")), await clerk.tell(Note(text="second"))
        await until(lambda: desk.began)
        it.kill()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        await until(lambda: "second" in desk.began)
        later = await clerk.receipt(turn=second.turn)
        assert ("running", None) == (await later.status(), await clerk.outcome(second.turn))
        assert isinstance(await clerk.outcome(first.turn), Interrupted)
        async with clerk.attach(second.turn) as events:
            assert isinstance(await anext(aiter(events)), Accepted)
            desk.open()
            assert 1 == await events.reply()


async def test_what_never_happened_is_not_applied_definitely(place: Place) -> None:
    desk = Desk()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        receipt = await clerk.tell(Note(text="a"))
        await receipt.wait(5)
        never = turn_id(turn_number(receipt.turn) + 1000)
        for turn in (never, "t9-1"):
            for look in looks(clerk):
                with pytest.raises(NotApplied):
                    await look(turn)
            await clerk.stop(turn)
        with pytest.raises(NotApplied):
            await clerk.receipt(key="never")
        for text in ("", "t", "1-1", "t1-1 ", "t1-x", receipt.turn.upper()):
            with pytest.raises(ValueError, match="not the id"):
                await clerk.outcome(text)


async def test_a_failure_that_was_rolled_back_is_not_applied_after_a_restart(place: Place) -> None:
    desk = Desk()
    desk.failing["a"] = 1
    async with life(place, desk) as it:
        clerk = await it.clerk()
        receipt = await clerk.tell(Note(text="a"), key="k")
        await until(lambda: it.stat("turns_failed"))
    async with life(place, desk) as it:
        clerk = await it.clerk()
        with pytest.raises(NotApplied):
            await clerk.outcome(receipt.turn)
        with pytest.raises(NotApplied):
            await clerk.receipt(key="k")


@pytest.mark.parametrize("state", ["waits", "runs", "ended", "recorded"])
async def test_the_turn_of_another_session_is_none_of_this_one(place: Place, state: str) -> None:
    desk = Desk(closed={"a", "before"})
    async with life(place, desk) as it:
        clerk, spy = await it.clerk(), await it.runtime.create(Clerk, name="spy")
        if state == "waits":
            await clerk.tell(Note(text="before"))
        receipt = await clerk.tell(Note(text="a"), key="k")
        await until(lambda: desk.began)
        if state in ("ended", "recorded"):
            desk.open()
            await receipt.wait(5)
        if state != "recorded":
            await _is_nothing_to(spy, receipt.turn)
            desk.open()
            await receipt.wait(5)
    if state == "recorded":
        async with life(place, desk) as it:
            await _is_nothing_to(await it.runtime.get_or_create(Clerk, name="spy"), receipt.turn)


async def _is_nothing_to(spy: Any, turn: str) -> None:
    """And it sounds as if there were none."""
    told: list[str] = []
    for asked in (turn, turn_id(turn_number(turn) + 1000)):
        with pytest.raises(NotApplied) as caught:
            await spy.outcome(asked)
        told.append(str(caught.value).replace(asked, "T"))
        with pytest.raises(NotApplied):
            await kinds(spy.attach(asked))
        await spy.stop(asked)
    with pytest.raises(NotApplied):
        await spy.receipt(key="k")
    assert told[0] == told[1]


async def test_a_reader_that_comes_after_a_restart_learns_what_it_cannot_see_any_more(place: Place) -> None:
    async with life(place, Desk(), types=(Clerk,)) as it:
        clerk = await it.clerk()
        receipt = await clerk.tell(Note(text="a"))
        async with receipt.events() as events:
            seen = [event async for event in events]
        assert ["accepted", "done"] == [event.kind for event in seen]
    async with life(place, Desk()) as it:
        clerk = await it.clerk()
        assert ["done"] == await kinds(clerk.attach(receipt.turn, after=seen[0].id))
        assert [] == await kinds(clerk.attach(receipt.turn, after=seen[1].id))


async def test_how_a_turn_ended_is_forgotten_aloud(place: Place) -> None:
    async with life(place, Desk(), idempotency_records_max=3, replay_age_s=0) as it:
        clerk = await it.clerk()
        receipts = [await clerk.tell(Note(text=str(number))) for number in range(2)]
        await receipts[-1].wait(5)
        for number in range(4):
            await (await clerk.tell(Note(text=f"more {number}"))).wait(5)
    async with life(place, Desk(), idempotency_records_max=3) as it:
        clerk = await it.clerk()
        for number in range(4):
            await (await clerk.tell(Note(text=f"again {number}"))).wait(5)
        for look in looks(clerk):
            with pytest.raises(OutcomeUnknown):
                await look(receipts[0].turn)


async def test_the_end_of_an_ask_without_a_key_is_not_recorded_and_that_is_what_is_told(place: Place) -> None:
    desk = Desk()
    seen: list[str] = []
    async with life(place, desk) as it:
        clerk = await it.clerk()
        watching = clerk.watch()
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                async for event in watching:
                    seen.append(event.turn)
                    if event.kind == "done":
                        return

            group.start_soon(watch)
            await anyio.wait_all_tasks_blocked()
            await clerk.ask(Note(text="a"))
        (turn,) = set(seen)
        assert isinstance(await clerk.outcome(turn), Done)
    async with life(place, desk) as it:
        clerk = await it.clerk()
        for look in looks(clerk):
            with pytest.raises(OutcomeUnknown, match="without a key"):
                await look(turn)
