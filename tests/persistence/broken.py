"""Stores that break one promise each. The suite must catch every one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from salon_persistence.memory import MemoryStore
from salon_persistence.records import (
    LogPage,
    Record,
    SessionRow,
    SnapshotRecord,
    StoredSession,
    TurnRecord,
)
from salon_persistence.store import Address, Applied, ByName, Fenced, Outcome, Refused, SessionQuery, StoreInfo
from tests.persistence.places import MemoryPlace


class AcknowledgesBeforeWriting(MemoryStore):
    """Writes a batch when the next one comes, or when it is closed."""

    _held: Sequence[Record] = ()

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        await super().commit(self._held)
        self._held = batch
        held = [record.sid or self.file.sid + 1 for record in batch]
        return [Applied(sid, self.file.lsn + number) for number, sid in enumerate(held, start=1)]


class ForgetsTheVersionCheck(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        for record in batch:
            if isinstance(record, TurnRecord) and (session := self.file.sessions.get(record.sid)):
                record.version = session.version + 1
        return await super().commit(batch)


class ForgetsTheGeneration(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        for record in batch:
            if session := self.file.sessions.get(record.sid):
                record.generation = session.row.generation
        return await super().commit(batch)


class ForgetsTheEpoch(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        self._epoch = self.file.epoch
        return await super().commit(batch)


class ForgetsTheEpochForSnapshots(MemoryStore):
    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        mine, self._epoch = self._epoch, self.file.epoch
        outcomes = await super().keep(snapshots)
        self._epoch = mine
        return outcomes


class FencesForAMomentOnly(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        outcomes = await super().commit(batch)
        if self._stopped == Fenced(whole_store=True):
            self._epoch, self._stopped = self.file.epoch, None
        return outcomes


class ForgetsTheLock(MemoryStore):
    async def open(self) -> StoreInfo:
        self.file.owner = None
        return await super().open()


class AppliesHalfARecord(MemoryStore):
    """State without lines, whenever a turn has both."""

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        return await super().commit(
            [
                replace(record, logs=()) if isinstance(record, TurnRecord) and record.state else record
                for record in batch
            ]
        )


class SwapsOutcomes(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        return list(reversed(await super().commit(batch)))


class LosesTheTailAfterASnapshot(MemoryStore):
    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        stored = await super().load(address, windows)
        if stored is None or stored.snapshot is None:
            return stored
        return StoredSession(replace(stored.row, version=stored.snapshot.version), stored.snapshot, ())


class ServesTheTailBackwards(MemoryStore):
    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        stored = await super().load(address, windows)
        return stored and StoredSession(stored.row, stored.snapshot, stored.tail[::-1])


class ReusesNumbers(MemoryStore):
    """Begins again behind the rows that are there, as a bare INTEGER PRIMARY KEY does after a deletion."""

    async def open(self) -> StoreInfo:
        info = await super().open()
        self.file.lsn = max((session.head_lsn for session in self.file.sessions.values()), default=0)
        self.file.lsn -= 1 if self.file.lsn else 0
        return info


class SpoilsTheBatch(MemoryStore):
    """One refusal refuses all."""

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        outcomes = await super().commit(batch)
        bad = next((outcome for outcome in outcomes if isinstance(outcome, Refused)), None)
        return outcomes if bad is None else [bad] * len(batch)


class SaysAppliedWhenItRefused(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        outcomes = await super().commit(batch)
        return [Applied(1, 1) if isinstance(outcome, Refused) else outcome for outcome in outcomes]


class TakesANameTwice(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        self.file.names.clear()
        return await super().commit(batch)


class KeepsNamesForEver(MemoryStore):
    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        if isinstance(address, ByName):
            for sid, session in self.file.sessions.items():
                if session.row.name == address.name and session.row.tenant == address.tenant:
                    self.file.names[address.tenant, address.type, address.name] = sid
                    break
        return await super().load(address, windows)


class IgnoresWindows(MemoryStore):
    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        return await super().load(address, {})


class ForgetsDroppedPages(MemoryStore):
    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        return await super().keep([replace(snapshot, pages_dropped=()) for snapshot in snapshots])


class KeepsPagesOfDroppedItems(MemoryStore):
    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        before = {sid: {field: dict(p) for field, p in s.paged.items()} for sid, s in self.file.sessions.items()}
        outcomes = await super().keep(snapshots)
        for sid, fields in before.items():
            for field, pages in fields.items():
                self.file.sessions[sid].paged[field] = {**pages, **self.file.sessions[sid].paged[field]}
        return outcomes


class LosesOldPages(MemoryStore):
    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        for snapshot in snapshots:
            if session := self.file.sessions.get(snapshot.sid):
                session.paged.clear()
        return await super().keep(snapshots)


class ReadsPagesOldestFirst(MemoryStore):
    async def read_pages(self, sid: int, field: str, before: int, items: int, /) -> Sequence[LogPage]:
        return list(await super().read_pages(sid, field, before, items))[::-1]


class ListsForeignTenants(MemoryStore):
    async def find(self, query: SessionQuery, /) -> Sequence[SessionRow]:
        tenants = sorted({session.row.tenant for session in self.file.sessions.values()})
        found = [
            row
            for tenant in tenants
            for row in await super(ListsForeignTenants, self).find(replace(query, tenant=tenant))
        ]
        return sorted(found, key=lambda row: (-row.activity_us, -row.sid))[: query.limit]


class RunsTimeBackwards(MemoryStore):
    async def open(self) -> StoreInfo:
        return replace(await super().open(), wall_high_us=0)


class LooksClean(MemoryStore):
    async def open(self) -> StoreInfo:
        return replace(await super().open(), clean=True)


class KeepsTheEpoch(MemoryStore):
    async def open(self) -> StoreInfo:
        self.file.epoch = 0
        return await super().open()


class ForgetsActivity(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        return await super().commit(
            [replace(record, activity_us=None) if isinstance(record, TurnRecord) else record for record in batch]
        )


class GoesBackToAnOlderSnapshot(MemoryStore):
    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        for snapshot in snapshots:
            if session := self.file.sessions.get(snapshot.sid):
                session.shelf = [shelved for shelved in session.shelf if shelved.version <= snapshot.version]
        return await super().keep(snapshots)


class StaysOpenWhenClosed(MemoryStore):
    async def close(self) -> None:
        await super().close()
        self._stopped = None


BROKEN: tuple[type[MemoryStore], ...] = (
    AcknowledgesBeforeWriting,
    ForgetsTheVersionCheck,
    ForgetsTheGeneration,
    ForgetsTheEpoch,
    ForgetsTheEpochForSnapshots,
    FencesForAMomentOnly,
    ForgetsTheLock,
    AppliesHalfARecord,
    SwapsOutcomes,
    LosesTheTailAfterASnapshot,
    ServesTheTailBackwards,
    ReusesNumbers,
    SpoilsTheBatch,
    SaysAppliedWhenItRefused,
    TakesANameTwice,
    KeepsNamesForEver,
    IgnoresWindows,
    ForgetsDroppedPages,
    KeepsPagesOfDroppedItems,
    LosesOldPages,
    ReadsPagesOldestFirst,
    ListsForeignTenants,
    RunsTimeBackwards,
    LooksClean,
    KeepsTheEpoch,
    ForgetsActivity,
    GoesBackToAnOlderSnapshot,
    StaysOpenWhenClosed,
)


class BrokenPlace(MemoryPlace):
    """Where a broken store keeps what it keeps."""

    def __init__(self, kind: Callable[..., MemoryStore]) -> None:
        super().__init__()
        self._kind = kind

    def store(self) -> MemoryStore:
        return self._kind(self.file, wall_us=self.ticks.wall_us, random_bytes=self.ticks.random_bytes)
