"""From the host loop to a store, wherever the store lives. The only module that knows which.

A store that needs an asyncio loop of its own and may block lives on a thread (`storage_thread`);
one that never blocks runs on the host loop itself (`inline`). Both commit in groups: whatever was handed over
while a batch was under way is the next batch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from salon_persistence.host import HostPort
from salon_persistence.inline import InlineStorage
from salon_persistence.records import LogPage, Record, SessionRow, SnapshotRecord, StoredSession
from salon_persistence.storage_thread import StorageThread
from salon_persistence.store import Address, LetterQuery, Outcome, SessionQuery, Store, StoredLetter, StoreInfo


class Bridge(Protocol):
    """For the host loop's thread only. Cancelling who waits here stops the waiting and nothing else."""

    async def open(self) -> StoreInfo:
        """Open the store. Raises what `Store.open` raises."""
        ...

    def commit(self, record: Record, done: Callable[[Outcome], None]) -> None:
        """Hand the record over; `done` is called on the host loop, after this has returned, in the order of hand-over.

        It is told the truth at every durability: whoever lets replies out before their write does so by itself.
        """
        ...

    def keep(self, snapshot: SnapshotRecord, done: Callable[[Outcome], None]) -> None:
        """Hand a snapshot over, to be written between batches of turns."""
        ...

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]]) -> StoredSession | None: ...

    async def find(self, query: SessionQuery) -> Sequence[SessionRow]: ...

    async def read_pages(self, sid: int, field: str, before: int, items: int) -> Sequence[LogPage]: ...

    async def mail_waits(self, after_sid: int, limit: int) -> Sequence[tuple[int, str]]: ...

    async def letters(self, query: LetterQuery) -> Sequence[StoredLetter]: ...

    async def letter(self, id: str) -> StoredLetter | None: ...

    async def probe(self) -> None: ...

    def watch(self, look: Callable[[], object], every_s: float) -> bool:
        """Call `look` on the store's thread, about every so many seconds until `close`. False: there is no thread."""
        ...

    async def close(self) -> None:
        """Write what was handed over, then close the store. Whatever is handed over later is refused."""
        ...

    def pending_since(self) -> float | None:
        """When the oldest record without an answer was handed over, on the monotonic clock; None: all are answered."""
        ...


def bridge_for(store: Store, host: HostPort, monotonic: Callable[[], float]) -> Bridge:
    """The bridge that this store needs."""
    if store.on_thread:
        return StorageThread(store, host, monotonic)
    return InlineStorage(store, host, monotonic)


__all__ = ["Bridge", "HostPort", "bridge_for"]
