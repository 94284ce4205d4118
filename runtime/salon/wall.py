"""Wall time in microseconds, never below what the store has seen."""

from __future__ import annotations

from math import inf

from salon.info import microseconds
from salon_actors import Clock

RESYNC_S = 1.0


class Wall:
    """The clock's wall time, asked for at most once a second: a turn needs it, and a datetime costs a microsecond."""

    __slots__ = ("_at", "_clock", "_floor_us", "_us")

    def __init__(self, clock: Clock, floor_us: int) -> None:
        self._clock = clock
        self._floor_us = floor_us
        self._at = clock.monotonic()
        self._us = microseconds(clock.wall())

    def deadline_us(self, deadline: float) -> int | None:
        """Wall time of a reading of the monotonic clock that is to come; None for one that never comes."""
        if deadline == inf:
            return None
        now = self._clock.monotonic()
        return self.now_us(now) + int((deadline - now) * 1_000_000)

    def now_us(self, monotonic: float) -> int:
        """Wall time at this reading of the monotonic clock."""
        passed = monotonic - self._at
        if not 0 <= passed < RESYNC_S:
            self._at, self._us, passed = monotonic, microseconds(self._clock.wall()), 0.0
        now_us = self._us + int(passed * 1_000_000)
        if now_us > self._floor_us:
            self._floor_us = now_us
        return self._floor_us
