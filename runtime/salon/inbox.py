"""The inbox of one session: its accepted messages that have not ended, as this process knows them.

A plain ask is not among them before somebody follows it; a session with nothing but such asks has no inbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.merging import MergeGroup
    from salon.message import Message
    from salon.turn_envelope import TurnEnvelope
    from salon.watch import Broadcast


class Inbox:
    """Found by number and by key."""

    __slots__ = ("by_key", "by_number", "merging", "steps", "watched")

    def __init__(self) -> None:
        self.by_number: dict[int, TurnEnvelope] = {}
        self.by_key: dict[str, TurnEnvelope] = {}
        self.merging: dict[type[Message[Any]], MergeGroup] = {}
        """Groups that still take messages."""
        self.steps: dict[str, dict[str, bytes]] = {}
        """Stored results of `turn.once`: by whose they are, then by their key."""
        self.watched: Broadcast | None = None
        """There once somebody has watched the whole session."""

    def add(self, envelope: TurnEnvelope) -> None:
        self.by_number[envelope.number] = envelope
        if envelope.sending is not None and envelope.sending.key is not None:
            self.by_key[envelope.sending.key] = envelope

    def remove(self, envelope: TurnEnvelope) -> None:
        """It has ended; harmless when it was removed before."""
        self.by_number.pop(envelope.number, None)
        key = envelope.sending.key if envelope.sending is not None else None
        if key is not None and self.by_key.get(key) is envelope:
            del self.by_key[key]

    @property
    def is_empty(self) -> bool:
        return not (self.by_number or self.by_key or self.merging or self.steps or self.watched)
