"""What an error of SQLite means for us. The one place that says so."""

import sqlite3

from salon_persistence.errors import (
    CorruptRecord,
    NameTaken,
    NotAStore,
    RecordRefused,
    StoreError,
    StoreFailed,
    StoreUnavailable,
)

RECORD_FAULTS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
    TypeError,
    ValueError,
)
"""Raised for one record's sake, by SQLite or by Python's binding to it: an offender, not the store."""

_HEALING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_PERM,
    }
)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; SQLITE_ERROR when the error is the binding's own."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def refusal(error: Exception) -> StoreError:
    """Why this one record was refused."""
    if isinstance(error, sqlite3.IntegrityError) and "session.name" in str(error):
        return NameTaken("An active session of this tenant and type has this name.")
    return RecordRefused(f"The store refuses the record: {type(error).__name__}: {error}.")


def store_error(error: sqlite3.Error) -> StoreError:
    """What is wrong with the whole store, when a statement failed outside COMMIT and nothing was applied."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_NOTADB:
        return NotAStore(f"Not a database: {error}.")
    if code in _HEALING or code == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"The store cannot be used now: {name_of(error)}: {error}.")
    return StoreFailed(f"The store failed and stays closed until it is opened anew: {name_of(error)}: {error}.")


def read_error(error: sqlite3.Error) -> StoreError:
    """What is wrong when a look at the file failed: damage is told as such, and nothing was changed."""
    if primary_code(error) == sqlite3.SQLITE_CORRUPT:
        return CorruptRecord(f"The file is damaged, and was left as it is: {error}.")
    return store_error(error)


def is_healing(error: sqlite3.Error) -> bool:
    """May the same write work later, even when it was the COMMIT that failed?"""
    return primary_code(error) in _HEALING


def name_of(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)
