"""Putting a snapshot on the shelf: its row and its pages.

The previous snapshot stays, and so do the turns after it, so that one that does not decode can be done without.
"""

import sqlite3
from typing import NamedTuple

from salon_persistence.errors import RecordRefused
from salon_persistence.journal import encode_page, encode_snapshot
from salon_persistence.log_image import dead_pages
from salon_persistence.records import SnapshotRecord
from salon_persistence.sqlite.rows import slots

_PRESENT = "SELECT lsn FROM journal WHERE lsn = ? AND sid = ? AND version = ?"
_FIND = """WITH RECURSIVE chain (lsn, version, prev_lsn) AS (
        SELECT journal.lsn, journal.version, prev_lsn FROM session JOIN journal ON lsn = head_lsn
        WHERE session.sid = :sid
        UNION ALL
        SELECT older.lsn, older.version, older.prev_lsn FROM chain JOIN journal AS older ON older.lsn = chain.prev_lsn
        WHERE older.version >= :version
    ) SELECT lsn FROM chain WHERE version = :version"""
_SNAPSHOT = "INSERT OR REPLACE INTO snapshot (slot, version, lsn, body) VALUES (?, ?, ?, ?)"
_PAGE = "INSERT OR REPLACE INTO page (sid, field, first, body) VALUES (?, ?, ?, ?)"
_DROP_PAGE = "DELETE FROM page WHERE sid = ? AND field = ? AND first = ?"
_DROP_PAGES = "DELETE FROM page WHERE sid = ? AND field = ? AND first > ? AND first <= ?"

_PAGES = "SELECT first FROM page WHERE sid = ? AND field = ? ORDER BY first"


class Shelved(NamedTuple):
    """Where a snapshot stands, and the one that it has made the previous one."""

    lsn: int
    previous_lsn: int
    """0: there is none."""


def shelve(connection: sqlite3.Connection, snapshot: SnapshotRecord) -> Shelved | None:
    """Write it, in the caller's transaction. None when the session has no such turn.

    Raises:
        RecordRefused: A newer snapshot is there, or this one cannot be encoded.
    """
    lsn = _lsn_of(connection, snapshot)
    if lsn == 0:
        return None
    slot, previous_lsn = _place(connection, snapshot)
    connection.execute(_SNAPSHOT, (slot, snapshot.version, lsn, encode_snapshot(snapshot)))
    _write_pages(connection, snapshot)
    _drop_dead_pages(connection, snapshot)
    return Shelved(lsn, previous_lsn)


def _lsn_of(connection: sqlite3.Connection, snapshot: SnapshotRecord) -> int:
    if snapshot.lsn:
        row = connection.execute(_PRESENT, (snapshot.lsn, snapshot.sid, snapshot.version)).fetchone()
    else:
        row = connection.execute(_FIND, {"sid": snapshot.sid, "version": snapshot.version}).fetchone()
    return int(row[0]) if row else 0


def _place(connection: sqlite3.Connection, snapshot: SnapshotRecord) -> tuple[int, int]:
    """The slot to write to, and the lsn of the snapshot that becomes the previous one (0: none)."""
    held = slots(connection, snapshot.sid)
    if not held:
        return 2 * snapshot.sid, 0
    slot, version, lsn = held[0]
    if version > snapshot.version:
        raise RecordRefused(f"A snapshot of version {version} is there; this one is of {snapshot.version}.")
    if version == snapshot.version:
        return slot, held[1][2] if len(held) > 1 else 0
    return slot ^ 1, lsn


def _write_pages(connection: sqlite3.Connection, snapshot: SnapshotRecord) -> None:
    sid, pages = snapshot.sid, snapshot.pages
    bodies = [encode_page(page, sid) for page in pages]  # First, because it refuses a page that is empty.
    connection.executemany(_DROP_PAGE, [(sid, field, first) for field, first in snapshot.pages_dropped])
    # A snapshot that was lost may have left pages that were cut elsewhere.
    connection.executemany(_DROP_PAGES, [(sid, page.field, page.first, page.items[-1][0]) for page in pages])
    rows = [(sid, page.field, page.first, body) for page, body in zip(pages, bodies, strict=True)]
    connection.executemany(_PAGE, rows)


def _drop_dead_pages(connection: sqlite3.Connection, snapshot: SnapshotRecord) -> None:
    for field, shape in snapshot.logs.items():
        if shape.first or shape.cuts:
            firsts = [first for (first,) in connection.execute(_PAGES, (snapshot.sid, field))]
            dead = [(snapshot.sid, field, first) for first in dead_pages(shape, firsts)]
            connection.executemany(_DROP_PAGE, dead)
