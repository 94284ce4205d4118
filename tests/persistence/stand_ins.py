"""Stores that do as they are told, for tests of what stands before a store."""

import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio

from salon_persistence.records import LogPage, Record, SessionRow, SnapshotRecord, StoredSession, TurnRecord
from salon_persistence.store import Address, Applied, LetterQuery, Outcome, SessionQuery, Store, StoredLetter, StoreInfo


@dataclass
class Held:
    """A store on a thread that answers a batch only when it is let; it counts what it was given."""

    durability: Literal["full", "normal", "memory"] = "full"
    fails_with: BaseException | None = None
    """Raised by the next commit, against the contract."""
    answers: list[Outcome] = field(default_factory=list[Outcome])
    """Given instead of Applied, first come first served."""
    on_thread: bool = True
    reads_stay: bool = False
    """A load never ends by itself."""

    def __post_init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[int]] = []
        """Versions of the turns of each batch."""
        self.kept: list[tuple[int, int]] = []
        """(batches before it, version) of each snapshot."""
        self.written: list[int] = []
        self.threads: set[str] = set()
        self.contexts: list[dict[ContextVar[Any], Any]] = []
        """Context variables of each load."""
        self.is_open = False
        self.reading = threading.Event()

    async def open(self) -> StoreInfo:
        self.is_open = True
        return StoreInfo("held://", b"", 1, "none", self.durability, 1, 0, clean=True)

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        self.batches.append([record.version for record in batch if isinstance(record, TurnRecord)])
        self.threads.add(threading.current_thread().name)
        await self._let()
        if self.fails_with is not None:
            raise self.fails_with
        outcomes = [self.answers.pop(0) if self.answers else _applied(record) for record in batch]
        self.written += [
            record.version
            for record, got in zip(batch, outcomes, strict=True)
            if isinstance(got, Applied) and isinstance(record, TurnRecord)
        ]
        return outcomes

    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        await self._let()
        self.kept += [(len(self.batches), snapshot.version) for snapshot in snapshots]
        return [Applied(snapshot.sid, snapshot.version) for snapshot in snapshots]

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        self.reading.set()
        self.contexts.append(dict(copy_context()))
        while self.reads_stay:  # noqa: ASYNC110  # Until the loop is torn down.
            await anyio.sleep(0.0005)
        await self._let()
        return None

    async def find(self, query: SessionQuery, /) -> Sequence[SessionRow]:
        return ()

    async def read_pages(self, sid: int, field: str, before: int, items: int, /) -> Sequence[LogPage]:
        return ()

    async def mail_waits(self, after_sid: int, limit: int, /) -> Sequence[tuple[int, str]]:
        return ()

    async def letters(self, query: LetterQuery, /) -> Sequence[StoredLetter]:
        return ()

    async def letter(self, id: str, /) -> StoredLetter | None:
        return None

    async def probe(self) -> None:
        return None

    async def close(self) -> None:
        self.is_open = False

    async def _let(self) -> None:
        while not self.gate.is_set():  # noqa: ASYNC110  # The gate is opened by another thread.
            await anyio.sleep(0.0005)


def _applied(record: Record) -> Applied:
    return Applied(record.sid, record.version if isinstance(record, TurnRecord) else 0)


def is_a_store(store: Held) -> Store:
    """Checked by the type checkers."""
    return store
