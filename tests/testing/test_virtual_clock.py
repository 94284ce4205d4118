"""The virtual clock: order, exactness, cancellation, and the complaints about other people's fake clocks."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Protocol

import anyio
import anyio.lowlevel
import pytest

from salon.testing import NeverStill, VirtualClock


class Clock(Protocol):
    """What the engine asks of a clock."""

    def wall(self) -> datetime: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float, /) -> None: ...


async def sleep_and_note(clock: VirtualClock, seconds: float, notes: list[float]) -> None:
    await clock.sleep(seconds)
    notes.append(clock.monotonic())


def test_it_is_a_clock_for_the_engine() -> None:
    clock: Clock = VirtualClock(wall=datetime(2031, 5, 6, tzinfo=UTC), monotonic=12.5)

    assert (datetime(2031, 5, 6, tzinfo=UTC), 12.5) == (clock.wall(), clock.monotonic())


def test_the_wall_time_is_given_in_utc_whatever_the_zone_of_the_start() -> None:
    clock = VirtualClock(wall=datetime(2031, 5, 6, 2, tzinfo=timezone(timedelta(hours=2))))

    assert (datetime(2031, 5, 6, tzinfo=UTC), UTC) == (clock.wall(), clock.wall().tzinfo)


def test_a_naive_wall_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        VirtualClock(wall=datetime(2031, 5, 6, tzinfo=UTC).replace(tzinfo=None))


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()
    async with anyio.create_task_group() as group:
        group.start_soon(sleep_and_note, clock, 10, notes)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        assert (clock.monotonic(), notes, clock.sleeping) == (0.0, [], 1)

        await clock.advance(9.999999999)
        assert notes == []

        await clock.advance(0.000000001)
        assert notes == [10.0]


async def test_advancing_moves_the_wall_and_the_monotonic_clock_together() -> None:
    clock = VirtualClock(wall=datetime(2030, 1, 1, tzinfo=UTC), monotonic=5)

    await clock.advance(3600.25)

    assert (datetime(2030, 1, 1, 1, 0, 0, 250_000, tzinfo=UTC), 3605.25) == (clock.wall(), clock.monotonic())


async def test_a_step_of_the_wall_moves_neither_the_monotonic_clock_nor_the_sleepers() -> None:
    clock, notes = VirtualClock(wall=datetime(2030, 1, 1, tzinfo=UTC), monotonic=0), list[float]()
    async with anyio.create_task_group() as group:
        group.start_soon(sleep_and_note, clock, 10, notes)
        await clock.wait_until_sleeping()

        clock.step_wall(-86400)
        assert datetime(2029, 12, 31, tzinfo=UTC) == clock.wall()
        clock.step_wall(2 * 86400)
        await clock.advance(9)
        assert notes == []

        await clock.advance(1)
        assert ([10.0], datetime(2030, 1, 2, 0, 0, 10, tzinfo=UTC)) == (notes, clock.wall())


async def test_sleepers_wake_in_the_order_in_which_they_are_due_each_at_its_own_time() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()
    async with anyio.create_task_group() as group:
        for seconds in (7, 1, 5, 3):
            group.start_soon(sleep_and_note, clock, seconds, notes)

        await clock.advance(100)

    assert notes == [1.0, 3.0, 5.0, 7.0]


async def test_sleepers_due_at_one_moment_wake_in_the_order_in_which_they_lay_down() -> None:
    clock, notes = VirtualClock(), list[int]()

    async def note(number: int) -> None:
        await clock.sleep(1)
        notes.append(number)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(note, number)
            await clock.wait_until_sleeping(number + 1)
        await clock.advance(1)

    assert list(range(20)) == notes


async def test_a_timer_armed_on_the_way_is_neither_skipped_nor_late() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()

    async def relay() -> None:
        await clock.sleep(1)
        async with anyio.create_task_group() as inner:
            inner.start_soon(sleep_and_note, clock, 1, notes)
            inner.start_soon(sleep_and_note, clock, 4, notes)

    async with anyio.create_task_group() as group:
        group.start_soon(relay)
        group.start_soon(sleep_and_note, clock, 3, notes)
        await clock.advance(10)

    assert notes == [2.0, 3.0, 5.0]


async def test_a_period_of_a_tenth_ticks_ten_times_in_a_second() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()

    async def tick() -> None:
        while True:
            await sleep_and_note(clock, 0.1, notes)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await clock.advance(1)
        group.cancel_scope.cancel()

    assert [n / 10 for n in range(1, 11)] == notes


async def test_ten_advances_of_a_tenth_wake_who_sleeps_for_a_second() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()
    async with anyio.create_task_group() as group:
        group.start_soon(sleep_and_note, clock, 1, notes)
        for _ in range(10):
            await clock.advance(0.1)

        assert notes == [1.0]


async def test_who_rearms_a_timer_too_short_for_a_float_still_moves_on() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()

    async def rearm() -> None:
        while True:
            await sleep_and_note(clock, 1e-300, notes)

    async with anyio.create_task_group() as group:
        group.start_soon(rearm)
        await clock.advance(0.000_000_1)
        group.cancel_scope.cancel()

    assert notes == [n / 1e9 for n in range(1, 101)]


async def run_chain_beside_a_timer() -> list[tuple[str, float]]:
    """When thirty tasks that wake each other have run, and when the timer fired that is due a nanosecond later."""
    clock, notes = VirtualClock(monotonic=0), list[tuple[str, float]]()

    async def follow(before: anyio.Event, after: anyio.Event) -> None:
        await before.wait()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        after.set()

    async def chain() -> None:
        await clock.sleep(1)
        events = [anyio.Event() for _ in range(31)]
        async with anyio.create_task_group() as inner:
            for before, after in pairwise(events):
                inner.start_soon(follow, before, after)
            events[0].set()
        notes.append(("chain", clock.monotonic()))

    async def timer() -> None:
        await clock.sleep(1.000_000_001)
        notes.append(("timer", clock.monotonic()))

    async with anyio.create_task_group() as group:
        group.start_soon(chain)
        group.start_soon(timer)
        await clock.advance(2)
    return notes


CHAIN_FIRST = [("chain", 1.0), ("timer", 1.000000001)]


async def test_a_chain_of_tasks_runs_to_its_end_before_the_next_timer_is_due() -> None:
    assert await run_chain_beside_a_timer() == CHAIN_FIRST


def test_a_chain_runs_to_its_end_on_a_loop_that_hides_its_queue_too() -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run_chain_beside_a_timer()) == CHAIN_FIRST


async def test_advance_lets_a_task_that_has_not_run_yet_arm_its_timer_first() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()
    async with anyio.create_task_group() as group:
        group.start_soon(sleep_and_note, clock, 5, notes)
        assert clock.sleeping == 0

        await clock.advance(5)

    assert notes == [5.0]


async def test_waiting_until_somebody_sleeps_returns_when_enough_timers_are_armed() -> None:
    clock, is_there = VirtualClock(), list[int]()

    async def watch() -> None:
        await clock.wait_until_sleeping(3)
        is_there.append(clock.sleeping)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        for armed in range(3):
            await clock.advance(0)
            assert ([], armed) == (is_there, clock.sleeping)
            group.start_soon(clock.sleep, 1)
        await clock.advance(0)
        assert is_there == [3]
        await clock.advance(1)


async def test_a_cancelled_sleeper_is_disarmed_and_time_passes_it_by() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(sleep_and_note, clock, 4, notes)
            async with anyio.create_task_group() as inner:
                inner.start_soon(sleep_and_note, clock, 2, notes)
                await clock.wait_until_sleeping(2)
                scope.cancel()

        assert (clock.sleeping, clock.next_due_s) == (1, 4.0)
        await clock.advance(10)

    assert (notes, clock.sleeping, clock.next_due_s) == ([4.0], 0, None)


async def test_a_sleep_for_ever_ends_only_by_cancellation() -> None:
    clock = VirtualClock()
    async with anyio.create_task_group() as group:
        group.start_soon(clock.sleep, math.inf)
        await clock.advance(1e12)
        assert clock.sleeping == 1
        group.cancel_scope.cancel()


@pytest.mark.parametrize("seconds", [0, -1, -math.inf])
async def test_a_sleep_of_nothing_lets_others_run_and_arms_no_timer(seconds: float) -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()
    async with anyio.create_task_group() as group:
        group.start_soon(sleep_and_note, clock, seconds, notes)
        await clock.sleep(seconds)
        await clock.advance(0)

    assert (notes, clock.sleeping) == ([0.0], 0)


async def test_a_sleep_of_nothing_can_be_cancelled() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await VirtualClock().sleep(0)
    assert scope.cancelled_caught


async def test_what_is_not_a_time_is_refused() -> None:
    clock = VirtualClock(monotonic=0)
    wrong: list[tuple[Callable[[float], Awaitable[None]], float]] = [
        (clock.sleep, math.nan),
        (clock.advance, -1),
        (clock.advance, math.nan),
        (clock.advance, math.inf),
    ]
    for call, seconds in wrong:
        with pytest.raises(ValueError):
            await call(seconds)
    assert clock.monotonic() == 0.0


async def test_two_tasks_cannot_advance_one_clock_at_once() -> None:
    clock, errors = VirtualClock(monotonic=0), list[RuntimeError]()

    async def meddle() -> None:
        await clock.sleep(1)
        with pytest.raises(RuntimeError, match="advanced already") as caught:
            await clock.advance(1)
        errors.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(meddle)
        await clock.advance(2)
        await clock.advance(1)

    assert (len(errors), clock.monotonic()) == (1, 3.0)


async def test_a_task_that_never_waits_is_named_as_the_trouble_instead_of_hanging_the_test() -> None:
    clock = VirtualClock(settle_rounds_max=500)

    async def spin() -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(spin)
        with pytest.raises(NeverStill, match="without waiting"):
            await clock.advance(1)
        group.cancel_scope.cancel()


async def test_a_cancelled_advance_leaves_time_where_it_came_to_and_the_clock_usable() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:

            async def cut() -> None:
                await clock.sleep(3)
                scope.cancel()

            group.start_soon(cut)
            group.start_soon(sleep_and_note, clock, 5, notes)
            await clock.advance(10)

        assert (clock.monotonic(), notes) == (3.0, [])
        await clock.advance(2)
        assert notes == [5.0]


async def test_two_thousand_timers_fire_each_once_and_in_order() -> None:
    clock, notes = VirtualClock(monotonic=0), list[float]()
    async with anyio.create_task_group() as group:
        for n in range(2_000):
            group.start_soon(sleep_and_note, clock, 1 + (n * 7919 % 2_000), notes)
        await clock.advance(2_000)

    assert [float(n) for n in range(1, 2_001)] == notes
