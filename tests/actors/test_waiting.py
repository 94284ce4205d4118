"""What waits for its turn: in which order, taken out, put back, counted."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from salon_actors import HIGH, LOW, NORMAL, Ending, Envelope, MailboxFull, Returned
from tests.actors.stage import (
    Handler,
    Play,
    Someone,
    Stage,
    Troupe,
    TurnLost,
    actor,
    notes,
    says,
    settle,
    staged,
    waits,
)


async def test_priorities_are_served_by_weight_and_first_come_within_each() -> None:
    async with staged() as stage:
        order, go, one = list[Any](), anyio.Event(), actor()
        stage.submit(one, waits(go))
        await settle()
        for number in range(8):
            for priority in (LOW, NORMAL, HIGH):
                stage.submit(one, notes(order, (priority, number)), priority=priority)
        go.set()
        await stage.scheduler.wait_idle()

        assert 24 == len(order)
        for priority in (HIGH, NORMAL, LOW):
            assert list(range(8)) == [number for of, number in order if of == priority]
        assert [4, 2, 1] == [[of for of, _ in order[:7]].count(priority) for priority in (HIGH, NORMAL, LOW)]


async def test_the_message_that_woke_the_actor_can_be_overtaken_until_a_worker_comes() -> None:
    async with staged() as stage:
        order, one = list[Any](), actor()
        stage.submit(one, notes(order, "low"), priority=LOW)
        stage.submit(one, notes(order, "high"), priority=HIGH)
        await stage.scheduler.wait_idle()

        assert ["high", "low"] == order


async def test_what_waits_is_listed_in_the_order_in_which_it_runs() -> None:
    async with staged() as stage:
        order, go, one = list[Any](), anyio.Event(), actor()
        assert [] == stage.scheduler.waiting(one)
        alone = stage.envelope(waits(go))
        stage.scheduler.submit(one, alone)
        assert [alone] == stage.scheduler.waiting(one)
        await settle()
        for number, priority in enumerate([LOW, LOW, NORMAL, HIGH, NORMAL, HIGH, HIGH, HIGH, HIGH, HIGH]):
            stage.submit(one, notes(order, number), priority=priority)
        stage.submit_control(one, notes(order, "control"))
        listed = [each.message for each in stage.scheduler.waiting(one)]
        assert 11 == len(listed)
        go.set()
        await stage.scheduler.wait_idle()
        foreseen, order[:] = order[:], []
        for handler in listed:
            await handler()  # type: ignore[operator]

        assert order == foreseen
        assert "control" == order[0]


@pytest.mark.parametrize("place", ["first", "behind a turn", "behind another"])
async def test_a_withdrawn_message_never_runs_and_leaves_the_others_alone(place: str) -> None:
    async with staged() as stage:
        order, go, one = list[Any](), anyio.Event(), actor()
        if place == "behind a turn":
            stage.submit(one, waits(go))
            await settle()
        if place == "behind another":
            stage.submit(one, notes(order, "earlier"))
        gone = stage.envelope(notes(order, "gone"))
        stage.scheduler.submit(one, gone)
        if place != "first":
            stage.submit(one, notes(order, "later"))

        assert stage.scheduler.withdraw(one, gone)
        assert not stage.scheduler.withdraw(one, gone)
        assert gone not in stage.scheduler.waiting(one)
        go.set()
        await stage.scheduler.wait_idle()

        assert {"first": [], "behind a turn": ["later"], "behind another": ["earlier", "later"]}[place] == order
        assert (0, 0) == stage.scheduler.totals
        assert one.is_idle
        assert await stage.submit(one, says("alive")) == "alive"


async def test_a_message_that_runs_or_is_over_cannot_be_withdrawn() -> None:
    async with staged() as stage:
        go, one, other = anyio.Event(), actor(), actor()
        running = stage.envelope(waits(go, "done"))
        stage.scheduler.submit(one, running)
        await settle()

        assert not stage.scheduler.withdraw(one, running)
        assert not stage.scheduler.withdraw(other, running)
        go.set()
        assert await stage.reply_to(running) == "done"
        assert not stage.scheduler.withdraw(one, running)


async def test_withdrawing_makes_room() -> None:
    async with staged(mailbox_messages_max=1) as stage:
        one = actor()
        old = stage.envelope(says("old"))
        stage.scheduler.submit(one, old)
        with pytest.raises(MailboxFull):
            stage.submit(one, says("new"))

        assert stage.scheduler.oldest(one) is old
        assert stage.scheduler.withdraw(one, old)
        assert await stage.submit(one, says("new")) == "new"


async def test_what_was_accepted_earlier_is_never_refused() -> None:
    async with staged(mailbox_messages_max=1) as stage:
        order, one = list[Any](), actor()
        for number in range(5):
            stage.scheduler.submit(one, stage.envelope(notes(order, number)), bounded=False)
        assert 5 == one.depth
        with pytest.raises(MailboxFull):
            stage.submit(one, notes(order, "new"))
        await stage.scheduler.wait_idle()

        assert [0, 1, 2, 3, 4] == order


class Stubborn(Play):
    """Puts a turn that has failed back, until it has failed often enough."""

    scheduler: Troupe

    def __init__(self, attempts_max: int = 4) -> None:
        super().__init__()
        self.attempts_max = attempts_max
        self.attempts = 0
        self.backs_off = False

    def finish(self, one: Someone, envelope: Envelope, ending: Ending, /) -> bool:
        if isinstance(ending, Returned):
            return super().finish(one, envelope, ending)
        self.attempts += 1
        if self.attempts == self.attempts_max:
            return super().finish(one, envelope, ending)
        if self.backs_off:
            self.scheduler.suspend(one)
        self.scheduler.put_back(one, envelope)
        return not self.holds


@asynccontextmanager
async def stubborn(**bounds: Any) -> AsyncGenerator[tuple[Stage, Stubborn]]:
    play = Stubborn()
    async with staged(play=play, **bounds) as stage:
        play.scheduler = stage.scheduler
        yield stage, play


def fails(order: list[Any], times: int) -> Handler:
    """A handler that fails so many times."""

    async def handler() -> None:
        order.append("try")
        if order.count("try") <= times:
            raise ValueError

    return handler


@pytest.mark.parametrize("others", [0, 2])
async def test_a_message_put_back_by_its_own_turn_runs_next(others: int) -> None:
    async with stubborn() as (stage, _):
        order, one = list[Any](), actor()
        reply = stage.submit(one, fails(order, 3))
        for number in range(others):
            stage.submit(one, notes(order, number))
        await reply
        await stage.scheduler.wait_idle()

        assert ["try"] * 4 + list(range(others)) == order
        assert one.is_idle
        assert (0, 0) == stage.scheduler.totals


async def test_a_retry_stays_ahead_of_what_came_meanwhile_even_when_the_mailbox_is_full() -> None:
    async with stubborn(mailbox_messages_max=2) as (stage, play):
        order, one = list[Any](), actor()
        play.holds = True
        reply = stage.submit(one, fails(order, 1))
        await settle()
        assert (1, ["try"]) == (one.depth, order), "it waits behind the gate"
        later = stage.submit(one, notes(order, "later"))
        with pytest.raises(MailboxFull):
            stage.submit(one, notes(order, "too much"))
        play.holds = False
        stage.scheduler.release(one)
        await reply
        await later

        assert ["try", "try", "later"] == order


async def test_a_held_actor_takes_what_is_put_back_when_it_is_released() -> None:
    async with staged() as stage:
        order, one = list[Any](), actor()
        stage.play.holds = True
        stage.submit(one, notes(order, "held"))
        await settle()
        stage.submit(one, notes(order, "later"))
        stage.scheduler.put_back(one, stage.envelope(notes(order, "again")))
        await settle()
        assert ["held"] == order
        stage.play.holds = False
        stage.scheduler.release(one)
        await stage.scheduler.wait_idle()

        assert ["held", "again", "later"] == order


async def test_an_idle_actor_takes_what_is_put_back_at_once() -> None:
    async with staged() as stage:
        envelope = stage.envelope(says("again"))
        stage.scheduler.put_back(actor(), envelope)

        assert await stage.reply_to(envelope) == "again"


async def test_what_is_put_back_expires_like_what_waits() -> None:
    async with stubborn() as (stage, play):
        order, one = list[Any](), actor()
        play.holds = True
        reply = stage.submit(one, fails(order, 9), within_s=1)
        await settle()
        await stage.clock.advance(1.1)
        with pytest.raises(TurnLost, match="expired while waiting"):
            await reply
        stage.scheduler.release(one)

        assert ["try"] == order
        assert one.is_idle


async def test_what_a_turn_puts_back_while_the_scheduler_closes_is_abandoned() -> None:
    async with stubborn() as (stage, play):
        one = actor()
        reply = stage.submit(one, waits(anyio.Event()))
        await settle()
        await stage.scheduler.close()

        assert 1 == play.attempts, "its turn was cancelled, and it was put back"
        with pytest.raises(TurnLost, match="abandoned"):
            await reply
        assert (0, 0) == stage.scheduler.totals


async def test_totals_say_what_waits_over_all_actors_whichever_way_it_leaves() -> None:
    async with staged() as stage:
        go, one, other = anyio.Event(), actor(), actor()

        def sized(size_bytes: int, within_s: float | None = None) -> Envelope:
            return stage.envelope(waits(go), size_bytes=size_bytes, within_s=within_s)

        stage.scheduler.submit(one, sized(1))
        assert (1, 1) == stage.scheduler.totals
        await settle()
        assert (0, 0) == stage.scheduler.totals, "what runs does not wait"
        late, gone, again = sized(10, within_s=1), sized(100), sized(1000)
        for each in (late, gone):
            stage.scheduler.submit(one, each)
        stage.scheduler.submit_control(one, sized(5))
        stage.scheduler.put_back(one, again)
        stage.scheduler.submit(other, sized(10_000))
        assert (4, 11_110) == stage.scheduler.totals
        assert (3, 1110, 10_000) == (one.depth, one.waiting_bytes, other.waiting_bytes)
        await stage.clock.advance(1.1)
        assert (2, 1100) == stage.scheduler.totals, "late has expired, and the other one runs"
        with pytest.raises(TurnLost):
            await stage.reply_to(late)
        stage.scheduler.withdraw(one, gone)
        assert (1, 1000) == stage.scheduler.totals
        go.set()
        await stage.scheduler.wait_idle()
        assert (0, 0) == stage.scheduler.totals
        assert 0 == one.waiting_bytes


async def test_closing_leaves_nothing_in_the_totals() -> None:
    async with staged() as stage:
        replies = [stage.submit(one, says(1)) for one in (actor(), actor()) for _ in range(3)]
        assert (6, 0) == stage.scheduler.totals
        await stage.scheduler.close()

        assert (0, 0) == stage.scheduler.totals
        assert 6 == len([reply for reply in replies if reply.done()])


async def test_the_oldest_message_and_its_age() -> None:
    async with staged() as stage:
        go, one = anyio.Event(), actor()
        assert (None, 0.0) == (stage.scheduler.oldest(one), stage.scheduler.oldest_age(one, stage.clock.now))
        stage.submit(one, waits(go))
        await settle()
        old = stage.envelope(says("old"), priority=LOW)
        stage.scheduler.submit(one, old)
        await stage.clock.advance(3)
        stage.submit(one, says("young"), priority=HIGH)
        stage.submit_control(one, says("control"))

        assert old is stage.scheduler.oldest(one)
        assert 3 == stage.scheduler.oldest_age(one, stage.clock.now)
        assert 0 == stage.scheduler.oldest_age(one, stage.clock.now - 10), "a clock that was read earlier"
        go.set()
