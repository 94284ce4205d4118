"""MemoryStore, SqliteStore and a dictionary are given the same mail, many records a batch, and tell the same story."""

import asyncio
import copy
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from salon_persistence.records import (
    CHUNKS,
    InboxRow,
    Mail,
    NoteRecord,
    OutboxRow,
    ProgressRow,
    Record,
    StepRow,
    TurnRecord,
)
from salon_persistence.store import Applied, ByPublicId, Fenced, LetterQuery, Outcome, Store
from salon_persistence.turn_number import id_of
from tests.persistence.conformance import Place
from tests.persistence.mail_conformance import letter, message, outgoing
from tests.persistence.places import MemoryPlace, SqlitePlace
from tests.persistence.sessions import created, row, turn

T = TypeVar("T")

OWNERS = ("t0-1", "key:é")
SESSIONS = 2
seldom = st.sampled_from([0] * 15 + [1])
"""One bad record makes its whole batch be written one by one, which is not what most batches are for."""
BATCH_MIN = 4
"""Records that gather before they are committed, so that many of them speak of the same rows."""


@dataclass
class Modelled:
    """One session as the dictionary knows it."""

    number: int
    version: int = 1
    generation: int = 0
    is_active: bool = True
    steps: dict[tuple[str, str], StepRow] = field(default_factory=dict[tuple[str, str], StepRow])


@dataclass
class Model:
    """What all records so far have made of the mail."""

    sessions: dict[int, Modelled] = field(default_factory=dict[int, Modelled])
    inbox: dict[int, InboxRow] = field(default_factory=dict[int, InboxRow])
    outbox: dict[int, tuple[int, OutboxRow]] = field(default_factory=dict[int, tuple[int, OutboxRow]])
    progress: dict[tuple[int, int], ProgressRow] = field(default_factory=dict[tuple[int, int], ProgressRow])
    letters: dict[str, int] = field(default_factory=dict[str, int])
    """Sids by id, oldest first."""
    sid: int = 0
    public: int = 0

    def commit(self, record: Record) -> str | Applied:
        """What must be answered: the kind of a refusal, or the numbers but for the lsn."""
        before = copy.deepcopy(self)
        answer = self._note(record) if isinstance(record, NoteRecord) else self._turn(record)
        if isinstance(answer, str):
            self.__dict__.update(before.__dict__)
            if isinstance(record, TurnRecord) and record.children:
                self.sid += len(record.children)  # Used up all the same.
        return answer

    def _note(self, note: NoteRecord) -> str | Applied:
        known = self.sessions.get(note.sid)
        standing = known and (known.is_active, known.generation)
        if note.mail.inbox_added and standing != (True, note.generation):
            return "fenced"
        return self._put(note.sid, note.mail, []) or Applied(note.sid, 0)

    def _turn(self, record: TurnRecord) -> str | Applied:
        known = self.sessions[record.sid]
        if record.version != known.version + 1 or record.generation != known.generation:
            return "fenced"
        known.version += 1
        if record.row is not None:
            known.is_active, known.generation = record.row.lifecycle == "active", record.row.generation
        children: list[int] = []
        for child in record.children:
            assert child.created is not None
            self.sid += 1
            self.sessions[self.sid] = Modelled(int(child.created.public_id.removeprefix("public-")))
            children.append(self.sid)
        gone: list[int] = []
        if record.mail is not None and (refused := self._put(record.sid, record.mail, gone, children)):
            return refused
        return Applied(record.sid, 0, tuple(children), tuple(gone))

    def _put(self, sid: int, mail: Mail, gone: list[int], children: Sequence[int] = ()) -> str | None:
        mine = {number for number, known in self.inbox.items() if known.sid == sid}
        for number in mine.intersection(mail.progress_dropped):
            self._drop_progress(number)
        steps = self.sessions[sid].steps
        for place in [place for place in steps if place[0] in mail.steps_dropped]:
            del steps[place]
        for id in mail.dead_letters_dropped:
            if self.letters.get(id) == sid:
                del self.letters[id]
        lost: list[str] = []
        for added in mail.inbox_added:
            receiver = children[-added.sid - 1] if added.sid < 0 else added.sid or sid
            to = self.sessions.get(receiver)
            if receiver != sid and added.sid > 0 and (to is None or not to.is_active):
                gone.append(added.number)
                lost.append(id_of(added.number))
            elif added.number in self.inbox:
                return "refused"
            else:
                self.inbox[added.number] = replace(added, sid=receiver)
        mine = {number for number, known in self.inbox.items() if known.sid == sid}
        for number, attempts in mail.inbox_started:
            if number in mine:
                self.inbox[number] = replace(self.inbox[number], attempts=attempts)
        for number, due_us in mail.inbox_put_off:
            if number in mine:
                self.inbox[number] = replace(self.inbox[number], due_us=due_us)
        for kept in mail.progress:
            if kept.number in mine:
                self.progress[kept.number, kept.ordinal] = kept
        for number in mine.intersection(mail.inbox_settled):
            self._drop_progress(number)
            del self.inbox[number]
        steps.update({(step.owner, step.name): step for step in mail.steps})
        return self._put_outgoing(sid, mail, lost)

    def _put_outgoing(self, sid: int, mail: Mail, lost: Sequence[str]) -> str | None:
        for added in mail.outbox_added:
            if added.number in self.outbox:
                return "refused"
            self.outbox[added.number] = (sid, added)
        for number, attempts, due_us in mail.outbox_tried:
            if self.outbox.get(number, (0,))[0] == sid:
                self.outbox[number] = (sid, replace(self.outbox[number][1], attempts=attempts, due_us=due_us))
        for number in mail.outbox_settled:
            if self.outbox.get(number, (0,))[0] == sid:
                del self.outbox[number]
        for id in (*(buried.id for buried in mail.dead_letters), *lost):
            if id in self.letters:
                return "refused"
            self.letters[id] = sid
        return None

    def _drop_progress(self, number: int) -> None:
        self.progress = {place: kept for place, kept in self.progress.items() if place[0] != number}


class MailAgreement(RuleBasedStateMachine):
    """Records gather, and are committed together; both stores answer as the model does, and show the same."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.places: tuple[Place, ...] = (MemoryPlace(), SqlitePlace(self.folder))
        self.stores: list[Store] = []
        self.model = Model()
        self.batch: list[Record] = []
        self.expected: list[str | Applied] = []
        self.turned: set[int] = set()
        """Sessions with a turn in the batch: one each."""
        self.number = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def open(self) -> None:
        self.stores = [place.store() for place in self.places]
        for store in self.stores:
            self.run(store.open())
            self.run(store.commit([created(number) for number in range(1, SESSIONS + 1)]))
        self.model.sessions = {sid: Modelled(sid) for sid in range(1, SESSIONS + 1)}
        self.model.sid = self.model.public = SESSIONS

    def fresh(self, data: st.DataObject, known: Sequence[int]) -> int:
        """A number that was never used; now and then one that is in use, which no runtime does."""
        if known and data.draw(seldom) == 1:
            return data.draw(st.sampled_from(known))
        self.number += 1
        return self.number

    def letter_id(self, data: st.DataObject, *, fresh: bool) -> str:
        known = sorted(self.model.letters)
        if known and (not fresh or data.draw(seldom)):
            return data.draw(st.sampled_from(known))
        self.number += 1
        return f"letter-{self.number}"

    def mail(self, data: st.DataObject, receivers: Sequence[int]) -> Mail:
        model = self.model
        inbox, outbox = sorted(model.inbox), sorted(model.outbox)
        numbers = st.lists(st.sampled_from(inbox), max_size=2) if inbox else st.just([])
        posted = st.lists(st.sampled_from(outbox), max_size=1) if outbox else st.just([])
        some = st.integers(0, 3)
        parts: dict[str, Any] = {}
        for part in data.draw(st.sets(st.sampled_from(sorted(_PARTS)), min_size=1, max_size=5)):
            match part:
                case "inbox_added":
                    to = data.draw(st.lists(st.sampled_from(receivers), min_size=1, max_size=3))
                    parts[part] = [message(self.fresh(data, inbox), sid) for sid in to]
                case "inbox_started" | "inbox_put_off":
                    parts[part] = [(number, data.draw(some)) for number in data.draw(numbers)]
                case "inbox_settled" | "progress_dropped":
                    parts[part] = data.draw(numbers)
                case "progress":
                    parts[part] = [
                        ProgressRow(number, CHUNKS, data.draw(some), bytes([data.draw(some)]))
                        for number in data.draw(numbers)
                    ]
                case "steps":
                    parts[part] = [StepRow(data.draw(st.sampled_from(OWNERS)), "name", b"b", data.draw(some))]
                case "steps_dropped":
                    parts[part] = [data.draw(st.sampled_from(OWNERS))]
                case "outbox_added":
                    parts[part] = [outgoing(self.fresh(data, outbox))]
                case "outbox_tried":
                    parts[part] = [(number, data.draw(some), data.draw(some)) for number in data.draw(posted)]
                case "outbox_settled":
                    parts[part] = data.draw(posted)
                case "dead_letters":
                    parts[part] = [letter(self.letter_id(data, fresh=True))]
                case _:
                    parts[part] = [self.letter_id(data, fresh=False)]
        return Mail(**parts)

    @rule(data=st.data(), sid=st.integers(1, SESSIONS), stale=seldom)
    def note(self, data: st.DataObject, sid: int, stale: int) -> None:
        generation = self.model.sessions[sid].generation + stale
        self.add(NoteRecord(sid=sid, generation=generation, mail=self.mail(data, (sid, 0))))

    @rule(data=st.data(), stale=seldom, children=st.integers(0, 2), ends=seldom)
    def turn(self, data: st.DataObject, stale: int, children: int, ends: int) -> None:
        sids = sorted(self.model.sessions.keys() - self.turned)
        if not sids:
            return
        sid = data.draw(st.sampled_from(sids))
        known = self.model.sessions[sid]
        self.turned.add(sid)
        receivers = [0, 99, *self.model.sessions, *(-n for n in range(1, children + 1))]
        parts: dict[str, Any] = {"mail": self.mail(data, receivers), "generation": known.generation}
        if ends and not stale:
            lifecycle = "expired" if known.is_active else "active"
            parts["row"] = row(known.number, lifecycle=lifecycle, generation=known.generation + 1)
        if children:
            numbers = range(self.model.public + 1, self.model.public + 1 + children)
            parts["children"] = [created(number) for number in numbers]
            self.model.public += children
        self.add(turn(sid, known.version + 1 + stale, logs=(), **parts))

    def add(self, record: Record) -> None:
        self.batch.append(record)
        self.expected.append(self.model.commit(record))

    @precondition(lambda self: len(self.batch) >= BATCH_MIN)
    @rule()
    def commit(self) -> None:
        batch, expected = self.batch, self.expected
        self.batch, self.expected, self.turned = [], [], set()
        first, second = (list(self.run(store.commit(batch))) for store in self.stores)
        assert list(map(told, first)) == list(map(told, second)) == list(map(told, expected))
        assert [lsn_of(outcome) for outcome in first] == [lsn_of(outcome) for outcome in second]
        self.check()

    @precondition(lambda self: not self.batch)
    @rule(cleanly=st.booleans())
    def reopen(self, cleanly: bool) -> None:
        old, self.stores = self.stores, [place.store() for place in self.places]
        if not cleanly:
            for place in self.places:
                place.unlock()
        else:
            for store in old:
                self.run(store.close())
        for store in self.stores:
            self.run(store.open())
        if not cleanly:
            for store in old:
                stale = NoteRecord(sid=1, mail=Mail(inbox_added=[message(10**6)]))
                assert self.run(store.commit([stale])) == [Fenced(whole_store=True)]
                self.run(store.close())
        self.check()

    def check(self) -> None:
        for store in self.stores:
            for sid, known in self.model.sessions.items():
                self.check_session(store, sid, known)
            found = self.run(store.letters(LetterQuery(limit=1_000)))
            assert [(kept.row.id, kept.sid) for kept in found] == list(self.model.letters.items())
            owners = {kept.sid for kept in self.model.inbox.values()} | {sid for sid, _ in self.model.outbox.values()}
            waiting = sorted(sid for sid in owners if self.model.sessions[sid].is_active)
            assert [sid for sid, _ in self.run(store.mail_waits(0, 1_000))] == waiting

    def check_session(self, store: Store, sid: int, known: Modelled) -> None:
        stored = self.run(store.load(ByPublicId(f"public-{known.number}"), {}))
        assert stored is not None
        model = self.model
        inbox = [model.inbox[number] for number in sorted(model.inbox) if model.inbox[number].sid == sid]
        numbers = {kept.number for kept in inbox}
        assert (stored.row.sid, stored.row.version) == (sid, known.version)
        assert list(stored.inbox) == inbox
        assert list(stored.progress) == [model.progress[p] for p in sorted(model.progress) if p[0] in numbers]
        assert list(stored.steps) == [known.steps[p] for p in sorted(known.steps)]
        assert list(stored.outbox) == [kept for _, (owner, kept) in sorted(model.outbox.items()) if owner == sid]

    def teardown(self) -> None:
        for store in self.stores:
            self.run(store.close())
        self.loop.close()
        shutil.rmtree(self.folder)


_PARTS = frozenset(Mail.__dataclass_fields__)


def told(outcome: Outcome | str) -> object:
    """An outcome without its lsn, which the model does not know."""
    if isinstance(outcome, str):
        return outcome
    return replace(outcome, lsn=0) if isinstance(outcome, Applied) else type(outcome).__name__.lower()


def lsn_of(outcome: Outcome) -> int | None:
    return outcome.lsn if isinstance(outcome, Applied) else None


TestMailAgreement = MailAgreement.TestCase
TestMailAgreement.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
