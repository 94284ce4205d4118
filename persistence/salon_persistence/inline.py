"""The bridge to a store that never blocks: its coroutines run on the host loop."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from salon_persistence.commit_queue import Batch, CommitQueue, Commits, Done, answer
from salon_persistence.errors import StoreError, StoreFailed
from salon_persistence.host import HostPort, Promise, settle
from salon_persistence.records import LogPage, Record, SessionRow, SnapshotRecord, StoredSession
from salon_persistence.store import (
    Address,
    LetterQuery,
    Outcome,
    Refused,
    SessionQuery,
    Store,
    StoredLetter,
    StoreInfo,
    Unknown,
)


class InlineStorage:
    """See `Bridge`. One task of the host loop does all the writing."""

    def __init__(self, store: Store, host: HostPort, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._host = host
        self._monotonic = monotonic
        self._queue = CommitQueue()
        self._since: deque[float] = deque()
        self._wake: Promise | None = None
        self._closing = False
        self._is_open = False
        self._stopped: StoreError | None = StoreFailed("The store is not open.")
        self._ended = host.promise()

    async def open(self) -> StoreInfo:
        info = await self._store.open()
        self._is_open = True
        self._stopped = None
        self._host.spawn(self._serve)
        return info

    def commit(self, record: Record, done: Done) -> None:
        if self._stopped is not None:
            self._host.post(done, Refused(self._stopped))
            return
        self._queue.add(record, done)
        self._since.append(self._monotonic())
        self._rouse()

    def keep(self, snapshot: SnapshotRecord, done: Done) -> None:
        if self._stopped is not None:
            self._host.post(done, Refused(self._stopped))
            return
        self._queue.add_snapshot(snapshot, done)
        self._rouse()

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]]) -> StoredSession | None:
        return await self._opened().load(address, windows)

    async def find(self, query: SessionQuery) -> Sequence[SessionRow]:
        return await self._opened().find(query)

    async def read_pages(self, sid: int, field: str, before: int, items: int) -> Sequence[LogPage]:
        return await self._opened().read_pages(sid, field, before, items)

    async def mail_waits(self, after_sid: int, limit: int) -> Sequence[tuple[int, str]]:
        return await self._opened().mail_waits(after_sid, limit)

    async def letters(self, query: LetterQuery) -> Sequence[StoredLetter]:
        return await self._opened().letters(query)

    async def letter(self, id: str) -> StoredLetter | None:
        return await self._opened().letter(id)

    async def probe(self) -> None:
        await self._opened().probe()

    def watch(self, look: Callable[[], object], every_s: float) -> bool:
        return False

    async def close(self) -> None:
        if self._stopped is None:
            self._stopped = StoreFailed("The store is closed.")
            self._closing = True
            self._rouse()
            await self._ended
        if self._is_open:  # and not another bridge's, who was first
            self._is_open = False
            await self._store.close()

    def pending_since(self) -> float | None:
        return self._since[0] if self._since else None

    def _opened(self) -> Store:
        if self._stopped is not None:
            raise self._stopped
        return self._store

    def _rouse(self) -> None:
        if self._wake is not None:
            settle(self._wake, None)

    async def _serve(self) -> None:
        batch: Batch | None = None
        try:
            while (batch := self._queue.next()) or not self._closing:
                if batch is None:
                    self._wake = self._host.promise()
                    await self._wake
                    self._wake = None
                else:
                    self._answer(batch, await batch.write(self._store))
        except BaseException as error:
            self._stop(batch, error)
            raise
        finally:
            settle(self._ended, None)

    def _answer(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        if isinstance(batch, Commits):
            for _ in batch.records:
                self._since.popleft()
        answer(batch, outcomes)

    def _stop(self, batch: Batch | None, error: BaseException) -> None:
        """The host loop is going, or the store broke its word: what was under way may have been written."""
        self._stopped = StoreFailed(f"Writing stopped: {type(error).__name__}.")
        if batch is not None:
            self._answer(batch, [Unknown(self._stopped)] * len(batch.records))
        while left := self._queue.next():
            self._answer(left, [Refused(self._stopped)] * len(left.records))
