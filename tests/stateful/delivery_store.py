"""SQLite without a thread of its own for the runtime: each call is over before the loop goes on.

So a step of the machine ends when every task waits, and a falsifying example fails again.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from anyio.from_thread import BlockingPortal

from salon_persistence.records import LogPage, Record, SessionRow, SnapshotRecord, StoredSession
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Address, LetterQuery, Outcome, SessionQuery, StoredLetter, StoreInfo


class PromptStore:
    """A SqliteStore that runs on the portal's loop, while the caller's stands still."""

    on_thread = False
    durability: Literal["normal"] = "normal"

    def __init__(
        self, portal: BlockingPortal, path: Path, wall_us: Callable[[], int], random_bytes: Callable[[int], bytes]
    ) -> None:
        self._portal = portal
        self._inner = SqliteStore(path, durability="normal", wall_us=wall_us, random_bytes=random_bytes)

    async def open(self) -> StoreInfo:
        return self._portal.call(self._inner.open)

    async def close(self) -> None:
        self._portal.call(self._inner.close)

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        return self._portal.call(self._inner.commit, batch)

    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        return self._portal.call(self._inner.keep, snapshots)

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        return self._portal.call(self._inner.load, address, windows)

    async def find(self, query: SessionQuery, /) -> Sequence[SessionRow]:
        return self._portal.call(self._inner.find, query)

    async def read_pages(self, sid: int, field: str, before: int, items: int, /) -> Sequence[LogPage]:
        return self._portal.call(self._inner.read_pages, sid, field, before, items)

    async def mail_waits(self, after_sid: int, limit: int, /) -> Sequence[tuple[int, str]]:
        return self._portal.call(self._inner.mail_waits, after_sid, limit)

    async def letters(self, query: LetterQuery, /) -> Sequence[StoredLetter]:
        return self._portal.call(self._inner.letters, query)

    async def letter(self, id: str, /) -> StoredLetter | None:
        return self._portal.call(self._inner.letter, id)

    async def probe(self) -> None:
        self._portal.call(self._inner.probe)
