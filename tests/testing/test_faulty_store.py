"""The faulty store: each effect at each place, outages, stalls across threads, death, and the loop over all points."""

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import anyio
import anyio.to_thread
import pytest

from salon.testing import Calls, Effect, FaultPoint, FaultyStore, When
from salon_persistence.errors import StoreFailed, StoreUnavailable
from salon_persistence.records import LogPage, Record, SessionRow, SnapshotRecord, StoredSession, TurnRecord
from salon_persistence.store import (
    Address,
    Applied,
    ByPublicId,
    Fenced,
    LetterQuery,
    Outcome,
    Refused,
    SessionQuery,
    Store,
    StoredLetter,
    StoreInfo,
    Unknown,
)

INFO = StoreInfo("notebook://", b"u" * 16, 1, "paper", "memory", 1, 0, True)


class Notebook:
    """A store that writes down what reaches it, and remembers the newest version of each session."""

    def __init__(self, *, on_thread: bool = False) -> None:
        self.on_thread = on_thread
        self.durability: Literal["full", "normal", "memory"] = "memory"
        self.heard: list[str] = []
        self.versions: dict[int, int] = {}

    async def open(self) -> StoreInfo:
        self.heard.append("open")
        return INFO

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        self.heard.append("commit")
        versions = [record.version if isinstance(record, TurnRecord) else 0 for record in batch]
        self.versions |= {record.sid: version for record, version in zip(batch, versions, strict=True)}
        return [Applied(record.sid, version) for record, version in zip(batch, versions, strict=True)]

    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        self.heard.append("keep")
        return [Applied(snapshot.sid, snapshot.lsn) for snapshot in snapshots]

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        self.heard.append("load")
        return None

    async def find(self, query: SessionQuery, /) -> Sequence[SessionRow]:
        self.heard.append("find")
        return []

    async def read_pages(self, sid: int, field: str, before: int, items: int, /) -> Sequence[LogPage]:
        self.heard.append("read_pages")
        return []

    async def mail_waits(self, after_sid: int, limit: int, /) -> Sequence[tuple[int, str]]:
        self.heard.append("mail_waits")
        return ()

    async def letters(self, query: LetterQuery, /) -> Sequence[StoredLetter]:
        self.heard.append("letters")
        return ()

    async def letter(self, id: str, /) -> StoredLetter | None:
        self.heard.append("letters")
        return None

    async def probe(self) -> None:
        self.heard.append("probe")

    async def close(self) -> None:
        self.heard.append("close")


def turn(sid: int, version: int = 1) -> TurnRecord:
    return TurnRecord(sid=sid, version=version)


def snapshot(sid: int) -> SnapshotRecord:
    return SnapshotRecord(sid=sid, version=1, lsn=1, schema_version=1, state={})


async def load(store: Store) -> None:
    assert await store.load(ByPublicId("s_1"), {}) is None


async def find(store: Store) -> None:
    assert await store.find(SessionQuery()) == []


async def read_pages(store: Store) -> None:
    assert await store.read_pages(1, "lines", 10, 5) == []


async def mail_waits(store: Store) -> None:
    assert await store.mail_waits(0, 5) == ()


async def letters(store: Store) -> None:
    assert await store.letters(LetterQuery()) == ()


async def probe(store: Store) -> None:
    await store.probe()


READING: dict[Calls, Callable[[Store], Awaitable[None]]] = {
    "load": load,
    "find": find,
    "read_pages": read_pages,
    "mail_waits": mail_waits,
    "letters": letters,
    "probe": probe,
}


@pytest.mark.parametrize("on_thread", [True, False])
async def test_without_a_plan_every_call_reaches_the_inner_store(on_thread: bool) -> None:
    inner = Notebook(on_thread=on_thread)
    faulty = FaultyStore(inner)
    store: Store = faulty

    assert await store.open() is INFO
    assert await store.commit([turn(1), turn(2)]) == [Applied(1, 1), Applied(2, 1)]
    assert await store.keep([snapshot(3)]) == [Applied(3, 1)]
    for read in READING.values():
        await read(store)
    await store.close()

    assert inner.heard == ["open", "commit", "keep", *READING, "close"]
    assert (store.on_thread, store.durability) == (on_thread, "memory")
    assert faulty.fired == ()


async def test_calls_are_counted_by_verb_and_by_group() -> None:
    store = FaultyStore(Notebook())
    await store.commit([turn(1)])
    await store.commit([turn(1)])
    await store.keep([snapshot(1)])
    await store.load(ByPublicId("s_1"), {})
    await store.probe()

    groups: list[Calls] = ["commit", "keep", "find", "write", "read", "any"]
    assert [store.calls(group) for group in groups] == [2, 1, 0, 3, 1, 5]


WRITTEN: list[tuple[Effect, When, bool, type[Outcome]]] = [
    ("refuse", "instead", False, Refused),
    ("unknown", "instead", False, Unknown),
    ("fence", "instead", False, Fenced),
    ("lose", "instead", False, Applied),
    ("refuse", "after", True, Refused),
    ("unknown", "after", True, Unknown),
    ("die", "before", False, Unknown),
    ("die", "after", True, Unknown),
]


@pytest.mark.parametrize(("effect", "when", "is_applied", "answer"), WRITTEN)
async def test_the_second_commit_goes_wrong_as_planned(
    effect: Effect, when: When, is_applied: bool, answer: type[Outcome]
) -> None:
    inner, point = Notebook(), FaultPoint("commit", 2, when, effect)
    store = FaultyStore(inner, [point])

    first = await store.commit([turn(1)])
    await store.keep([snapshot(1)])
    second = await store.commit([turn(1, 2), turn(2, 1)])

    assert first == [Applied(1, 1)]
    assert [type(outcome) for outcome in second] == [answer, answer]
    assert inner.versions == ({1: 2, 2: 1} if is_applied else {1: 1})
    assert store.fired == (point,)


@pytest.mark.parametrize(("effect", "when", "is_applied", "answer"), WRITTEN)
async def test_a_snapshot_goes_wrong_as_a_commit_does(
    effect: Effect, when: When, is_applied: bool, answer: type[Outcome]
) -> None:
    inner = Notebook()
    store = FaultyStore(inner, [FaultPoint("write", 1, when, effect)])

    outcomes = await store.keep([snapshot(7)])

    assert [type(outcome) for outcome in outcomes] == [answer]
    assert inner.heard == (["keep"] if is_applied else [])


@pytest.mark.parametrize("verb", READING)
@pytest.mark.parametrize("when", ["instead", "after"])
@pytest.mark.parametrize(("effect", "error"), [("refuse", StoreUnavailable), ("unknown", StoreUnavailable)])
async def test_a_read_that_goes_wrong_raises(verb: Calls, when: When, effect: Effect, error: type[Exception]) -> None:
    inner = Notebook()
    store = FaultyStore(inner, [FaultPoint(verb, 1, when, effect)])

    with pytest.raises(error):
        await READING[verb](store)
    await READING[verb](store)

    assert inner.heard == [verb] * (1 if when == "instead" else 2)


async def test_a_record_of_one_session_goes_wrong_and_its_neighbours_do_not() -> None:
    for when in ("instead", "after"):
        inner = Notebook()
        store = FaultyStore(inner, [FaultPoint("commit", 2, when, "unknown", sid=2)])

        await store.commit([turn(1), turn(2)])
        await store.commit([turn(1, 2), turn(3)])
        outcomes = await store.commit([turn(1, 3), turn(2, 2), turn(3, 2)])

        assert [type(outcome) for outcome in outcomes] == [Applied, Unknown, Applied]
        assert inner.versions == {1: 3, 2: 1 if when == "instead" else 2, 3: 2}


async def test_a_fence_is_the_stores_without_a_session_and_a_version_with_one() -> None:
    plan = [FaultPoint("commit", 1, "instead", "fence"), FaultPoint("commit", 2, "instead", "fence", sid=1)]
    store = FaultyStore(Notebook(), plan)

    assert await store.commit([turn(1), turn(2)]) == [Fenced(whole_store=True)] * 2
    assert await store.commit([turn(1), turn(2)]) == [Fenced(whole_store=False), Applied(2, 1)]


async def test_what_was_lost_is_acknowledged_with_numbers_of_its_own() -> None:
    store = FaultyStore(Notebook(), [FaultPoint("commit", 1, "instead", "lose")])

    outcomes = [outcome for outcome in await store.commit([turn(0), turn(0), turn(5)]) if isinstance(outcome, Applied)]

    assert len({outcome.sid for outcome in outcomes}) == 3
    assert len({outcome.lsn for outcome in outcomes}) == 3
    assert outcomes[2].sid == 5


async def test_an_outage_lasts_as_many_calls_as_it_says_and_then_heals() -> None:
    inner = Notebook()
    store = FaultyStore(inner, [FaultPoint("write", 2, "instead", "refuse", times=3)])

    answers = [type((await store.commit([turn(1, version)]))[0]) for version in range(1, 7)]

    assert answers == [Applied, Refused, Refused, Refused, Applied, Applied]


async def test_an_outage_for_ever_does_not_heal() -> None:
    store = FaultyStore(Notebook(), [FaultPoint("probe", 1, "instead", "refuse", times=math.inf)])
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            await store.probe()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_stalled_commit_waits_for_its_release_without_any_time(when: When) -> None:
    inner, answers = Notebook(), list[Sequence[Outcome]]()
    store = FaultyStore(inner, [FaultPoint("commit", 1, when, "stall")])

    async def commit() -> None:
        answers.append(await store.commit([turn(1)]))

    async with anyio.create_task_group() as group:
        group.start_soon(commit)
        await store.wait_until_stalled()
        await anyio.wait_all_tasks_blocked()
        await store.wait_until_stalled()
        assert (answers, inner.versions) == ([], {} if when == "before" else {1: 1})
        await store.load(ByPublicId("s_1"), {})

        store.release()

    assert (answers, inner.versions, store.stalled) == ([[Applied(1, 1)]], {1: 1}, 0)


async def test_several_stalled_calls_are_released_together_and_later_ones_stall_again() -> None:
    store = FaultyStore(Notebook(), [FaultPoint("any", 1, "before", "stall", times=3)])
    async with anyio.create_task_group() as group:
        group.start_soon(store.probe)
        group.start_soon(store.probe)
        await store.wait_until_stalled(2)
        store.release()
        assert store.stalled == 0

        group.start_soon(store.probe)
        await store.wait_until_stalled()
        store.release()

    assert store.calls("probe") == 3


async def test_a_cancelled_call_does_not_stay_among_the_stalled() -> None:
    store = FaultyStore(Notebook(), [FaultPoint("load", 1, "before", "stall")])
    async with anyio.create_task_group() as group:
        group.start_soon(load, store)
        await store.wait_until_stalled()
        group.cancel_scope.cancel()

    assert store.stalled == 0


async def test_a_call_stalled_on_another_thread_is_seen_and_released_from_here() -> None:
    inner, answers = Notebook(on_thread=True), list[Sequence[Outcome]]()
    store = FaultyStore(inner, [FaultPoint("commit", 1, "before", "stall")])

    def run_elsewhere() -> None:
        async def commit() -> None:
            answers.append(await store.commit([turn(1)]))

        asyncio.run(commit())

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, run_elsewhere)
        await store.wait_until_stalled()
        assert (answers, inner.heard) == ([], [])
        store.release()

    assert (answers, inner.heard) == ([[Applied(1, 1)]], ["commit"])


async def test_a_call_stalled_here_is_released_from_another_thread() -> None:
    store = FaultyStore(Notebook(), [FaultPoint("commit", 1, "before", "stall")])
    async with anyio.create_task_group() as group:
        group.start_soon(store.commit, [turn(1)])
        await store.wait_until_stalled()
        await anyio.to_thread.run_sync(store.release)

    assert (store.stalled, store.calls("commit")) == (0, 1)


async def test_after_its_death_nothing_but_its_burial_reaches_the_inner_store() -> None:
    inner = Notebook()
    store = FaultyStore(inner, [FaultPoint("commit", 2, "before", "die")])
    await store.open()
    await store.commit([turn(1)])
    await store.commit([turn(1, 2)])
    heard = list(inner.heard)

    assert [type(outcome) for outcome in await store.commit([turn(1, 2), turn(2)])] == [Unknown, Unknown]
    assert [type(outcome) for outcome in await store.keep([snapshot(1)])] == [Unknown]
    for read in READING.values():
        with pytest.raises(StoreFailed):
            await read(store)
    with pytest.raises(StoreFailed):
        await store.open()
    assert (store.is_dead, inner.heard, inner.versions) == (True, heard, {1: 1})

    await store.close()
    assert inner.heard == [*heard, "close"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_read_that_dies_raises_and_the_store_stays_dead(when: When) -> None:
    inner = Notebook()
    store = FaultyStore(inner, [FaultPoint("read", 1, when, "die")])
    for _ in range(2):
        with pytest.raises(StoreFailed):
            await find(store)

    assert inner.heard == ([] if when == "before" else ["find"])


async def test_dying_wakes_who_was_stalled_and_nothing_of_his_is_applied() -> None:
    inner, answers = Notebook(), list[Sequence[Outcome]]()
    store = FaultyStore(inner, [FaultPoint("commit", 1, "before", "stall")])

    async def commit() -> None:
        answers.append(await store.commit([turn(1)]))

    async with anyio.create_task_group() as group:
        group.start_soon(commit)
        await store.wait_until_stalled()
        store.die()

    assert [type(outcome) for outcome in answers[0]] == [Unknown]
    assert (inner.heard, inner.versions) == ([], {})


async def test_every_write_in_turn_can_be_the_one_that_dies_until_a_run_is_left_untouched() -> None:
    """The program writes five times; after each death the inner store holds exactly what came before it."""
    kept: list[int] = []
    for number in itertools.count(1):
        inner = Notebook()
        store = FaultyStore(inner, [FaultPoint("write", number, "before", "die")])
        for version in range(1, 6):
            await store.commit([turn(1, version)])
        kept.append(inner.versions.get(1, 0))
        if not store.fired:
            break

    assert kept == [0, 1, 2, 3, 4, 5]


async def test_points_that_meet_at_one_call_all_happen() -> None:
    inner, answers = Notebook(), list[Sequence[Outcome]]()
    plan = [FaultPoint("commit", 1, "after", "unknown"), FaultPoint("any", 1, "before", "stall")]
    store = FaultyStore(inner, plan)

    async def commit() -> None:
        answers.append(await store.commit([turn(1)]))

    async with anyio.create_task_group() as group:
        group.start_soon(commit)
        await store.wait_until_stalled()
        store.release()

    assert ([type(outcome) for outcome in answers[0]], inner.versions) == ([Unknown], {1: 1})
    assert set(store.fired) == set(plan)


def test_a_plan_is_data_that_can_be_used_again() -> None:
    assert FaultPoint("commit", 1, "instead", "refuse") == FaultPoint("commit", 1, "instead", "refuse")
    assert len({FaultPoint("commit", n % 3 + 1, "before", "die") for n in range(9)}) == 3


WRONG: list[Callable[[], FaultPoint]] = [
    lambda: FaultPoint("commit", 0, "before", "die"),
    lambda: FaultPoint("commit", 1, "before", "refuse"),
    lambda: FaultPoint("commit", 1, "instead", "stall"),
    lambda: FaultPoint("commit", 1, "after", "lose"),
    lambda: FaultPoint("load", 1, "instead", "fence"),
    lambda: FaultPoint("any", 1, "instead", "lose"),
    lambda: FaultPoint("probe", 1, "before", "die", sid=1),
    lambda: FaultPoint("commit", 1, "before", "die", times=0),
    lambda: FaultPoint("commit", 1, "before", "die", times=math.nan),
]


@pytest.mark.parametrize("make", WRONG)
def test_a_point_that_makes_no_sense_is_refused(make: Callable[[], FaultPoint]) -> None:
    with pytest.raises(ValueError):
        make()
