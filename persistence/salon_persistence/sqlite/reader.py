"""The second connection: the last committed truth, beside commits and never behind them."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from salon_persistence.errors import StoreError
from salon_persistence.mail_codec import open_letter
from salon_persistence.records import LogPage, SessionRow, StoredSession
from salon_persistence.recovery import pages_before, recover
from salon_persistence.sqlite import faults
from salon_persistence.sqlite.rows import COLUMNS, SessionRows, session_row
from salon_persistence.store import Address, ByPublicId, LetterQuery, SessionQuery, StoredLetter

T = TypeVar("T")

_BY_PUBLIC_ID = f"SELECT {COLUMNS} FROM session WHERE public_id = ?"
_BY_NAME = f"SELECT {COLUMNS} FROM session WHERE tenant = ? AND type = ? AND name = ? AND lifecycle = 'active'"

_NEXT_WAITING = """min(
        coalesce((SELECT min(sid) FROM inbox WHERE sid > {after}), 9223372036854775807),
        coalesce((SELECT min(sid) FROM outbox WHERE sid > {after}), 9223372036854775807))"""
_WAITING = f"""WITH RECURSIVE waiting (sid) AS (
        SELECT {_NEXT_WAITING.format(after=":after")}
        UNION ALL
        SELECT {_NEXT_WAITING.format(after="waiting.sid")} FROM waiting WHERE waiting.sid < 9223372036854775807
    ) SELECT session.sid, public_id FROM waiting CROSS JOIN session ON session.sid = waiting.sid
    WHERE lifecycle = 'active' LIMIT :limit"""
"""From one session to the next, so that a session costs the same however much it has."""
_LETTERS = """SELECT place, letter.sid, coalesce(public_id, ''), coalesce(type, ''), id, body
    FROM dead_letter AS letter LEFT JOIN session ON session.sid = letter.sid"""


def load(
    connection: sqlite3.Connection, address: Address, windows: Mapping[str, Mapping[str, int]]
) -> StoredSession | None:
    """The session at `address`, all of it as of one moment."""

    def read() -> StoredSession | None:
        row = _find_one(connection, address)
        if row is None:
            return None
        rows = SessionRows(connection, row.sid, row.head_lsn)
        return recover(row, rows, windows.get(row.type, {}))

    return _in_one_moment(connection, read)


def read_pages(connection: sqlite3.Connection, sid: int, field: str, before: int, items: int) -> Sequence[LogPage]:
    return _in_one_moment(connection, lambda: pages_before(SessionRows(connection, sid, 0), sid, field, before, items))


def find(connection: sqlite3.Connection, query: SessionQuery) -> Sequence[SessionRow]:
    sql, parameters = find_statement(query)
    return _in_one_moment(connection, lambda: tuple(map(session_row, connection.execute(sql, parameters))))


def mail_waits(connection: sqlite3.Connection, after_sid: int, limit: int) -> Sequence[tuple[int, str]]:
    parameters = {"after": after_sid, "limit": limit}
    return _in_one_moment(connection, lambda: connection.execute(_WAITING, parameters).fetchall())


def letters(connection: sqlite3.Connection, query: LetterQuery) -> Sequence[StoredLetter]:
    whose = "" if query.sid is None else "AND letter.sid = :sid"
    sql = f"{_LETTERS} WHERE place > :after {whose} ORDER BY place LIMIT :limit"
    parameters = {"sid": query.sid, "after": query.after or 0, "limit": query.limit}
    return _in_one_moment(connection, lambda: tuple(map(_letter, connection.execute(sql, parameters))))


def letter(connection: sqlite3.Connection, id: str) -> StoredLetter | None:
    def read() -> StoredLetter | None:
        columns = connection.execute(f"{_LETTERS} WHERE id = ?", (id,)).fetchone()
        return None if columns is None else _letter(columns)

    return _in_one_moment(connection, read)


def _letter(columns: Sequence[Any]) -> StoredLetter:
    place, sid, public_id, type_, id, body = columns
    return StoredLetter(place, sid, public_id, type_, open_letter(sid, id, body))


def find_statement(query: SessionQuery) -> tuple[str, list[Any]]:
    """One of the indexes that start with tenant serves it, whichever keys it names."""
    keys = {
        "user_id": query.user_id,
        "conversation_id": query.conversation_id,
        "device_id": query.device_id,
        "lifecycle": query.lifecycle,
    }
    named = {column: key for column, key in keys.items() if key is not None}
    conditions = ["tenant = ?", *(f"{column} = ?" for column in named)]
    parameters: list[Any] = [query.tenant, *named.values()]
    if query.after is not None:
        conditions.append("(activity_us, sid) < (?, ?)")
        parameters += query.after
    where = " AND ".join(conditions)
    order = "ORDER BY activity_us DESC, sid DESC LIMIT ?"
    return f"SELECT {COLUMNS} FROM session WHERE {where} {order}", [*parameters, query.limit]


def _find_one(connection: sqlite3.Connection, address: Address) -> SessionRow | None:
    if isinstance(address, ByPublicId):
        cursor = connection.execute(_BY_PUBLIC_ID, (address.public_id,))
    else:
        cursor = connection.execute(_BY_NAME, (address.tenant, address.type, address.name))
    columns = cursor.fetchone()
    return None if columns is None else session_row(columns)


def _in_one_moment(connection: sqlite3.Connection, read: Callable[[], T]) -> T:
    """Run `read` in one read transaction, so that a commit in the middle is not half seen."""
    try:
        connection.execute("BEGIN")
        try:
            return read()
        finally:
            connection.execute("ROLLBACK")
    except StoreError:
        raise
    except sqlite3.Error as error:
        raise faults.read_error(error) from error
