"""Turns and snapshots of one session in every order: what is remembered and what would be restored is one thing."""

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from salon_persistence.image import SessionImage, replay
from salon_persistence.log_image import LogImage
from salon_persistence.records import LogDelta, LogPage, SnapshotRecord, StoredSession, TurnRecord
from salon_persistence.store import Applied, ByPublicId
from tests.persistence.places import MemoryPlace
from tests.persistence.sessions import created

T = TypeVar("T")

WINDOW = 3
EVERYTHING = 10_000


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("It waits.")


class Interleaving(RuleBasedStateMachine):
    """A session whose snapshots are under way while its turns go on, beside a dictionary of its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryPlace().store()
        self.image = SessionImage()
        self.lines: dict[int, bytes] = {}
        self.first = self.next = 0
        self.pages: Sequence[LogPage] | None = None
        """Read for the snapshot that comes next."""
        self.under_way: SnapshotRecord | None = None
        self.is_written = False

    @initialize()
    def open(self) -> None:
        done(self.store.open())
        record = created()
        (outcome,) = done(self.store.commit([record]))
        assert isinstance(outcome, Applied)
        self.image.apply(record)
        self.image.lsn = outcome.lsn

    @property
    def log(self) -> LogImage:
        return self.image.log("lines")

    def commit(self, **changes: Any) -> None:
        delta = LogDelta("lines", self.first, self.next, **changes)
        record = TurnRecord(sid=1, version=self.image.version + 1, logs=(delta,))
        (outcome,) = done(self.store.commit([record]))
        assert isinstance(outcome, Applied)
        self.image.apply(record)
        self.image.lsn = outcome.lsn

    # Turns

    @rule(count=st.sampled_from([1, 2, 5, 70]))
    def append(self, count: int) -> None:
        items = [(self.next + n, b"item %d" % (self.next + n)) for n in range(count)]
        self.next += count
        self.lines.update(items)
        self.commit(items=items)

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def redact(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.lines)))
        self.lines[number] = b"redacted at %d" % self.image.version
        self.commit(redactions={number: self.lines[number]})

    @rule(newest=st.sampled_from([1, 2, 66]), count=st.sampled_from([1, 2, 66]))
    def cut(self, newest: int, count: int) -> None:
        """A rewind, when the newest are among them."""
        start = max(self.next - newest, self.first)
        self.drop(start, min(start + count, self.next))

    def drop(self, start: int, end: int) -> None:
        self.lines = {number: line for number, line in self.lines.items() if not start <= number < end}
        self.commit(cuts=((start, end),))

    @rule(count=st.sampled_from([1, 2, 66]))
    def truncate(self, count: int) -> None:
        self.first = min(self.first + count, self.next)
        self.lines = {number: line for number, line in self.lines.items() if number >= self.first}
        self.commit()

    # Snapshots

    @rule()
    def go_on_with_the_snapshot(self) -> None:
        """One step: read the pages to redact, take it, write it, be told."""
        if self.under_way is None:
            if self.pages is None:
                self.pages = self.pages_to_redact()
            else:
                self.under_way = self.image.snapshot(1, {"lines": self.pages})
        elif not self.is_written:
            (outcome,) = done(self.store.keep([self.under_way]))
            assert isinstance(outcome, Applied)
            self.is_written = True
        else:
            self.image.snapshotted(self.under_way, {"lines": WINDOW})
            self.forget_the_snapshot()

    def pages_to_redact(self) -> list[LogPage]:
        found: dict[int, LogPage] = {}
        for number in sorted(self.log.redactions):
            for page in done(self.store.read_pages(1, "lines", number + 1, 1)):
                found[page.first] = page
        return list(found.values())

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def fail_the_snapshot(self) -> None:
        """Or nobody can say whether it failed, when it was written."""
        self.forget_the_snapshot()

    def forget_the_snapshot(self) -> None:
        self.pages, self.under_way, self.is_written = None, None, False

    @rule(window=st.sampled_from([0, WINDOW, EVERYTHING]))
    def restart(self, window: int) -> None:
        self.image = replay(self.stored(window))
        self.forget_the_snapshot()

    # What must hold

    def stored(self, window: int) -> StoredSession:
        stored = done(self.store.load(ByPublicId("public-1"), {"chat": {"lines": window}}))
        assert stored is not None
        return stored

    @invariant()
    def what_is_remembered_is_what_was_acknowledged(self) -> None:
        if self.image.version:
            assert self.readable(self.image) == self.lines
            assert len(self.log) == len(self.lines)

    @invariant()
    def what_would_be_restored_is_what_was_acknowledged(self) -> None:
        if self.image.version:
            for window in (0, WINDOW, EVERYTHING):
                assert self.readable(replay(self.stored(window))) == self.lines

    def readable(self, image: SessionImage) -> dict[int, bytes]:
        """All that the session reads through this image: what it holds, and pages for what is older."""
        log = image.log("lines")
        found: dict[int, bytes] = {}
        for page in done(self.store.read_pages(1, "lines", log.window_start, EVERYTHING)):
            older = [item for item in log.living(page) if item[0] < log.window_start]
            assert not found.keys() & dict(older).keys(), "a line is in two pages"
            found.update(older)
        return {**found, **dict(log.items)}


TestInterleaving = Interleaving.TestCase
TestInterleaving.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, report_multiple_bugs=False)
