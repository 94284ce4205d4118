"""How a session's messages ended is found by turn and by key, across snapshots and restarts, until it is forgotten."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon_persistence.image import SessionImage, replay
from salon_persistence.ledger import Ledger
from salon_persistence.log_image import PAGE_ITEMS_MAX
from salon_persistence.records import LEDGER, LedgerEntry, LogPage, SnapshotRecord, TurnRecord
from salon_persistence.store import ByPublicId, Store
from salon_persistence.turn_number import id_of, number_of
from tests.persistence.conformance import applied, is_applied, opened
from tests.persistence.places import MemoryPlace, SqlitePlace
from tests.persistence.sessions import created, turn
from tests.persistence.strategies import unhurried


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryPlace | SqlitePlace:
    return MemoryPlace() if request.param == "memory" else SqlitePlace(tmp_path)


def entry(number: int, key: str | None = None, **changes: Any) -> LedgerEntry:
    parts: dict[str, Any] = {"at_us": number, "reply": b"reply %d" % number, "fingerprint": b"f"}
    return LedgerEntry(id_of(1 << 40 | number), "done", key=key, **{**parts, **changes})


def turns_of(ledger: Ledger, numbers: range) -> list[int]:
    """Those of the numbers that are found by their turn."""
    found = {number: ledger.of_turn(id_of(1 << 40 | number)) for number in numbers}
    assert all(kept == entry(number, kept.key) for number, kept in found.items() if kept is not None)
    return [number for number, kept in found.items() if kept is not None]


def test_an_entry_is_found_by_its_turn_and_by_its_key() -> None:
    ledger = Ledger()
    full = LedgerEntry("t1-5", "refused", 7, "k", b"f", 2, 3, b"reply", 4, 5)
    ledger.add(full)
    ledger.add(entry(6))

    assert (ledger.of_turn("t1-5"), ledger.of_key("k")) == (full, full)
    assert (ledger.of_turn("t1-6"), ledger.of_turn("t1-7"), ledger.of_key("other")) == (entry(6), None, None)
    ledger.add(entry(8))
    assert ledger.of_turn("t1-8") == entry(8)
    assert len(ledger) == 3


def test_of_two_entries_with_one_key_the_later_counts() -> None:
    ledger = Ledger()
    ledger.add(entry(1, "k"))
    ledger.add(entry(2, "k"))
    assert ledger.of_key("k") == entry(2, "k")
    ledger.forget(2)

    assert ledger.of_key("k") == entry(2, "k")
    assert ledger.of_turn(id_of(1 << 40 | 1)) is None


def test_what_is_forgotten_is_told_from_what_never_was() -> None:
    ledger = Ledger()
    for number in (5, 3, 8):
        ledger.add(entry(number, f"key-{number}", at_us=number if number != 3 else 5))
    assert ledger.forgotten == 0
    dropped = ledger.forget(6)

    assert (dropped, len(ledger), ledger.forgotten) == (2, 1, 1 << 40 | 5)
    assert [ledger.of_key(f"key-{number}") is None for number in (5, 3, 8)] == [True, True, False]
    assert ledger.forget(6) == 0


def test_an_entry_behind_a_younger_one_stays_until_that_goes() -> None:
    ledger = Ledger()
    for at_us in (5, 1):
        ledger.add(entry(at_us))

    assert ledger.forget(4) == 0
    assert ledger.forget(6) == 2


def test_entries_without_a_key_go_from_behind_a_young_key() -> None:
    ledger = Ledger()
    for number, key in enumerate((None, "a", None, None, "b", None), start=1):
        ledger.add(entry(number, key))
    dropped = ledger.forget(0, unkeyed_max=1)

    assert (dropped, len(ledger), ledger.keyed, ledger.forgotten) == (3, 3, 2, 1 << 40 | 4)
    assert (ledger.of_key("a"), ledger.of_key("b")) == (entry(2, "a"), entry(5, "b"))
    assert turns_of(ledger, range(8)) == [2, 5, 6]
    assert ledger.oldest_us == 2
    ledger.add(entry(7))
    assert ledger.forget(3, unkeyed_max=5) == 1
    assert turns_of(ledger, range(8)) == [5, 6, 7]
    assert ledger.forget(9) == 3
    assert (len(ledger), ledger.keyed) == (0, 0)
    assert ledger.oldest_us is None


def test_an_entry_whose_key_a_later_one_has_counts_as_one_without() -> None:
    ledger = Ledger()
    for number in range(1, 5):
        ledger.add(entry(number, "k"))

    assert (len(ledger), ledger.keyed) == (4, 1)
    assert ledger.forget(0, unkeyed_max=0) == 3
    assert ledger.of_key("k") == entry(4, "k")


@pytest.mark.parametrize(
    ("text", "number"), [("t3-7", 3 << 40 | 7), ("1-81", 1 << 40 | 81), ("", 0), ("tx-1", 0), ("t1", 0)]
)
def test_the_number_of_a_turn_is_read_from_its_id(text: str, number: int) -> None:
    assert number_of(text) == number


def test_a_session_that_recorded_nothing_has_no_ledger() -> None:
    image = SessionImage()
    image.apply(created())

    assert image.ledger is None
    assert image.snapshot(1, {}).logs == {}


def test_entries_count_in_the_weight_of_the_tail() -> None:
    image = SessionImage()
    image.apply(created())
    before = image.tail_bytes
    image.apply(turn(1, 2, state={}, logs=(), ledger=(entry(1, reply=bytes(1_000)),)))

    assert image.tail_bytes - before > 1_000


def test_an_entry_moves_into_pages_once() -> None:
    image = SessionImage()
    image.apply(created())
    for version in range(2, 2 + 2 * PAGE_ITEMS_MAX):
        image.apply(turn(1, version, ledger=(entry(version, f"key-{version}"),)))
    first = image.snapshot(1, {})
    image.snapshotted(first, {})
    image.apply(turn(1, image.version + 1, ledger=(entry(image.version + 1),)))
    second = image.snapshot(1, {})

    assert [len(page.items) for page in pages_of(first)] == [PAGE_ITEMS_MAX, PAGE_ITEMS_MAX]
    assert [len(page.items) for page in pages_of(second)] == [1]
    assert second.logs[LEDGER].next == 2 * PAGE_ITEMS_MAX + 1


def pages_of(snapshot: SnapshotRecord) -> list[LogPage]:
    return [page for page in snapshot.pages if page.field == LEDGER]


@dataclass
class Recording:
    """A session with a ledger in a store, and what its ledger should be."""

    store: Store
    image: SessionImage = field(default_factory=SessionImage)
    wanted: dict[int, str | None] = field(default_factory=dict[int, str | None])

    async def begin(self) -> None:
        record = created()
        (done,) = await applied(self.store, record)
        self.image.apply(record)
        self.image.lsn = done.lsn

    async def record(self, count: int, *, keyed: bool = True) -> None:
        for _ in range(count):
            version = self.image.version + 1
            key = f"key-{version}" if keyed else None
            record: TurnRecord = turn(1, version, state={}, logs=(), ledger=(entry(version, key),))
            (done,) = await applied(self.store, record)
            self.image.apply(record)
            self.image.lsn = done.lsn
            self.wanted[version] = key

    async def snapshot(self) -> None:
        made = self.image.snapshot(1, {})
        (outcome,) = await self.store.keep([made])
        is_applied(outcome)
        self.image.snapshotted(made, {})

    def forget(self, before: int) -> None:
        if self.image.ledger is not None:
            self.image.ledger.forget(before)
        self.wanted = {number: key for number, key in self.wanted.items() if number >= before}

    def spare(self, unkeyed_max: int) -> None:
        if self.image.ledger is not None:
            self.image.ledger.forget(0, unkeyed_max)
        unkeyed = [number for number, key in self.wanted.items() if key is None]
        for number in unkeyed[: max(len(unkeyed) - unkeyed_max, 0)]:
            del self.wanted[number]

    async def restored(self) -> SessionImage:
        stored = await self.store.load(ByPublicId("public-1"), {})
        assert stored is not None
        return replay(stored)


def check(ledger: Ledger | None, wanted: dict[int, str | None], until: int) -> None:
    assert (len(ledger) if ledger else 0) == len(wanted)
    if ledger is not None:
        assert turns_of(ledger, range(until)) == sorted(wanted)
        keyed = {number: ledger.of_key(f"key-{number}") for number in range(until)}
        assert {number for number, kept in keyed.items() if kept} == {n for n, key in wanted.items() if key}
        assert all(kept == entry(number, f"key-{number}") for number, kept in keyed.items() if kept)


async def test_the_ledger_outlives_snapshots_and_restarts(place: MemoryPlace | SqlitePlace) -> None:
    async with opened(place) as store:
        recording = Recording(store)
        await recording.begin()
        await recording.record(3)
        check((await recording.restored()).ledger, recording.wanted, 300)
        await recording.snapshot()
        await recording.record(2 * PAGE_ITEMS_MAX, keyed=False)
        await recording.snapshot()
        await recording.record(PAGE_ITEMS_MAX)
        assert recording.image.ledger is not None
        recording.forget(20)
        check(recording.image.ledger, recording.wanted, 300)
        await recording.snapshot()
        await recording.record(1)
    async with opened(place) as store:
        recording.store = store
        restored = (await recording.restored()).ledger
        check(restored, recording.wanted, 300)
        assert restored is not None
        assert restored.forgotten == recording.image.ledger.forgotten == 1 << 40 | 19
        recording.forget(300)
        await recording.snapshot()
        emptied = (await recording.restored()).ledger
        check(emptied, {}, 300)
        assert emptied is not None
        assert emptied.forgotten > 1 << 40 | 190
        await recording.record(1)
        check((await recording.restored()).ledger, recording.wanted, 300)


async def test_pages_of_entries_that_went_from_between_go_too(place: MemoryPlace | SqlitePlace) -> None:
    async with opened(place) as store:
        recording = Recording(store)
        await recording.begin()
        await recording.record(1)
        await recording.record(6 * PAGE_ITEMS_MAX, keyed=False)
        await recording.snapshot()
        await recording.record(3)
        recording.spare(10)
        await recording.snapshot()
        stored = await store.load(ByPublicId("public-1"), {})
        assert stored is not None
        assert stored.snapshot is not None

        assert sum(len(page.items) for page in pages_of(stored.snapshot)) < 3 * PAGE_ITEMS_MAX
    async with opened(place) as store:
        recording.store = store
        recording.image = await recording.restored()
        check(recording.image.ledger, recording.wanted, 500)
        recording.spare(0)
        await recording.record(2, keyed=False)
        await recording.snapshot()
        check((await recording.restored()).ledger, recording.wanted, 500)
        assert [key is None for key in recording.wanted.values()] == [False] * 4 + [True] * 2


async def test_entries_that_a_damaged_snapshot_let_go_count_as_forgotten(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    async with opened(place) as store:
        recording = Recording(store)
        await recording.begin()
        await recording.record(3 * PAGE_ITEMS_MAX)
        await recording.snapshot()
        await recording.record(2)
        recording.forget(2 * PAGE_ITEMS_MAX)
        await recording.snapshot()
    place.execute("UPDATE snapshot SET body = x'00' WHERE version = (SELECT max(version) FROM snapshot)")
    async with opened(place) as store:
        recording.store = store
        ledger = (await recording.restored()).ledger

        assert ledger is not None
        assert set(turns_of(ledger, range(300))) >= set(recording.wanted)
        lost = [number for number in range(2, 3 * PAGE_ITEMS_MAX + 4) if number not in turns_of(ledger, range(300))]
        assert lost
        assert all(1 << 40 | number <= ledger.forgotten for number in lost)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(1, 40)),
        st.tuples(st.just("bare"), st.integers(1, 40)),
        st.tuples(st.just("snapshot"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("forget"), st.integers(0, 120)),
        st.tuples(st.just("spare"), st.integers(0, 60)),
    ),
    max_size=10,
)


@unhurried
@given(steps)
async def test_a_ledger_is_what_a_dictionary_says(plan: list[tuple[str, int]]) -> None:
    """Forgetting is followed by a snapshot, as only that makes it durable."""
    async with opened(MemoryPlace()) as store:
        recording = Recording(store)
        await recording.begin()
        for what, count in plan:
            match what:
                case "record" | "bare":
                    await recording.record(count, keyed=what == "record")
                case "snapshot":
                    await recording.snapshot()
                case "restart":
                    recording.image = await recording.restored()
                case "spare":
                    recording.spare(count)
                    await recording.snapshot()
                case _:
                    recording.forget(min(count, recording.image.version))
                    await recording.snapshot()
            check(recording.image.ledger, recording.wanted, recording.image.version + 2)
        check((await recording.restored()).ledger, recording.wanted, recording.image.version + 2)
