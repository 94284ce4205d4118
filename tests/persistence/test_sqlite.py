"""What a SqliteStore makes of failures, damage and other writers, and how it finds what it has."""

import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from salon_persistence.errors import (
    CorruptRecord,
    FormatTooNew,
    RecordRefused,
    StoreFailed,
    StoreUnavailable,
)
from salon_persistence.header import Kind
from salon_persistence.image import replay
from salon_persistence.records import LogDelta, LogPage, LogShape
from salon_persistence.sqlite import SqliteStore, pruning, writer
from salon_persistence.sqlite.reader import find_statement
from salon_persistence.store import Applied, ByName, ByPublicId, Fenced, Refused, SessionQuery, Unknown
from tests.persistence.conformance import (
    applied,
    grown,
    history,
    is_applied,
    is_fenced,
    is_refused,
    opened,
)
from tests.persistence.failing import Plan, broken, failing
from tests.persistence.places import SqlitePlace
from tests.persistence.sessions import WINDOWS, created, lines_of, row, said, snapshot, turn


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


FailingStore = Callable[[Plan], SqliteStore]


@pytest.fixture
async def failing_store(place: SqlitePlace) -> AsyncGenerator[FailingStore]:
    """Makes stores that fail as planned; they are closed at the end, for their threads would outlive the test."""
    made: list[SqliteStore] = []

    def make(plan: Plan) -> SqliteStore:
        ticks = place.ticks
        made.append(
            SqliteStore(
                place.path,
                wall_us=ticks.wall_us,
                random_bytes=ticks.random_bytes,
                busy_s=0.01,
                factory=failing(plan),
            )
        )
        return made[-1]

    yield make
    for store in made:
        await store.close()


@contextmanager
def edited(place: SqlitePlace) -> Generator[sqlite3.Connection]:
    """The file of a store that is closed, in the hands of somebody else."""
    connection = sqlite3.connect(place.path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED])
async def test_a_commit_that_finds_no_room_or_a_lock_is_not_applied_and_heals(
    code: int, place: SqlitePlace, failing_store: FailingStore
) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await grown(store, 2)
    plan.at, plan.error = "COMMIT", broken(code)
    outcomes = await store.commit([turn(1, 3), created(2)])
    for outcome in outcomes:
        is_refused(outcome, StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        await store.probe()
    (kept,) = await store.keep([snapshot(1, 2, 2)])
    is_refused(kept, StoreUnavailable)
    assert await history(store) == [1, 2]
    plan.at = ""
    await store.probe()
    await applied(store, turn(1, 3), created(2))

    assert await history(store) == [1, 2, 3]
    await store.close()


async def test_an_io_error_in_commit_is_unknown_and_nothing_is_written_until_it_is_opened_anew(
    place: SqlitePlace, failing_store: FailingStore
) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await grown(store, 2)
    plan.at, plan.error = "COMMIT", broken(sqlite3.SQLITE_IOERR_FSYNC)
    outcomes = await store.commit([turn(1, 3), created(2)])
    assert [type(outcome) for outcome in outcomes] == [Unknown, Unknown]
    plan.at, plan.seen = "", []
    for outcome in [*await store.commit([turn(1, 3)]), *await store.keep([snapshot(1, 2, 2)])]:
        is_refused(outcome, StoreFailed)
    with pytest.raises(StoreFailed):
        await store.probe()
    with pytest.raises(StoreFailed):
        await store.load(ByPublicId("public-1"), WINDOWS)
    assert plan.seen == []
    await store.close()
    await store.open()

    assert await history(store) in ([1, 2], [1, 2, 3])
    await store.close()


async def test_a_commit_that_took_effect_and_says_full_all_the_same_is_unknown(
    place: SqlitePlace, failing_store: FailingStore
) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await grown(store, 2)
    plan.at, plan.error, plan.after = "COMMIT", broken(sqlite3.SQLITE_FULL), True
    (outcome,) = await store.commit([turn(1, 3)])
    assert isinstance(outcome, Unknown)
    plan.at = ""
    await store.close()
    await store.open()

    assert await history(store) == [1, 2, 3]
    await store.close()


async def test_a_commit_that_failed_and_cannot_be_rolled_back_is_unknown(
    place: SqlitePlace, failing_store: FailingStore
) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await grown(store, 2)
    plan.at, plan.error, plan.rollback_fails = "COMMIT", broken(sqlite3.SQLITE_FULL), True
    (outcome,) = await store.commit([turn(1, 3)])

    assert isinstance(outcome, Unknown)
    plan.rollback_fails = False
    await store.close()


@pytest.mark.parametrize("statement", ["BEGIN", "UPDATE owner", "UPDATE session", "INSERT INTO journal"])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY])
async def test_a_statement_that_fails_for_the_disks_sake_refuses_the_batch_and_heals(
    statement: str, code: int, place: SqlitePlace, failing_store: FailingStore
) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await grown(store, 2)
    plan.at, plan.error = statement, broken(code)
    for outcome in await store.commit([turn(1, 3)]):
        is_refused(outcome, StoreUnavailable)
    plan.at = ""
    await applied(store, turn(1, 3))

    assert await history(store) == [1, 2, 3]
    await store.close()


async def test_damage_found_while_writing_closes_the_store(place: SqlitePlace, failing_store: FailingStore) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await grown(store, 2)
    plan.at, plan.error = "UPDATE session", broken(sqlite3.SQLITE_CORRUPT)
    (outcome,) = await store.commit([turn(1, 3)])
    is_refused(outcome, StoreFailed)
    plan.at = ""
    (outcome,) = await store.commit([turn(1, 3)])
    is_refused(outcome, StoreFailed)
    await store.close()
    async with opened(place) as again:
        assert await history(again) == [1, 2]


async def test_a_failed_record_leaves_no_transaction_behind(place: SqlitePlace, failing_store: FailingStore) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await applied(store, created(1), created(2))
    plan.at, plan.error = "INSERT INTO journal", sqlite3.IntegrityError("as planned")
    for outcome in await store.commit([turn(1, 2), turn(2, 2)]):
        is_refused(outcome, RecordRefused)
    plan.at, plan.seen = "", []
    await applied(store, turn(1, 2), turn(2, 2))

    written = [sql.split()[0] for sql in plan.seen if not sql.startswith("SELECT")]
    assert written == ["BEGIN", "UPDATE", "UPDATE", "INSERT", "COMMIT"]
    await store.close()


async def test_the_replay_of_a_bad_batch_is_one_transaction(place: SqlitePlace, failing_store: FailingStore) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await applied(store, *(created(number) for number in range(1, 6)))
    plan.seen = []
    outcomes = await store.commit([turn(1, 2), turn(2, 7), turn(3, 2)])
    commands = [sql.split()[0] for sql in plan.seen]

    assert [type(outcome) for outcome in outcomes] == [Applied, Fenced, Applied]
    assert commands.count("BEGIN") == 2
    assert commands.count("COMMIT") == 1
    assert commands.count("SAVEPOINT") == commands.count("RELEASE") == 3
    await store.close()


async def test_a_foreign_program_that_holds_the_file_makes_it_unavailable_for_a_while(
    place: SqlitePlace, failing_store: FailingStore
) -> None:
    store = failing_store(Plan())
    await store.open()
    await grown(store, 2)
    with edited(place) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        (outcome,) = await store.commit([turn(1, 3)])
        is_refused(outcome, StoreUnavailable)
        with pytest.raises(StoreUnavailable):
            await store.probe()
        assert await history(store) == [1, 2]
        foreign.execute("ROLLBACK")
    await store.probe()
    await applied(store, turn(1, 3))
    await store.close()


async def test_an_epoch_that_a_foreign_hand_raised_fences(place: SqlitePlace) -> None:
    async with opened(place) as store:
        await grown(store, 2)
        with edited(place) as foreign:
            foreign.execute("UPDATE owner SET epoch = epoch + 1")
        for _ in range(2):
            for outcome in await store.commit([turn(1, 3), created(2)]):
                is_fenced(outcome, whole_store=True)
        assert await history(store) == [1, 2]


async def test_a_head_that_a_foreign_hand_moved_is_noticed_and_then_read_anew(
    place: SqlitePlace, failing_store: FailingStore
) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await grown(store, 3)
    with edited(place) as foreign:
        foreign.execute("UPDATE session SET head_lsn = 2, version = 2")
    (outcome,) = await store.commit([turn(1, 4)])
    is_fenced(outcome, whole_store=False)
    plan.seen = []
    await applied(store, turn(1, 3))

    assert plan.seen.count("BEGIN IMMEDIATE") == 1
    assert await history(store) == [1, 2, 3]


async def test_a_commit_that_was_not_applied_does_not_slow_down_the_next(failing_store: FailingStore) -> None:
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    await grown(store, 3)
    plan.at, plan.error = "COMMIT", broken(sqlite3.SQLITE_FULL)
    (outcome,) = await store.commit([turn(1, 4)])
    is_refused(outcome, StoreUnavailable)
    plan.at, plan.seen = "", []
    await applied(store, turn(1, 4))

    assert plan.seen.count("BEGIN IMMEDIATE") == 1
    assert not any(sql.startswith("SAVEPOINT") for sql in plan.seen)


async def test_the_second_connection_cannot_write(place: SqlitePlace) -> None:
    store = place.store()
    await store.open()
    reading = store._reading  # pyright: ignore[reportPrivateUsage]
    assert reading is not None
    try:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reading.execute("UPDATE owner SET epoch = 9")
    finally:
        await store.close()


async def test_a_snapshot_that_is_written_again_leaves_the_one_before_in_its_place(place: SqlitePlace) -> None:
    async with opened(place) as store:
        done = await grown(store, 6)
        for version in (3, 5, 5):
            is_applied((await store.keep([snapshot(1, version, done[version - 1].lsn)]))[0])
    with edited(place) as foreign:
        assert foreign.execute("SELECT version FROM snapshot ORDER BY version").fetchall() == [(3,), (5,)]
        assert foreign.execute("SELECT min(lsn) FROM journal").fetchone() == (4,)


async def test_a_page_that_a_lost_snapshot_has_filled_up_is_read_as_far_as_it_was_known(place: SqlitePlace) -> None:
    async with opened(place) as store:
        done = await grown(store, 20)
        is_applied((await store.keep([snapshot(1, 10, done[9].lsn)]))[0])
        filled = LogPage("lines", tuple((number, said(number + 2)) for number in range(8, 19)))
        is_applied((await store.keep([replace(snapshot(1, 20, done[19].lsn), pages=(filled,))]))[0])
    with edited(place) as foreign:
        foreign.execute("UPDATE snapshot SET body = x'00' WHERE version = 20")
    async with opened(place) as store:
        stored = await store.load(ByPublicId("public-1"), WINDOWS)

        assert stored is not None
        assert stored.snapshot is not None
        assert [number for page in stored.snapshot.pages for number, _ in page.items] == list(range(9))
        assert lines_of(stored) == {number: said(number + 2) for number in range(19)}


async def test_more_sessions_than_heads_are_remembered_write_all_the_same(
    place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "HEADS_MAX", 3)
    async with opened(place) as store:
        await applied(store, *(created(number) for number in range(1, 9)))
        for version in range(2, 6):
            for start in (1, 3, 5, 7):
                await applied(store, turn(start, version), turn(start + 1, version))
                assert isinstance(store, SqliteStore)
                assert store._writer is not None  # pyright: ignore[reportPrivateUsage]
                assert len(store._writer._heads) <= 3  # pyright: ignore[reportPrivateUsage]

        assert [await history(store, number) for number in range(1, 9)] == [[1, 2, 3, 4, 5]] * 8


async def test_several_turns_of_one_session_in_one_batch_are_a_chain_too(place: SqlitePlace) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        await applied(store, turn(1, 2), turn(2, 2), turn(1, 3), turn(1, 4, activity_us=5), turn(1, 5))

        assert await history(store) == [1, 2, 3, 4, 5]


async def test_a_number_that_no_column_holds_is_refused_alone(place: SqlitePlace) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        outcomes = await store.commit([turn(1, 2, activity_us=2**63), turn(2, 2)])
        is_refused(outcomes[0], RecordRefused)
        is_applied(outcomes[1])


async def test_a_newest_snapshot_that_does_not_decode_gives_way_to_the_one_before(place: SqlitePlace) -> None:
    async with opened(place) as store:
        done = await grown(store, 30)
        is_applied((await store.keep([snapshot(1, 10, done[9].lsn)]))[0])
        is_applied((await store.keep([snapshot(1, 20, done[19].lsn, paged=9)]))[0])
        assert await history(store) == list(range(20, 31))
    with edited(place) as foreign:
        (body,) = foreign.execute("SELECT body FROM snapshot WHERE version = 20").fetchone()
        foreign.execute("UPDATE snapshot SET body = ? WHERE version = 20", (flipped(body),))
    async with opened(place) as store:
        stored = await store.load(ByPublicId("public-1"), WINDOWS)

        assert stored is not None
        assert await history(store) == list(range(10, 31))
        assert stored.snapshot is not None
        assert max(number for page in stored.snapshot.pages for number, _ in page.items) < 9
        assert lines_of(stored) == {number: said(number + 2) for number in range(29)}
        is_applied((await store.keep([snapshot(1, 30, done[29].lsn, paged=9)]))[0])
        assert await history(store) == [30]


async def test_the_snapshot_before_does_not_miss_pages_that_were_dropped_since(place: SqlitePlace) -> None:
    async with opened(place) as store:
        done = await grown(store, 41)
        is_applied((await store.keep([snapshot(1, 21, done[20].lsn)]))[0])
        (last,) = await applied(store, turn(1, 42, logs=(LogDelta("lines", 30, 40),)))
        newest = replace(snapshot(1, 42, last.lsn), logs={"lines": LogShape(30, 40, 40)})
        kept = tuple(page for page in snapshot(1, 41, 0, paged=30).pages)
        is_applied((await store.keep([replace(newest, pages=kept)]))[0])
        assert [page.first for page in await store.read_pages(1, "lines", 40, 99)] == [38, 30]
    with edited(place) as foreign:
        foreign.execute("UPDATE snapshot SET body = x'00' WHERE version = 42")
    async with opened(place) as store:
        stored = await store.load(ByPublicId("public-1"), WINDOWS)

        assert stored is not None
        assert stored.snapshot is not None
        assert stored.snapshot.version == 21
        assert dict(replay(stored).log("lines").items) == {number: said(number + 2) for number in range(30, 40)}


async def test_a_log_that_is_truncated_again_and_again_does_not_grow_the_file(place: SqlitePlace) -> None:
    """Each snapshot brings a page of 16 KB, and only the last two hold what is not dropped."""
    sizes: list[int] = []
    async with opened(place) as store:
        await grown(store, 1)
        for number in range(120):
            first = max(number - 1, 0)
            (done,) = await applied(store, turn(1, number + 2, logs=(LogDelta("lines", first, number + 1),)))
            page = LogPage("lines", ((number, bytes(16_000)),))
            shape = LogShape(first, number + 1, number + 1)
            made = replace(snapshot(1, number + 2, done.lsn), logs={"lines": shape}, pages=(page,))
            is_applied((await store.keep([made]))[0])
            with edited(place) as foreign:
                sizes.append(foreign.execute("PRAGMA page_count").fetchone()[0])
        pages = await store.read_pages(1, "lines", 200, 99)

    assert [page.first for page in pages] == [119, 118]
    assert sizes[-1] - sizes[10] < 20, "pages of 4 KB, for 109 short turns"


async def test_when_no_snapshot_decodes_the_whole_journal_will_do_while_it_is_there(place: SqlitePlace) -> None:
    async with opened(place) as store:
        done = await grown(store, 5)
        is_applied((await store.keep([snapshot(1, 4, done[3].lsn)]))[0])
    with edited(place) as foreign:
        foreign.execute("UPDATE snapshot SET body = x'00'")
    async with opened(place) as store:
        assert await history(store) == [1, 2, 3, 4, 5]


async def test_when_nothing_decodes_the_session_is_damaged_and_its_bytes_are_kept(place: SqlitePlace) -> None:
    async with opened(place) as store:
        done = await grown(store, 30)
        for version, paged in ((10, 0), (20, 9)):
            is_applied((await store.keep([snapshot(1, version, done[version - 1].lsn, paged=paged)]))[0])
        await applied(store, created(2))
    with edited(place) as foreign:
        foreign.execute("UPDATE snapshot SET body = x'00'")
    async with opened(place) as store:
        with pytest.raises(CorruptRecord, match="shorter than its header"):
            await store.load(ByPublicId("public-1"), WINDOWS)
        assert await history(store, 2) == [1]
    with edited(place) as foreign:
        assert foreign.execute("SELECT count(*) FROM snapshot WHERE body = x'00'").fetchone() == (2,)


@pytest.mark.parametrize("change", ["DELETE FROM journal WHERE lsn = 3", "UPDATE journal SET sid = 9 WHERE lsn = 3"])
async def test_a_turn_that_is_missing_is_never_passed_over(change: str, place: SqlitePlace) -> None:
    async with opened(place) as store:
        await grown(store, 5)
    with edited(place) as foreign:
        foreign.execute(change)
    async with opened(place) as store:
        with pytest.raises(CorruptRecord, match="turns after 0 are missing"):
            await store.load(ByPublicId("public-1"), WINDOWS)


async def test_a_turn_that_does_not_decode_is_damage(place: SqlitePlace) -> None:
    async with opened(place) as store:
        await grown(store, 5)
    with edited(place) as foreign:
        (body,) = foreign.execute("SELECT body FROM journal WHERE lsn = 3").fetchone()
        foreign.execute("UPDATE journal SET body = ? WHERE lsn = 3", (flipped(body),))
    async with opened(place) as store:
        with pytest.raises(CorruptRecord, match="check"):
            await store.load(ByPublicId("public-1"), WINDOWS)


async def test_a_snapshot_of_a_newer_release_is_not_replaced_by_an_older_one(
    place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salon_persistence import header

    async with opened(place) as store:
        done = await grown(store, 6)
        is_applied((await store.keep([snapshot(1, 3, done[2].lsn)]))[0])
        with monkeypatch.context() as future:
            future.setattr(header, "FORMAT", header.FORMAT + 1)
            is_applied((await store.keep([snapshot(1, 6, done[5].lsn, paged=2)]))[0])
        with pytest.raises(FormatTooNew, match="newer release"):
            await store.load(ByPublicId("public-1"), WINDOWS)


async def test_snapshots_free_the_journal_but_for_the_turns_after_the_one_before(
    place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "GATHERED_ROWS_MIN", 1)
    async with opened(place) as store:
        done = await grown(store, 40)
        await grown(store, 3, number=2)
        left: list[list[int]] = []
        paged = 0
        for version in (10, 20, 30, 40):
            is_applied((await store.keep([snapshot(1, version, done[version - 1].lsn, paged=paged)]))[0])
            paged = version - 1
            with edited(place) as other:
                left.append([lsn for (lsn,) in other.execute("SELECT lsn FROM journal WHERE sid = 1 ORDER BY lsn")])

        assert left == [list(range(start, 41)) for start in (1, 11, 21, 31)]
        assert await history(store, 2) == [1, 2, 3]
    with edited(place) as foreign:
        assert foreign.execute("SELECT count(*) FROM snapshot").fetchone() == (2,)
        assert foreign.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_long_journal_is_freed_in_slices(place: SqlitePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "GATHERED_ROWS_MIN", 1)
    monkeypatch.setattr(pruning, "DELETED_ROWS_MAX", 7)
    async with opened(place) as store:
        done = await grown(store, 40)
        counts: list[int] = []
        for version in (30, 35, 38, 40):
            is_applied((await store.keep([snapshot(1, version, done[version - 1].lsn)]))[0])
            with edited(place) as other:
                counts += other.execute("SELECT count(*) FROM journal").fetchone()
            assert await history(store) == list(range(version, 41))

        assert counts == [40, 33, 26, 19]
    async with opened(place) as store:
        await applied(store, turn(1, 41))
        monkeypatch.setattr(pruning, "DELETED_ROWS_MAX", 100)
        is_applied((await store.keep([snapshot(1, 41, 0)]))[0])
    with edited(place) as other:
        left = [version for (version,) in other.execute("SELECT version FROM journal ORDER BY version")]

    assert left == [41]  # What an owner had gathered and not deleted, the next one has found again.


async def test_turns_that_are_to_go_are_gathered_and_deleted_together_or_at_the_end(
    place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "GATHERED_ROWS_MIN", 15)
    counts: list[int] = []

    def count() -> None:
        with edited(place) as other:
            counts.extend(other.execute("SELECT count(*) FROM journal").fetchone())

    async with opened(place) as store:
        done = await grown(store, 40)
        for version in (10, 20, 30, 40):
            is_applied((await store.keep([snapshot(1, version, done[version - 1].lsn)]))[0])
            count()
    count()

    assert counts == [40, 40, 20, 20, 10]
    async with opened(place) as store:
        assert await history(store) == [40]


async def test_a_failure_while_turns_are_deleted_is_no_snapshots_fault(
    place: SqlitePlace, failing_store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "GATHERED_ROWS_MIN", 1)
    plan = Plan()
    store = failing_store(plan)
    await store.open()
    done = await grown(store, 30)
    plan.at, plan.error = "DELETE FROM journal", broken(sqlite3.SQLITE_FULL)
    for version in (10, 20):
        is_applied((await store.keep([snapshot(1, version, done[version - 1].lsn)]))[0])
    plan.at = ""
    is_applied((await store.keep([snapshot(1, 30, done[29].lsn)]))[0])

    assert await history(store) == [30]
    with edited(place) as other:
        assert other.execute("SELECT min(lsn) FROM journal").fetchone() == (21,)


def plan_of(connection: sqlite3.Connection, sql: str, parameters: object) -> str:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return " | ".join(row[3] for row in rows)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (SessionQuery(), "session_by_tenant"),
        (SessionQuery(user_id="u"), "session_by_user"),
        (SessionQuery(user_id="u", lifecycle="active", after=(1, 2)), "session_by_user"),
        (SessionQuery(conversation_id="c"), "session_by_conversation"),
        (SessionQuery(device_id="d", after=(1, 2)), "session_by_device"),
        (SessionQuery(after=(1, 2)), "session_by_tenant"),
    ],
)
async def test_every_list_is_read_from_an_index_in_order(query: SessionQuery, index: str, place: SqlitePlace) -> None:
    async with opened(place):
        pass
    with edited(place) as connection:
        found = plan_of(connection, *find_statement(query))

    assert f"USING INDEX {index} (tenant=?" in found
    assert "TEMP B-TREE" not in found


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("public_id = ?", "session_by_public_id"),
        ("tenant = ? AND type = ? AND name = ? AND lifecycle = 'active'", "session_by_name"),
        ("deadline_us < ? AND lifecycle = 'active'", "session_by_deadline"),
    ],
)
async def test_every_key_of_a_session_has_its_index(where: str, index: str, place: SqlitePlace) -> None:
    async with opened(place):
        pass
    with edited(place) as connection:
        found = plan_of(connection, f"SELECT * FROM session WHERE {where}", ["x"] * where.count("?"))

    assert f"INDEX {index}" in found


async def test_a_plain_turn_touches_no_index(place: SqlitePlace) -> None:
    """Opened for writing: the table of sessions alone, and the journal alone."""
    async with opened(place):
        pass
    with edited(place) as connection:
        opened_for_writing = [
            sum(1 for code in connection.execute(f"EXPLAIN {sql}", ["1"] * sql.count("?")) if code[1] == "OpenWrite")
            for sql in (writer._TURN, writer._JOURNAL)  # pyright: ignore[reportPrivateUsage]
        ]

    assert opened_for_writing == [1, 1]


async def test_reads_go_on_beside_a_write_that_is_under_way(place: SqlitePlace) -> None:
    async with opened(place) as store:
        await grown(store, 3)
        with edited(place) as foreign:
            foreign.execute("BEGIN IMMEDIATE")
            foreign.execute("UPDATE session SET version = 99")
            assert await history(store) == [1, 2, 3]
            assert len(await store.find(SessionQuery())) == 1
            foreign.execute("ROLLBACK")


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
async def test_a_forked_child_must_not_use_the_store(place: SqlitePlace) -> None:
    store = place.store()
    await store.open()
    try:
        await grown(store, 2)
        child = os.fork()
        if child == 0:
            os._exit(_uses_in_child(store))
        _, status = os.waitpid(child, 0)  # noqa: ASYNC222  # It ends at once.

        assert os.waitstatus_to_exitcode(status) == 0
        await applied(store, turn(1, 3))
        assert await history(store) == [1, 2, 3]
    finally:
        await store.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
async def test_a_forked_child_does_not_hold_the_file_when_its_owner_has_gone(place: SqlitePlace) -> None:
    read, write = os.pipe()
    async with opened(place):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
    async with opened(place) as store:
        await grown(store, 2)
    os.close(write)
    os.close(read)
    _, status = os.waitpid(child, 0)  # noqa: ASYNC222  # It ends at once.

    assert os.waitstatus_to_exitcode(status) == 0


def _uses_in_child(store: SqliteStore) -> int:
    refused = 0
    for coroutine in (store.load(ByName("", "chat", "name-1"), {}), store.probe(), store.commit([turn(1, 3)])):
        try:
            coroutine.send(None)
        except StoreFailed:
            refused += 1
        except StopIteration as ended:
            refused += isinstance(ended.value[0], Refused)
    return 0 if refused == 3 else 1


async def test_a_page_that_does_not_decode_is_damage(place: SqlitePlace) -> None:
    async with opened(place) as store:
        done = await grown(store, 12)
        is_applied((await store.keep([snapshot(1, 12, done[11].lsn)]))[0])
    with edited(place) as foreign:
        foreign.execute("UPDATE page SET body = (SELECT body FROM page WHERE first = 0) WHERE first = 8")
    async with opened(place) as store:
        with pytest.raises(CorruptRecord, match=f"a {Kind.PAGE.name.lower()} record"):
            await store.read_pages(1, "lines", 11, 1)
        with pytest.raises(CorruptRecord):
            await store.load(ByPublicId("public-1"), WINDOWS)
        assert [page.first for page in await store.read_pages(1, "lines", 8, 1)] == [0]


async def test_ended_sessions_are_still_found_by_their_id(place: SqlitePlace) -> None:
    async with opened(place) as store:
        await applied(store, created(1))
        await applied(store, turn(1, 2, row=row(1, lifecycle="deleted", reason="asked")))
        stored = await store.load(ByPublicId("public-1"), WINDOWS)

        assert stored is not None
        assert stored.row.lifecycle == "deleted"
        assert await store.load(ByName("", "chat", "name-1"), WINDOWS) is None
