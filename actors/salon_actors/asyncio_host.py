"""asyncio as host: promises, timers and tasks of one asyncio loop (uvloop's too)."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, Generic, TypeVar, TypeVarTuple, cast, final

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from salon_actors.first_iterations import FirstIterations
from salon_actors.interrupts import deadly
from salon_actors.scopes import BlindWatch, Watch

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LOG = logging.getLogger("salon_actors")
FUTURE = cast("type[asyncio.Future[Any]]", asyncio.Future)
TASK_STATES = "_task_states"
"""Private table of anyio's asyncio backend: task -> its innermost cancel scope."""


@final
class AsyncioPromise(Generic[T]):
    """One future of the loop per waiter.

    Not a future itself, because cancelling a task cancels the future it waits for, and with it every other waiter.
    """

    __slots__ = ("_done", "_error", "_loop", "_others", "_value", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._others: list[asyncio.Future[None]] | None = None
        self._value: T

    def done(self) -> bool:
        return self._done

    def set_result(self, value: T, /) -> None:
        if not self._done:
            self._value = value
            self._settle()

    def set_exception(self, error: BaseException, /) -> None:
        if not self._done:
            self._error = error
            self._settle()

    def _settle(self) -> None:
        self._done = True
        if (waiter := self._waiter) is not None:
            self._waiter = None
            if not waiter.done():  # Done without us when its task was cancelled.
                waiter.set_result(None)
        if self._others is not None:
            for waiter in self._others:
                if not waiter.done():
                    waiter.set_result(None)
            self._others = None

    def __await__(self) -> Generator[Any, Any, T]:
        if not self._done:
            waiter: asyncio.Future[None] = self._loop.create_future()
            if self._waiter is None or self._waiter.done():
                self._waiter = waiter
            else:
                self._others = [other for other in self._others or () if not other.done()]
                self._others.append(waiter)
            yield from waiter
        if self._error is not None:
            raise self._error
        return self._value


@final
class AsyncioHostLoop:
    __slots__ = ("_first_iterations", "_is_closed", "_loop", "_tasks", "_watches", "reply", "thread_name")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks = set[asyncio.Task[None]]()
        self._is_closed = False
        self._watches: dict[asyncio.Task[Any], AsyncioWatch] = {}
        self._first_iterations: FirstIterations | None = None
        self.reply: partial[asyncio.Future[Any]] = partial(FUTURE, loop=self._loop)
        self.thread_name = threading.current_thread().name

    def is_current(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def promise(self) -> AsyncioPromise[Any]:
        return AsyncioPromise(self._loop)

    def post(self, fn: Callable[[*Ts], object], /, *args: *Ts) -> None:
        with suppress(RuntimeError):  # The loop is closed: nobody is left to hear it.
            self._loop.call_soon_threadsafe(fn, *args)

    def later(self, seconds: float, fn: Callable[[*Ts], object], /, *args: *Ts) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, self._fire, fn, *args)

    def _fire(self, fn: Callable[[*Ts], object], *args: *Ts) -> None:
        if not self._is_closed:
            fn(*args)

    def spawn(
        self, async_fn: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, context: Context | None = None
    ) -> None:
        task = self._loop.create_task(self._run(async_fn, *args), context=Context() if context is None else context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        try:
            await async_fn(*args)
        except Exception:
            LOG.exception("A task of the engine failed.")
        except BaseExceptionGroup as errors:
            if deadly(errors) is None:  # Otherwise the task that raised it has ended the loop with it already.
                raise

    def protect(
        self, async_fn: Callable[[*Ts], Coroutine[Any, Any, object]], /
    ) -> Callable[[*Ts], Coroutine[Any, Any, object]]:
        return async_fn

    def watch(self, scope: anyio.CancelScope, /) -> Watch:
        self._listen()
        try:
            return AsyncioWatch(scope, self._watches)
        except (ImportError, AttributeError, LookupError):
            return BlindWatch()

    def _listen(self) -> None:
        """Join the hook of this thread, again if the loop was run anew meanwhile or somebody has replaced the hook."""
        if self._is_closed or (hook := FirstIterations.outermost()) is self._first_iterations:
            return
        self._fall_silent()
        hook.join(self._note)
        self._first_iterations = hook

    def _fall_silent(self) -> None:
        if self._first_iterations is not None:
            self._first_iterations.leave(self._note)
            self._first_iterations = None

    def _note(self, task: asyncio.Task[Any], generator: AsyncGenerator[Any, Any]) -> None:
        """Somebody on this thread begins to iterate over `generator`: a worker, perhaps."""
        if (watch := self._watches.get(task)) is not None:
            watch.note(generator)

    async def close(self) -> None:
        self._is_closed = True
        self._fall_silent()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)


@final
class AsyncioWatch:
    is_fast = True
    __slots__ = ("_generators", "_scope", "_state", "_task", "_watches")

    def __init__(self, scope: anyio.CancelScope, watches: "dict[asyncio.Task[Any], AsyncioWatch]") -> None:
        from anyio._backends import _asyncio

        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._scope = scope
        self._state: Any = getattr(_asyncio, TASK_STATES)[task]
        if self._state.cancel_scope is not scope:
            raise LookupError("anyio keeps something else there")
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._watches = watches
        watches[task] = self

    def note(self, generator: AsyncGenerator[Any, Any]) -> None:
        """The task has begun to iterate over it."""
        self._generators.append(generator)

    def is_clean(self) -> bool:
        return (
            self._state.cancel_scope is self._scope
            and not self._task.cancelling()
            and (not self._generators or self._have_ended())
        )

    def _have_ended(self) -> bool:
        """One that is abandoned may hold `asyncio.timeout`, which nobody sees until it cancels the task."""
        ended = all(getattr(generator, "ag_frame", None) is None for generator in self._generators)
        self._generators.clear()
        return ended

    async def unwind(self) -> None:
        self._watches.pop(self._task, None)
        while (foreign := self._state.cancel_scope) is not self._scope:
            foreign.cancel()  # For tasks that a task group left behind.
            foreign.__exit__(None, None, None)
        # A cancellation that was asked for but not delivered yet would end this task as cancelled,
        # and the task group would then cancel every other worker.
        with suppress(asyncio.CancelledError):
            await cancel_shielded_checkpoint()
