"""What waits to be written, and what is written next."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from salon_persistence.errors import StoreFailed
from salon_persistence.image import weight
from salon_persistence.records import Mail, Record, SnapshotRecord, TurnRecord
from salon_persistence.store import BlockingWriter, Outcome, Store

LOG = logging.getLogger("salon_persistence")

Done: TypeAlias = Callable[[Outcome], None]

BATCH_RECORDS_MAX = 4096
BATCH_BYTES_MAX = 16 * 1024 * 1024
KEPT_AT_ONCE_MAX = 8
"""Snapshots in one transaction, about a millisecond: no turn is committed meanwhile."""
BATCHES_BETWEEN_KEEPS = 8
"""Batches of turns and notes that may overtake a waiting snapshot; it then goes before the next."""


@dataclass(slots=True)
class Commits:
    """A batch of turns and notes; its answers are called in this order."""

    records: Sequence[Record]
    dones: Sequence[Done]

    async def write(self, store: Store) -> Sequence[Outcome]:
        return _one_each(await store.commit(self.records), self.records)

    def write_now(self, writer: BlockingWriter) -> Sequence[Outcome]:
        return _one_each(writer.commit(self.records), self.records)


@dataclass(slots=True)
class Snapshots:
    """Some snapshots."""

    records: Sequence[SnapshotRecord]
    dones: Sequence[Done]

    async def write(self, store: Store) -> Sequence[Outcome]:
        return _one_each(await store.keep(self.records), self.records)

    def write_now(self, writer: BlockingWriter) -> Sequence[Outcome]:
        return _one_each(writer.keep(self.records), self.records)


Batch: TypeAlias = Commits | Snapshots


def _one_each(outcomes: Sequence[Outcome], records: Sequence[object]) -> Sequence[Outcome]:
    if len(outcomes) != len(records):
        raise StoreFailed(f"The store answered {len(outcomes)} of {len(records)} records; nobody knows which.")
    return outcomes


def answer(batch: Batch, outcomes: Sequence[Outcome]) -> None:
    """Call each one back. What one of them raises is logged and keeps no other from its answer."""
    for done, outcome in zip(batch.dones, outcomes, strict=True):
        try:
            done(outcome)
        except Exception:
            LOG.exception("An answer of the store could not be taken.")


class CommitQueue:
    """Filled by one thread and emptied by one, which may be another: the deques alone are shared."""

    def __init__(self) -> None:
        self._records: deque[tuple[Record, Done]] = deque()
        self._snapshots: deque[tuple[SnapshotRecord, Done]] = deque()
        self._overtaken = 0

    def __bool__(self) -> bool:
        return bool(self._records or self._snapshots)

    def add(self, record: Record, done: Done) -> None:
        self._records.append((record, done))

    def add_snapshot(self, snapshot: SnapshotRecord, done: Done) -> None:
        self._snapshots.append((snapshot, done))

    def next(self) -> Batch | None:
        """Turns and notes first, but a waiting snapshot is overtaken by so many batches only."""
        if self._records and not (self._snapshots and self._overtaken >= BATCHES_BETWEEN_KEEPS):
            self._overtaken += 1 if self._snapshots else 0
            return self._next_commits()
        if self._snapshots:
            self._overtaken = 0
            return self._next_snapshots()
        return None

    def _next_commits(self) -> Commits:
        records: list[Record] = []
        dones: list[Done] = []
        room = BATCH_BYTES_MAX
        while self._records and len(records) < BATCH_RECORDS_MAX and room > 0:
            record, done = self._records.popleft()
            records.append(record)
            dones.append(done)
            room -= _size(record)
        return Commits(records, dones)

    def _next_snapshots(self) -> Snapshots:
        taken = [self._snapshots.popleft() for _ in range(min(len(self._snapshots), KEPT_AT_ONCE_MAX))]
        return Snapshots([snapshot for snapshot, _ in taken], [done for _, done in taken])


def _size(record: Record) -> int:
    """Bytes that writing it takes, without the few of its frames."""
    if isinstance(record, TurnRecord):
        size = weight(record)
        for child in record.children:
            size += _size(child)
    else:
        size = 0
    return size + _mail_size(record.mail) if record.mail is not None else size


def _mail_size(mail: Mail) -> int:
    parts = (mail.inbox_added, mail.progress, mail.steps, mail.outbox_added, mail.dead_letters)
    return sum(len(row.body) for rows in parts for row in rows)
