"""The driver: one generator that runs coroutine after coroutine, each in a context of its own."""

from collections.abc import Generator
from contextvars import Context, ContextVar, copy_context
from types import coroutine
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from salon_actors.context import OVER, Driver

variable = ContextVar("variable", default="unset")


async def run(driver: Driver, context: Context, one: object, two: object) -> object:
    waits_for = context.run(driver.send, (one, two))
    if waits_for is not OVER:
        await driver.go_on(context, waits_for)
    value, error = driver.value, driver.error
    driver.value = driver.error = None
    if error is not None:
        raise error
    return value


async def test_each_coroutine_keeps_its_context_over_its_suspensions() -> None:
    async def remember(name: str, suspensions: int) -> str:
        assert "outside" == variable.get()
        variable.set(name)
        for _ in range(suspensions):
            await checkpoint()
            assert name == variable.get()
        return name

    variable.set("outside")
    driver = Driver(remember)
    for suspensions in range(4):
        context = copy_context()
        assert await run(driver, context, f"turn {suspensions}", suspensions) == f"turn {suspensions}"
        assert f"turn {suspensions}" == context[variable]
        assert "outside" == variable.get()
    driver.close()


async def test_what_a_coroutine_raises_comes_out_and_the_driver_goes_on() -> None:
    async def handle(error: BaseException | None, suspends: bool) -> str:
        if suspends:
            await checkpoint()
        if error is not None:
            raise error
        return "fine"

    driver = Driver(handle)
    for error in (ValueError(), StopIteration(), StopAsyncIteration(), GeneratorExit(), KeyboardInterrupt()):
        for suspends in (False, True):
            expected = RuntimeError if isinstance(error, StopIteration) else type(error)
            with pytest.raises(expected):
                await run(driver, copy_context(), error, suspends)
            assert await run(driver, copy_context(), None, suspends) == "fine"
    driver.close()


async def test_what_fails_before_there_is_a_coroutine_comes_out_too() -> None:
    def handle(one: object, two: object) -> Any:
        raise LookupError

    driver = Driver(handle)

    with pytest.raises(LookupError):
        await run(driver, copy_context(), 1, 2)
    driver.close()


async def test_a_cancellation_reaches_the_coroutine_and_may_be_swallowed_there() -> None:
    caught = list[str]()

    async def handle(one: str, two: str) -> str:
        variable.set("inside")
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            caught.append(variable.get())
        return one + two

    driver = Driver(handle)
    with anyio.CancelScope() as scope:
        scope.cancel()
        assert await run(driver, copy_context(), "a", "b") == "ab"

    assert ["inside"] == caught
    driver.close()


def test_closing_the_task_closes_the_coroutine_in_its_context() -> None:
    closed = list[str]()

    @coroutine
    def suspend() -> Generator[str, None, None]:
        yield "waiting"

    async def handle(one: object, two: object) -> None:
        variable.set("inside")
        try:
            await suspend()
        finally:
            closed.append(variable.get())

    task = run(Driver(handle), Context(), 1, 2)
    assert "waiting" == task.send(None)
    task.close()

    assert ["inside"] == closed


def test_the_driver_forgets_what_it_ran() -> None:
    import weakref

    class Message:
        pass

    async def handle(one: object, two: object) -> None: ...

    driver = Driver(handle)
    message = Message()
    alive = weakref.ref(message)
    assert OVER is Context().run(driver.send, (message, None))
    del message

    assert alive() is None
    driver.close()
