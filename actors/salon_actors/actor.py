"""The actor: passive, until a worker runs one of its messages.

IDLE       nothing waits                        -> READY on submit, SUSPENDED on suspend
READY      in the ready queue, messages wait    -> RUNNING when a worker takes it, IDLE when nothing waits any more
RUNNING    a worker runs its turn               -> READY, IDLE or HELD when the turn is finished
HELD       its turn waits behind the gate       -> READY or IDLE on release
SUSPENDED  only control may run                 -> READY on control, READY or IDLE on resume

An actor may be suspended in every phase; READY, RUNNING and HELD then lead to SUSPENDED instead of IDLE.
"""

from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from salon_actors.envelope import CONTROL, Envelope
from salon_actors.mailbox import Mailbox

if TYPE_CHECKING:
    from salon_actors.worker import Worker

E = TypeVar("E", bound=Envelope)


class Phase(Enum):
    """Where an actor is between two messages."""

    IDLE = "idle"
    """Nothing waits and nothing runs."""
    READY = "ready"
    """Messages wait, and a worker will come."""
    RUNNING = "running"
    """A worker runs its turn."""
    HELD = "held"
    """Its turn has returned and waits to be released."""
    SUSPENDED = "suspended"
    """Nothing runs; messages of users stay until it is resumed."""


class Actor(Generic[E]):
    """Where the messages of one actor wait, and who runs them. The runtime subclasses it, with `__slots__`.

    The scheduler alone writes these fields.
    """

    __slots__ = ("first", "mailbox", "phase", "worker")

    def __init__(self) -> None:
        self.phase = Phase.IDLE
        self.first: E | None = None
        """The message that woke an idle actor; None when there is none, or a mailbox."""
        self.mailbox: Mailbox[E] | None = None
        """There only while messages wait for something else than a worker, or the actor is suspended."""
        self.worker: Worker[Any, E] | None = None
        """Who runs the turn, while it runs."""

    @property
    def is_idle(self) -> bool:
        """Nothing waits, nothing runs, nothing is held."""
        return self.phase is Phase.IDLE

    @property
    def depth(self) -> int:
        """Messages that wait and count against the bound; the one that runs is not among them."""
        if self.mailbox is not None:
            return self.mailbox.depth
        return 0 if self.first is None else 1

    @property
    def waiting_bytes(self) -> int:
        """Of the messages that `depth` counts; asks each of them."""
        if self.mailbox is not None:
            return sum(envelope.size_bytes for envelope in self.mailbox if envelope.priority != CONTROL)
        return 0 if self.first is None else self.first.size_bytes

    @property
    def has_waiting(self) -> bool:
        return self.first is not None or bool(self.mailbox)

    @property
    def is_suspended(self) -> bool:
        """Messages of users stay where they are until it is resumed."""
        return self.mailbox is not None and self.mailbox.is_suspended
