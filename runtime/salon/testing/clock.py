"""A clock whose time moves only when a test says so, on asyncio and on trio.

    test                              code under test
    await clock.wait_until_sleeping() <- await clock.sleep(30)
    await clock.advance(30)           -> the sleeper runs to its next wait, and whoever it woke
    assert ...

Sleepers wake one at a time, in the order in which they are due.
Between two of them everybody runs to his next wait, so a timer that is armed on the way is neither skipped nor late.
"""

import heapq
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
import anyio.lowlevel

from salon.testing.stillness import wait_until_still

NANOSECONDS: Final = 1_000_000_000
WALL: Final = datetime(2030, 1, 1, tzinfo=UTC)
MONOTONIC_S: Final = 1000.0


@dataclass(order=True, slots=True)
class _Sleeper:
    due: float
    """Nanoseconds; infinity for a sleep that only a cancellation ends."""
    number: int
    event: anyio.Event = field(compare=False)
    is_cancelled: bool = field(default=False, compare=False)


class VirtualClock:
    """A clock for one event loop, to be given to `Runtime(clock=...)` or to whatever asks for a clock.

    Time is counted in whole nanoseconds, so that ten sleeps of a tenth are one second, exactly.
    """

    def __init__(
        self, *, wall: datetime = WALL, monotonic: float = MONOTONIC_S, settle_rounds_max: int = 1_000_000
    ) -> None:
        """Stand still at these times.

        Args:
            wall: Aware; where `wall()` starts.
            monotonic: Seconds; where `monotonic()` starts.
            settle_rounds_max: Rounds of the event loop that `advance` gives the tasks to come to rest each time.

        Raises:
            ValueError: `wall` is naive.
        """
        if wall.tzinfo is None:
            raise ValueError("The wall time of a clock must be aware, such as datetime(2030, 1, 1, tzinfo=UTC).")
        self._wall = wall.astimezone(UTC)
        self._start = round(monotonic * NANOSECONDS)
        self._now = self._start
        self._settle_rounds_max = settle_rounds_max
        self._heap: list[_Sleeper] = []
        self._armed = 0
        self._sleeping = 0
        self._watchers: list[tuple[int, anyio.Event]] = []
        self._is_advancing = False

    def wall(self) -> datetime:
        """What the clock on the wall shows: aware, UTC."""
        return self._wall + timedelta(microseconds=(self._now - self._start) // 1000)

    def monotonic(self) -> float:
        """Seconds; never jumps."""
        return self._now / NANOSECONDS

    async def sleep(self, seconds: float) -> None:
        """Wait until time has been advanced by this much; zero and less only let others run.

        Less than a nanosecond counts as one, so that who sleeps again and again does not stand still.

        Raises:
            ValueError: `seconds` is not a number.

        Cancellation: disarms the timer.
        """
        if math.isnan(seconds):
            raise ValueError("A sleep must be a number of seconds, not NaN.")
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        await self._sleep_until(self._now + max(1, _nanoseconds(seconds)))

    @property
    def sleeping(self) -> int:
        """How many timers are armed."""
        return self._sleeping

    @property
    def next_due_s(self) -> float | None:
        """Seconds until the next armed timer is due; None when none is armed."""
        self._forget_cancelled()
        return (self._heap[0].due - self._now) / NANOSECONDS if self._heap else None

    async def wait_until_sleeping(self, n: int = 1) -> None:
        """Wait until at least `n` timers are armed, so that advancing cannot come too early."""
        while self._sleeping < n:
            watcher = n, anyio.Event()
            self._watchers.append(watcher)
            try:
                await watcher[1].wait()
            finally:
                self._watchers.remove(watcher)

    async def advance(self, seconds: float) -> None:
        """Move time on, and return when everybody who was woken on the way rests again.

        Tasks that have not run yet first run to their wait. `advance(0)` does only that.
        Work on other threads is not waited for.

        Args:
            seconds: Finite, not negative.

        Raises:
            ValueError: Time does not run backwards here, nor to its end.
            RuntimeError: An advance is under way already.
            NeverStill: A task runs again and again without waiting for anything.

        Cancellation: time stays where it has come to.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"Time advances by a finite number of seconds, 0 or more, not by {seconds}.")
        if self._is_advancing:
            raise RuntimeError("This clock is being advanced already; advance it from one task.")
        self._is_advancing = True
        try:
            await self._run_until(self._now + round(seconds * NANOSECONDS))
        finally:
            self._is_advancing = False

    def step_wall(self, seconds: float) -> None:
        """Let the wall clock jump, forwards or (negative) backwards; `monotonic` and the sleepers do not notice."""
        self._wall += timedelta(seconds=seconds)

    async def _sleep_until(self, due: float) -> None:
        self._armed += 1
        sleeper = _Sleeper(due, self._armed, anyio.Event())
        heapq.heappush(self._heap, sleeper)
        self._sleeping += 1
        self._tell_watchers()
        try:
            await sleeper.event.wait()
        finally:
            if not sleeper.event.is_set():
                sleeper.is_cancelled = True
                self._sleeping -= 1

    def _tell_watchers(self) -> None:
        for n, event in self._watchers:
            if self._sleeping >= n:
                event.set()

    async def _run_until(self, end: int) -> None:
        await wait_until_still(self._settle_rounds_max)
        while (sleeper := self._pop_due(end)) is not None:
            self._now = int(sleeper.due)
            self._sleeping -= 1
            sleeper.event.set()
            await wait_until_still(self._settle_rounds_max)
        self._now = end

    def _pop_due(self, end: int) -> _Sleeper | None:
        self._forget_cancelled()
        return heapq.heappop(self._heap) if self._heap and self._heap[0].due <= end else None

    def _forget_cancelled(self) -> None:
        while self._heap and self._heap[0].is_cancelled:
            heapq.heappop(self._heap)


def _nanoseconds(seconds: float) -> float:
    return seconds if math.isinf(seconds) else round(seconds * NANOSECONDS)
