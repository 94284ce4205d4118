"""What is held at the gate: a turn that has ended and is not durable yet, and what its callers will get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from salon.closing import FAILED

if TYPE_CHECKING:
    from salon.draft import Changes, Draft
    from salon.errors import SalonError
    from salon.events import TurnStatus
    from salon.mark import Mark
    from salon.resident import Resident
    from salon.staging import Staged
    from salon.turn_envelope import TurnEnvelope
    from salon_persistence.records import DeadLetterRow, TurnRecord


class Held:
    """One per session at most. Without `changes` the turn ends without a trace in the state."""

    __slots__ = (
        "changes",
        "draft",
        "envelope",
        "error",
        "is_old",
        "letters",
        "mark",
        "outcome",
        "record",
        "reply",
        "reply_bytes",
        "resident",
        "size_bytes",
        "size_bytes",
        "staged",
        "staged",
        "status",
        "status",
    )  # fmt: skip

    record: TurnRecord
    """What the store was given."""

    def __init__(
        self, resident: Resident, envelope: TurnEnvelope, draft: Draft | None, changes: Changes | None, reply: Any
    ) -> None:
        self.resident = resident
        self.envelope = envelope
        """Whose callers wait."""
        self.draft = draft
        self.changes = changes
        self.reply = reply
        self.reply_bytes: int | None = None
        """Of the encoded reply, if it was encoded."""
        self.size_bytes = 0
        self.is_old = False
        """The store has had it for a while."""
        self.error: SalonError | None = None
        """What callers get instead of the reply."""
        self.outcome = "done"
        """What the ledger says."""
        self.status: TurnStatus | None = None
        """What callers read of it, where the error does not say."""
        self.staged: Staged | None = None
        self.letters: Sequence[DeadLetterRow] = ()
        self.mark: Mark | None = None
        """Of which this is the end; made again, if the store does not take it."""

    def tell_early(self) -> None:
        """It is not durable yet. Whoever comes with the key of a message of it until then gets the same."""
        sendings = [member.sending for member in self.envelope.members if member.sending is not None]
        for sending in sendings:
            sending.is_told_early = self.outcome != FAILED  # which nobody is to get again
        self.tell()
        for sending in sendings:
            sending.is_told_early = False

    def tell(self) -> None:
        """It is durable."""
        envelope = self.envelope
        if self.error is not None:
            self._show_what_is_kept()
            envelope.fail(self.error, self.status, self.record.version)
        elif envelope.sending is not None:
            envelope.answer(self.reply, self.record.version, self.reply_bytes)
        elif not envelope.promise.done():
            envelope.promise.set_result(self.reply)

    def _show_what_is_kept(self) -> None:
        """What a turn had emitted when it was cut is kept; its readers shall have seen the same."""
        sending = self.envelope.sending
        if sending is not None and self.outcome in ("stopped", "interrupted"):
            sending.ticket.shown(sending.ticket.seq)
