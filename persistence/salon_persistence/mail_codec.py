"""Rows of the mail to bytes and back.

What is changed or looked for stands beside the bytes, in columns; all else is an array inside them, sealed for the
row's place. Fields are added at the end, and missing ones take their default.
"""

from typing import Any
from zlib import crc32

from salon_persistence.body import SHAPE_FAULTS, opened, sealed, shapeless
from salon_persistence.errors import RecordRefused
from salon_persistence.header import Kind
from salon_persistence.records import DeadLetterRow, InboxRow, OutboxRow, ProgressRow, StepRow

INTEGER_MAX = 2**63 - 1
"""What a column holds."""

_INBOX, _PROGRESS, _STEP, _OUTBOX, _LETTER = map(
    int, (Kind.INBOX, Kind.PROGRESS, Kind.STEP, Kind.OUTBOX, Kind.DEAD_LETTER)
)
"""Plain integers, as in the journal."""


def seal_inbox(row: InboxRow, sid: int) -> bytes:
    check_integers(row.number, row.attempts, row.due_us or 0)
    front = (row.priority, row.message, row.body, row.key, row.fingerprint, row.overlap, row.deadline_us)
    return sealed(_INBOX, row.schema_version, sid, row.number, (*front, row.accepted_us))


def open_inbox(sid: int, number: int, attempts: int, due_us: int | None, data: bytes) -> InboxRow:
    schema_version, parts = opened(Kind.INBOX, sid, number, data)
    try:
        priority, message, body, key, fingerprint, overlap, deadline_us, accepted_us = parts[:8]
    except SHAPE_FAULTS as error:
        raise shapeless(Kind.INBOX) from error
    front = (number, sid, priority, message, schema_version, body, key, fingerprint, overlap)
    return InboxRow(*front, deadline_us, accepted_us, attempts, due_us)


def seal_progress(row: ProgressRow) -> bytes:
    check_integers(row.number, row.kind, row.ordinal)
    if not (0 <= row.ordinal < 1 << 32 and 0 <= row.kind < 1 << 8):
        raise RecordRefused("The ordinal of a progress row has more than 32 bits, or its kind more than 8.")
    return sealed(_PROGRESS, 0, row.number, row.kind << 32 | row.ordinal, row.body)


def open_progress(number: int, kind: int, ordinal: int, data: bytes) -> ProgressRow:
    _, body = opened(Kind.PROGRESS, number, kind << 32 | ordinal, data)
    if not isinstance(body, bytes):
        raise shapeless(Kind.PROGRESS)
    return ProgressRow(number, kind, ordinal, body)


def seal_step(row: StepRow, sid: int) -> bytes:
    check_integers(row.at_us)
    return sealed(_STEP, 0, sid, _check_of(row.owner, row.name), row.body)


def open_step(sid: int, owner: str, name: str, at_us: int, data: bytes) -> StepRow:
    _, body = opened(Kind.STEP, sid, _check_of(owner, name), data)
    if not isinstance(body, bytes):
        raise shapeless(Kind.STEP)
    return StepRow(owner, name, body, at_us)


def seal_outbox(row: OutboxRow, sid: int) -> bytes:
    check_integers(row.number, row.attempts, row.due_us or 0)
    return sealed(_OUTBOX, row.schema_version, sid, row.number, (row.key, row.kind, row.body))


def open_outbox(sid: int, number: int, attempts: int, due_us: int | None, data: bytes) -> OutboxRow:
    schema_version, parts = opened(Kind.OUTBOX, sid, number, data)
    try:
        key, kind, body = parts[:3]
    except SHAPE_FAULTS as error:
        raise shapeless(Kind.OUTBOX) from error
    return OutboxRow(number, key, kind, schema_version, body, attempts, due_us)


def seal_letter(row: DeadLetterRow, sid: int) -> bytes:
    front = (row.kind, row.reason, row.message, row.body, row.at_us, row.attempts, row.cause)
    return sealed(
        _LETTER, row.schema_version, sid, _check_of(row.id), (*front, row.state_version, row.key, row.priority)
    )


def open_letter(sid: int, id: str, data: bytes) -> DeadLetterRow:
    schema_version, parts = opened(Kind.DEAD_LETTER, sid, _check_of(id), data)
    try:
        kind, reason, message, body, at_us, *rest = parts[:10]
        return DeadLetterRow(id, kind, reason, message, schema_version, body, at_us, *rest)
    except SHAPE_FAULTS as error:
        raise shapeless(Kind.DEAD_LETTER) from error


def check_integers(*numbers: Any) -> None:
    """Raises RecordRefused for what no column holds."""
    for number in numbers:
        if not isinstance(number, int) or not -INTEGER_MAX - 1 <= number <= INTEGER_MAX:
            raise RecordRefused("A number of the mail has more than 64 bits.")


def _check_of(*names: str) -> int:
    """A text has no place among the ordinals of a seal, but its check has."""
    try:
        return crc32("\0".join(names).encode())
    except UnicodeEncodeError as reason:
        raise RecordRefused("A name in the mail is not Unicode.") from reason
