"""Promises and replies: one value, any number of waiters or one, and cancelled waiters that leave no trace."""

import gc
import logging

import anyio
import pytest

from salon_actors import Promise, current_host_loop
from tests.actors.stage import settle


async def test_a_promise_gives_its_value_to_those_who_wait_before_and_after() -> None:
    promise: Promise[str] = current_host_loop().promise()
    got = list[str]()

    async def waiter() -> None:
        got.append(await promise)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(waiter)
        await settle()
        assert not promise.done()
        promise.set_result("value")
        assert promise.done()

    assert ["value"] * 3 == got
    assert await promise == "value"


async def test_an_error_goes_to_every_waiter() -> None:
    promise: Promise[str] = current_host_loop().promise()
    failed = 0

    async def waiter() -> None:
        nonlocal failed
        with pytest.raises(ValueError, match="no"):
            await promise
        failed += 1

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(waiter)
        await settle()
        promise.set_exception(ValueError("no"))

    await waiter()
    assert 4 == failed


async def test_a_settled_promise_stays_as_it_is() -> None:
    first: Promise[str] = current_host_loop().promise()
    first.set_result("first")
    first.set_result("second")
    first.set_exception(ValueError())
    failed: Promise[str] = current_host_loop().promise()
    failed.set_exception(ValueError("first"))
    failed.set_result("second")

    assert await first == "first"
    with pytest.raises(ValueError, match="first"):
        await failed


@pytest.mark.parametrize("cancelled", [{0}, {1}, {0, 2}, {0, 1, 2}])
async def test_cancelled_waiters_leave_the_value_and_the_others_alone(cancelled: set[int]) -> None:
    promise: Promise[str] = current_host_loop().promise()
    got = list[int]()
    scopes = [anyio.CancelScope() for _ in range(3)]

    async def waiter(number: int) -> None:
        with scopes[number]:
            assert await promise == "value"
            got.append(number)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(waiter, number)
            await settle()
        for number in cancelled:
            scopes[number].cancel()
        await settle()
        promise.set_result("value")

    assert sorted({0, 1, 2} - cancelled) == sorted(got)
    assert await promise == "value"


async def test_a_waiter_cancelled_in_the_step_that_settles_loses_nothing() -> None:
    promise: Promise[str] = current_host_loop().promise()

    async def waiter() -> None:
        with scope:
            await promise

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        group.start_soon(waiter)
        await settle()
        promise.set_result("value")
        scope.cancel()

    assert await promise == "value"


async def test_one_promise_survives_many_cancelled_waiters() -> None:
    promise: Promise[str] = current_host_loop().promise()

    async def waiter() -> None:
        assert await promise == "value"

    async with anyio.create_task_group() as group:
        group.start_soon(waiter)
        for _ in range(50):
            with anyio.move_on_after(0):
                await promise
        promise.set_result("value")


@pytest.mark.blocks_loop("collecting the garbage of a whole test run takes its time")
async def test_an_error_that_nobody_waits_for_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    promise: Promise[str] = current_host_loop().promise()

    async def waiter(promise: Promise[str], scope: anyio.CancelScope) -> None:
        with scope:
            await promise

    with caplog.at_level(logging.DEBUG):
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()
            group.start_soon(waiter, promise, scope)
            await settle()
            scope.cancel()
        promise.set_exception(ValueError("nobody hears this"))
        del promise
        gc.collect()
        await settle()

    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_reply_is_for_one_waiter() -> None:
    host = current_host_loop()
    early, late, failed = host.reply(), host.reply(), host.reply()
    early.set_result(1)
    failed.set_exception(ValueError("no"))

    async def settler() -> None:
        late.set_result(2)

    async with anyio.create_task_group() as group:
        group.start_soon(settler)
        assert await late == 2
    assert await early == 1
    with pytest.raises(ValueError, match="no"):
        await failed


async def test_a_reply_whose_waiter_is_cancelled_is_done() -> None:
    reply = current_host_loop().reply()

    with anyio.move_on_after(0) as scope:
        await reply

    assert scope.cancelled_caught
    assert reply.done()
