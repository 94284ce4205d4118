"""What many records do to the tables of the mail, gathered so that each statement runs once for all of them.

Within a pile every row is added before it is changed, and changed before it goes: numbers are never used again,
so that the order of the records does not show. Where it would, the pile is written first.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from salon_persistence.parcel import LetterLine, Line, Parcel

_COLUMNS = "(number, sid, attempts, due_us, body)"
_RECEIVE = f"INSERT INTO inbox {_COLUMNS} VALUES (?, ?, ?, ?, ?)"
_RECEIVE_NOTED = f"""INSERT INTO inbox {_COLUMNS} SELECT ?, ?, ?, ?, ?
    WHERE EXISTS (SELECT 1 FROM session WHERE sid = ? AND generation = ? AND lifecycle = 'active')"""
_RECEIVE_ABROAD = f"""INSERT INTO inbox {_COLUMNS} SELECT ?, ?, ?, ?, ?
    WHERE EXISTS (SELECT 1 FROM session WHERE sid = ? AND lifecycle = 'active')"""
_START = "UPDATE inbox SET attempts = ? WHERE number = ? AND sid = ?"
_PUT_OFF = "UPDATE inbox SET due_us = ? WHERE number = ? AND sid = ?"
_PROGRESS = """INSERT OR REPLACE INTO progress (number, kind, ordinal, body) SELECT ?1, ?2, ?3, ?4
    WHERE EXISTS (SELECT 1 FROM inbox WHERE number = ?1 AND sid = ?5)"""
_DROP_PROGRESS = """DELETE FROM progress WHERE number = ?1
    AND EXISTS (SELECT 1 FROM inbox WHERE number = ?1 AND sid = ?2)"""
_SETTLE = "DELETE FROM inbox WHERE number = ? AND sid = ?"
_STEP = "INSERT OR REPLACE INTO step (sid, owner, name, at_us, body) VALUES (?, ?, ?, ?, ?)"
_DROP_STEPS = "DELETE FROM step WHERE sid = ? AND owner = ?"
_POST = f"INSERT INTO outbox {_COLUMNS} VALUES (?, ?, ?, ?, ?)"
_TRY = "UPDATE outbox SET attempts = ?, due_us = ? WHERE number = ? AND sid = ?"
_POSTED = "DELETE FROM outbox WHERE number = ? AND sid = ?"
_BURY = "INSERT INTO dead_letter (sid, id, body) VALUES (?, ?, ?)"
_EXHUME = "DELETE FROM dead_letter WHERE id = ? AND sid = ?"

_ORDER = (
    _RECEIVE,
    _RECEIVE_NOTED,
    _START,
    _PUT_OFF,
    _PROGRESS,
    _DROP_PROGRESS,
    _SETTLE,
    _STEP,
    _POST,
    _TRY,
    _POSTED,
    _BURY,
)


class ReceiverGone(Exception):
    """A note's session is not there, not active, or of another generation."""


class Pile:
    """For one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: dict[str, list[Any]] = {}

    def add(self, parcel: Parcel) -> None:
        mail, sid = parcel.mail, parcel.sid
        if mail.progress_dropped or mail.steps_dropped or mail.dead_letters_dropped:
            self._drop(parcel)
        if parcel.inbox:
            self._receive(parcel)
        if mail.inbox_started:
            self._put(_START, [(attempts, number, sid) for number, attempts in mail.inbox_started])
        if mail.inbox_put_off:
            self._put(_PUT_OFF, [(due_us, number, sid) for number, due_us in mail.inbox_put_off])
        if parcel.progress:
            self._put(_PROGRESS, parcel.progress)
        if mail.inbox_settled:
            settled = [(number, sid) for number in mail.inbox_settled]
            self._put(_DROP_PROGRESS, settled)
            self._put(_SETTLE, settled)
        if parcel.steps:
            self._put(_STEP, parcel.steps)
        self._add_outgoing(parcel)

    def flush(self) -> None:
        """Write what has gathered.

        Raises:
            ReceiverGone: A note may not add to its inbox.
        """
        if not self._rows:
            return
        rows, self._rows = self._rows, {}
        for statement in _ORDER:
            if statement in rows:
                changed = self._connection.executemany(statement, rows[statement]).rowcount
                if statement is _RECEIVE_NOTED and changed != len(rows[statement]):
                    raise ReceiverGone

    def send(self, line: Line, gone: Callable[[], LetterLine]) -> bool:
        """To another session, now: into its inbox, or as a dead letter. False: the latter."""
        if self._connection.execute(_RECEIVE_ABROAD, (*line, line[1])).rowcount == 1:
            return True
        self._put(_BURY, (gone(),))
        return False

    def _receive(self, parcel: Parcel) -> None:
        if parcel.generation is None:
            self._put(_RECEIVE, parcel.inbox)
        else:
            self._put(_RECEIVE_NOTED, [(*line, parcel.sid, parcel.generation) for line in parcel.inbox])

    def _add_outgoing(self, parcel: Parcel) -> None:
        mail, sid = parcel.mail, parcel.sid
        if parcel.outbox:
            self._put(_POST, parcel.outbox)
        if mail.outbox_tried:
            self._put(_TRY, [(attempts, due_us, number, sid) for number, attempts, due_us in mail.outbox_tried])
        if mail.outbox_settled:
            self._put(_POSTED, [(number, sid) for number in mail.outbox_settled])
        if parcel.letters:
            self._put(_BURY, parcel.letters)

    def _drop(self, parcel: Parcel) -> None:
        """What the records before have added must be there, and what this one adds must stay."""
        self.flush()
        mail, sid = parcel.mail, parcel.sid
        self._connection.executemany(_DROP_PROGRESS, [(number, sid) for number in mail.progress_dropped])
        self._connection.executemany(_DROP_STEPS, [(sid, owner) for owner in mail.steps_dropped])
        self._connection.executemany(_EXHUME, [(id, sid) for id in mail.dead_letters_dropped])

    def _put(self, statement: str, rows: Sequence[Any]) -> None:
        self._rows.setdefault(statement, []).extend(rows)
