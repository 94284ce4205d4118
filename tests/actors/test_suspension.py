"""A suspended actor: control runs, users wait, deadlines pass."""

from typing import Any

import anyio
import pytest

from salon_actors import MailboxFull, Phase
from tests.actors.stage import TurnLost, actor, notes, says, settle, staged, waits
from tests.actors.test_waiting import fails, stubborn


async def test_a_suspended_actor_takes_no_user_and_goes_on_in_order_when_resumed() -> None:
    async with staged() as stage:
        order, one, other = list[Any](), actor(), actor()
        stage.scheduler.suspend(one)
        for number in range(3):
            stage.submit(one, notes(order, number))
        assert await stage.submit(other, says("innocent")) == "innocent"
        await settle()
        assert ([], Phase.SUSPENDED, 3, True) == (order, one.phase, one.depth, one.is_suspended)
        stage.scheduler.resume(one)
        await stage.scheduler.wait_idle()

        assert ([0, 1, 2], True, False) == (order, one.is_idle, one.is_suspended)


async def test_the_message_that_woke_the_actor_waits_when_it_is_suspended_before_a_worker_comes() -> None:
    async with staged() as stage:
        order, one = list[Any](), actor()
        stage.submit(one, notes(order, "first"))
        stage.scheduler.suspend(one)
        await settle()
        assert ([], Phase.SUSPENDED) == (order, one.phase)
        await stage.scheduler.wait_idle()
        stage.scheduler.resume(one)
        await stage.scheduler.wait_idle()

        assert ["first"] == order


async def test_an_actor_resumed_before_a_worker_comes_loses_nothing() -> None:
    async with staged() as stage:
        order, one = list[Any](), actor()
        stage.submit(one, notes(order, "first"))
        stage.scheduler.suspend(one)
        stage.scheduler.resume(one)
        await stage.scheduler.wait_idle()

        assert ["first"] == order
        assert one.is_idle


async def test_control_runs_for_a_suspended_actor_and_leaves_it_suspended() -> None:
    async with staged() as stage:
        order, one = list[Any](), actor()
        stage.scheduler.suspend(one)
        stage.submit(one, notes(order, "user"))
        await stage.submit_control(one, notes(order, "control 1"))
        await stage.submit_control(one, notes(order, "control 2"))
        await settle()
        assert (["control 1", "control 2"], Phase.SUSPENDED) == (order, one.phase)
        stage.scheduler.resume(one)
        await stage.scheduler.wait_idle()

        assert ["control 1", "control 2", "user"] == order


async def test_a_turn_that_runs_goes_on_and_the_next_one_waits() -> None:
    async with staged() as stage:
        order, go, one = list[Any](), anyio.Event(), actor()
        running = stage.submit(one, waits(go, "ran"))
        stage.submit(one, notes(order, "next"))
        await settle()
        stage.scheduler.suspend(one)
        go.set()
        assert await running == "ran"
        await settle()
        assert ([], Phase.SUSPENDED) == (order, one.phase)
        stage.scheduler.resume(one)
        await stage.scheduler.wait_idle()

        assert ["next"] == order


@pytest.mark.parametrize("waiting", [0, 1])
async def test_a_held_actor_may_be_suspended_and_is_so_when_it_is_released(waiting: int) -> None:
    async with staged() as stage:
        order, one = list[Any](), actor()
        stage.play.holds = True
        await stage.submit(one, says("held"))
        for number in range(waiting):
            stage.submit(one, notes(order, number))
        stage.play.holds = False
        stage.scheduler.suspend(one)
        assert one.phase is Phase.HELD
        stage.scheduler.release(one)
        await settle()
        assert ([], Phase.SUSPENDED) == (order, one.phase)
        stage.scheduler.resume(one)
        await stage.scheduler.wait_idle()

        assert list(range(waiting)) == order
        assert one.is_idle


async def test_what_waits_for_a_suspended_actor_expires_in_time() -> None:
    async with staged(mailbox_messages_max=1) as stage:
        one = actor()
        reply = stage.submit(one, says("late"), within_s=1)
        stage.scheduler.suspend(one)
        with pytest.raises(MailboxFull):
            stage.submit(one, says("too much"))
        await stage.clock.advance(1.1)
        with pytest.raises(TurnLost, match="expired while waiting"):
            await reply
        assert one.is_suspended

        late_too = stage.submit(one, says("late too"), within_s=1)
        await stage.clock.advance(1.1)
        with pytest.raises(TurnLost, match="expired while waiting"):
            await late_too
        stage.scheduler.resume(one)
        assert one.is_idle


async def test_a_suspended_actor_without_messages_wakes_nobody() -> None:
    async with staged() as stage:
        one = actor()
        stage.scheduler.suspend(one)
        await stage.submit_control(one, says("control"))
        await stage.clock.advance(1)
        sleeps = stage.clock.sleeps
        await stage.clock.advance(1)

        assert (sleeps, 0) == (stage.clock.sleeps, stage.clock.sleepers)
        assert one.is_suspended


async def test_a_turn_may_suspend_its_own_actor_and_put_itself_back_for_later() -> None:
    async with stubborn() as (stage, play):
        order, one = list[Any](), actor()
        play.backs_off = True
        reply = stage.submit(one, fails(order, 2))
        later = stage.submit(one, notes(order, "later"))
        for attempt in (1, 2):
            await settle()
            assert (["try"] * attempt, Phase.SUSPENDED, 2) == (order, one.phase, one.depth)
            stage.scheduler.resume(one)
        await reply
        await later

        assert ["try", "try", "try", "later"] == order


async def test_suspending_and_resuming_twice_is_harmless() -> None:
    async with staged() as stage:
        one = actor()
        stage.scheduler.resume(one)
        stage.scheduler.suspend(one)
        stage.scheduler.suspend(one)
        reply = stage.submit(one, says("hello"))
        stage.scheduler.resume(one)
        stage.scheduler.resume(one)

        assert await reply == "hello"
        await stage.scheduler.wait_idle()
        assert one.is_idle


async def test_a_message_withdrawn_from_a_suspended_actor_leaves_it_suspended() -> None:
    async with staged() as stage:
        one = actor()
        gone = stage.envelope(says("gone"))
        stage.scheduler.suspend(one)
        stage.scheduler.submit(one, gone)
        assert stage.scheduler.withdraw(one, gone)
        later = stage.submit(one, says("later"))
        await settle()
        assert not later.done()
        stage.scheduler.resume(one)

        assert await later == "later"


async def test_closing_abandons_what_waits_for_a_suspended_actor() -> None:
    async with staged() as stage:
        one, empty = actor(), actor()
        stage.scheduler.suspend(one)
        stage.scheduler.suspend(empty)
        reply = stage.submit(one, says("never"))
        await stage.scheduler.close()
        with pytest.raises(TurnLost, match="abandoned"):
            await reply
        stage.scheduler.resume(empty)

        assert (Phase.IDLE, Phase.IDLE, (0, 0)) == (one.phase, empty.phase, stage.scheduler.totals)
