"""The envelope of a message to a session: the message by value, and what its turn needs to end."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from salon.turn_id import turn_id
from salon_actors import Envelope

if TYPE_CHECKING:
    from salon.frame import Frame
    from salon.message import Message
    from salon.receive import Handler


class TurnEnvelope(Envelope):
    """One accepted message. `deadline` is a reading of the monotonic clock, in seconds."""

    __slots__ = ("carried", "frame", "handler", "number")

    message: Message[Any]
    handler: Handler
    carried: tuple[tuple[ContextVar[Any], Any], ...]
    """Context variables of the asker that its turn sees."""
    number: int
    """Of its turn; see `turn_id`."""
    frame: Frame | None

    @property
    def turn_id(self) -> str:
        return turn_id(self.number)
