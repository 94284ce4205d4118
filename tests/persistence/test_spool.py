"""A writer that sleeps at the queue misses nothing that was put there."""

import threading

import pytest

from salon_persistence.commit_queue import CommitQueue
from salon_persistence.records import NoteRecord
from salon_persistence.spool import Spool
from tests.persistence.sessions import turn


class Writer:
    """A thread that takes until it gets None."""

    def __init__(self, spool: Spool) -> None:
        self.taken: list[int] = []
        self.spool = spool
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        while batch := self.spool.take():
            self.taken += [record.version for record in batch.records if not isinstance(record, NoteRecord)]

    def has_ended(self) -> bool:
        self.thread.join(10)
        return not self.thread.is_alive()


@pytest.fixture
def queue() -> CommitQueue:
    return CommitQueue()


@pytest.fixture
def spool(queue: CommitQueue) -> Spool:
    return Spool(queue)


def test_whatever_is_put_in_is_taken_in_order_whether_or_not_the_writer_sleeps(
    queue: CommitQueue, spool: Spool
) -> None:
    writer = Writer(spool)
    for version in range(1, 20_001):
        queue.add(turn(1, version, logs=(), state={}), print)
        spool.ring()
    spool.close()

    assert writer.has_ended()
    assert writer.taken == list(range(1, 20_001))
    assert spool.is_finished


def test_what_was_there_before_it_was_closed_is_still_taken(queue: CommitQueue, spool: Spool) -> None:
    queue.add(turn(1, 2), print)
    spool.close()
    assert not spool.is_finished
    batch = spool.take()

    assert batch is not None
    assert spool.take() is None
    assert spool.is_finished


def test_a_writer_that_is_interrupted_leaves_once_and_comes_back(queue: CommitQueue, spool: Spool) -> None:
    writer = Writer(spool)
    spool.interrupt()
    assert writer.has_ended()
    queue.add(turn(1, 2), print)
    batch = spool.take()

    assert batch is not None
    assert not spool.is_finished
