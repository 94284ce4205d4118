"""Stillness of an event loop: every other task waits for something that has not happened yet.

trio knows when it is still. asyncio does not say, and anyio's answer for it sleeps a tenth of a real second each time
that it finds a task running, so here the loop's own queue is looked at.
Work on other threads is not seen: a loop that waits for a thread is still.
"""

import asyncio
import sys
from collections.abc import Sized

import anyio
import anyio.lowlevel

QUIET_ROUNDS = 5
"""On a loop that hides its queue (uvloop): rounds in which no task could run, before it counts as still."""


class NeverStill(Exception):
    """The loop did not come to rest: some task runs again and again without waiting for anything."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(
            f"The event loop was not still after {timeout_s} s of real time: a task runs again and again "
            "without waiting (perhaps it polls with sleep(0), or catches its cancellation in a loop)."
        )
        self.timeout_s = timeout_s


def is_trio_task() -> bool:
    """Whether the caller runs in a trio task; False on asyncio."""
    if "trio" not in sys.modules:
        return False
    import trio

    return trio.lowlevel.in_trio_task()


async def wait_until_still(timeout_s: float) -> None:
    """Return when every other task of this loop waits for something that has not happened yet.

    Args:
        timeout_s: Seconds of real time after which a loop that never rests is given up.

    Raises:
        NeverStill: It did not rest in that time.
    """
    try:
        with anyio.fail_after(timeout_s):
            await (anyio.wait_all_tasks_blocked() if is_trio_task() else _asyncio_still())
    except TimeoutError:
        raise NeverStill(timeout_s) from None


async def _asyncio_still() -> None:
    ready: Sized | None = getattr(asyncio.get_running_loop(), "_ready", None)
    if ready is None:
        await _tasks_still()
        return
    # What ran before us in this round put what it woke behind us, so an empty queue now means that nobody can run.
    await anyio.lowlevel.checkpoint()
    while ready:
        await anyio.lowlevel.checkpoint()


async def _tasks_still() -> None:
    quiet = 0
    while quiet < QUIET_ROUNDS:
        await anyio.lowlevel.checkpoint()
        quiet = 0 if any(map(_is_runnable, asyncio.all_tasks())) else quiet + 1


def _is_runnable(task: "asyncio.Task[object]") -> bool:
    if task is asyncio.current_task():
        return False
    waits_for: asyncio.Future[object] | None = getattr(task, "_fut_waiter", None)
    return waits_for is None or waits_for.done()
