"""trio as host: promises, timers and system tasks of one trio run. Imported only when trio is there."""

import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context
from functools import partial
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, Generic, NoReturn, TypeVar, TypeVarTuple, final

import anyio
import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from salon_actors.interrupts import deadly
from salon_actors.scopes import BlindWatch, Watch

ABORT_FUNC = "_abort_func"
"""Private attribute of a trio task: how to interrupt what it waits for."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LOG = logging.getLogger("salon_actors")
CANCEL_STATUS = "_cancel_status"
"""Private attribute of a trio task: the innermost cancel scope, as its plumbing sees it."""


@final
class TrioPromise(Generic[T]):
    __slots__ = ("_done", "_error", "_others", "_value", "_waiter")

    def __init__(self) -> None:
        self._done = False
        self._error: BaseException | None = None
        self._waiter: Task | None = None
        self._others: list[Task] | None = None
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
        if self._waiter is not None:
            reschedule(self._waiter)
            self._waiter = None
        if self._others is not None:
            for task in self._others:
                reschedule(task)
            self._others = None

    def _forget(self, task: Task, _: RaiseCancelT) -> Abort:
        """A cancelled waiter must not be rescheduled once more."""
        if self._waiter is task:
            self._waiter = None
        elif self._others is not None:
            self._others.remove(task)
        return Abort.SUCCEEDED

    def __await__(self) -> Generator[Any, Any, T]:
        if not self._done:
            task = current_task()
            if self._waiter is None:
                self._waiter = task
            else:
                self._others = self._others or []
                self._others.append(task)
            yield from wait_task_rescheduled(partial(self._forget, task)).__await__()  # noqa: ASYNC105 - a generator
        if self._error is not None:
            raise self._error
        return self._value


PENDING = object()


@final
class TrioReply(Generic[T]):
    __slots__ = ("_error", "_value", "_waiter")

    def __init__(self) -> None:
        self._value: Any = PENDING
        self._error: BaseException | None = None
        self._waiter: Task | None = None

    def done(self) -> bool:
        return self._value is not PENDING

    def set_result(self, value: T, /) -> None:
        self._value = value
        if self._waiter is not None:
            reschedule(self._waiter)

    def set_exception(self, error: BaseException, /) -> None:
        self._error = error
        self.set_result(None)  # type: ignore[arg-type]

    def _leave(self, _: RaiseCancelT) -> Abort:
        self._value = self._waiter = None
        return Abort.SUCCEEDED

    def __await__(self) -> Generator[Any, Any, T]:
        if self._value is PENDING:
            self._waiter = current_task()
            yield from wait_task_rescheduled(self._leave).__await__()  # noqa: ASYNC105 - a generator
            self._waiter = None
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[no-any-return]


@final
class TrioTimer:
    __slots__ = ("_timers", "args", "due", "fn", "number")

    def __init__(
        self, timers: "TrioTimers", due: float, number: int, fn: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self._timers = timers
        self.due = due
        self.number = number
        self.fn: Callable[..., object] | None = fn
        self.args: tuple[Any, ...] = args

    def __lt__(self, other: "TrioTimer") -> bool:
        return (self.due, self.number) < (other.due, other.number)

    def cancel(self) -> None:
        if self.fn is not None:
            self.fn, self.args = None, ()
            self._timers.note_cancelled()


@final
class TrioTimers:
    """One task for all timers, because a task and a scope for each would cost 30 µs a millisecond."""

    __slots__ = ("_cancelled", "_heap", "_nap", "_number")

    def __init__(self) -> None:
        self._heap: list[TrioTimer] = []
        self._cancelled = 0
        self._number = 0
        self._nap: trio.CancelScope | None = None

    def add(self, seconds: float, fn: Callable[..., object], args: tuple[Any, ...]) -> TrioTimer:
        timer = TrioTimer(self, trio.current_time() + seconds, self._number, fn, args)
        self._number += 1
        heappush(self._heap, timer)
        if self._nap is not None and timer.due < self._nap.deadline:
            self._nap.deadline = timer.due
        return timer

    def note_cancelled(self) -> None:
        """A cancelled timer stays in the heap until it is due, or until half of the heap is like it."""
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [timer for timer in self._heap if timer.fn is not None]
            heapify(self._heap)
            self._cancelled = 0

    def clear(self) -> None:
        self._heap.clear()
        self._cancelled = 0

    async def run(self) -> None:
        while True:
            now, new = trio.current_time(), self._number
            # What a call sets anew has its turn later, lest two that set each other keep the loop for themselves.
            while self._heap and self._heap[0].due <= now and self._heap[0].number < new:
                timer = heappop(self._heap)
                if timer.fn is None:
                    self._cancelled -= 1
                    continue
                fn, args = timer.fn, timer.args
                timer.fn, timer.args = None, ()
                guarded(fn, *args)
            with trio.CancelScope(deadline=self._heap[0].due if self._heap else inf) as self._nap:
                await trio.sleep_forever()
            self._nap = None


def guarded(fn: Callable[..., object], *args: object) -> None:
    """trio would end the whole run for an error of a callback; asyncio logs it, and so do we."""
    try:
        fn(*args)
    except Exception:
        LOG.exception("A callback on the host loop failed.")


@final
class TrioHostLoop:
    __slots__ = ("_tasks", "_timers", "_token", "thread_name")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._tasks: dict[trio.CancelScope, TrioPromise[None]] = {}
        self._timers: TrioTimers | None = None
        self.thread_name = threading.current_thread().name

    def is_current(self) -> bool:
        try:
            return trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:
            return False

    def promise(self) -> TrioPromise[Any]:
        return TrioPromise()

    def reply(self) -> TrioReply[Any]:
        return TrioReply()

    def post(self, fn: Callable[[*Ts], object], /, *args: *Ts) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(guarded, fn, *args)

    def later(self, seconds: float, fn: Callable[[*Ts], object], /, *args: *Ts) -> TrioTimer:
        if self._timers is None:
            self._timers = TrioTimers()
            self.spawn(self._timers.run)
        return self._timers.add(seconds, fn, args)

    def spawn(
        self, async_fn: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, context: Context | None = None
    ) -> None:
        scope = trio.CancelScope()
        self._tasks[scope] = TrioPromise()
        trio.lowlevel.spawn_system_task(partial(self._run, scope, async_fn, *args), context=context)

    async def _run(self, scope: trio.CancelScope, async_fn: Callable[..., Awaitable[object]], *args: object) -> None:
        try:
            with scope:
                await async_fn(*args)
        except Exception:
            LOG.exception("A task of the engine failed.")
        except BaseException as error:
            if (end := deadly(error)) is None:
                raise
            self._end_run(end)
        finally:
            self._tasks.pop(scope).set_result(None)

    def _end_run(self, error: BaseException) -> None:
        """Raise `error` in the main task, as trio does with Ctrl-C; raised here it would count as a bug of trio."""

        def interrupt(*_: object) -> NoReturn:
            raise error

        root: Any = trio.lowlevel.current_root_task()
        for main in root.child_nurseries[-1].child_tasks:
            if getattr(main, ABORT_FUNC) is None:  # It is about to run, and can be reached when it waits again.
                self._token.run_sync_soon(self._end_run, error)
            else:
                main._attempt_abort(interrupt)

    def protect(
        self, async_fn: Callable[[*Ts], Coroutine[Any, Any, object]], /
    ) -> Callable[[*Ts], Coroutine[Any, Any, object]]:
        @trio.lowlevel.enable_ki_protection
        async def protected(*args: *Ts) -> None:
            await async_fn(*args)

        return protected

    def watch(self, scope: anyio.CancelScope, /) -> Watch:
        try:
            return TrioWatch()
        except AttributeError:
            return BlindWatch()

    async def close(self) -> None:
        if self._timers is not None:
            self._timers.clear()
            self._timers = None
        while self._tasks:
            scope, ended = next(iter(self._tasks.items()))
            scope.cancel()
            await ended


@final
class TrioWatch:
    is_fast = True
    __slots__ = ("_status", "_task")

    def __init__(self) -> None:
        self._task: Any = current_task()
        self._status: object = getattr(self._task, CANCEL_STATUS)

    def is_clean(self) -> bool:
        return self._task._cancel_status is self._status

    async def unwind(self) -> None:
        while (status := self._task._cancel_status) is not self._status:
            scope = status._scope
            for nursery in reversed(self._task._child_nurseries):
                if nursery.cancel_scope is scope:
                    scope.cancel()
                    # What `async with` would do; without it trio fails the whole task, and with it the task group.
                    await nursery._nested_child_finished(None)
            scope.__exit__(None, None, None)
            if self._task._cancel_status is status:
                return
