"""The bare thing: a task per actor, a deque, a future per ask. No bound, no deadline, no isolation of contexts."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any


def raw_actor(backend: str, handler: Callable[[Any], Awaitable[Any]]) -> Any:
    """Of the loop that runs: it has `ask(message)` and `stop()`."""
    return trio_raw_actor()(handler) if backend == "trio" else AsyncioRawActor(handler)


class AsyncioRawActor:
    def __init__(self, handler: Callable[[Any], Awaitable[Any]]) -> None:
        self._handler = handler
        self._queue = deque[tuple[Any, asyncio.Future[Any]]]()
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.task = self._loop.create_task(self._run())

    async def ask(self, message: Any) -> Any:
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._queue.append((message, reply))
        if self._waiter is not None:
            self._waiter.set_result(None)
            self._waiter = None
        return await reply

    def stop(self) -> None:
        self.task.cancel()

    async def _run(self) -> None:
        while True:
            while self._queue:
                message, reply = self._queue.popleft()
                reply.set_result(await self._handler(message))
            self._waiter = self._loop.create_future()
            await self._waiter


@cache
def trio_raw_actor() -> type:
    """The same on trio, made here so that asyncio's run does not need trio."""
    import trio
    from outcome import Value
    from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

    def abort(_: Any) -> Abort:
        return Abort.SUCCEEDED

    class TrioRawActor:
        def __init__(self, handler: Callable[[Any], Awaitable[Any]]) -> None:
            self._handler = handler
            self._queue = deque[tuple[Any, trio.lowlevel.Task]]()
            self._waiter: trio.lowlevel.Task | None = None
            self.scope = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._run)

        async def ask(self, message: Any) -> Any:
            self._queue.append((message, current_task()))
            if self._waiter is not None:
                reschedule(self._waiter)
                self._waiter = None
            return await wait_task_rescheduled(abort)

        def stop(self) -> None:
            self.scope.cancel()

        async def _run(self) -> None:
            with self.scope:
                while True:
                    while self._queue:
                        message, task = self._queue.popleft()
                        reschedule(task, Value(await self._handler(message)))
                    self._waiter = current_task()
                    await wait_task_rescheduled(abort)

    return TrioRawActor
