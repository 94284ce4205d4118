"""Connections that fail at a chosen statement, as a disk would make them."""

import sqlite3
from collections.abc import Callable
from typing import Any

from salon_persistence.sqlite.connection import ErrandConnection


def broken(code: int, text: str = "as planned") -> sqlite3.OperationalError:
    """The error that SQLite raises with this result code."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    error.sqlite_errorname = f"code {code}"
    return error


class Plan:
    """Which statements fail from now on; changed by the test while the store is open."""

    def __init__(self) -> None:
        self.at = ""
        """Beginning of the statement that fails; empty: none."""
        self.error: Exception = broken(sqlite3.SQLITE_IOERR)
        self.after = False
        """It takes effect, and fails all the same."""
        self.rollback_fails = False
        self.seen: list[str] = []

    def hits(self, sql: str) -> bool:
        self.seen.append(sql)
        if self.rollback_fails and sql == "ROLLBACK":
            raise broken(sqlite3.SQLITE_IOERR)
        return bool(self.at) and sql.startswith(self.at)

    def around(self, sql: str, call: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        if not self.hits(sql):
            return call()
        if self.after:
            call()
        raise self.error


def failing(plan: Plan) -> type[ErrandConnection]:
    """A kind of connection that fails as planned."""

    class FailingConnection(ErrandConnection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            return plan.around(sql, lambda: super(FailingConnection, self).execute(sql, parameters))

        def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
            if not sql:
                return super().executemany(sql, parameters)
            return plan.around(sql, lambda: super(FailingConnection, self).executemany(sql, parameters))

    return FailingConnection
