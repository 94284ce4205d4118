"""One SQLite file, one owner: two connections on threads of their own, one that writes and one that reads."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiosqlite

from salon_persistence import files
from salon_persistence.errors import StoreFailed, StoreInUse, StoreUnavailable
from salon_persistence.records import LogPage, Record, SessionRow, SnapshotRecord, StoredSession
from salon_persistence.sqlite import opening, reader
from salon_persistence.sqlite.connection import ErrandConnection, run
from salon_persistence.sqlite.layout import LAYOUT
from salon_persistence.sqlite.opening import Durability, Ownership
from salon_persistence.sqlite.writer import Writer
from salon_persistence.store import (
    Address,
    BlockingWriter,
    LetterQuery,
    Outcome,
    Refused,
    SessionQuery,
    StoredLetter,
    StoreInfo,
)

T = TypeVar("T")

BUSY_S = 1.0


class SqliteStore:
    """A store in one SQLite file, with a write-ahead log.

    Args:
        path: The file; it is created, for its owner only, if it is not there. Its folder must exist.
        durability: `full`: an fsync per batch; survives power loss. `normal` and `memory`: survives SIGKILL only.
        wall_us: The time now, in microseconds since 1970, UTC.
        random_bytes: Gives a new file its identity.
        busy_s: Seconds to wait for a lock that a foreign program holds on the file. Default 1.
        factory: The connection that writes; tests put one that fails here.
    """

    on_thread = True

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Durability = "full",
        wall_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        busy_s: float = BUSY_S,
        factory: type[ErrandConnection] = ErrandConnection,
    ) -> None:
        self._path = files.real_path(path)
        self._durability: Durability = durability
        self._wall_us = wall_us
        self._random_bytes = random_bytes
        self._busy_s = busy_s
        self._factory = factory
        self._lock = files.OwnerLock(self._path)
        self._process = -1
        self._writing: aiosqlite.Connection | None = None
        self._reading: aiosqlite.Connection | None = None
        self._writer: Writer | None = None

    @property
    def durability(self) -> Durability:
        return self._durability

    @property
    def path(self) -> Path:
        return self._path

    async def open(self) -> StoreInfo:
        """Take ownership of the file, creating or migrating it.

        Raises:
            StoreInUse: Another owner, in this process or another, has it.
            NotAStore, FormatTooNew: It is not for us, and was left as it is.
            StoreUnavailable: It cannot be reached or written.
        """
        if self._writing is not None:
            raise StoreInUse(f"{self._path.name} is open already, by this very store.")
        if size := files.size_of(self._path):
            log_size = files.size_of(self._path.with_name(self._path.name + "-wal"))
            opening.inspect(self._path, size, log_size)
        now_us = self._wall_us()
        self._lock.acquire(now_us)
        try:
            files.create_private(self._path)
            self._writing = await self._connect("mode=rw", self._factory)
            uuid = self._random_bytes(16)
            take_over = partial(
                opening.take_over, path=self._path, durability=self._durability, uuid=uuid, now_us=now_us
            )
            ownership = await run(self._writing, take_over)
            self._reading = await self._connect("mode=ro", ErrandConnection)
        except BaseException:
            await self._let_go()
            raise
        self._process = files.process_id()
        self._writer = await run(self._writing, partial(self._new_writer, ownership))
        return self._info(ownership)

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        try:
            return await self._write(lambda writer: writer.commit(batch))
        except StoreFailed as error:
            return [Refused(error)] * len(batch)

    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        try:
            return await self._write(lambda writer: writer.keep(snapshots))
        except StoreFailed as error:
            return [Refused(error)] * len(snapshots)

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        return await self._read(partial(reader.load, address=address, windows=windows))

    async def find(self, query: SessionQuery, /) -> Sequence[SessionRow]:
        return await self._read(partial(reader.find, query=query))

    async def read_pages(self, sid: int, field: str, before: int, items: int, /) -> Sequence[LogPage]:
        return await self._read(partial(reader.read_pages, sid=sid, field=field, before=before, items=items))

    async def mail_waits(self, after_sid: int, limit: int, /) -> Sequence[tuple[int, str]]:
        return await self._read(partial(reader.mail_waits, after_sid=after_sid, limit=limit))

    async def letters(self, query: LetterQuery, /) -> Sequence[StoredLetter]:
        return await self._read(partial(reader.letters, query=query))

    async def letter(self, id: str, /) -> StoredLetter | None:
        return await self._read(partial(reader.letter, id=id))

    async def probe(self) -> None:
        await self._write(Writer.probe)

    async def lend(self, use: Callable[[BlockingWriter], None], /) -> None:
        """See `LendsItsWriter`. Raises StoreFailed when the store is not open."""
        await self._write(use)

    async def close(self) -> None:
        """Give the file up. Harmless when it was never opened, or closed already; a forked child leaves it alone."""
        if self._writing is None or self._process != files.process_id():
            return
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                await run(self._writing, lambda _: writer.end())
        except sqlite3.Error:
            pass  # The next owner finds an unclean end, which is true.
        finally:
            await self._let_go()

    async def _write(self, write: Callable[[Writer], T]) -> T:
        self._check_process()
        writer, writing = self._writer, self._writing
        if writer is None or writing is None:
            raise self._closed()
        return await run(writing, lambda _: write(writer))

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        self._check_process()
        writer, reading = self._writer, self._reading
        if writer is None or reading is None:
            raise self._closed()
        if isinstance(writer.stopped, Refused):
            # What a failed COMMIT left behind may be seen now and gone after a crash, or the other way round.
            raise writer.stopped.error
        return await run(reading, read)

    def _check_process(self) -> None:
        if self._process not in (-1, files.process_id()):
            owner = f"{self._path.name} was opened by process {self._process}"
            raise StoreFailed(f"{owner}; a forked child must not use it.")

    def _closed(self) -> StoreFailed:
        return StoreFailed(f"{self._path.name} is not open.")

    def _new_writer(self, ownership: Ownership, connection: sqlite3.Connection) -> Writer:
        return Writer(connection, ownership.marks, self._wall_us)

    async def _connect(self, parameters: str, factory: type[ErrandConnection]) -> aiosqlite.Connection:
        name = opening.uri(self._path, parameters)
        try:
            return await aiosqlite.connect(name, uri=True, isolation_level=None, timeout=self._busy_s, factory=factory)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path.name} cannot be opened: {error}.") from error

    async def _let_go(self) -> None:
        """The reader first, so that the writer is the last and folds the write-ahead log into the file."""
        reading, writing = self._reading, self._writing
        self._reading = self._writing = None
        try:
            if reading is not None:
                await reading.close()
            if writing is not None:
                await writing.close()
        finally:
            self._lock.release()

    def _info(self, ownership: Ownership) -> StoreInfo:
        return StoreInfo(
            store=f"sqlite:///{self._path}",
            uuid=ownership.uuid,
            format=LAYOUT,
            engine="; ".join((f"SQLite {sqlite3.sqlite_version}", *opening.version_warnings())),
            durability=self._durability,
            epoch=ownership.marks.epoch,
            wall_high_us=ownership.marks.wall_us,
            clean=ownership.clean,
            sessions=ownership.sessions,
            warnings=files.permission_warnings(self._path),
        )
