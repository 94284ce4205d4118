"""A told message is durable before its sender hears so, and runs: in its turn, also after the process has died."""

from functools import partial

import anyio
import pytest

from salon import TurnInterrupted
from salon.testing import FaultPoint
from tests.runtime.lives import Clerk, Desk, Note, Stubborn, cut_of, life, lines_of
from tests.runtime.places import Place
from tests.runtime.waiting import until


async def test_tell_returns_only_when_the_message_is_durable(place: Place) -> None:
    desk, receipts = Desk(), list[str]()
    async with life(place, desk, FaultPoint("commit", 2, "before", "stall")) as it:
        clerk = await it.clerk()

        async def tell() -> None:
            receipts.append((await clerk.tell(Note(text="a"))).turn)

        async with anyio.create_task_group() as group:
            group.start_soon(tell)
            await it.store.wait_until_stalled()
            await anyio.sleep(0.003)
            assert ([], []) == (receipts, desk.began)
            it.store.release()
        receipt = await clerk.receipt(turn=receipts[0])
        assert 1 == await receipt.wait(5)
    assert ["a"] == desk.began


async def test_told_and_asked_messages_run_in_the_order_of_admission(place: Place) -> None:
    desk = Desk(closed={"first"})
    async with life(place, desk) as it:
        clerk = await it.clerk()
        first = await clerk.tell(Note(text="first"))
        await until(lambda: desk.began)
        positions: list[int] = []

        async def ask(text: str) -> None:
            await clerk.ask(Note(text=text))

        async with anyio.create_task_group() as group:
            for number in range(6):
                if number % 2:
                    group.start_soon(ask, f"asked {number}")
                    await anyio.wait_all_tasks_blocked()
                else:
                    positions.append((await clerk.tell(Note(text=f"told {number}"))).position)
            desk.open()
        assert 7 == await (await clerk.tell(Note(text="last"))).wait(5) - 1
        expected = ["first", "told 0", "asked 1", "told 2", "asked 3", "told 4", "asked 5", "last"]

        assert expected == desk.began == await lines_of(clerk)
        assert (0, [0, 2, 4]) == (first.position, positions)


async def test_what_has_not_begun_runs_in_order_after_a_death(place: Place) -> None:
    desk, texts = Desk(closed={"first"}), [f"later {number}" for number in range(5)]
    async with life(place, desk) as it:
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        receipts = [await clerk.tell(Note(text=text)) for text in texts]
        assert list(range(5)) == [receipt.position for receipt in receipts]
        await until(lambda: desk.began)
        it.kill()
    desk.began.clear()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        replies = [await (await clerk.receipt(turn=receipt.turn)).wait(5) for receipt in receipts]

        assert texts == desk.began == await lines_of(clerk)
        assert list(range(1, 6)) == replies
        assert ["first: crash 1"] == await cut_of(clerk)
        assert [("note", "interrupted", 1)] == await it.letters()


async def test_nobody_has_to_touch_a_session_for_its_messages_to_run_after_a_death(place: Place) -> None:
    desk = Desk(closed={"first"})
    async with life(place, desk) as it:
        for _ in range(20):
            other = await it.runtime.create(Clerk)
            await other.tell(Note(text="first"))
            await other.tell(Note(text="second"))
        await until(lambda: len(desk.began) == 20)
        it.kill()
    desk.began.clear()
    async with life(place, desk) as it:
        await until(lambda: len(desk.began) == 20)
        assert {"second"} == set(desk.began)
        await until(lambda: it.stat("turns_done") == 20)
        assert 20 == len(await it.letters())


async def test_priority_is_kept_over_a_death(place: Place) -> None:
    desk = Desk(closed={"first"})
    async with life(place, desk) as it:
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        for number in range(2):
            await clerk.tell(Note(text=f"low {number}"), priority="low")
            await clerk.tell(Note(text=f"normal {number}"))
            await clerk.tell(Note(text=f"high {number}"), priority="high")
        await until(lambda: desk.began)
        it.kill()
    desk.began.clear()
    async with life(place, desk) as it:
        await until(lambda: len(desk.began) == 6)
        assert desk.began[0] == "high 0"
        assert [text for text in desk.began if text.startswith("high")] == ["high 0", "high 1"]
        assert [text for text in desk.began if text.startswith("low")] == ["low 0", "low 1"]
        assert desk.began.index("high 1") < desk.began.index("low 1")


async def test_a_message_begins_only_when_its_attempt_is_durable(place: Place) -> None:
    """Creation, first, second, end of first, mark of second: the fifth write is the mark."""
    desk = Desk(closed={"first"})
    async with life(place, desk, FaultPoint("commit", 5, "before", "stall")) as it:
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        await until(lambda: desk.began)
        second = await clerk.tell(Note(text="second"))
        desk.open()
        await it.store.wait_until_stalled()
        await anyio.sleep(0.003)
        assert (["first"], "queued") == (desk.began, await second.status())
        it.store.release()
        assert 2 == await second.wait(5)


@pytest.mark.parametrize("message", [Note, Stubborn])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_death_right_at_the_mark_leaves_it_begun_or_not(
    place: Place, when: str, message: type[Note] | type[Stubborn]
) -> None:
    desk = Desk(closed={"first"})
    async with life(place, desk, FaultPoint("commit", 5, when, "die")) as it:  # type: ignore[arg-type]  # pyright: ignore
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        await until(lambda: desk.began)
        second = await clerk.tell(message(text="second"))
        desk.open()
        await until(lambda: it.store.is_dead)
    assert ["first"] == desk.began, "its handler ran though nobody knows that its attempt is durable"
    async with life(place, desk) as it:
        clerk = await it.clerk()
        second = await clerk.receipt(turn=second.turn)
        if when == "after" and message is Note:
            with pytest.raises(TurnInterrupted):
                await second.wait(5)
            assert (["first"], ["first"]) == (desk.began, await lines_of(clerk))
            assert [("note", "interrupted", 1)] == await it.letters()
        else:
            assert 2 == await second.wait(5)
            assert (["first", "second"], []) == (desk.began, await it.letters())
            assert desk.attempts[-1] == (1 if when == "before" else 2)


async def test_the_one_that_ran_is_tried_again_as_often_as_its_policy_says(place: Place) -> None:
    desk = Desk(closed={"it"})
    async with life(place, desk) as it:
        receipt = await (await it.clerk()).tell(Stubborn(text="it"))
        await until(lambda: desk.began)
        it.kill()
    for number in (2, 3):
        async with life(place, desk) as it:
            await until(partial(desk.has_begun, number))
            it.kill()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        with pytest.raises(TurnInterrupted):
            await (await clerk.receipt(turn=receipt.turn)).wait(5)

        assert ([1, 2, 3], ["it"] * 3) == (desk.attempts, desk.began)
        assert [("stubborn", "crashed", 3)] == await it.letters()
        assert (["it: crash 3"], []) == (await cut_of(clerk), await lines_of(clerk))


async def test_a_second_attempt_appends_under_the_id_of_its_turn_once(place: Place) -> None:
    """The commit was applied, and the process died before it knew: the reply comes from the record."""
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 3, "after", "die")) as it:
        receipt = await (await it.clerk()).tell(Stubborn(text="it"))
        await until(lambda: it.store.is_dead)
    async with life(place, desk) as it:
        clerk = await it.clerk()
        assert 1 == await (await clerk.receipt(turn=receipt.turn)).wait(5)
        assert (["it"], ["it"]) == (desk.began, await lines_of(clerk))
