"""Reading the rows of sessions."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from salon_persistence.records import SessionRow
from salon_persistence.recovery import SnapshotRow

FACTS = (
    "generation",
    "activity_us",
    "created_us",
    "deadline_us",
    "owner_epoch",
    "uid",
    "public_id",
    "tenant",
    "type",
    "name",
    "user_id",
    "conversation_id",
    "device_id",
    "lifecycle",
    "reason",
    "facts",
)
"""Columns of `session` that have the name of their field in SessionRow; the store itself keeps the other three."""
COLUMNS = ", ".join(("sid", "version", "head_lsn", *FACTS))

_CHAIN = """WITH RECURSIVE chain (lsn, version, prev_lsn, body) AS (
        SELECT lsn, version, prev_lsn, body FROM journal WHERE lsn = :head AND lsn > :after AND sid = :sid
        UNION ALL
        SELECT older.lsn, older.version, older.prev_lsn, older.body FROM chain JOIN journal AS older
        ON older.lsn = chain.prev_lsn WHERE older.lsn > :after AND older.sid = :sid
    ) SELECT version, body FROM chain"""

_INBOX = "SELECT number, attempts, due_us, body FROM inbox WHERE sid = ? ORDER BY number"
_PROGRESS = """SELECT number, kind, ordinal, body FROM progress
    WHERE number IN (SELECT number FROM inbox WHERE sid = ?) ORDER BY number, kind, ordinal"""
_STEPS = "SELECT owner, name, at_us, body FROM step WHERE sid = ? ORDER BY owner, name"
_OUTBOX = "SELECT number, attempts, due_us, body FROM outbox WHERE sid = ? ORDER BY number"


def facts_of(row: SessionRow) -> tuple[Any, ...]:
    """The values of `FACTS`."""
    when = (row.generation, row.activity_us, row.created_us, row.deadline_us, row.owner_epoch)
    keys = (row.uid, row.public_id, row.tenant, row.type, row.name, row.user_id, row.conversation_id, row.device_id)
    return (*when, *keys, row.lifecycle, row.reason, row.facts)


def session_row(columns: Sequence[Any]) -> SessionRow:
    """A row of `SELECT {COLUMNS}`."""
    sid, version, head_lsn, generation, activity_us, created_us, deadline_us, owner_epoch = columns[:8]
    uid, public_id, tenant, type_, name, user_id, conversation_id, device_id = columns[8:16]
    lifecycle, reason, facts = columns[16:]
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
        sid=sid,
        version=version,
        head_lsn=head_lsn,
    )


class SessionRows:
    """The stored rows of one session; the caller holds the read transaction."""

    def __init__(self, connection: sqlite3.Connection, sid: int, head_lsn: int) -> None:
        self._connection = connection
        self._sid = sid
        self._head_lsn = head_lsn

    def snapshots(self) -> Iterator[SnapshotRow]:
        for slot, version, lsn in slots(self._connection, self._sid):
            (body,) = self._connection.execute("SELECT body FROM snapshot WHERE slot = ?", (slot,)).fetchone()
            yield SnapshotRow(version, lsn, body)

    def inbox(self) -> Sequence[Any]:
        return self._connection.execute(_INBOX, (self._sid,)).fetchall()

    def progress(self) -> Sequence[Any]:
        return self._connection.execute(_PROGRESS, (self._sid,)).fetchall()

    def steps(self) -> Sequence[Any]:
        return self._connection.execute(_STEPS, (self._sid,)).fetchall()

    def outbox(self) -> Sequence[Any]:
        return self._connection.execute(_OUTBOX, (self._sid,)).fetchall()

    def turns(self, after_lsn: int) -> Sequence[tuple[int, bytes]]:
        return self._connection.execute(
            _CHAIN, {"head": self._head_lsn, "after": after_lsn, "sid": self._sid}
        ).fetchall()

    def pages(self, field: str, before: int) -> Iterator[tuple[int, bytes]]:
        query = "SELECT first, body FROM page WHERE sid = ? AND field = ? AND first < ? ORDER BY first DESC"
        yield from self._connection.execute(query, (self._sid, field, before))


def slots(connection: sqlite3.Connection, sid: int) -> list[tuple[int, int, int]]:
    """(slot, version, lsn) of the session's snapshots, newest first."""
    query = "SELECT slot, version, lsn FROM snapshot WHERE slot IN (?, ?) ORDER BY version DESC"
    return connection.execute(query, (2 * sid, 2 * sid + 1)).fetchall()
