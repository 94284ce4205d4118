"""Stillness of an event loop: every other task waits for something that has not happened yet.

trio knows when it is still. asyncio does not say, and anyio's answer for it sleeps a tenth of a real second each time
that it finds a task running, so here the loop's own queue is looked at.
Work on other threads is not seen: a loop that waits for a thread is still.
"""

import asyncio
import sys
from collections.abc import Sized
from typing import Final

import anyio.lowlevel

QUIET_ROUNDS: Final = 5
"""On a loop that hides its queue (uvloop): rounds in which no task could run, before it counts as still."""


class NeverStill(Exception):
    """The loop did not come to rest: some task runs again and again without waiting for anything."""

    def __init__(self, rounds_max: int) -> None:
        super().__init__(
            f"The event loop was not still after {rounds_max} rounds: a task runs again and again without waiting "
            "(perhaps it polls with sleep(0), or catches its cancellation in a loop)."
        )
        self.rounds_max = rounds_max


def is_trio_task() -> bool:
    """Whether the caller runs in a trio task; False on asyncio."""
    if "trio" not in sys.modules:
        return False
    import trio

    return trio.lowlevel.in_trio_task()


async def wait_until_still(rounds_max: int) -> None:
    """Return when every other task of this loop waits for something that has not happened yet.

    Args:
        rounds_max: After so many rounds of the loop it is given up.

    Raises:
        NeverStill: It did not rest within these rounds.
    """
    if not await _is_still_within(rounds_max):
        raise NeverStill(rounds_max)


async def _is_still_within(rounds_max: int) -> bool:
    if is_trio_task():
        from salon.testing import trio_stillness

        return await trio_stillness.is_still_within(rounds_max)
    queue: Sized | None = getattr(asyncio.get_running_loop(), "_ready", None)
    return await (_is_empty_within(queue, rounds_max) if queue is not None else _are_tasks_blocked_within(rounds_max))


async def _is_empty_within(queue: Sized, rounds_max: int) -> bool:
    for _ in range(rounds_max):
        await anyio.lowlevel.checkpoint()
        # What ran before us in this round put what it woke behind us, so an empty queue means that nobody can run.
        if not queue:
            return True
    return False


async def _are_tasks_blocked_within(rounds_max: int) -> bool:
    quiet = 0
    for _ in range(rounds_max):
        await anyio.lowlevel.checkpoint()
        quiet = 0 if any(map(_is_runnable, asyncio.all_tasks())) else quiet + 1
        if quiet == QUIET_ROUNDS:
            return True
    return False


def _is_runnable(task: "asyncio.Task[object]") -> bool:
    if task is asyncio.current_task():
        return False
    waits_for: asyncio.Future[object] | None = getattr(task, "_fut_waiter", None)
    return waits_for is None or waits_for.done()
