"""Closing: what the commit that ends a message writes down of it, besides what its turn changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salon_persistence.records import DeadLetterRow, InboxRow, LedgerEntry, Mail, OutboxRow, TurnRecord

if TYPE_CHECKING:
    from salon.held import Held
    from salon.resident import Resident
    from salon.turn_envelope import TurnEnvelope


FAILED = "failed"
"""The one outcome that is not recorded: what was rolled back may run again under the same key."""


def entries(envelope: TurnEnvelope, outcome: str, reply: bytes, at_us: int) -> Sequence[LedgerEntry]:
    """One for every message of the turn that is recorded: told ones and keyed ones."""
    return tuple(
        LedgerEntry(
            turn=member.turn_id,
            outcome=outcome,
            at_us=at_us,
            key=sending.key,
            fingerprint=sending.fingerprint,
            message=_name_of(member)[0],
            message_schema=_name_of(member)[1],
            reply=reply,
            chunks=sending.ticket.seq,
            attempt=sending.attempt,
        )
        for member in envelope.members
        if (sending := member.sending) is not None and sending.is_recorded
    )


def _name_of(envelope: TurnEnvelope) -> tuple[str, int]:
    """Name and schema of the message when it was sent, under which its fingerprint was made."""
    row = envelope.sending.row if envelope.sending is not None else None
    if row is not None:
        return row.message, row.schema_version
    name = envelope.handler.message.salon_name
    return name.name, name.schema_version


def rows_of(envelope: TurnEnvelope) -> Sequence[int]:
    """Numbers of the rows that the messages of the turn have in the inbox."""
    sendings = [member.sending for member in envelope.members if member.sending is not None]
    return tuple(sending.row.number for sending in sendings if sending.row is not None)


@dataclass(frozen=True, slots=True)
class StagedRows:
    """What a turn has staged, as its record takes it along."""

    tells: Sequence[InboxRow] = ()
    posts: Sequence[OutboxRow] = ()
    children: Sequence[TurnRecord] = ()
    letters: Sequence[DeadLetterRow] = ()


NO_ROWS = StagedRows()


def settled(held: Held, staged: StagedRows) -> Mail | None:
    """The messages of the turn leave the inbox, their steps go, and what the turn has staged comes in and goes out."""
    numbers = rows_of(held.envelope)
    owners = _steps_that_go(held)
    letters = (*held.letters, *staged.letters)
    if not (numbers or owners or letters or staged.tells or staged.posts):
        return None
    return Mail(
        inbox_settled=numbers,
        steps_dropped=owners,
        dead_letters=letters,
        inbox_added=staged.tells,
        outbox_added=staged.posts,
    )


def _steps_that_go(held: Held) -> Sequence[str]:
    """All, but those of a key whose turn was rolled back: the same key runs again, and finds them."""
    inbox = held.resident.inbox
    if inbox is None or not inbox.steps:
        return ()
    owners = [steps_owner(member) for member in held.envelope.members]
    is_final = held.outcome != FAILED
    return tuple(o for o in owners if o is not None and o in inbox.steps and (is_final or not o.startswith("key:")))


def own_steps(envelope: TurnEnvelope) -> Sequence[str]:
    """Whose steps nobody will ask for when the turn was rolled back: those of a key stay."""
    owners = [steps_owner(member) for member in envelope.members]
    return tuple(owner for owner in owners if owner is not None and not owner.startswith("key:"))


def forget_steps(resident: Resident, owners: Sequence[str]) -> None:
    """They are gone from the store."""
    if resident.inbox is not None:
        for owner in owners:
            resident.inbox.steps.pop(owner, None)


def steps_owner(envelope: TurnEnvelope) -> str | None:
    """Under what the results of `turn.once` are stored; None: they need not outlive the process.

    Under the key, if there is one, so that whoever sends it again after a crash finds them.
    """
    sending = envelope.sending
    if sending is None:
        return None
    if sending.key is not None:
        return f"key:{sending.key}"
    return envelope.turn_id if sending.row is not None else None
