"""The envelope: a message, and what the engine must know to carry it."""

from math import inf
from typing import Any, Final

from salon_actors.park import Reply

HIGH: Final = 0
NORMAL: Final = 1
LOW: Final = 2
CONTROL: Final = -1
"""Ahead of every user; `Scheduler.submit_control` gives it, nobody else."""


class Envelope:
    """One message on its way to one actor. The runtime subclasses it; `__slots__` keep it small."""

    __slots__ = ("accepted_at", "deadline", "message", "priority", "promise", "size_bytes")

    def __init__(
        self,
        message: object,
        promise: Reply[Any],
        deadline: float = inf,
        size_bytes: int = 0,
        priority: int = NORMAL,
        accepted_at: float = 0.0,
    ) -> None:
        self.message = message
        self.promise = promise
        """The reply; the engine never settles it, the behaviour does."""
        self.deadline = deadline
        """Seconds of `Clock.monotonic`, infinite when there is none; may be moved later, never earlier."""
        self.size_bytes = size_bytes
        """What it counts for in `Scheduler.totals`; must not change while it waits."""
        self.priority = priority
        """`HIGH`, `NORMAL` or `LOW`: the lane that it waits in; must not change while it waits."""
        self.accepted_at = accepted_at
        """Seconds of `Clock.monotonic`; the engine only compares it, for the age of what waits."""
