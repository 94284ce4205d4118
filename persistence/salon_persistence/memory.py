"""A store without a disk, that answers as one with a disk would: for tests, for simulation, for `memory://`.

Bodies go through the same encoding, so that it refuses what SQLite refuses, and reads what SQLite would read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from salon_persistence.errors import NameTaken, RecordRefused, StoreError, StoreFailed, StoreInUse
from salon_persistence.journal import encode_page, encode_snapshot
from salon_persistence.log_image import dead_pages
from salon_persistence.mail_codec import INTEGER_MAX, open_letter
from salon_persistence.memory_mail import MemoryMail, Posting
from salon_persistence.parcel import LetterLine, undelivered
from salon_persistence.records import LogPage, NoteRecord, Record, SessionRow, SnapshotRecord, StoredSession, TurnRecord
from salon_persistence.recovery import SnapshotRow, pages_before, recover
from salon_persistence.store import (
    Address,
    Applied,
    ByPublicId,
    Fenced,
    LetterQuery,
    Outcome,
    Refused,
    SessionQuery,
    StoredLetter,
    StoreInfo,
)
from salon_persistence.write import Extras, Write, last_numbers, prepare

FORMAT = 2
"""As of a file of SQLite."""


@dataclass(slots=True)
class MemorySession:
    """All that is stored of one session. Where it stands is apart from its row, because copying a row costs 5 µs."""

    row: SessionRow
    version: int
    head_lsn: int
    journal: list[tuple[int, int, bytes]]
    """(lsn, version, body), oldest first."""
    shelf: list[SnapshotRow] = field(default_factory=list[SnapshotRow])
    """The two newest snapshots, newest first."""
    paged: dict[str, dict[int, bytes]] = field(default_factory=dict[str, dict[int, bytes]])
    """Pages by field and first number."""

    def as_row(self, sid: int) -> SessionRow:
        return replace(self.row, sid=sid, version=self.version, head_lsn=self.head_lsn)


class MemoryFile:
    """What outlives a `MemoryStore`, as a file outlives a process. Two stores may be given one, to test the fence."""

    def __init__(self) -> None:
        self.uuid = b""
        self.epoch = 0
        self.lsn = 0
        self.sid = 0
        self.wall_us = 0
        self.clean = True
        self.owner: MemoryStore | None = None
        """Who holds the lock; None takes the lock away from them, and leaves the fence alone to hold."""
        self.sessions: dict[int, MemorySession] = {}
        self.public_ids: dict[str, int] = {}
        self.names: dict[tuple[str, str, str], int] = {}
        self.mail = MemoryMail()


class MemoryRows:
    """See `Rows`."""

    def __init__(self, sid: int, session: "MemorySession", mail: MemoryMail) -> None:
        self._sid = sid
        self._session = session
        self._mail = mail

    def snapshots(self) -> Iterator[SnapshotRow]:
        return iter(self._session.shelf)

    def turns(self, after_lsn: int) -> Sequence[tuple[int, bytes]]:
        return [(version, body) for lsn, version, body in reversed(self._session.journal) if lsn > after_lsn]

    def pages(self, field: str, before: int) -> Iterator[tuple[int, bytes]]:
        stored = self._session.paged.get(field, {})
        return iter([(first, stored[first]) for first in sorted(stored, reverse=True) if first < before])

    def inbox(self) -> Sequence[tuple[int, int, int | None, bytes]]:
        return self._mail.inbox.of(self._sid)

    def progress(self) -> Sequence[tuple[int, int, int, bytes]]:
        return self._mail.progress_of(self._sid)

    def steps(self) -> Sequence[tuple[str, str, int, bytes]]:
        return self._mail.steps_of(self._sid)

    def outbox(self) -> Sequence[tuple[int, int, int | None, bytes]]:
        return self._mail.outbox.of(self._sid)


class MemoryStore:
    """A store in a `MemoryFile`; nothing survives the process.

    Args:
        file: What is kept when this store is closed. Default: a new one.
        wall_us: The time now, in microseconds since 1970, UTC.
        random_bytes: Gives a new file its identity.
    """

    on_thread = False
    durability: Literal["full", "normal", "memory"] = "memory"

    def __init__(
        self,
        file: MemoryFile | None = None,
        *,
        wall_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.file = file or MemoryFile()
        self._wall_us = wall_us
        self._random_bytes = random_bytes
        self._epoch = 0
        self._stopped: Fenced | Refused | None = Refused(StoreFailed("The store is not open."))

    async def open(self) -> StoreInfo:
        file = self.file
        if file.owner is not None:
            raise StoreInUse("The memory file is owned by another store of this process.")
        file.owner = self
        file.uuid = file.uuid or self._random_bytes(16)
        file.epoch += 1
        file.wall_us = max(file.wall_us, self._wall_us())
        clean, file.clean = file.clean, False
        self._epoch, self._stopped = file.epoch, None
        return StoreInfo(
            store="memory://",
            uuid=file.uuid,
            format=FORMAT,
            engine="memory",
            durability=self.durability,
            epoch=file.epoch,
            wall_high_us=file.wall_us,
            clean=clean,
            sessions=sum(session.row.lifecycle == "active" for session in file.sessions.values()),
            warnings=("Nothing survives this process: the store is memory://.",),
        )

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        self.file.wall_us = max(self.file.wall_us, self._wall_us())
        return [self._fenced() or self._commit(record) for record in batch]

    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        return [self._fenced() or self._keep(snapshot) for snapshot in snapshots]

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        self._readable()
        file = self.file
        if isinstance(address, ByPublicId):
            sid = file.public_ids.get(address.public_id)
        else:
            sid = file.names.get((address.tenant, address.type, address.name))
        if sid is None:
            return None
        session = file.sessions[sid]
        return recover(session.as_row(sid), MemoryRows(sid, session, file.mail), windows.get(session.row.type, {}))

    async def find(self, query: SessionQuery, /) -> Sequence[SessionRow]:
        self._readable()
        sessions = self.file.sessions.items()
        found = [(s.row.activity_us, sid) for sid, s in sessions if _matches(s.row, sid, query)]
        newest = sorted(found, reverse=True)[: query.limit if query.limit >= 0 else None]
        return tuple(self.file.sessions[sid].as_row(sid) for _, sid in newest)

    async def read_pages(self, sid: int, field: str, before: int, items: int, /) -> Sequence[LogPage]:
        self._readable()
        session = self.file.sessions.get(sid)
        rows = MemoryRows(sid, session, self.file.mail) if session else None
        return pages_before(rows, sid, field, before, items) if rows else ()

    async def mail_waits(self, after_sid: int, limit: int, /) -> Sequence[tuple[int, str]]:
        self._readable()
        mail, sessions = self.file.mail, self.file.sessions
        sids = sorted(sid for sid in {*mail.inbox.sids(), *mail.outbox.sids()} if sid > after_sid)
        found = [(sid, sessions[sid].row.public_id) for sid in sids if self._is_active(sid)]
        return found[: limit if limit >= 0 else None]

    async def letters(self, query: LetterQuery, /) -> Sequence[StoredLetter]:
        self._readable()
        kept = [
            self._letter(place, line)
            for place, line in self.file.mail.letters()
            if query.sid in (None, line[0]) and place > (query.after or 0)
        ]
        return tuple(kept[: query.limit if query.limit >= 0 else None])

    async def letter(self, id: str, /) -> StoredLetter | None:
        self._readable()
        kept = self.file.mail.letter(id)
        return self._letter(*kept) if kept else None

    async def probe(self) -> None:
        stopped = self._fenced()
        if isinstance(stopped, Refused):
            raise stopped.error
        if stopped is not None:
            raise StoreFailed("Another store owns the file.")

    async def close(self) -> None:
        file = self.file
        if self._stopped is None and self._fenced() is None:
            file.clean = True
        if file.owner is self:
            file.owner = None
        self._stopped = Refused(StoreFailed("The store is not open."))

    def _fenced(self) -> Fenced | Refused | None:
        if self._stopped is None and self.file.epoch != self._epoch:
            self._stopped = Fenced(whole_store=True)
        return self._stopped

    def _readable(self) -> None:
        if isinstance(self._stopped, Refused):
            raise self._stopped.error

    def _commit(self, record: Record) -> Outcome:
        file = self.file
        try:
            write = prepare(record, file.lsn + 1, file.sid + 1)
            extras = write[4]
            if extras is None and isinstance(record, TurnRecord):
                file.lsn += 1  # Used up even if it is refused now, as in SQLite.
                return self._stand(record, record.sid, file.lsn, write[3])
            file.lsn, file.sid = last_numbers(write, file.sid)
            if isinstance(record, NoteRecord):
                return self._note(record, extras)
            return self._deliver(write, extras or Extras(False))
        except StoreError as error:
            return Refused(error)

    def _note(self, note: NoteRecord, extras: Extras | None) -> Outcome:
        if extras is not None and extras.parcel is not None:
            session = self.file.sessions.get(note.sid)
            standing = session and (session.row.lifecycle, session.row.generation)
            if extras.parcel.inbox and standing != ("active", note.generation):
                return Fenced(whole_store=False)
            self.file.mail.put([Posting(extras.parcel)])
        return Applied(note.sid, 0)

    def _deliver(self, write: Write, extras: Extras) -> Outcome:
        """A turn with mail or children: all of it, or nothing."""
        restores: list[Callable[[], None]] = []
        postings: list[Posting] = []
        try:
            for record, sid, lsn, body, _ in (write, *extras.children):
                assert isinstance(record, TurnRecord)
                restore = self._as_before(sid)
                outcome = self._stand(record, sid, lsn, body)
                if not isinstance(outcome, Applied):
                    return outcome
                restores.append(restore)
            for part in (*extras.children, write):
                postings += self._addressed(part)
            self.file.mail.put(postings)
        except StoreError:
            for restore in reversed(restores):
                restore()
            raise
        undelivered = tuple(number for posting in postings for number in posting.undelivered)
        return Applied(write[1], write[2], tuple(child[1] for child in extras.children), undelivered)

    def _addressed(self, write: Write) -> list[Posting]:
        record, sid, _, _, extras = write
        if extras is None or extras.parcel is None or not isinstance(record, TurnRecord):
            return []
        posting = Posting(extras.parcel)
        for row, line in extras.parcel.abroad:
            if self._is_active(line[1]):
                posting.arriving.append(line)
            else:
                posting.letters.append(undelivered(record, sid, row, line[1]))
                posting.undelivered.append(row.number)
        return [posting]

    def _is_active(self, sid: int) -> bool:
        session = self.file.sessions.get(sid)
        return session is not None and session.row.lifecycle == "active"

    def _letter(self, place: int, line: LetterLine) -> StoredLetter:
        sid, id, body = line
        session = self.file.sessions.get(sid)
        names = (session.row.public_id, session.row.type) if session else ("", "")
        return StoredLetter(place, sid, *names, open_letter(sid, id, body))

    def _as_before(self, sid: int) -> Callable[[], None]:
        """Takes back what `_stand` does now."""
        session = self.file.sessions.get(sid)
        if session is None:
            return lambda: self._unindex(self.file.sessions.pop(sid).row)
        row, version, head_lsn = session.row, session.version, session.head_lsn

        def restore() -> None:
            self._unindex(session.row)
            session.row, session.version, session.head_lsn = row, version, head_lsn
            session.journal.pop()
            self._index(row, sid)

        return restore

    def _stand(self, record: TurnRecord, sid: int, lsn: int, body: bytes) -> Applied | Fenced:
        """The session at its next version, or at its first."""
        version = record.version
        if record.created is not None:
            row = _changed(record.created, record)
            self._check(row, sid)
            self.file.sessions[sid] = MemorySession(row, 1, lsn, [(lsn, 1, body)])
            self._index(row, sid)
            return Applied(sid, lsn)
        session = self.file.sessions.get(sid)
        if session is None or session.version != version - 1 or session.row.generation != record.generation:
            return Fenced(whole_store=False)
        if record.row is not None or record.activity_us is not None or record.deadline_us is not None:
            self._change(session, sid, _changed(session.row, record))
        session.version, session.head_lsn = version, lsn
        session.journal.append((lsn, version, body))
        return Applied(sid, lsn)

    def _change(self, session: MemorySession, sid: int, row: SessionRow) -> None:
        self._check(row, sid)
        self._unindex(session.row)
        session.row = row
        self._index(row, sid)

    def _check(self, row: SessionRow, sid: int) -> None:
        file = self.file
        numbers = (row.generation, row.owner_epoch, row.created_us, row.activity_us, row.deadline_us or 0)
        if max(numbers) > INTEGER_MAX or min(numbers) < -INTEGER_MAX - 1:
            raise RecordRefused("A number of the session's row has more than 64 bits.")
        if (name := _active_name(row)) and file.names.get(name, sid) != sid:
            raise NameTaken("An active session of this tenant and type has this name.")
        if file.public_ids.get(row.public_id, sid) != sid:
            raise RecordRefused("Another session has this public id.")

    def _index(self, row: SessionRow, sid: int) -> None:
        self.file.public_ids[row.public_id] = sid
        if name := _active_name(row):
            self.file.names[name] = sid

    def _unindex(self, row: SessionRow) -> None:
        del self.file.public_ids[row.public_id]
        if name := _active_name(row):
            del self.file.names[name]

    def _keep(self, snapshot: SnapshotRecord) -> Outcome:
        session = self.file.sessions.get(snapshot.sid)
        lsn = _lsn_of(session, snapshot) if session else 0
        if session is None or lsn == 0:
            return Fenced(whole_store=False)
        try:
            body = encode_snapshot(snapshot)
            pages = {(page.field, page.first): encode_page(page, snapshot.sid) for page in snapshot.pages if page.items}
            if len(pages) != len(snapshot.pages):
                raise RecordRefused("A page without items, or two of one number, cannot be stored.")
            _shelve(session, SnapshotRow(snapshot.version, lsn, body))
        except StoreError as error:
            return Refused(error)
        _write_pages(session, snapshot, pages)
        return Applied(snapshot.sid, lsn)


def _changed(row: SessionRow, record: TurnRecord) -> SessionRow:
    row = record.row or row
    activity_us = row.activity_us if record.activity_us is None else record.activity_us
    deadline_us = row.deadline_us if record.deadline_us is None else record.deadline_us
    return replace(row, activity_us=activity_us, deadline_us=deadline_us)


def _active_name(row: SessionRow) -> tuple[str, str, str] | None:
    return (row.tenant, row.type, row.name) if row.name is not None and row.lifecycle == "active" else None


def _matches(row: SessionRow, sid: int, query: SessionQuery) -> bool:
    return (
        row.tenant == query.tenant
        and query.user_id in (None, row.user_id)
        and query.conversation_id in (None, row.conversation_id)
        and query.device_id in (None, row.device_id)
        and query.lifecycle in (None, row.lifecycle)
        and (query.after is None or (row.activity_us, sid) < query.after)
    )


def _lsn_of(session: MemorySession, snapshot: SnapshotRecord) -> int:
    """Of the turn that the snapshot shows; 0 when there is none."""
    for lsn, version, _ in reversed(session.journal):
        if version == snapshot.version and snapshot.lsn in (0, lsn):
            return lsn
    return 0


def _shelve(session: MemorySession, snapshot: SnapshotRow) -> None:
    if session.shelf and session.shelf[0].version > snapshot.version:
        raise RecordRefused(f"A snapshot of version {session.shelf[0].version} is there already.")
    older = [kept for kept in session.shelf if kept.version < snapshot.version][:1]
    session.shelf = [snapshot, *older]
    if older:
        session.journal = [turn for turn in session.journal if turn[0] > older[0].lsn]


def _write_pages(session: MemorySession, snapshot: SnapshotRecord, pages: Mapping[tuple[str, int], bytes]) -> None:
    for field_, first in snapshot.pages_dropped:
        session.paged.get(field_, {}).pop(first, None)
    for page in snapshot.pages:
        stored = session.paged.setdefault(page.field, {})
        for first in [first for first in stored if page.first < first <= page.items[-1][0]]:
            del stored[first]
    for (field_, first), body in pages.items():
        session.paged[field_][first] = body
    for field_, shape in snapshot.logs.items():
        stored = session.paged.get(field_, {})
        for first in dead_pages(shape, sorted(stored)):
            del stored[first]
