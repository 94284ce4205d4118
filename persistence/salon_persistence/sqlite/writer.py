"""The writing connection: one transaction per batch, each guarded by the owner's epoch.

    BEGIN IMMEDIATE
    UPDATE owner            our epoch, and the new high-water marks      no row: another owner, for ever fenced
    UPDATE session          each at the version before, many at a time   too few rows: replay one by one
    INSERT journal          many at a time
    the tables of the mail  many at a time
    COMMIT                  busy or full: not applied; an I/O error: unknown, and nothing is written any more

If a statement fails for one record's sake, the whole is rolled back and replayed record by record under savepoints,
so that only the offender is refused. All of it runs on the connection's own thread.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from salon_persistence.errors import StoreError, StoreFailed, StoreUnavailable
from salon_persistence.parcel import undelivered
from salon_persistence.records import NoteRecord, Record, SnapshotRecord, TurnRecord
from salon_persistence.sqlite import faults
from salon_persistence.sqlite.pile import Pile, ReceiverGone
from salon_persistence.sqlite.pruning import Pruning
from salon_persistence.sqlite.rows import FACTS, facts_of
from salon_persistence.sqlite.shelving import shelve
from salon_persistence.store import Applied, Fenced, Outcome, Refused, Unknown
from salon_persistence.write import Extras, Write, last_numbers, prepare

T = TypeVar("T")

HEADS_MAX = 65_536
"""Sessions whose newest lsn is remembered, about 6 MB; reading it anew costs 2 µs."""

_CLAIM = "UPDATE owner SET lsn = ?, sid = ?, wall_us = ? WHERE id = 1 AND epoch = ?"
_TURN = """UPDATE session SET head_lsn = ?, version = ?
    WHERE sid = ? AND version = ? AND generation = ? AND head_lsn = ?"""
_JOURNAL = "INSERT INTO journal (lsn, sid, version, prev_lsn, body) VALUES (?, ?, ?, ?, ?)"
_HEAD = "SELECT head_lsn FROM session WHERE sid = ?"
_CREATE = f"INSERT INTO session (sid, version, head_lsn, {', '.join(FACTS)}) VALUES (?, ?, ?{', ?' * len(FACTS)})"
_FACTS = f"UPDATE session SET {', '.join(f'{column} = ?' for column in FACTS)} WHERE sid = ?"
_TIMES = """UPDATE session SET activity_us = coalesce(?, activity_us), deadline_us = coalesce(?, deadline_us)
    WHERE sid = ?"""


@dataclass(frozen=True, slots=True)
class Marks:
    """What only grows: numbers that were given, and time that was seen."""

    epoch: int
    lsn: int
    sid: int
    wall_us: int


class EpochLost(Exception):
    """Another owner raised the epoch."""


class Misfit(Exception):
    """One record cannot be applied; the others may be."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class CommitFailed(Exception):
    """COMMIT failed, and this is what every record of the transaction is answered."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Writer:
    """Writes batches of turns, and snapshots, for one epoch."""

    def __init__(self, connection: sqlite3.Connection, marks: Marks, wall_us: Callable[[], int]) -> None:
        self.marks = marks
        self.stopped: Fenced | Refused | None = None
        """Once set, the answer to everything."""
        self._connection = connection
        self._wall_us = wall_us
        self._heads: dict[int, int] = {}
        self._pruning = Pruning()

    def commit(self, batch: Sequence[Record]) -> list[Outcome]:
        if self.stopped is not None:
            return [self.stopped] * len(batch)
        lsn, sid = self.marks.lsn, self.marks.sid
        writes: list[Write] = []
        refused: dict[int, Outcome] = {}
        for index, record in enumerate(batch):
            try:
                write = prepare(record, lsn + 1, sid + 1)
            except StoreError as error:
                refused[index] = Refused(error)
                continue
            writes.append(write)
            if write[4] is None:
                lsn += 1
            else:
                lsn, sid = last_numbers(write, sid)
        if not writes:
            return list(refused.values())
        outcomes = self._write(writes, replace(self._next_marks(), lsn=lsn, sid=sid))
        for index, outcome in refused.items():
            outcomes.insert(index, outcome)
        return outcomes

    def keep(self, snapshots: Sequence[SnapshotRecord]) -> list[Outcome]:
        if self.stopped is not None:
            return [self.stopped] * len(snapshots)
        errands = [partial(self._shelve, snapshot) for snapshot in snapshots]
        outcomes = self._answered(len(snapshots), lambda: self._each(errands, self._next_marks()))
        if self._pruning.is_due and self.stopped is None:
            self._prune()
        return outcomes

    def probe(self) -> None:
        """Raises StoreError when a write does not work."""
        outcomes = [self.stopped] if self.stopped else self._answered(1, lambda: self._each([], self._next_marks()))
        for outcome in outcomes:
            if isinstance(outcome, Refused | Unknown):
                raise outcome.error
            if isinstance(outcome, Fenced):
                raise StoreFailed("Another process owns the store.")

    def end(self) -> None:
        """The last write of an owner who leaves in order."""
        if self.stopped is None:
            if self._pruning:
                self._prune()
            clean = "UPDATE owner SET clean = 1 WHERE id = 1 AND epoch = ?"
            self._connection.execute(clean, (self.marks.epoch,))

    def _shelve(self, snapshot: SnapshotRecord) -> Outcome:
        shelved = shelve(self._connection, snapshot)
        if shelved is None:
            return Fenced(whole_store=False)
        if shelved.previous_lsn:
            self._pruning.gather(self._connection, snapshot.sid, shelved.previous_lsn)
        return Applied(snapshot.sid, shelved.lsn)

    def _prune(self) -> None:
        """A transaction of its own; what fails here is no snapshot's fault, and is found again by the next."""

        def delete() -> list[Outcome]:
            self._pruning.delete(self._connection)
            return []

        self._answered(0, lambda: self._transaction(self._next_marks(), delete))

    def _next_marks(self) -> Marks:
        return replace(self.marks, wall_us=max(self.marks.wall_us, self._wall_us()))

    def _write(self, writes: Sequence[Write], marks: Marks) -> list[Outcome]:
        return self._answered(len(writes), lambda: self._together_or_each(writes, marks))

    def _answered(self, count: int, write: Callable[[], list[Outcome]]) -> list[Outcome]:
        """Whatever concerns the whole store is the answer to every record."""
        try:
            return write()
        except EpochLost:
            self.stopped = Fenced(whole_store=True)
            return [self.stopped] * count
        except CommitFailed as failed:
            return [failed.outcome] * count
        except sqlite3.Error as error:
            return [self._refused(faults.store_error(error))] * count

    def _refused(self, error: StoreError) -> Refused:
        refused = Refused(error)
        if not isinstance(error, StoreUnavailable):
            self.stopped = refused
        return refused

    def _together_or_each(self, writes: Sequence[Write], marks: Marks) -> list[Outcome]:
        heads: dict[int, int] = {}
        try:
            outcomes = self._transaction(marks, lambda: self._together(writes, heads))
        except (Misfit, ReceiverGone, *faults.RECORD_FAULTS):
            for _, sid, _, _, _ in writes:
                self._heads.pop(sid, None)
        else:
            self._remember(heads)
            return outcomes
        return self._each([_applying(self._connection, write) for write in writes], marks)

    def _together(self, writes: Sequence[Write], heads: dict[int, int]) -> list[Outcome]:
        """All of them, many a statement; `heads` is filled with where their sessions stand then."""
        turns: list[tuple[int, int, int, int, int, int]] = []
        rows: list[tuple[int, int, int, int, bytes]] = []
        outcomes: list[Outcome] = []
        pile = Pile(self._connection)
        for write in writes:
            record, sid, lsn, body, extras = write
            if (extras is not None and extras.stands_alone) or not isinstance(record, TurnRecord):
                outcomes.append(apply(self._connection, write, pile))
                if isinstance(record, TurnRecord):
                    heads[sid] = lsn
                continue
            version = record.version
            prev = heads.get(sid) or self._heads.get(sid) or head_of(self._connection, sid)
            turns.append((lsn, version, sid, version - 1, record.generation, prev))
            rows.append((lsn, sid, version, prev, body))
            heads[sid] = lsn
            outcomes.append(Applied(sid, lsn) if extras is None else _deliver(self._connection, write, extras, pile))
        if turns:
            if self._connection.executemany(_TURN, turns).rowcount != len(turns):
                raise Misfit(Fenced(whole_store=False))
            self._connection.executemany(_JOURNAL, rows)
        pile.flush()
        return outcomes

    def _remember(self, heads: dict[int, int]) -> None:
        if len(self._heads) + len(heads) > HEADS_MAX:
            self._heads.clear()
        self._heads.update(heads)

    def _each(self, errands: Sequence[Callable[[], Outcome]], marks: Marks) -> list[Outcome]:
        return self._transaction(marks, lambda: [self._under_savepoint(errand) for errand in errands])

    def _under_savepoint(self, errand: Callable[[], Outcome]) -> Outcome:
        execute = self._connection.execute
        execute("SAVEPOINT record")
        try:
            outcome = errand()
        except (Misfit, ReceiverGone) as misfit:
            outcome = misfit.outcome if isinstance(misfit, Misfit) else Fenced(whole_store=False)
            execute("ROLLBACK TO record")
        except StoreError as error:
            outcome = Refused(error)
            execute("ROLLBACK TO record")
        except faults.RECORD_FAULTS as error:
            outcome = Refused(faults.refusal(error))
            execute("ROLLBACK TO record")
        execute("RELEASE record")
        return outcome

    def _transaction(self, marks: Marks, work: Callable[[], T]) -> T:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            claim = (marks.lsn, marks.sid, marks.wall_us, marks.epoch)
            if self._connection.execute(_CLAIM, claim).rowcount != 1:
                raise EpochLost
            result = work()
        except BaseException:
            self._roll_back()
            raise
        self._finish(marks)
        self.marks = marks
        return result

    def _finish(self, marks: Marks) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if not faults.is_healing(error) or not self._is_undone():
                failed = StoreFailed(f"COMMIT failed, nobody can say how far: {faults.name_of(error)}: {error}.")
                self.stopped = Refused(failed)
                raise CommitFailed(Unknown(failed)) from error
            raise CommitFailed(Refused(faults.store_error(error))) from error

    def _is_undone(self) -> bool:
        """After a COMMIT that failed for lack of room or a lock: do the marks stand where they did before?

        A snapshot moves no mark; writing it twice is harmless.
        """
        try:
            self._roll_back()
            found = self._connection.execute("SELECT lsn, sid FROM owner").fetchone()
        except sqlite3.Error:
            return False
        return bool(found == (self.marks.lsn, self.marks.sid))

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def apply(connection: sqlite3.Connection, write: Write, pile: Pile) -> Applied:
    """One record on its own, but for the mail that it leaves on the pile.

    Raises:
        Misfit: The session stands at another version or generation.
        ReceiverGone: What lies on the pile cannot be added.
        sqlite3.Error, OverflowError, …: What the record cannot be stored for.
    """
    record, sid, lsn, body, extras = write
    if isinstance(record, NoteRecord):
        if extras is not None and extras.parcel is not None:
            pile.add(extras.parcel)
        return Applied(sid, 0)
    prev = 0
    if record.created is not None:
        connection.execute(_CREATE, (sid, record.version, lsn, *facts_of(record.created)))
    else:
        prev = head_of(connection, sid)
        standing = (lsn, record.version, sid, record.version - 1, record.generation, prev)
        if connection.execute(_TURN, standing).rowcount != 1:
            raise Misfit(Fenced(whole_store=False))
    if record.row is not None:
        pile.flush()  # Notes of before were accepted by the session as it was before.
        connection.execute(_FACTS, (*facts_of(record.row), sid))
    if record.activity_us is not None or record.deadline_us is not None:
        connection.execute(_TIMES, (record.activity_us, record.deadline_us, sid))
    connection.execute(_JOURNAL, (lsn, sid, record.version, prev, body))
    return Applied(sid, lsn) if extras is None else _deliver(connection, write, extras, pile)


def _deliver(connection: sqlite3.Connection, write: Write, extras: Extras, pile: Pile) -> Applied:
    record, sid, lsn, _, _ = write
    children = [apply(connection, child, pile) for child in extras.children]
    gone = [number for child in children for number in child.undelivered]
    if extras.parcel is not None and isinstance(record, TurnRecord):
        pile.add(extras.parcel)
        for row, line in extras.parcel.abroad:
            if not pile.send(line, partial(undelivered, record, sid, row, line[1])):
                gone.append(row.number)
    return Applied(sid, lsn, tuple(child.sid for child in children), tuple(gone))


def head_of(connection: sqlite3.Connection, sid: int) -> int:
    row: tuple[Any, ...] | None = connection.execute(_HEAD, (sid,)).fetchone()
    if row is None:
        raise Misfit(Fenced(whole_store=False))
    return int(row[0])


def _applying(connection: sqlite3.Connection, write: Write) -> Callable[[], Outcome]:
    def errand() -> Outcome:
        pile = Pile(connection)
        applied = apply(connection, write, pile)
        pile.flush()
        return applied

    return errand
