"""Making sure that the file is ours before anything is written to it, and then making it ours."""

import sqlite3
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from salon_persistence.errors import FormatTooNew, NotAStore, StoreError, StoreUnavailable
from salon_persistence.sqlite import faults
from salon_persistence.sqlite.layout import APPLICATION_ID, LAYOUT, create, migrate
from salon_persistence.sqlite.writer import Marks

Durability = Literal["full", "normal", "memory"]

WAL_BYTES_MAX = 64 * 1024 * 1024
"""What is left of the write-ahead log after a checkpoint."""

PAGE_BYTES_MIN = 512
"""A database is never smaller."""

_FAULTY = ((3, 7, 0), (3, 51, 2))

_COUNT = "SELECT count(*) FROM session WHERE deadline_us IS NOT NULL AND lifecycle = 'active'"
"""By `session_by_deadline`, which holds nothing else: every active session has a deadline. 6 ms for 100 000 of them."""


class Ownership(NamedTuple):
    """What taking over the file brought."""

    marks: Marks
    uuid: bytes
    clean: bool
    sessions: int
    """Active ones."""


def uri(path: Path, parameters: str) -> str:
    return f"file:{quote(str(path))}?{parameters}"


def inspect(path: Path, size: int, log_size: int) -> None:
    """Look at a file that is there, without a lock and without changing a byte of it or beside it.

    Its write-ahead log, of `log_size` bytes, cannot be read that way. A store of ours has its mark in the file itself.

    Raises:
        NotAStore, FormatTooNew: The file is not for us.
        StoreUnavailable: It cannot be read.
    """
    if size < PAGE_BYTES_MIN:
        raise _not_a_database(path.name)  # SQLite would take it for an empty one, and write over it.
    try:
        connection = sqlite3.connect(uri(path, "mode=ro&immutable=1"), uri=True, isolation_level=None)
        try:
            if _refuse_foreign(connection, path.name) == 0 and log_size:
                raise _foreign(path.name)
        finally:
            connection.close()
    except sqlite3.Error as error:
        if log_size and faults.primary_code(error) == sqlite3.SQLITE_CORRUPT:
            return  # A checkpoint that was cut short: only with its log the file is whole. `take_over` looks again.
        raise _named(path.name, error) from error


def take_over(
    connection: sqlite3.Connection, path: Path, durability: Durability, uuid: bytes, now_us: int
) -> Ownership:
    """Create or migrate the tables, raise the epoch, and set the connection up for writing.

    Raises:
        NotAStore, FormatTooNew: As `inspect`, which may have looked before another process wrote.
        StoreUnavailable: The file cannot be written.
    """
    try:
        layout = _refuse_foreign(connection, path.name)
        _set_up(connection, durability)
        if layout == 0:
            create(connection, uuid, now_us)
        elif layout < LAYOUT:
            migrate(connection, layout)
        _write_ahead(connection)
        return _raise_epoch(connection, now_us)
    except sqlite3.Error as error:
        raise _named(path.name, error) from error


def version_warnings() -> tuple[str, ...]:
    if _FAULTY[0] <= sqlite3.sqlite_version_info <= _FAULTY[1]:
        return ("of 3.7.0 to 3.51.2: let no other program write to the file, or it may be corrupted",)
    return ()


def _refuse_foreign(connection: sqlite3.Connection, name: str) -> int:
    """The layout; 0 when the database is empty."""
    application = _pragma(connection, "application_id")
    layout = _pragma(connection, "user_version")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == 0 == layout == tables:
        return 0
    if application != APPLICATION_ID:
        raise _foreign(name)
    if layout > LAYOUT:
        raise FormatTooNew(f"{name} has layout {layout}; this release knows up to {LAYOUT}. It was left as it is.")
    return layout


def _foreign(name: str) -> NotAStore:
    return NotAStore(f"{name} is a database of another application; it was left as it is.")


def _not_a_database(name: str) -> NotAStore:
    return NotAStore(f"{name} is not a database; it was left as it is.")


def _named(name: str, error: sqlite3.Error) -> StoreError:
    if faults.primary_code(error) == sqlite3.SQLITE_NOTADB:
        return _not_a_database(name)
    found = faults.read_error(error)
    return type(found)(f"{name}: {found}")


def _set_up(connection: sqlite3.Connection, durability: Durability) -> None:
    connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnavailable(f"The file system does not carry a write-ahead log (journal mode {mode}).")


def _raise_epoch(connection: sqlite3.Connection, now_us: int) -> Ownership:
    connection.execute("BEGIN IMMEDIATE")
    epoch, lsn, sid, wall_us, clean, uuid = connection.execute(
        "SELECT epoch, lsn, sid, wall_us, clean, uuid FROM owner WHERE id = 1"
    ).fetchone()
    marks = Marks(epoch + 1, lsn, sid, max(wall_us, now_us))
    raised = "UPDATE owner SET epoch = ?, wall_us = ?, clean = 0 WHERE id = 1"
    connection.execute(raised, (marks.epoch, marks.wall_us))
    connection.execute("COMMIT")
    (sessions,) = connection.execute(_COUNT).fetchone()
    return Ownership(marks, uuid, bool(clean), sessions)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
