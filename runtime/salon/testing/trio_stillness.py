"""Stillness on trio, which knows it, but would wait for ever for a loop that never rests. Imported on trio only."""

import trio
import trio.testing


class _Rounds(trio.abc.Instrument):
    """Counts the rounds of the loop, and gives up after so many."""

    def __init__(self, scope: trio.CancelScope, rounds_max: int) -> None:
        self._scope = scope
        self._left = rounds_max

    def before_io_wait(self, timeout: float) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def is_still_within(rounds_max: int) -> bool:
    """Wait until all other tasks are blocked; False when that did not come in so many rounds."""
    with trio.CancelScope() as scope:
        rounds = _Rounds(scope, rounds_max)
        trio.lowlevel.add_instrument(rounds)
        try:
            await trio.testing.wait_all_tasks_blocked()
        finally:
            trio.lowlevel.remove_instrument(rounds)
    return not scope.cancelled_caught
