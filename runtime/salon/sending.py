"""A sending: what a message carries beyond its turn, when it was told, keyed, streamed or may be merged."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.events import Ending
    from salon.message import Message
    from salon.ticket import Ticket
    from salon.turn_envelope import TurnEnvelope
    from salon_actors import Promise
    from salon_persistence.records import InboxRow


class Sending:
    """Made when it is needed: a plain ask has none. Every message of a merged turn has its own."""

    __slots__ = (
        "accepted",
        "attempt",
        "deadline",
        "fingerprint",
        "is_ending",
        "is_promoted",
        "is_told_early",
        "key",
        "marked",
        "members",
        "message",
        "on_end",
        "row",
        "steps",
        "ticket",
        "too_old_at",
    )

    def __init__(self, message: Message[Any], ticket: Ticket, key: str | None = None, fingerprint: bytes = b"") -> None:
        self.message = message
        """The one that was sent, also when its turn is about several."""
        self.ticket = ticket
        """What callers see of it."""
        self.key = key
        self.fingerprint = fingerprint
        self.row: InboxRow | None = None
        """Its place in the durable inbox; None for an ask."""
        self.deadline = inf
        """Of a told or merged one: until when it may wait and run, by the monotonic clock of this process."""
        self.too_old_at = inf
        """Of a told one: until when it may wait, as its handler says."""
        self.accepted: Promise[None] | None = None
        """Settled when the row is durable, or was refused."""
        self.is_promoted = False
        """It was asked, and told afterwards: its turn does not wait until the row is durable."""
        self.is_ending = False
        """The end of its turn is on the way to the store."""
        self.is_told_early = False
        """Its callers are being told before that is so."""
        self.attempt = 1
        """Which attempt the next run of its handler is."""
        self.marked = 0
        """Attempts that are durably known to have begun."""
        self.members: tuple[TurnEnvelope, ...] = ()
        """Of a merged turn: every message of it, the first one included."""
        self.steps: dict[str, bytes] | None = None
        """Results of `turn.once`, by key; of a message whose steps outlive the process they are stored as well."""

        self.on_end: Callable[[TurnEnvelope], None] | None = None
        """Called once, when it has ended."""

    def end(self, envelope: TurnEnvelope, ending: Ending) -> None:
        """Its callers are told; what they were told before stands. It has ended."""
        self.tell(envelope, ending)
        if self.on_end is not None and not self.is_told_early:
            self.on_end(envelope)
            self.on_end = None

    def tell(self, envelope: TurnEnvelope, ending: Ending) -> None:
        """As `end`, of one whose end is not recorded yet: it is still found by its key."""
        if not envelope.promise.done():
            if ending.error is None:
                envelope.promise.set_result(ending.result())  # a copy of its own
            else:
                envelope.promise.set_exception(ending.error)
        if self.ticket.merged_into is None:
            self.ticket.end(ending)

    @property
    def begun(self) -> int:
        """Attempts that have begun."""
        return self.attempt if self.row is None else self.marked

    @property
    def is_recorded(self) -> bool:
        """How it ends is written down, for whoever asks later."""
        return self.row is not None or self.key is not None
