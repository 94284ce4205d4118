"""Order, concurrency, detachment, holding: what the scheduler promises when nothing goes wrong."""

import logging
from collections import deque
from itertools import pairwise

import anyio
import pytest
from anyio.lowlevel import checkpoint

from salon_actors import CLOSED, Cancelled, MailboxFull, Phase, Promise, Scheduler, SchedulerClosed, current_host_loop
from tests.actors.stage import (
    Handler,
    Play,
    Someone,
    Stage,
    StillClock,
    TurnLost,
    actor,
    notes,
    says,
    settle,
    staged,
    waits,
)


async def test_a_message_gets_the_reply_of_its_handler() -> None:
    async with staged() as stage:
        assert await stage.submit(actor(), says("hello")) == "hello"


async def test_messages_of_one_actor_run_in_order_and_one_at_a_time() -> None:
    events: list[str] = []

    async with staged() as stage:
        one = actor()

        def numbered(number: int) -> Handler:
            async def handler() -> int:
                events.append(f"begin {number}")
                for _ in range(number % 3):
                    await checkpoint()
                events.append(f"end {number}")
                return number

            return handler

        replies = [stage.submit(one, numbered(number)) for number in range(20)]

        assert [await reply for reply in replies] == list(range(20))
    assert events == [f"{what} {number}" for number in range(20) for what in ("begin", "end")]


async def test_a_handler_that_suspends_does_not_hold_the_other_actors() -> None:
    async with staged() as stage:
        never = anyio.Event()
        slow = [stage.submit(actor(), waits(never, "slow")) for _ in range(5)]
        quick = [stage.submit(actor(), says(number)) for number in range(5)]

        assert [await reply for reply in quick] == [0, 1, 2, 3, 4]
        assert not any(reply.done() for reply in slow)
        never.set()
        assert [await reply for reply in slow] == ["slow"] * 5


async def test_handlers_that_do_not_suspend_share_one_step_of_one_worker() -> None:
    async with staged() as stage:
        tasks = set[int]()

        async def handler() -> None:
            tasks.add(anyio.get_current_task().id)

        replies = [stage.submit(actor(), handler) for _ in range(100)]
        for reply in replies:
            await reply

        assert 1 == len(tasks)
        assert stage.scheduler.worker_count <= 2


async def test_a_worker_lets_the_loop_run_after_its_budget() -> None:
    async with staged() as stage:
        done = 0

        async def handler() -> None:
            nonlocal done
            done += 1

        for _ in range(2000):
            stage.submit(actor(), handler)
        seen = [done]
        while done < 2000:
            await checkpoint()
            seen.append(done)

        assert max(after - before for before, after in pairwise(seen)) <= 2 * 256


async def test_actors_take_turns_however_full_one_mailbox_is() -> None:
    async with staged(mailbox_messages_max=1000) as stage:
        order: list[str] = []
        greedy, modest = actor(), actor()

        for _ in range(500):
            stage.submit(greedy, notes(order, "greedy"))
        await stage.submit(modest, notes(order, "modest"))

        assert order.index("modest") <= 2
        await stage.scheduler.wait_idle()
        assert 501 == len(order)


async def test_cancelling_the_caller_never_cancels_the_handler() -> None:
    async with staged() as stage:
        ended = anyio.Event()
        go = anyio.Event()

        async def handler() -> str:
            await go.wait()
            await checkpoint()
            ended.set()
            return "done"

        reply = stage.submit(actor(), handler)
        with anyio.move_on_after(0.005) as scope:
            await reply
        assert scope.cancelled_caught
        assert not ended.is_set()
        go.set()
        await ended.wait()

        assert await reply == "done"


async def test_the_next_message_waits_while_the_turn_is_held() -> None:
    async with staged() as stage:
        one, other = actor(), actor()
        stage.play.holds = True
        assert await stage.submit(one, says(1)) == 1
        second = stage.submit(one, says(2))
        assert await stage.submit(other, says(3)) == 3
        await settle()

        assert not second.done()
        assert (Phase.HELD, Phase.HELD) == (one.phase, other.phase)
        assert 2 == stage.scheduler.held_count
        stage.scheduler.release(one)
        assert await second == 2
        stage.scheduler.release(one)
        stage.scheduler.release(other)
        assert one.is_idle
        assert other.is_idle


async def test_control_goes_ahead_of_users_and_in_its_own_order() -> None:
    async with staged() as stage:
        one, go, order = actor(), anyio.Event(), list[str]()

        stage.submit(one, waits(go))
        await settle()
        for name in ("user 1", "user 2"):
            stage.submit(one, notes(order, name))
        for name in ("control 1", "control 2"):
            stage.submit_control(one, notes(order, name))
        go.set()
        await stage.scheduler.wait_idle()

        assert ["control 1", "control 2", "user 1", "user 2"] == order


async def test_control_goes_ahead_of_the_message_that_woke_the_actor() -> None:
    async with staged() as stage:
        one, order = actor(), list[str]()

        stage.submit(one, notes(order, "user"))
        stage.submit_control(one, notes(order, "control"))
        await stage.scheduler.wait_idle()

        assert ["control", "user"] == order


async def test_a_full_mailbox_refuses_users_and_takes_control() -> None:
    async with staged(mailbox_messages_max=2) as stage:
        one, go = actor(), anyio.Event()
        running = stage.submit(one, waits(go))
        await settle()
        waiting = [stage.submit(one, says(number)) for number in (1, 2)]

        with pytest.raises(MailboxFull) as refused:
            stage.submit(one, says("too many"))
        assert (2, 2) == (refused.value.depth, refused.value.bound)
        control = stage.submit_control(one, says("control"))
        go.set()
        await running
        assert [await reply for reply in (control, *waiting)] == ["control", 1, 2]
        assert await stage.submit(one, says("again")) == "again"


async def test_wait_idle_returns_when_nothing_is_ready_running_or_held() -> None:
    async with staged() as stage:
        one, go, idle = actor(), anyio.Event(), anyio.Event()
        await stage.scheduler.wait_idle()
        stage.play.holds = True
        stage.submit(one, waits(go))

        async def waiter() -> None:
            await stage.scheduler.wait_idle()
            idle.set()

        async with anyio.create_task_group() as group:
            group.start_soon(waiter)
            await settle()
            assert not idle.is_set()
            go.set()
            await settle()
            assert Phase.HELD is one.phase
            assert not idle.is_set()
            stage.scheduler.release(one)
            await idle.wait()

        assert stage.scheduler.is_idle


async def test_running_turns_are_listed_with_their_start() -> None:
    async with staged() as stage:
        one, go = actor(), anyio.Event()
        stage.submit(one, waits(go))
        await settle()

        (turn,) = stage.scheduler.running()

        assert (one, stage.clock.now, None) == (turn.actor, turn.started_at, turn.cancelled)
        go.set()
        await stage.scheduler.wait_idle()
        assert [] == stage.scheduler.running()


async def test_the_choice_among_ready_actors_is_an_argument() -> None:
    class LastFirst(deque[Someone]):
        def popleft(self) -> Someone:
            return self.pop()

    async with staged(LastFirst()) as stage:
        order: list[int] = []

        for number in range(5):
            stage.submit(actor(), notes(order, number))
        await stage.scheduler.wait_idle()

        assert [4, 3, 2, 1, 0] == order


async def test_closing_cancels_what_runs_and_abandons_what_waits() -> None:
    async with staged() as stage:
        one, ready = actor(), actor()
        running = stage.submit(one, waits(anyio.Event()))
        await settle()
        waiting = stage.submit(one, says("never"))
        just_ready = stage.submit(ready, says("never"))
        await stage.scheduler.close()

        with pytest.raises(TurnLost) as lost:
            await running
        assert isinstance(lost.value.ending, Cancelled)
        assert CLOSED == lost.value.ending.reason
        with pytest.raises(TurnLost, match="abandoned"):
            await waiting
        assert just_ready.done()
        with pytest.raises(SchedulerClosed):
            stage.submit(one, says("late"))
        assert one.is_idle
        assert ready.is_idle


async def test_open_and_close_may_be_called_from_different_tasks() -> None:
    host = current_host_loop()
    scheduler = Scheduler(host, StillClock(), Play())
    for step in (scheduler.open, scheduler.close):
        async with anyio.create_task_group() as group:
            group.start_soon(step)
    await scheduler.close()
    await host.close()

    with pytest.raises(SchedulerClosed):
        scheduler.submit(actor(), None)  # type: ignore[arg-type]


async def test_a_behaviour_that_raises_in_finish_costs_only_its_own_turn(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise ZeroDivisionError

    async with staged() as stage:
        with monkeypatch.context() as patch, caplog.at_level(logging.CRITICAL, logger="salon_actors"):
            patch.setattr(stage.play, "finish", fail)
            one = actor()
            stage.submit(one, says(1))
            await settle()

        assert one.is_idle
        assert await stage.submit(one, says(2)) == 2


async def test_a_cancelled_host_body_does_not_cut_turns() -> None:
    go = anyio.Event()
    stages = list[Stage]()
    replies = list[Promise[object]]()

    async def body() -> None:
        stage = Stage()
        stages.append(stage)
        await stage.scheduler.open()
        replies.append(stage.submit(actor(), waits(go, "whole")))
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(body)
        await settle()
        group.cancel_scope.cancel()
    await settle()
    assert not replies[0].done()
    go.set()

    assert await replies[0] == "whole"
    await stages[0].scheduler.close()
    await stages[0].host.close()


async def test_cancelling_close_stops_only_the_waiting() -> None:
    async with staged() as stage:
        go, cleaned = anyio.Event(), anyio.Event()

        async def handler() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await go.wait()
                cleaned.set()

        stage.submit(actor(), handler)
        await settle()
        with anyio.move_on_after(0.002) as scope:
            await stage.scheduler.close()
        assert scope.cancelled_caught
        assert not cleaned.is_set()
        go.set()
        await stage.scheduler.close()

        assert cleaned.is_set()
        assert 0 == stage.scheduler.worker_count


async def test_waiting_for_idleness_ends_when_the_scheduler_closes() -> None:
    async with staged() as stage:
        stage.play.holds = True
        await stage.submit(actor(), says(1))
        ended = anyio.Event()

        async def waiter() -> None:
            with pytest.raises(SchedulerClosed):
                await stage.scheduler.wait_idle()
            ended.set()

        async with anyio.create_task_group() as group:
            group.start_soon(waiter)
            await settle()
            await stage.scheduler.close()

        assert ended.is_set()


async def test_a_thousand_turns_that_suspend_begin_within_a_few_steps_and_leave_few_workers() -> None:
    async with staged() as stage:
        go = anyio.Event()
        replies = [stage.submit(actor(), waits(go, number)) for number in range(1000)]
        await settle()
        assert 1000 == len(stage.scheduler.running())
        go.set()

        assert [await reply for reply in replies] == list(range(1000))
        await settle()
        assert 256 >= stage.scheduler.worker_count > 0


async def test_two_schedulers_on_one_loop_do_not_know_each_other() -> None:
    async with staged() as one, staged() as other:
        go = anyio.Event()
        blocked = one.submit(actor(), waits(go))
        assert await other.submit(actor(), says("free")) == "free"
        await other.scheduler.close()
        assert not blocked.done()
        go.set()
        await blocked


async def test_a_held_actor_must_be_held_to_be_released() -> None:
    async with staged() as stage:
        with pytest.raises(AssertionError, match="idle"):
            stage.scheduler.release(actor())
