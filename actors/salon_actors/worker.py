"""The worker: a task that runs turns of many actors, one after another."""

from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, Generic, TypeVar

import anyio

from salon_actors.context import Driver
from salon_actors.park import Reply
from salon_actors.scopes import Watch

A = TypeVar("A")
E = TypeVar("E")


class Worker(Generic[A, E]):
    """What a worker's task and the supervision know of each other. It is reused only after a clean turn."""

    __slots__ = (
        "absences", "actor", "cancelled_at", "driver", "envelope", "has_slot", "is_late", "is_reported",
        "is_under_way", "pause", "reason", "scope", "started_at", "watch",
    )  # fmt: skip

    pause: Reply[None]
    """What it waits for while it is parked."""
    scope: anyio.CancelScope
    watch: Watch

    def __init__(self, handle: Callable[[A, E], Coroutine[Any, Any, object]]) -> None:
        self.driver = Driver(handle)
        self.actor: A | None = None
        self.envelope: E | None = None
        """What it runs; None while it runs nothing."""
        self.started_at = 0.0
        """When the turn began, as of the last tick."""
        self.reason: str | None = None
        """Why the turn was cancelled; a worker with a reason takes no further message."""
        self.cancelled_at = inf
        self.is_late = False
        """The deadline of the turn has passed, and the behaviour knows. The worker takes no further message then."""
        self.is_reported = False
        """The turn was reported as stuck."""
        self.is_under_way = False
        """The turn has suspended, and not returned yet; this and the next two are for `Slots`."""
        self.has_slot = False
        self.absences = 0
        """How often the turn has given up its slot without regaining it."""

    def cancel(self, reason: str, now: float) -> None:
        """Cancel the turn. The first reason stands."""
        if self.reason is None:
            self.reason = reason
            self.cancelled_at = now
            self.scope.cancel()
