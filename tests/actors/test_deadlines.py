"""Deadlines are told by the tick: to what waits, to what runs, and not to what is held."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from salon_actors import CLOSED, DEADLINE, Cancelled, Phase
from tests.actors.stage import Handler, TurnLost, actor, notes, says, settle, staged, waits


def stubborn(release: anyio.Event, value: object = "too late") -> Handler:
    """A handler that shields itself from cancellation until it is released."""

    async def handler() -> object:
        with anyio.CancelScope(shield=True):
            await release.wait()
        return value

    return handler


async def test_a_running_turn_is_told_at_its_deadline_and_cancelled() -> None:
    async with staged() as stage:
        one, cleaned = actor(), anyio.Event()

        async def handler() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                cleaned.set()

        reply = stage.submit(one, handler, within_s=5)
        await stage.clock.advance(4.9)
        assert not reply.done()
        await stage.clock.advance(0.2)

        with pytest.raises(TurnLost, match="while running"):
            await reply
        assert cleaned.is_set()
        assert [("expire", one, True), ("finish", one, "Cancelled")] == stage.play.said
        (ending,) = stage.play.endings
        assert isinstance(ending, Cancelled)
        assert DEADLINE == ending.reason
        assert one.is_idle


async def test_a_deadline_is_at_most_one_tick_late() -> None:
    async with staged(tick_s=0.5) as stage:
        reply = stage.submit(actor(), waits(anyio.Event()), within_s=1.2)
        for _ in range(12):
            await stage.clock.advance(0.1)
        assert not reply.done()
        for _ in range(5):
            await stage.clock.advance(0.1)

        assert reply.done()


async def test_a_waiting_message_is_told_at_its_deadline_and_never_starts() -> None:
    async with staged() as stage:
        one, go, order = actor(), anyio.Event(), list[str]()
        stage.submit(one, waits(go))
        await settle()
        before = stage.submit(one, notes(order, "before"))
        late = stage.submit(one, notes(order, "late"), within_s=5)
        control = stage.submit_control(one, notes(order, "control"), within_s=5)
        after = stage.submit(one, notes(order, "after"), within_s=50)
        await stage.clock.advance(5)

        for reply in (late, control):
            with pytest.raises(TurnLost, match="while waiting"):
                await reply
        assert [("expire", one, False)] * 2 == stage.play.said
        assert 2 == one.depth
        go.set()
        await before
        await after
        assert ["before", "after"] == order


async def test_the_only_waiting_message_may_expire() -> None:
    async with staged() as stage:
        one, go = actor(), anyio.Event()
        running = stage.submit(one, waits(go, "ran"))
        await settle()
        late = stage.submit(one, says("never"), within_s=1)
        await stage.clock.advance(1)

        assert late.done()
        assert 0 == one.depth
        go.set()
        assert await running == "ran"
        assert one.is_idle
        assert await stage.submit(one, says("next")) == "next"


async def test_a_message_that_is_late_already_never_starts() -> None:
    async with staged() as stage:
        one = actor()
        late = stage.submit(one, says("never"), within_s=0)
        after = stage.submit(one, says("after"))

        assert await after == "after"
        with pytest.raises(TurnLost, match="while waiting"):
            await late


async def test_the_deadline_of_a_held_turn_does_nothing() -> None:
    async with staged() as stage:
        one = actor()
        stage.play.holds = True
        reply = stage.submit(one, says("done"), within_s=1)
        await settle()
        assert Phase.HELD is one.phase
        waiting = stage.submit(one, says("never"), within_s=2)
        await stage.clock.advance(60)

        assert await reply == "done"
        assert [("finish", one, "Returned"), ("expire", one, False)] == stage.play.said
        with pytest.raises(TurnLost, match="while waiting"):
            await waiting
        stage.scheduler.release(one)
        assert one.is_idle


async def test_a_deadline_that_was_moved_later_counts() -> None:
    async with staged() as stage:
        one, other, go = actor(), actor(), anyio.Event()
        running = stage.envelope(waits(go, "ran"), within_s=1)
        stage.scheduler.submit(one, running)
        stage.submit(other, waits(go))
        await settle()
        waiting = stage.envelope(says("waited"), within_s=1)
        stage.scheduler.submit(other, waiting)
        running.deadline = waiting.deadline = stage.clock.now + 10
        await stage.clock.advance(5)
        assert [] == stage.play.said
        go.set()

        assert await running.promise == "ran"
        assert await waiting.promise == "waited"


async def test_a_turn_that_returns_after_all_is_cancelled_all_the_same() -> None:
    async with staged() as stage:
        one, go = actor(), anyio.Event()
        reply = stage.submit(one, stubborn(go), within_s=1)
        await stage.clock.advance(1)
        with pytest.raises(TurnLost, match="while running"):
            await reply
        go.set()
        await settle()

        (ending,) = stage.play.endings
        assert isinstance(ending, Cancelled)


async def test_a_handler_that_resists_cancellation_blocks_only_its_own_actor() -> None:
    async with staged() as stage:
        one, other, go = actor(), actor(), anyio.Event()
        stage.submit(one, stubborn(go), within_s=1)
        await settle()
        behind = stage.submit(one, says("behind"))
        await stage.clock.advance(2)

        assert [await stage.submit(other, says(number)) for number in range(3)] == [0, 1, 2]
        assert not behind.done()
        assert Phase.RUNNING is one.phase
        go.set()
        assert await behind == "behind"


async def test_a_handler_that_swallows_cancellation_keeps_its_actor_until_it_returns() -> None:
    async with staged() as stage:
        one, go, swallowed = actor(), anyio.Event(), 0

        async def handler() -> str:
            nonlocal swallowed
            while not go.is_set():
                try:
                    await go.wait()
                except BaseException:
                    swallowed += 1
                    with anyio.CancelScope(shield=True):
                        await go.wait()
            return "whatever"

        reply = stage.submit(one, handler, within_s=1)
        await settle()
        behind = stage.submit(one, says("behind"))
        await stage.clock.advance(1)
        assert reply.done()
        assert 1 == swallowed
        assert not behind.done()
        go.set()

        assert await behind == "behind"
        assert "Cancelled" == stage.play.said[1][2]


async def test_a_late_turn_is_reported_as_stuck_once() -> None:
    async with staged(stuck_after_s=30) as stage:
        one, go = actor(), anyio.Event()
        stage.submit(one, stubborn(go), within_s=5)
        await stage.clock.advance(34.9)
        assert [("expire", one, True)] == stage.play.said
        for _ in range(5):
            await stage.clock.advance(10)

        (_, stuck) = stage.play.said
        assert ("stuck", one) == stuck[:2]
        assert isinstance(stuck[2], float)
        assert 30 <= stuck[2] <= 50
        go.set()
        await settle()
        assert one.is_idle


async def test_a_cancelled_turn_that_does_not_return_is_stuck_as_well() -> None:
    async with staged(stuck_after_s=30) as stage:
        one, go = actor(), anyio.Event()
        stage.submit(one, stubborn(go))
        await settle()
        assert stage.scheduler.cancel(one, "stop")
        assert "stop" == stage.scheduler.running()[0].cancelled
        await stage.clock.advance(31)

        assert [("stuck", one, 31.0)] == stage.play.said
        go.set()


async def test_cancelling_a_turn_gives_its_reason_and_the_first_one_stands() -> None:
    async with staged() as stage:
        one = actor()
        reply = stage.submit(one, waits(anyio.Event()))
        await settle()

        assert stage.scheduler.cancel(one, "stop")
        assert stage.scheduler.cancel(one, CLOSED)
        with pytest.raises(TurnLost) as lost:
            await reply
        assert isinstance(lost.value.ending, Cancelled)
        assert "stop" == lost.value.ending.reason
        assert not stage.scheduler.cancel(one, "stop")


async def test_a_handler_may_cancel_its_own_turn() -> None:
    async with staged() as stage:
        one = actor()

        async def handler() -> None:
            assert stage.scheduler.cancel(one, "myself")
            await checkpoint()
            raise AssertionError("it went on")

        with pytest.raises(TurnLost):
            await stage.submit(one, handler)
        assert await stage.submit(one, says("next")) == "next"


async def test_a_tick_that_fires_while_a_handler_finishes_never_hits_the_next_turn() -> None:
    async with staged() as stage:
        one, go = actor(), anyio.Event()
        reply = stage.submit(one, waits(go, "finished"), within_s=60)
        await settle()

        async def innocent() -> str:
            for _ in range(10):
                await checkpoint()
            return "untouched"

        behind = stage.submit(one, innocent)
        go.set()  # The handler is on its way and will return without another checkpoint,
        assert stage.scheduler.cancel(one, DEADLINE)  # and now its worker is cancelled.
        others = [stage.submit(actor(), innocent) for _ in range(5)]

        with pytest.raises(TurnLost):
            await reply
        assert [await other for other in (behind, *others)] == ["untouched"] * 6


async def test_an_idle_scheduler_wakes_nobody() -> None:
    async with staged() as stage:
        one = actor()
        assert 0 == stage.clock.sleepers
        await stage.submit(one, says(1), within_s=300)
        for _ in range(3):
            await stage.clock.advance(1)
        sleeps = stage.clock.sleeps
        for _ in range(20):
            await stage.clock.advance(1)

        assert (sleeps, 0) == (stage.clock.sleeps, stage.clock.sleepers)
        reply = stage.submit(one, waits(anyio.Event()), within_s=5)
        await stage.clock.advance(5)
        assert reply.done()
        assert sleeps < stage.clock.sleeps


async def test_the_tick_wakes_for_what_waits_behind_a_held_turn() -> None:
    async with staged() as stage:
        one = actor()
        stage.play.holds = True
        await stage.submit(one, says(1))
        await stage.clock.advance(10)
        await stage.clock.advance(10)
        assert 0 == stage.clock.sleepers
        late = stage.submit(one, says("never"), within_s=5)
        for _ in range(5):
            assert not late.done()
            await stage.clock.advance(1)

        with pytest.raises(TurnLost, match="while waiting"):
            await late
        stage.scheduler.release(one)


async def test_the_tick_looks_only_at_actors_where_something_waits() -> None:
    async with staged() as stage:
        looked = 0

        class Watched(type(actor())):  # type: ignore[misc]
            __slots__ = ()

            def __getattribute__(self, name: str) -> object:
                nonlocal looked
                looked += name == "mailbox"
                return super().__getattribute__(name)

        actors = [Watched() for _ in range(50)]
        go = anyio.Event()
        for one in actors:
            await stage.submit(one, says(1), within_s=1)
        busy = stage.submit(actor(), waits(go))
        await settle()
        looked = 0
        for _ in range(10):
            await stage.clock.advance(1)

        assert 0 == looked
        go.set()
        await busy


async def test_an_expiry_may_submit_and_cancel_elsewhere() -> None:
    async with staged() as stage:
        one, other, go = actor(), actor(), anyio.Event()
        for each in (one, other):
            stage.submit(each, waits(go))
        await settle()
        for each in (one, other):
            stage.submit(each, says("never"), within_s=1)
        told = list[object]()

        def expire(who: object, envelope: object, started: bool, /) -> None:
            told.append(who)
            stage.submit(one, notes(told, "from one"))
            stage.submit(other, notes(told, "from other"))

        stage.play.expire = expire  # type: ignore[method-assign]
        await stage.clock.advance(1)
        assert [one, other] == told
        go.set()
        await stage.scheduler.wait_idle()

        assert 2 == told.count("from one") == told.count("from other")
