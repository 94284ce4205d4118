"""The envelope of a message to a session: the message by value, and what its turn needs to end."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from salon_actors import Envelope

if TYPE_CHECKING:
    from salon.frame import Frame
    from salon.message import Message
    from salon.receive import Handler


class TurnEnvelope(Envelope):
    """One accepted message. `deadline` is a reading of the monotonic clock, in seconds."""

    __slots__ = ("carried", "epoch", "frame", "handler", "number")

    message: Message[Any]
    handler: Handler
    carried: tuple[tuple[ContextVar[Any], Any], ...]
    """Context variables of the asker that its turn sees."""
    epoch: int
    number: int
    frame: Frame | None

    @property
    def turn_id(self) -> str:
        """(epoch, number): nobody else in this store has it, before or after."""
        return f"t{self.epoch}-{self.number}"
