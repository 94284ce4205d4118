"""The bound on turns that are under way at once."""

from collections import deque
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from salon_actors import Phase
from tests.actors.stage import Handler, Someone, Stage, TurnLost, actor, notes, says, settle, staged, waits


class Crowd:
    """Handlers that wait until they may go, and how many of them are there at once."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.begun = 0
        self.go = anyio.Event()

    def member(self) -> Handler:
        async def handler() -> None:
            self.inside += 1
            self.begun += 1
            self.most = max(self.most, self.inside)
            await self.go.wait()
            await checkpoint()
            self.inside -= 1

        return handler


def asks(stage: Stage, one: Someone, other: Someone, handler: Handler, order: list[Any]) -> Handler:
    """A handler of `one` that waits for a turn of `other` without a slot."""

    async def ask() -> object:
        stage.scheduler.give_up_slot(one)
        try:
            value = await stage.submit(other, handler)
        finally:
            stage.scheduler.regain_slot(one)
        order.append(value)
        return value

    return ask


async def test_no_more_turns_than_there_are_slots_are_under_way_and_all_of_them_come_to_an_end() -> None:
    async with staged(turns_max=3) as stage:
        crowd = Crowd()
        replies = [stage.submit(actor(), crowd.member()) for _ in range(20)]
        await settle()
        assert (3, 3, 3) == (crowd.begun, crowd.inside, stage.scheduler.slots_taken)
        assert 17 == stage.scheduler.ready_count
        crowd.go.set()
        for reply in replies:
            await reply

        assert (20, 3) == (crowd.begun, crowd.most)
        await stage.scheduler.wait_idle()
        assert 0 == stage.scheduler.slots_taken


async def test_turns_that_never_suspend_need_no_slot_of_their_own() -> None:
    async with staged(turns_max=1) as stage:
        replies = [stage.submit(actor(), says(number)) for number in range(100)]

        assert [await reply for reply in replies] == list(range(100))
        assert stage.scheduler.worker_count <= 2


async def test_without_a_bound_any_number_is_under_way() -> None:
    async with staged() as stage:
        crowd = Crowd()
        for _ in range(300):
            stage.submit(actor(), crowd.member())
        await settle()

        assert 300 == crowd.inside == stage.scheduler.slots_taken
        crowd.go.set()
        await stage.scheduler.wait_idle()


async def test_a_turn_that_waits_for_another_lends_it_its_slot() -> None:
    async with staged(turns_max=1) as stage:
        order = list[Any]()
        one, other, third = actor(), actor(), actor()
        reply = stage.submit(one, asks(stage, one, other, asks(stage, other, third, says("deep"), order), order))

        assert await reply == "deep"
        assert ["deep", "deep"] == order
        await stage.scheduler.wait_idle()
        assert 0 == stage.scheduler.slots_taken


async def test_many_chains_of_turns_that_wait_for_each_other_never_block_each_other() -> None:
    async with staged(turns_max=2) as stage:
        order = list[Any]()

        async def slow() -> str:
            await checkpoint()
            return "deep"

        def chain(length: int) -> tuple[Someone, Handler]:
            one = actor()
            if not length:
                return one, slow
            other, inner = chain(length - 1)
            return one, asks(stage, one, other, inner, order)

        replies = [stage.submit(*chain(4)) for _ in range(10)]
        with anyio.fail_after(5):
            assert ["deep"] * 10 == [await reply for reply in replies]

        await stage.scheduler.wait_idle()
        assert (40, 0) == (len(order), stage.scheduler.slots_taken)


async def test_a_regained_slot_may_exceed_the_bound_and_the_next_turn_waits_for_it() -> None:
    async with staged(turns_max=1) as stage:
        asked, back, lent, one, late = anyio.Event(), anyio.Event(), anyio.Event(), actor(), list[Any]()

        async def away() -> None:
            stage.scheduler.give_up_slot(one)
            await asked.wait()
            stage.scheduler.regain_slot(one)
            await back.wait()

        stage.submit(one, away)
        await settle()
        borrower = stage.submit(actor(), waits(lent))
        await settle()
        assert 1 == stage.scheduler.slots_taken
        asked.set()
        await settle()
        assert 2 == stage.scheduler.slots_taken, "it goes on without waiting"
        stage.submit(actor(), notes(late, "late"))
        lent.set()
        await borrower
        await settle()
        assert (1, []) == (stage.scheduler.slots_taken, late)
        back.set()
        await stage.scheduler.wait_idle()

        assert (0, ["late"]) == (stage.scheduler.slots_taken, late)


async def test_a_turn_that_waits_for_several_at_once_has_its_slot_back_with_the_last() -> None:
    async with staged(turns_max=1) as stage:
        one, first, second, end = actor(), anyio.Event(), anyio.Event(), anyio.Event()

        async def ask(event: anyio.Event) -> None:
            stage.scheduler.give_up_slot(one)
            await event.wait()
            stage.scheduler.regain_slot(one)

        async def handler() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(ask, first)
                group.start_soon(ask, second)
            await end.wait()

        stage.submit(one, handler)
        await settle()
        assert 0 == stage.scheduler.slots_taken
        first.set()
        await settle()
        assert 0 == stage.scheduler.slots_taken
        second.set()
        await settle()
        assert 1 == stage.scheduler.slots_taken
        end.set()
        await stage.scheduler.wait_idle()
        assert 0 == stage.scheduler.slots_taken


async def test_a_slot_comes_back_however_its_turn_ends(sight: str, quiet: None) -> None:
    async with staged(turns_max=2) as stage:

        async def raises() -> None:
            await checkpoint()
            raise ValueError

        async def leaves_for_good() -> None:
            stage.scheduler.give_up_slot(cancelled)
            await anyio.sleep_forever()

        cancelled, innocent = actor(), 0
        for _ in range(5):
            failed = stage.submit(actor(), raises)
            away = stage.submit(cancelled, leaves_for_good)
            late = stage.submit(actor(), waits(anyio.Event()), within_s=1)
            await settle()
            stage.scheduler.cancel(cancelled, "stop")
            await stage.clock.advance(1.1)
            for reply, error in [(failed, ValueError), (away, TurnLost), (late, TurnLost)]:
                with pytest.raises(error):
                    await reply
            await settle()
            assert 0 == stage.scheduler.slots_taken
            innocent += await stage.submit(actor(), says(1))

        assert 5 == innocent


async def test_what_no_slot_is_free_for_expires_in_time() -> None:
    async with staged(turns_max=1) as stage:
        go, one = anyio.Event(), actor()
        stage.submit(actor(), waits(go))
        await settle()
        late = stage.submit(one, says("late"), within_s=1)
        patient = stage.submit(actor(), says("patient"))
        await stage.clock.advance(1.1)

        assert late.done()
        with pytest.raises(TurnLost, match="expired while waiting"):
            await late
        assert not patient.done()
        go.set()
        assert await patient == "patient"
        await stage.scheduler.wait_idle()
        assert one.is_idle


async def test_a_turn_that_is_stuck_gives_up_its_slot() -> None:
    async with staged(turns_max=1, stuck_after_s=30) as stage:
        go, one = anyio.Event(), actor()

        async def resists() -> None:
            with anyio.CancelScope(shield=True):
                await go.wait()

        stage.submit(one, resists)
        await settle()
        innocent = stage.submit(actor(), says("innocent"))
        stage.scheduler.cancel(one, "stop")
        await stage.clock.advance(29)
        assert not innocent.done()
        await stage.clock.advance(2)
        told, phase = innocent.done(), one.phase
        go.set()

        assert told
        assert await innocent == "innocent"
        assert Phase.RUNNING is phase
        await stage.scheduler.wait_idle()
        assert 0 == stage.scheduler.slots_taken


async def test_control_waits_for_a_slot_as_well() -> None:
    async with staged(turns_max=1) as stage:
        order, go = list[Any](), anyio.Event()
        stage.submit(actor(), waits(go))
        await settle()
        control = stage.submit_control(actor(), notes(order, "control"))
        await settle()
        assert [] == order
        go.set()
        await control

        assert ["control"] == order


async def test_an_actor_whose_turn_is_over_has_no_slot_to_give_up() -> None:
    async with staged(turns_max=1) as stage:
        one = actor()
        await stage.submit(one, says("over"))
        stage.scheduler.give_up_slot(one)
        stage.scheduler.regain_slot(one)
        stage.scheduler.regain_slot(one)

        assert 0 == stage.scheduler.slots_taken
        assert await stage.submit(one, says("next")) == "next"


async def test_nothing_is_lost_where_the_choice_among_ready_actors_is_not_the_order() -> None:
    class LastFirst(deque[Someone]):
        def popleft(self) -> Someone:
            return self.pop()

    async with staged(LastFirst(), turns_max=1) as stage:
        order, go = list[Any](), anyio.Event()
        stage.submit(actor(), waits(go))
        await settle()
        for number in range(5):
            stage.submit(actor(), notes(order, number))
        await stage.clock.advance(1)
        go.set()
        await stage.scheduler.wait_idle()

        assert [0, 1, 2, 3, 4] == sorted(order)


async def test_closing_while_no_slot_is_free_abandons_who_waits_for_one() -> None:
    async with staged(turns_max=1) as stage:
        replies = [stage.submit(actor(), waits(anyio.Event())) for _ in range(3)]
        await settle()
        await stage.scheduler.close()

        for reply in replies:
            with pytest.raises(TurnLost):
                await reply
        assert 0 == stage.scheduler.slots_taken
