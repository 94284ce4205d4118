"""Calls come when they are due, in order, on few tasks."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.alarm import Alarm
from salon.testing import VirtualClock
from salon_actors import current_host_loop


@asynccontextmanager
async def alarmed() -> AsyncGenerator[tuple[Alarm, VirtualClock]]:
    host, clock = current_host_loop(), VirtualClock()
    try:
        yield Alarm(host, clock), clock
    finally:
        with anyio.CancelScope(shield=True):
            await host.close()


async def test_calls_come_when_they_are_due_and_not_before() -> None:
    came = list[int]()
    async with alarmed() as (alarm, clock):
        for seconds in (5, 1, 3, 1):
            alarm.call_in(seconds, partial(came.append, seconds))
        await clock.advance(0.9)
        assert came == []
        await clock.advance(0.1)
        assert came == [1, 1]
        await clock.advance(2)
        assert came == [1, 1, 3]
        await clock.advance(2)

        assert came == [1, 1, 3, 5]
        assert len(alarm) == 0
        assert clock.sleeping == 0


async def test_a_call_that_was_cancelled_does_not_come() -> None:
    came = list[int]()
    async with alarmed() as (alarm, clock):
        alarm.call_in(1, partial(came.append, 1)).cancel()
        kept = alarm.call_in(1, partial(came.append, 2))
        await clock.advance(1)
        kept.cancel()

        assert came == [2]
        assert len(alarm) == 0


async def test_one_task_sleeps_for_calls_in_their_order_and_cancelled_ones_take_no_room() -> None:
    async with alarmed() as (alarm, clock):
        for _ in range(10_000):
            alarm.call_in(30, lambda: None).cancel()
        for seconds in range(1, 101):
            alarm.call_in(seconds, lambda: None)
        await clock.advance(0)

        assert clock.sleeping <= 2
        assert len(alarm) == 100
        assert len(alarm._calls) < 300  # pyright: ignore[reportPrivateUsage]


async def test_a_call_that_is_made_while_another_comes_is_not_lost() -> None:
    came = list[str]()
    async with alarmed() as (alarm, clock):

        def again() -> None:
            came.append("first")
            alarm.call_in(0, partial(came.append, "at once"))
            alarm.call_in(2, partial(came.append, "later"))

        alarm.call_in(1, again)
        await clock.advance(1)
        assert came == ["first", "at once"]
        await clock.advance(2)

        assert came == ["first", "at once", "later"]


async def test_a_call_that_fails_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    came = list[int]()
    async with alarmed() as (alarm, clock):

        def fails() -> None:
            raise RuntimeError("of one call")

        alarm.call_in(1, fails)
        alarm.call_in(1, partial(came.append, 1))
        alarm.call_in(2, partial(came.append, 2))
        await clock.advance(2)

        assert came == [1, 2]
    assert "of one call" in caplog.text


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20), st.booleans()), max_size=30))
async def test_whatever_is_armed_and_cancelled_comes_once_at_its_time(plan: list[tuple[int, int, bool]]) -> None:
    came, expected = list[tuple[float, int]](), list[tuple[float, int]]()
    async with alarmed() as (alarm, clock):

        def note(number: int) -> None:
            came.append((clock.monotonic(), number))

        for number, (due, pause, is_cancelled) in enumerate(plan):
            call = alarm.call_in(due, partial(note, number))
            if is_cancelled:
                call.cancel()
            else:
                expected.append((call.due, number))
            await clock.advance(pause)
        await clock.advance(60)

    assert came == sorted(expected)
