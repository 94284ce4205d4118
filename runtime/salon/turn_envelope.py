"""The envelope of a message to a session: the message by value, and what its turn needs to end."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from salon.errors import Draining
from salon.events import Ending, TurnStatus
from salon.turn_id import order_of, turn_id
from salon_actors import Envelope

if TYPE_CHECKING:
    from salon.errors import SalonError
    from salon.frame import Frame
    from salon.mark import Mark
    from salon.message import Message
    from salon.receive import Handler
    from salon.sending import Sending


class TurnEnvelope(Envelope):
    """One accepted message. `deadline` is a reading of the monotonic clock, in seconds."""

    __slots__ = ("carried", "doom", "frame", "handler", "mark", "number", "sending")

    message: Any
    """What the handler gets: the message, or the list of those that were merged."""
    handler: Handler
    carried: tuple[tuple[ContextVar[Any], Any], ...]
    """Context variables of the asker that its turn sees."""
    number: int
    """Of its turn; see `turn_id`."""
    frame: Frame | None
    sending: Sending | None
    """None for a plain ask."""
    doom: str | None
    """Why its turn is to be cut as soon as it can be, if it is."""
    mark: Mark | None
    """What this turn marks; None for a turn of a message."""

    @property
    def turn_id(self) -> str:
        return turn_id(self.number)

    @property
    def order(self) -> int:
        """Of admission."""
        return order_of(self.number)

    @property
    def sent(self) -> Message[Any]:
        """The message as it was sent; `message` is a list of several where they were merged."""
        return self.message if self.sending is None else self.sending.message

    @property
    def members(self) -> Sequence[TurnEnvelope]:
        """The messages of its turn: itself, or all that were merged."""
        if self.sending is not None and self.sending.members:
            return self.sending.members
        return (self,)

    @property
    def is_recorded(self) -> bool:
        """How its turn ends is written down: of one of its messages somebody may ask later."""
        return self.sending is not None and any(
            member.sending is not None and member.sending.is_recorded for member in self.members
        )

    @property
    def is_told(self) -> bool:
        """One of its messages is in the durable inbox."""
        return self.sending is not None and any(
            member.sending is not None and member.sending.row is not None for member in self.members
        )

    @property
    def is_keyed(self) -> bool:
        """Whoever sends it again gets what came of it this time: every message of its turn has a key."""
        return all(member.sending is not None and member.sending.key is not None for member in self.members)

    def answer(self, reply: Any, version: int | None = None, reply_bytes: int | None = None) -> None:
        """Its callers get the reply; if they were told something before, that stands."""
        if self.sending is None:
            if not self.promise.done():
                self.promise.set_result(reply)
            return
        if reply_bytes is None:
            reply_bytes = len(self.handler.encode_reply(reply))
        ending = Ending.done(
            self.turn_id, reply, by_value=self.handler.copy_reply, reply_bytes=reply_bytes, version=version
        )
        for member in self.members:
            if member.sending is not None:
                member.sending.end(member, ending)

    def fail(self, error: SalonError, status: TurnStatus | None = None, version: int | None = None) -> None:
        """Its callers get the error; if they were told something before, that stands."""
        if self.sending is None:
            if not self.promise.done():
                self.promise.set_exception(error)
            return
        if len(self.members) > 1:
            error.message = None  # it was one sender's, and all of them get this error
        ending = Ending.failed(self.turn_id, error, status=status, version=version)
        for member in self.members:
            if member.sending is not None:
                member.sending.end(member, ending)

    def forewarn(self, error: SalonError, status: TurnStatus | None = None) -> None:
        """As `fail`, while the record of its end is still to come."""
        if len(self.members) > 1:
            error.message = None
        ending = Ending.failed(self.turn_id, error, status=status)
        for member in self.members:
            if member.sending is not None:
                member.sending.tell(member, ending)

    def fail_alone(self, error: SalonError) -> None:
        """This message, and not the others of its turn."""
        if self.sending is not None:
            self.sending.end(self, Ending.failed(self.turn_id, error))

    def despair(self, error: SalonError) -> None:
        """Its callers wait no longer, though it may still end: told messages of a runtime that closes surely will."""
        if not self.promise.done():
            self.promise.set_exception(error)
        for member in self.members:
            if member.sending is not None:
                is_kept = isinstance(error, Draining) and member.sending.row is not None
                member.sending.ticket.lose(_kept_in_the_inbox(member) if is_kept else error)


def _kept_in_the_inbox(envelope: TurnEnvelope) -> Draining:
    error = Draining("The runtime closed. The message is in the inbox, and ends when the store is opened again.")
    error.retryable = False  # it would be there twice
    error.message = envelope.sent
    return error
