"""A write: one record with its numbers and its bytes, made before any transaction and the same for every store."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from salon_persistence.errors import RecordRefused
from salon_persistence.journal import encode_turn, touches_row
from salon_persistence.parcel import Parcel, pack
from salon_persistence.records import NoteRecord, Record, TurnRecord


class Extras(NamedTuple):
    """What a plain turn has not."""

    stands_alone: bool
    """It is no turn, or changes more of its session's row than where it stands: no statement for many will do."""
    parcel: Parcel | None = None
    children: Sequence["Write"] = ()


Write: TypeAlias = tuple[Record, int, int, bytes, Extras | None]
"""A record with its sid, its lsn, its bytes and its extras. No class, because there is one per turn.

A note has no row in the journal and no bytes, but uses a number up: after a COMMIT that failed the marks tell.
"""


def prepare(record: Record, lsn: int, new_sid: int) -> Write:
    """The write of `record`; `lsn` and `new_sid` are the next free ones.

    Raises:
        RecordRefused: It has no bytes, or is no record.
    """
    if isinstance(record, NoteRecord):
        return _note(record, lsn)
    sid = record.sid
    if touches_row(record) or not sid:
        return _standing_alone(record, lsn, new_sid)
    body = encode_turn(record, sid)
    if record.mail is None and not record.children:
        return record, sid, lsn, body, None
    return record, sid, lsn, body, _extras(record, sid, lsn + 1, new_sid)


def last_numbers(write: Write, sid: int) -> tuple[int, int]:
    """The highest lsn and sid that are used up by it; `sid` was the highest before."""
    record, own_sid, lsn, _, extras = write
    if extras is not None and extras.children:
        _, sid, lsn, _, _ = extras.children[-1]
        return lsn, sid
    return lsn, sid if record.sid else own_sid


def _note(note: NoteRecord, lsn: int) -> Write:
    if note.sid <= 0:
        raise RecordRefused("A note is one of a session that is there.")
    return note, note.sid, lsn, b"", Extras(True, pack(note, note.mail, note.sid, ()))


def _standing_alone(record: TurnRecord, lsn: int, new_sid: int) -> Write:
    sid = record.sid
    if record.created is not None and sid == 0 and record.version == 1:
        sid = new_sid
        new_sid += 1
    elif record.created is not None or sid == 0:
        raise RecordRefused("A record creates a session at version 1 without a sid, or continues one with it.")
    body = encode_turn(record, sid)
    return record, sid, lsn, body, _extras(record, sid, lsn + 1, new_sid)._replace(stands_alone=True)


def _extras(record: TurnRecord, sid: int, lsn: int, new_sid: int) -> Extras:
    children: list[Write] = []
    for number, child in enumerate(record.children):
        if child.created is None or child.children:
            raise RecordRefused("A child is a session that its record creates, and has no children of its own.")
        children.append(prepare(child, lsn + number, new_sid + number))
    sids = [write[1] for write in children]
    return Extras(False, pack(record, record.mail, sid, sids) if record.mail is not None else None, children)
