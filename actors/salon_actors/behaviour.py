"""The behaviour: what the runtime supplies, and how a turn can end.

    Scheduler                            Behaviour
    starts a turn              ->        handle(actor, envelope)             awaited, in a context of its own
    its deadline passes        ->        expire(actor, envelope, True)       then the turn is cancelled
    it does not return         ->        stuck(actor, envelope, late_s)
    it has returned            ->        finish(actor, envelope, ending)     False: held until Scheduler.release
    a waiting message is late  ->        expire(actor, envelope, False)      it never starts
    the scheduler closes       ->        abandon(actor, envelope)            it never starts

All but `handle` are plain functions that must not raise; if one does, it is logged and the engine goes on.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

A_contra = TypeVar("A_contra", contravariant=True)
E_contra = TypeVar("E_contra", contravariant=True)


@dataclass(slots=True)
class Returned:
    """The handler returned, in time."""

    value: object


@dataclass(slots=True)
class Raised:
    """The handler raised, or let a cancellation out that was not its turn's (`ForeignCancellation`)."""

    error: BaseException


@dataclass(slots=True)
class Cancelled:
    """The turn was cancelled before its handler had returned; what the handler did about it is of no account."""

    reason: str
    """`DEADLINE`, `CLOSED`, or what `Scheduler.cancel` was given."""
    error: BaseException | None = None
    """What the handler raised on its way out, if it raised."""


Ending: TypeAlias = Returned | Raised | Cancelled

DEADLINE = "deadline"
CLOSED = "closed"


class Behaviour(Protocol[A_contra, E_contra]):
    def handle(self, actor: A_contra, envelope: E_contra, /) -> Coroutine[Any, Any, object]:
        """The turn. It may be cancelled; until it has returned, the actor takes no other message."""
        ...

    def finish(self, actor: A_contra, envelope: E_contra, ending: Ending, /) -> bool:
        """Called right after the turn, before anything else can run.

        True frees the actor for its next message; False holds it until `Scheduler.release`.
        """
        ...

    def expire(self, actor: A_contra, envelope: E_contra, started: bool, /) -> None:
        """The deadline passed. `started`: the turn runs; it is cancelled next, and `finish` still comes."""
        ...

    def stuck(self, actor: A_contra, envelope: E_contra, late_s: float, /) -> None:
        """A cancelled turn has not returned, `late_s` seconds after it should have. Told once per turn."""
        ...

    def abandon(self, actor: A_contra, envelope: E_contra, /) -> None:
        """The scheduler closes: this message waits no longer and will never start."""
        ...
