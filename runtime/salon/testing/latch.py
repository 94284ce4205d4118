"""A latch: opened once, from any thread, and waited for on any event loop, asyncio or trio."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

import anyio

from salon.testing.stillness import is_trio_task


class Latch:
    """Who waits passes once it is open. A waiter whose loop has ended in the meantime is no error."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_open = False
        self._wakers: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        return self._is_open

    def open(self) -> None:
        """Let everybody pass, now and later; from any thread."""
        with self._lock:
            self._is_open = True
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    async def wait(self) -> None:
        """Return once the latch is open. Cancellation: only this waiter goes away."""
        event = anyio.Event()
        wake = _waker(event)
        with self._lock:
            if not self._is_open:
                self._wakers.append(wake)
            else:
                event.set()
        try:
            await event.wait()
        finally:
            with self._lock:
                if wake in self._wakers:
                    self._wakers.remove(wake)


def _waker(event: anyio.Event) -> Callable[[], None]:
    """A function for any thread that sets the event on the loop that is running here."""
    if is_trio_task():
        import trio

        token = trio.lowlevel.current_trio_token()

        def wake_trio() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(event.set)

        return wake_trio
    loop = asyncio.get_running_loop()

    def wake_asyncio() -> None:
        with suppress(RuntimeError):  # The loop is closed.
            loop.call_soon_threadsafe(event.set)

    return wake_asyncio
