"""What waits to be written, and what is written next."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from salon_persistence.errors import StoreFailed
from salon_persistence.image import weight
from salon_persistence.records import SnapshotRecord, TurnRecord
from salon_persistence.store import BlockingWriter, Outcome, Store

LOG = logging.getLogger("salon_persistence")

Done: TypeAlias = Callable[[Outcome], None]

BATCH_RECORDS_MAX = 4096
BATCH_BYTES_MAX = 16 * 1024 * 1024
KEPT_AT_ONCE_MAX = 8
"""Snapshots in one transaction, about a millisecond: no turn is committed meanwhile."""
TURN_BATCHES_BETWEEN_KEEPS = 8
"""Batches of turns that may overtake a waiting snapshot; it then goes before the next."""


@dataclass(slots=True)
class Turns:
    """A batch of turns; its answers are called in this order."""

    records: Sequence[TurnRecord]
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


Batch: TypeAlias = Turns | Snapshots


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
        self._turns: deque[tuple[TurnRecord, Done]] = deque()
        self._snapshots: deque[tuple[SnapshotRecord, Done]] = deque()
        self._overtaken = 0

    def __bool__(self) -> bool:
        return bool(self._turns or self._snapshots)

    def add_turn(self, record: TurnRecord, done: Done) -> None:
        self._turns.append((record, done))

    def add_snapshot(self, snapshot: SnapshotRecord, done: Done) -> None:
        self._snapshots.append((snapshot, done))

    def next(self) -> Batch | None:
        """Turns first, but a waiting snapshot is overtaken by so many batches only."""
        if self._turns and not (self._snapshots and self._overtaken >= TURN_BATCHES_BETWEEN_KEEPS):
            self._overtaken += 1 if self._snapshots else 0
            return self._next_turns()
        if self._snapshots:
            self._overtaken = 0
            return self._next_snapshots()
        return None

    def _next_turns(self) -> Turns:
        records: list[TurnRecord] = []
        dones: list[Done] = []
        room = BATCH_BYTES_MAX
        while self._turns and len(records) < BATCH_RECORDS_MAX and room > 0:
            record, done = self._turns.popleft()
            records.append(record)
            dones.append(done)
            room -= weight(record)
        return Turns(records, dones)

    def _next_snapshots(self) -> Snapshots:
        taken = [self._snapshots.popleft() for _ in range(min(len(self._snapshots), KEPT_AT_ONCE_MAX))]
        return Snapshots([snapshot for snapshot, _ in taken], [done for _, done in taken])
