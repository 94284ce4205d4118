"""The mail of one record, addressed and sealed: what a store puts into its tables.

Lines are tuples in the order of the columns, for statements that take many at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from salon_persistence.errors import RecordRefused
from salon_persistence.mail_codec import (
    check_integers,
    seal_inbox,
    seal_letter,
    seal_outbox,
    seal_progress,
    seal_step,
)
from salon_persistence.records import DeadLetterRow, InboxRow, Mail, NoteRecord, Record, TurnRecord
from salon_persistence.turn_number import id_of

RECEIVER_GONE = "receiver_gone"

Line: TypeAlias = tuple[int, int, int, int | None, bytes]
"""Of inbox and outbox: number, sid, attempts, due_us, body."""
ProgressLine: TypeAlias = tuple[int, int, int, bytes, int]
"""Number, kind, ordinal, body; and the session whose inbox must hold the number."""
StepLine: TypeAlias = tuple[int, str, str, int, bytes]
"""Sid, owner, name, at_us, body."""
LetterLine: TypeAlias = tuple[int, str, bytes]
"""Sid, id, body."""


@dataclass(slots=True)
class Parcel:
    """See `Mail`, part by part."""

    sid: int
    generation: int | None
    """Of a note, whose session must be active to receive. None: a turn, which vouches for its session itself."""
    mail: Mail
    inbox: Sequence[Line]
    """For the session itself, and for children of the same record."""
    abroad: Sequence[tuple[InboxRow, Line]]
    """For other sessions, which may not be there."""
    progress: Sequence[ProgressLine]
    steps: Sequence[StepLine]
    outbox: Sequence[Line]
    letters: Sequence[LetterLine]


def pack(record: Record, mail: Mail, sid: int, children: Sequence[int]) -> Parcel:
    """The mail of `record`, for session `sid` and the children that were given these sids.

    Raises:
        RecordRefused: A part cannot be stored, or goes where this record cannot send it.
    """
    check_integers(*(n for pair in mail.inbox_started for n in pair), *mail.inbox_settled, *mail.progress_dropped)
    check_integers(*(n or 0 for pair in mail.inbox_put_off for n in pair), *mail.outbox_settled)
    check_integers(*(n or 0 for row in mail.outbox_tried for n in row))
    inbox: list[Line] = []
    abroad: list[tuple[InboxRow, Line]] = []
    for row in mail.inbox_added:
        receiver = _receiver(row.sid, sid, children)
        line = (row.number, receiver, row.attempts, row.due_us, seal_inbox(row, receiver))
        if receiver == sid or row.sid < 0:
            inbox.append(line)
        else:
            abroad.append((row, line))
    is_note = isinstance(record, NoteRecord)
    if is_note and abroad:
        raise RecordRefused("A note adds to the inbox of its own session only.")
    return Parcel(
        sid,
        record.generation if is_note else None,
        mail,
        inbox,
        abroad,
        [(row.number, row.kind, row.ordinal, seal_progress(row), sid) for row in mail.progress],
        [(sid, row.owner, row.name, row.at_us, seal_step(row, sid)) for row in mail.steps],
        [(row.number, sid, row.attempts, row.due_us, seal_outbox(row, sid)) for row in mail.outbox_added],
        [(sid, row.id, seal_letter(row, sid)) for row in mail.dead_letters],
    )


def undelivered(record: TurnRecord, sid: int, row: InboxRow, receiver: int) -> LetterLine:
    """The dead letter, of the sender, that an inbox row becomes whose receiver is gone."""
    letter = DeadLetterRow(
        id=id_of(row.number),
        kind="message",
        reason=RECEIVER_GONE,
        message=row.message,
        schema_version=row.schema_version,
        body=row.body,
        at_us=record.at_us,
        attempts=row.attempts,
        cause=f"s{receiver}",
        state_version=record.version,
        key=row.key,
        priority=row.priority,
    )
    return sid, letter.id, seal_letter(letter, sid)


def _receiver(named: int, sid: int, children: Sequence[int]) -> int:
    if named == 0:
        return sid
    if named > 0:
        return named
    if -named > len(children):
        raise RecordRefused("A message goes to a child that its record does not create.")
    return children[-named - 1]
