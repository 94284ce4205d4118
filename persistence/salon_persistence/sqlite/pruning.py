"""Deleting the turns that snapshots have made superfluous, many at once.

The turns of one session lie far apart, each on a page with those of twenty others.
Deleted snapshot by snapshot, every page would be written twenty times over.
Gathered and deleted in the order of their numbers, a page is written once or twice, and freed.

What has gathered is forgotten in a crash; the next snapshot of each session finds it again,
and a session of which much is found is not left to wait for the others: lives may be short.
"""

import sqlite3

GATHERED_ROWS_MIN = 4096
"""Turns that are worth a transaction of a few milliseconds."""
DELETED_ROWS_MAX = 6144
"""More than mostly gathers between two of them; what is left goes with the next."""
CHAIN_ROWS_MAX = 128
"""Superfluous turns of one session that are not waited with: two snapshots' worth."""

_COVERED = """WITH RECURSIVE chain (lsn, prev_lsn) AS (
        SELECT lsn, prev_lsn FROM journal WHERE lsn = :lsn AND sid = :sid
        UNION ALL
        SELECT older.lsn, older.prev_lsn FROM chain JOIN journal AS older ON older.lsn = chain.prev_lsn
        WHERE older.sid = :sid
    ) SELECT lsn FROM chain"""
_DELETE = "DELETE FROM journal WHERE lsn = ?"


class Pruning:
    """The turns that are to go."""

    def __init__(self) -> None:
        self._gathered: set[tuple[int]] = set()
        self._is_overdue = False

    def __bool__(self) -> bool:
        return bool(self._gathered)

    @property
    def is_due(self) -> bool:
        return self._is_overdue or len(self._gathered) >= GATHERED_ROWS_MIN

    def gather(self, connection: sqlite3.Connection, sid: int, lsn: int) -> None:
        """All turns of the session up to `lsn`."""
        found = connection.execute(_COVERED, {"lsn": lsn, "sid": sid}).fetchall()
        self._is_overdue = self._is_overdue or len(found) > CHAIN_ROWS_MAX
        self._gathered.update(found)

    def delete(self, connection: sqlite3.Connection) -> None:
        """Some of them, the oldest first, so that what is left of a chain stays whole; in the caller's transaction."""
        rows = sorted(self._gathered)[:DELETED_ROWS_MAX]
        self._is_overdue = False
        self._gathered.difference_update(rows)
        connection.executemany(_DELETE, rows)
