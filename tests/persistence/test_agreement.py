"""MemoryStore, SqliteStore and a dictionary are given the same operations, and tell the same story."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from salon_persistence.errors import NameTaken
from salon_persistence.image import replay
from salon_persistence.records import LogDelta, SnapshotRecord, StoredSession, TurnRecord
from salon_persistence.store import Applied, ByName, ByPublicId, Fenced, Outcome, Refused, SessionQuery, Store
from tests.persistence.conformance import Place
from tests.persistence.places import MemoryPlace, SqlitePlace
from tests.persistence.sessions import row, turn

T = TypeVar("T")

NAMES = ("a", "b", None)
WINDOWS = {"chat": {"lines": 10_000}}


@dataclass
class Modelled:
    """One session as the dictionary knows it."""

    number: int
    name: str | None
    version: int = 1
    generation: int = 0
    lifecycle: str = "active"
    activity_us: int = 0
    count: bytes = b"\x00"
    lines: dict[int, bytes] = field(default_factory=dict[int, bytes])
    next: int = 0


class Agreement(RuleBasedStateMachine):
    """The model says what each outcome must be; both stores must say the same, and show the same afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.places: tuple[Place, ...] = (MemoryPlace(), SqlitePlace(self.folder))
        self.stores: list[Store] = []
        self.model: dict[int, Modelled] = {}
        """By sid."""
        self.created = 0
        self.batch: list[tuple[TurnRecord, str]] = []
        """Records for the next commit, each with the kind of outcome that the model expects."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def open(self) -> None:
        self.stores = [place.store() for place in self.places]
        for store in self.stores:
            self.run(store.open())

    def commit(self, *records: TurnRecord) -> list[Outcome]:
        """The outcomes, which are the same in both stores."""
        first, second = (list(self.run(store.commit(records))) for store in self.stores)
        assert list(map(told, first)) == list(map(told, second))
        return first

    @rule(name=st.sampled_from(NAMES))
    def create(self, name: str | None) -> None:
        self.created += 1
        number = self.created
        record = TurnRecord(sid=0, version=1, whole=True, state={"count": b"\x00"}, created=row(number, name=name))
        (outcome,) = self.commit(record)
        taken = name is not None and any(s.name == name and s.lifecycle == "active" for s in self.model.values())
        if taken:
            assert isinstance(outcome, Refused)
            assert isinstance(outcome.error, NameTaken)
            return
        assert isinstance(outcome, Applied)
        assert outcome.sid not in self.model
        self.model[outcome.sid] = Modelled(number, name, activity_us=row(number).activity_us)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), lines=st.integers(0, 5), skew=st.sampled_from([0, 0, 0, 0, -1, 1]))
    def speak(self, data: st.DataObject, lines: int, skew: int) -> None:
        sid = data.draw(st.sampled_from(sorted(self.model)))
        self.model_turn(sid, skew, self.record(sid, skew, lines))

    @precondition(lambda self: len(self.model) > 1)
    @rule(skews=st.lists(st.sampled_from([0, 0, 0, 1]), min_size=2, max_size=6))
    def speak_together(self, skews: list[int]) -> None:
        """Some of the batch may be misfits; they spoil no other."""
        pairs = list(zip(sorted(self.model), skews, strict=False))
        records = [self.record(sid, skew, 1) for sid, skew in pairs]
        outcomes = self.commit(*records)
        for (sid, skew), record, outcome in zip(pairs, records, outcomes, strict=True):
            self.judge(sid, skew, record, outcome)

    def record(self, sid: int, skew: int, lines: int, **changes: Any) -> TurnRecord:
        known = self.model[sid]
        version = known.version + 1 + skew
        items = tuple((known.next + n, b"%d of %d" % (known.next + n, sid)) for n in range(lines))
        delta = LogDelta("lines", min(known.lines, default=known.next), known.next + lines, items)
        parts = {"state": {"count": bytes([version % 256])}, "logs": (delta,) if lines else ()}
        return turn(sid, version, **{**parts, "generation": known.generation, **changes})

    def model_turn(self, sid: int, skew: int, record: TurnRecord) -> None:
        (outcome,) = self.commit(record)
        self.judge(sid, skew, record, outcome)

    def judge(self, sid: int, skew: int, record: TurnRecord, outcome: Outcome) -> None:
        if skew:
            assert outcome == Fenced(whole_store=False)
            return
        assert isinstance(outcome, Applied)
        known = self.model[sid]
        known.version += 1
        known.count = record.state["count"]
        for delta in record.logs:
            known.lines.update(delta.items)
            known.next = delta.next

    @precondition(lambda self: self.model)
    @rule(data=st.data(), cut=st.booleans())
    def drop_lines(self, data: st.DataObject, cut: bool) -> None:
        sid = data.draw(st.sampled_from(sorted(self.model)))
        known = self.model[sid]
        at = data.draw(st.integers(0, known.next))
        first = min(known.lines, default=known.next)
        delta = LogDelta("lines", first, known.next, cuts=((at, known.next),)) if cut else None
        delta = delta or LogDelta("lines", max(first, at), known.next)
        self.model_turn(sid, 0, self.record(sid, 0, 0, logs=(delta,)))
        known.lines = {n: said for n, said in known.lines.items() if (n < at if cut else n >= at)}

    @precondition(lambda self: self.model)
    @rule(data=st.data(), lifecycle=st.sampled_from(["active", "expired"]), raised=st.booleans())
    def change_row(self, data: st.DataObject, lifecycle: str, raised: bool) -> None:
        sid = data.draw(st.sampled_from(sorted(self.model)))
        known = self.model[sid]
        others = [other for other in self.model.values() if other is not known and other.lifecycle == "active"]
        taken = known.name is not None and lifecycle == "active" and any(s.name == known.name for s in others)
        generation = known.generation + raised
        facts = row(known.number, name=known.name, lifecycle=lifecycle, generation=generation)
        record = self.record(sid, 0, 0, row=facts)
        (outcome,) = self.commit(record)
        if taken:
            assert isinstance(outcome, Refused)
            return
        self.judge(sid, 0, record, outcome)
        known.lifecycle, known.generation, known.activity_us = lifecycle, generation, facts.activity_us

    @precondition(lambda self: self.model)
    @rule(data=st.data(), later_us=st.integers(0, 9))
    def note_activity(self, data: st.DataObject, later_us: int) -> None:
        sid = data.draw(st.sampled_from(sorted(self.model)))
        self.model_turn(sid, 0, self.record(sid, 0, 1, activity_us=later_us))
        self.model[sid].activity_us = later_us

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def speak_in_an_older_generation(self, data: st.DataObject) -> None:
        sid = data.draw(st.sampled_from(sorted(self.model)))
        stale = self.record(sid, 0, 1, generation=self.model[sid].generation + 1)

        assert self.commit(stale) == [Fenced(whole_store=False)]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), knows_lsn=st.booleans())
    def take_snapshot(self, data: st.DataObject, knows_lsn: bool) -> None:
        sid = data.draw(st.sampled_from(sorted(self.model)))
        for store in self.stores:
            image = replay(self.load(store, sid))
            made: SnapshotRecord = image.snapshot(sid, {})
            made = made if knows_lsn else replace(made, lsn=0)
            (outcome,) = self.run(store.keep([made]))
            assert isinstance(outcome, Applied)

    @rule(cleanly=st.booleans())
    def reopen(self, cleanly: bool) -> None:
        """The next owner; the one before closes in order, or is pushed aside."""
        old, self.stores = self.stores, [place.store() for place in self.places]
        if cleanly:
            for store in old:
                self.run(store.close())
        else:
            for place in self.places:
                place.unlock()
        infos = [self.run(store.open()) for store in self.stores]
        if not cleanly:
            for store in old:
                assert self.run(store.commit([turn(1, 1)])) == [Fenced(whole_store=True)]
                self.run(store.close())

        assert infos[0].epoch == infos[1].epoch
        assert infos[0].clean == infos[1].clean == cleanly

    def load(self, store: Store, sid: int) -> StoredSession:
        stored = self.run(store.load(ByPublicId(f"public-{self.model[sid].number}"), WINDOWS))
        assert stored is not None
        return stored

    @invariant()
    def every_session_is_as_the_model_says(self) -> None:
        for sid, known in self.model.items():
            for store in self.stores:
                stored = self.load(store, sid)
                image = replay(stored)
                found = (stored.row.sid, image.version, stored.row.generation, stored.row.lifecycle)
                assert found == (sid, known.version, known.generation, known.lifecycle)
                assert stored.row.activity_us == known.activity_us
                assert image.state == {"count": known.count}
                log = image.logs.get("lines")
                assert dict(log.items if log else ()) == known.lines

    @invariant()
    def every_list_is_as_the_model_says(self) -> None:
        wanted = sorted(((known.activity_us, sid) for sid, known in self.model.items()), reverse=True)
        for store in self.stores:
            found: Sequence[Any] = self.run(store.find(SessionQuery(limit=100)))
            assert [(r.activity_us, r.sid) for r in found] == wanted

    @invariant()
    def every_name_leads_to_its_active_session(self) -> None:
        for name in NAMES[:2]:
            wanted = [s for s, known in self.model.items() if known.name == name and known.lifecycle == "active"]
            for store in self.stores:
                stored = self.run(store.load(ByName("", "chat", str(name)), {}))
                assert [stored.row.sid] if stored else [] == wanted

    def teardown(self) -> None:
        for store in self.stores:
            self.run(store.close())
        self.loop.close()
        shutil.rmtree(self.folder)


def told(outcome: Outcome) -> object:
    return type(outcome.error) if isinstance(outcome, Refused) else outcome


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
