"""The clock: the only place where the engine learns the time. Tests and simulation pass one of their own."""

import time
from datetime import UTC, datetime
from typing import Protocol, final

import anyio


class Clock(Protocol):
    """What tells the time: wall time for people, monotonic time for deadlines."""

    def wall(self) -> datetime:
        """Aware, in UTC. It may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never runs backwards. Deadlines are counted in these."""
        ...

    async def sleep(self, seconds: float, /) -> None:
        """Return `seconds` of monotonic time later, or at once when they are not positive. May be cancelled."""
        ...


@final
class SystemClock:
    """The clock of the machine, sleeping on the current event loop."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    """Without a frame of its own: an ask through the runtime looks at it three times."""

    def wall(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(max(seconds, 0))
