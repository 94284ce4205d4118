"""The mark: what ends a message that was cut, in a control turn of its own, ahead of what waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import JsonValue

from salon.checkpoint import Checkpoint
from salon.errors import SalonError

if TYPE_CHECKING:
    from salon.events import TurnStatus
    from salon.message import Message
    from salon.turn_envelope import TurnEnvelope
    from salon_actors import Promise
    from salon_persistence.records import DeadLetterRow

Reason: TypeAlias = Literal["stop", "interrupt", "crash"]


class InterruptedTurn:
    """A turn that was cut, for `on_interrupted`."""

    def __init__(self, message: Message[Any], chunks: Sequence[JsonValue], reason: Reason, attempt: int) -> None:
        self._message = message
        self._chunks = tuple(chunks)
        self._reason: Reason = reason
        self._attempt = attempt

    @property
    def message(self) -> Message[Any]:
        """What it was about; of a merged turn one of the messages, the one that the others were merged into."""
        return self._message

    @property
    def chunks(self) -> Sequence[JsonValue]:
        """What was emitted by the attempt that was cut."""
        return self._chunks

    @property
    def reason(self) -> Reason:
        """`stop`: somebody called it. `interrupt`: a later message came. `crash`: the process died."""
        return self._reason

    @property
    def attempt(self) -> int:
        """1 the first time."""
        return self._attempt


@dataclass(frozen=True, slots=True)
class Mark:
    """How a message ends without the end of its handler."""

    envelope: TurnEnvelope
    """Of the message."""
    outcome: str
    """What the ledger says of it."""
    error: Callable[[], SalonError]
    """What its callers get, once that is durable."""
    interrupted: InterruptedTurn | None = None
    """For the hook; None: the handler never began, or is as if it never had."""
    checkpoint: Checkpoint | None = None
    """What is kept of its draft."""
    letters: Sequence[DeadLetterRow] = ()
    """What remains of it to be inspected; one for each message that was merged."""
    noted: Promise[bool] | None = None
    """Whether its callers know already, and the letters are written; None: they hear of it by the mark."""
    is_void: bool = False
    """Its message was never accepted, and its sender knows: nothing is left to be said."""
    is_refused: bool = False
    """The store has refused it once."""

    @property
    def status(self) -> TurnStatus | None:
        """What callers read of it, where the error does not say."""
        return "dead_lettered" if self.outcome == "dead_lettered" else None
