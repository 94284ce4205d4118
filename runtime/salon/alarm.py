"""Alarm: calls that are due at times of the monotonic clock, kept by as few sleeping tasks as will do."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from salon_actors import Clock, HostLoop

CANCELLED_MAX = 64
"""So many cancelled calls may wait for their time; of more, as soon as they are half of all, the heap is rid."""


class Call:
    """One call that is due."""

    __slots__ = ("_alarm", "due", "fn", "number")

    def __init__(self, alarm: Alarm, due: float, number: int, fn: Callable[[], None]) -> None:
        self._alarm = alarm
        self.due = due
        self.number = number
        self.fn: Callable[[], None] | None = fn

    def cancel(self) -> None:
        """Forget it. Harmless when it was made or forgotten already."""
        if self.fn is not None:
            self.fn = None
            self._alarm.forgotten()

    def __lt__(self, other: Call) -> bool:
        return (self.due, self.number) < (other.due, other.number)


class Alarm:
    """A timer of the host's own loop would not know the clock of a test; a task per call would cost kilobytes each.

    A task sleeps until the earliest call; one that comes earlier gets a task of its own, and none is ever disturbed.
    """

    __slots__ = ("_calls", "_cancelled", "_clock", "_host", "_made", "_sleeping")

    def __init__(self, host: HostLoop, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._calls: list[Call] = []
        self._sleeping: list[float] = []
        """When the tasks wake, a heap."""
        self._cancelled = 0
        self._made = 0

    def __len__(self) -> int:
        """Calls that are due at some time."""
        return len(self._calls) - self._cancelled

    def call_in(self, seconds: float, fn: Callable[[], None]) -> Call:
        """Call `fn` so many seconds from now, at once after the others that are due then."""
        self._made += 1
        call = Call(self, self._clock.monotonic() + max(0.0, seconds), self._made, fn)
        heapq.heappush(self._calls, call)
        self._arm()
        return call

    def forgotten(self) -> None:
        """A call was cancelled."""
        self._cancelled += 1
        if self._cancelled > CANCELLED_MAX and self._cancelled * 2 > len(self._calls):
            self._calls = [call for call in self._calls if call.fn is not None]
            heapq.heapify(self._calls)
            self._cancelled = 0

    def _arm(self) -> None:
        due = self._calls[0].due
        if not self._sleeping or due < self._sleeping[0]:
            heapq.heappush(self._sleeping, due)
            self._host.spawn(self._sleep, due)

    async def _sleep(self, due: float) -> None:
        while (left_s := due - self._clock.monotonic()) > 0:
            await self._clock.sleep(left_s)
        self._sleeping.remove(due)
        heapq.heapify(self._sleeping)
        try:
            self._ring()
        finally:
            if self._calls:
                self._arm()

    def _ring(self) -> None:
        while self._calls and self._calls[0].due <= self._clock.monotonic():
            call = heapq.heappop(self._calls)
            fn, call.fn = call.fn, None
            if fn is None:
                self._cancelled -= 1
            else:
                fn()
