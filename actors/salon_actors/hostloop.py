"""The host loop: what the engine asks of the event loop that it is a guest of, the same on asyncio and on trio.

A `HostLoop` belongs to one loop and one thread. All but `post` and `is_current` is for that thread only.
"""

import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol, TypeVarTuple

import anyio

from salon_actors.park import Promise, Reply
from salon_actors.scopes import Watch

Ts = TypeVarTuple("Ts")


class Timer(Protocol):
    def cancel(self) -> None:
        """Forget the call. Harmless when it was made or forgotten already."""
        ...


class HostLoop(Protocol):
    @property
    def thread_name(self) -> str: ...

    def is_current(self) -> bool:
        """Are we on this loop, right now?"""
        ...

    def promise(self) -> Promise[Any]:
        """For any number of waiters."""
        ...

    def reply(self) -> Reply[Any]:
        """For one waiter."""
        ...

    def post(self, fn: Callable[[*Ts], object], /, *args: *Ts) -> None:
        """Call `fn` soon on the loop, in the order of posting. From any thread; a loop that is gone is no error."""
        ...

    def later(self, seconds: float, fn: Callable[[*Ts], object], /, *args: *Ts) -> Timer:
        """Call `fn` on the loop, `seconds` of the loop's own time from now; cheap enough to do every millisecond."""
        ...

    def spawn(
        self, async_fn: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, context: Context | None = None
    ) -> None:
        """Run `async_fn` in a task that no caller owns and `close` waits for.

        It runs in `context`, or in a fresh one that inherits nothing. What it raises is logged;
        KeyboardInterrupt and SystemExit end the host's loop.
        """
        ...

    def protect(
        self, async_fn: Callable[[*Ts], Coroutine[Any, Any, object]], /
    ) -> Callable[[*Ts], Coroutine[Any, Any, object]]:
        """The same function, with Ctrl-C kept out of it where the backend can: the host's own task gets it then."""
        ...

    def watch(self, scope: anyio.CancelScope, /) -> Watch:
        """Watch the current task, whose innermost scope is `scope` right now."""
        ...

    async def close(self) -> None:
        """Forget the timers, cancel what was spawned and wait for it. May be called again."""
        ...


def current_host_loop() -> HostLoop:
    """The host loop of the current task.

    Raises:
        RuntimeError: No event loop runs in this thread.
    """
    if "trio" in sys.modules:
        import trio

        # First, because a trio guest runs inside an asyncio loop.
        if trio.lowlevel.in_trio_task():
            from salon_actors.trio_host import TrioHostLoop

            return TrioHostLoop()
    from salon_actors.asyncio_host import AsyncioHostLoop

    return AsyncioHostLoop()
