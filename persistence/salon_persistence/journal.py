"""Records to bytes and back: what one turn did, a snapshot, a page of a log.

A body is a msgpack map with small integer keys.
A part that is empty is left out, and a key that is unknown is passed over.
Small records inside it are arrays in the order of their fields.
Fields are added at the end, and missing ones take their default.
Key numbers never change.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from salon_persistence.body import SHAPE_FAULTS, opened, sealed, shapeless
from salon_persistence.errors import RecordRefused
from salon_persistence.header import Kind
from salon_persistence.records import (
    NOTHING,
    LedgerEntry,
    LogDelta,
    LogPage,
    LogShape,
    Reminder,
    SessionRow,
    SnapshotRecord,
    TurnRecord,
)

_EMPTY: Mapping[int, Any] = MappingProxyType({})

_KIND_TURN = int(Kind.TURN)
"""A plain integer, because a member of an enum costs 0.1 µs more to pack."""

# Keys of a turn's body.
_TURN, _AT, _WHOLE, _STATE, _LOGS, _CREATED, _ROW, _ACTIVITY, _DEADLINE, _GENERATION = range(1, 11)
_REMINDERS = 11
_OLD_LEDGER = 15
"""Entries in the order that they had in layout 1, which also had mail in 12, 13, 14 and 16; no release wrote any."""
_LEDGER = 17

# Keys of a snapshot's body.
_SNAPSHOT_STATE, _SNAPSHOT_LOGS, _SNAPSHOT_FORGOTTEN = 1, 2, 4
"""3 was the ledger, which no release wrote."""

# Keys of a page's body.
_PAGE_ITEMS, _PAGE_KEYS = 1, 2


class SnapshotBody(NamedTuple):
    """What a snapshot's own row holds; its pages are rows of their own."""

    schema_version: int
    state: Mapping[str, bytes]
    logs: Mapping[str, LogShape]
    forgotten: int


def encode_turn(record: TurnRecord, sid: int) -> bytes:
    """The body of the journal row of `record`, for session `sid` (the record's own is 0 when it creates the session).

    Raises:
        RecordRefused: A part of it cannot be stored, such as an integer beyond 64 bits.
    """
    parts: dict[int, Any] = {}
    if record.turn:
        parts[_TURN] = record.turn
    if record.at_us:
        parts[_AT] = record.at_us
    if record.state:
        parts[_STATE] = record.state
    if record.logs:
        parts[_LOGS] = [_from_delta(delta) for delta in record.logs]
    if record.generation:
        parts[_GENERATION] = record.generation
    if record.ledger:
        parts[_LEDGER] = [from_entry(entry) for entry in record.ledger]
    if touches_row(record) or record.whole:
        _add_standing(parts, record)
    if record.reminders:
        parts[_REMINDERS] = [_from_reminder(reminder) for reminder in record.reminders]
    return sealed(_KIND_TURN, record.schema_version, sid, record.version, parts)


def decode_turn(data: bytes, sid: int, version: int) -> TurnRecord:
    """What `encode_turn` was given, with `sid` in place.

    Raises:
        CorruptRecord, FormatTooNew: See `salon_persistence.header`.
    """
    schema_version, parts = opened(Kind.TURN, sid, version, data)
    try:
        return _turn(parts, sid, version, schema_version)
    except SHAPE_FAULTS as error:
        raise shapeless(Kind.TURN) from error


def encode_snapshot(record: SnapshotRecord) -> bytes:
    """The body of the snapshot's row, without its pages.

    Raises:
        RecordRefused: A part of it cannot be stored.
    """
    parts: dict[int, Any] = {_SNAPSHOT_STATE: record.state}
    if record.logs:
        parts[_SNAPSHOT_LOGS] = {name: _from_shape(shape) for name, shape in record.logs.items()}
    if record.forgotten:
        parts[_SNAPSHOT_FORGOTTEN] = record.forgotten
    return sealed(Kind.SNAPSHOT, record.schema_version, record.sid, record.version, parts)


def decode_snapshot(data: bytes, sid: int, version: int) -> SnapshotBody:
    """What a snapshot's row holds.

    Raises:
        CorruptRecord, FormatTooNew: See `salon_persistence.header`.
    """
    schema_version, parts = opened(Kind.SNAPSHOT, sid, version, data)
    try:
        return SnapshotBody(
            schema_version,
            dict(parts[_SNAPSHOT_STATE]),
            {name: _to_shape(shape) for name, shape in parts.get(_SNAPSHOT_LOGS, _EMPTY).items()},
            parts.get(_SNAPSHOT_FORGOTTEN, 0),
        )
    except SHAPE_FAULTS as error:
        raise shapeless(Kind.SNAPSHOT) from error


def encode_page(page: LogPage, sid: int) -> bytes:
    """The body of a page's row.

    Raises:
        RecordRefused: It is empty, or a part of it cannot be stored.
    """
    if not page.items:
        raise RecordRefused("A page without items cannot be stored.")
    parts: dict[int, Any] = {_PAGE_ITEMS: page.items}
    if page.keys:
        parts[_PAGE_KEYS] = page.keys
    return sealed(Kind.PAGE, 0, sid, page.first, parts)


def decode_page(data: bytes, sid: int, field: str, first: int) -> LogPage:
    """What `encode_page` was given.

    Raises:
        CorruptRecord, FormatTooNew: See `salon_persistence.header`.
    """
    _, parts = opened(Kind.PAGE, sid, first, data)
    try:
        items = tuple((number, item) for number, item in parts[_PAGE_ITEMS])
        return LogPage(field, items, dict(parts.get(_PAGE_KEYS, NOTHING)))
    except SHAPE_FAULTS as error:
        raise shapeless(Kind.PAGE) from error


def touches_row(record: TurnRecord) -> bool:
    """More of the session's row changes than where it stands."""
    return (
        record.created is not None
        or record.row is not None
        or record.activity_us is not None
        or record.deadline_us is not None
    )


def _add_standing(parts: dict[int, Any], record: TurnRecord) -> None:
    if record.whole:
        parts[_WHOLE] = True
    if record.activity_us is not None:
        parts[_ACTIVITY] = record.activity_us
    if record.deadline_us is not None:
        parts[_DEADLINE] = record.deadline_us
    if record.created is not None:
        parts[_CREATED] = _from_row(record.created)
    if record.row is not None:
        parts[_ROW] = _from_row(record.row)


def _turn(parts: dict[int, Any], sid: int, version: int, schema_version: int) -> TurnRecord:
    return TurnRecord(
        sid=sid,
        version=version,
        generation=parts.get(_GENERATION, 0),
        schema_version=schema_version,
        turn=parts.get(_TURN, ""),
        at_us=parts.get(_AT, 0),
        whole=parts.get(_WHOLE, False),
        state=dict(parts.get(_STATE, NOTHING)),
        logs=tuple(_to_delta(delta) for delta in parts.get(_LOGS, ())),
        created=_to_row(parts.get(_CREATED)),
        row=_to_row(parts.get(_ROW)),
        activity_us=parts.get(_ACTIVITY),
        deadline_us=parts.get(_DEADLINE),
        reminders=tuple(Reminder(*reminder[:7]) for reminder in parts.get(_REMINDERS, ())),
        ledger=_ledger(parts),
    )


def _from_delta(delta: LogDelta) -> tuple[Any, ...]:
    front = (delta.field, delta.first, delta.next, delta.items)
    if delta.cuts or delta.redactions or delta.keys:
        return (*front, delta.cuts, delta.redactions, delta.keys)
    return front


def _to_delta(delta: Sequence[Any]) -> LogDelta:
    field, first, next_, items, *rest = delta
    items = tuple((number, item) for number, item in items)
    if not rest:
        return LogDelta(field, first, next_, items)
    cuts, redactions, keys = rest[:3]
    return LogDelta(field, first, next_, items, _ranges(cuts), redactions, keys)


def _ranges(cuts: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    return tuple((start, end) for start, end in cuts)


def _from_shape(shape: LogShape) -> tuple[Any, ...]:
    return (shape.first, shape.next, shape.paged, shape.cuts, shape.redactions)


def _to_shape(shape: Sequence[Any]) -> LogShape:
    first, next_, paged, cuts, redactions = shape[:5]
    return LogShape(first, next_, paged, _ranges(cuts), redactions)


def _from_row(row: SessionRow) -> tuple[Any, ...]:
    keys = (row.uid, row.public_id, row.type, row.tenant, row.name, row.user_id, row.conversation_id, row.device_id)
    standing = (row.generation, row.lifecycle, row.reason, row.owner_epoch)
    return (*keys, *standing, row.deadline_us, row.created_us, row.activity_us, row.facts)


def _to_row(fields: Sequence[Any] | None) -> SessionRow | None:
    if fields is None:
        return None
    uid, public_id, type_, tenant, name, user_id, conversation_id, device_id = fields[:8]
    generation, lifecycle, reason, owner_epoch, deadline_us, created_us, activity_us, facts = fields[8:16]
    return SessionRow(
        uid=uid,
        public_id=public_id,
        type=type_,
        tenant=tenant,
        name=name,
        user_id=user_id,
        conversation_id=conversation_id,
        device_id=device_id,
        generation=generation,
        lifecycle=lifecycle,
        reason=reason,
        owner_epoch=owner_epoch,
        deadline_us=deadline_us,
        created_us=created_us,
        activity_us=activity_us,
        facts=facts,
    )


def _ledger(parts: dict[int, Any]) -> tuple[LedgerEntry, ...]:
    if _LEDGER in parts:
        return tuple(to_entry(entry) for entry in parts[_LEDGER])
    return tuple(_to_old_entry(entry) for entry in parts.get(_OLD_LEDGER, ()))


def from_entry(entry: LedgerEntry) -> tuple[Any, ...]:
    front = (entry.turn, entry.outcome, entry.at_us, entry.key, entry.fingerprint)
    return (*front, entry.message_schema, entry.reply_schema, entry.reply, entry.chunks, entry.attempt, entry.message)


def to_entry(fields: Sequence[Any]) -> LedgerEntry:
    return LedgerEntry(*fields[:11])


def _to_old_entry(fields: Sequence[Any]) -> LedgerEntry:
    key, fingerprint, turn, outcome, at_us, reply_schema, reply = fields[:7]
    return LedgerEntry(turn, outcome, at_us, key, fingerprint, reply_schema=reply_schema, reply=reply)


def _from_reminder(reminder: Reminder) -> tuple[Any, ...]:
    when = (reminder.name, reminder.due_us, reminder.every_us, reminder.missed)
    return (*when, reminder.message, reminder.schema_version, reminder.body)
