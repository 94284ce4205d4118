"""What a SqliteStore makes of failures, kills and damage among the mail, and how it finds what it has."""

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from zlib import crc32

import pytest

from salon_persistence import header
from salon_persistence.errors import CorruptRecord, FormatTooNew, StoreFailed, StoreUnavailable
from salon_persistence.header import Kind, seal
from salon_persistence.records import CHECKPOINT, CHUNKS, Mail, ProgressRow, Record, StepRow
from salon_persistence.sqlite import SqliteStore, reader, rows
from salon_persistence.store import ByPublicId, LetterQuery, Refused, Unknown
from tests.persistence.camera import Camera
from tests.persistence.conformance import applied, opened
from tests.persistence.failing import Plan, broken, failing
from tests.persistence.mail_conformance import ids, letter, loaded, message, note, numbers, outgoing
from tests.persistence.places import SqlitePlace
from tests.persistence.sessions import WINDOWS, created, row, turn


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


def store_at(path: Path, factory: type[sqlite3.Connection], place: SqlitePlace) -> SqliteStore:
    ticks = place.ticks
    return SqliteStore(
        path,
        durability="normal",
        wall_us=ticks.wall_us,
        random_bytes=ticks.random_bytes,
        factory=factory,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a connection that runs errands
    )


async def prepared(store: SqliteStore) -> None:
    """Three sessions, the second at its end; the first with mail of every kind."""
    await applied(store, created(1), created(2), created(3))
    await applied(store, turn(2, 2, row=row(2, lifecycle="expired")))
    kept = [ProgressRow(1, CHECKPOINT, 0, b"draft"), ProgressRow(1, CHUNKS, 0, b"chunks")]
    steps = [StepRow("t0-1", "look up", b"found", 1)]
    await applied(store, note(inbox_added=[message(1), message(2)], progress=kept, steps=steps))
    await applied(store, note(outbox_added=[outgoing(1)], dead_letters=[letter("x")]))


def everything() -> list[Record]:
    """A batch that uses every statement there is for mail."""
    mail = Mail(
        inbox_settled=[1],
        steps_dropped=["t0-1"],
        inbox_added=[message(10, 2), message(11, 3), message(12, -1), message(13, 0)],
        outbox_added=[outgoing(2)],
        dead_letters=[letter("y")],
    )
    return [
        turn(1, 2, mail=mail, children=[created(4)]),
        note(inbox_started=[(2, 1)], inbox_put_off=[(2, 9)], progress=[ProgressRow(2, CHUNKS, 0, b"more")]),
        note(progress_dropped=[2], steps=[StepRow("t0-2", "again", b"b", 2)], dead_letters_dropped=["x"]),
        note(3, inbox_added=[message(14, 3)]),
        note(outbox_tried=[(2, 1, 5)], outbox_settled=[1]),
    ]


async def is_after(store: SqliteStore) -> bool:
    """All of `everything` is there, or none of it; nothing between the two."""
    stored = await loaded(store)
    told = await numbers(store, 3)
    child = await store.load(ByPublicId("public-4"), WINDOWS)
    if stored.row.version == 1:
        assert (stored.inbox, len(stored.progress), len(stored.steps)) == ((message(1), message(2)), 2, 1)
        assert (stored.outbox, await ids(store), told, child) == ((outgoing(1),), ["x"], [], None)
        return False
    assert stored.inbox == (message(2, attempts=1, due_us=9), message(13))
    assert (stored.progress, stored.steps) == ((), (StepRow("t0-2", "again", b"b", 2),))
    assert stored.outbox == (outgoing(2, attempts=1, due_us=5),)
    assert (sorted(await ids(store)), told) == (["t0-10", "y"], [11, 14])
    assert child is not None
    assert [waiting.number for waiting in child.inbox] == [12]
    return True


async def statements_of(place: SqlitePlace, folder: Path) -> Camera:
    """The files before each statement of `everything`, and of what follows."""
    camera = Camera(place.path, folder)
    camera.is_on = False
    store = store_at(place.path, camera.connection(), place)
    await store.open()
    await prepared(store)
    camera.is_on = True
    await applied(store, *everything())
    camera.shoot("end")
    camera.is_on = False
    await store.close()
    return camera


async def test_a_process_that_dies_at_any_statement_leaves_all_of_a_batch_or_nothing(
    place: SqlitePlace, tmp_path: Path
) -> None:
    camera = await statements_of(place, tmp_path / "shots")
    found: list[bool] = []
    for _, shot in camera.shots:
        elsewhere = SqlitePlace(shot.parent)
        assert elsewhere.path == shot
        store = elsewhere.store()
        await store.open()
        found.append(await is_after(store))
        if not found[-1]:
            await applied(store, *everything())
            assert await is_after(store)
        await store.close()

    assert found == [False] * (len(found) - 1) + [True]
    changes = {"INSERT INTO inbox", "DELETE FROM inbox", "INSERT INTO outbox", "DELETE FROM step"}
    assert changes <= set(camera.statements)


@pytest.mark.parametrize("after", [False, True], ids=["instead", "after"])
async def test_a_statement_that_fails_anywhere_leaves_nothing_of_a_batch(
    after: bool, place: SqlitePlace, tmp_path: Path
) -> None:
    camera = await statements_of(place, tmp_path / "shots")
    whole = [sql for sql, _ in camera.shots if sql not in ("end", "COMMIT")]
    assert len(whole) > 15
    for number, sql in enumerate(whole):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        elsewhere = SqlitePlace(folder)
        plan = Plan()
        store = store_at(elsewhere.path, failing(plan), elsewhere)
        await store.open()
        await prepared(store)
        plan.at, plan.after, plan.error = sql, after, broken(sqlite3.SQLITE_FULL)
        outcomes = await store.commit(everything())
        plan.at = ""

        assert [type(outcome) for outcome in outcomes] == [Refused] * len(outcomes), sql
        assert all(isinstance(o, Refused) and isinstance(o.error, StoreUnavailable) for o in outcomes)
        assert not await is_after(store), sql
        await applied(store, *everything())
        assert await is_after(store), sql
        await store.close()


async def test_notes_whose_commit_took_effect_and_says_full_all_the_same_are_unknown(place: SqlitePlace) -> None:
    """They move no version, but use up a number, so that the marks tell."""
    plan = Plan()
    store = store_at(place.path, failing(plan), place)
    await store.open()
    await applied(store, created(1))
    plan.at, plan.after, plan.error = "COMMIT", True, broken(sqlite3.SQLITE_FULL)
    (outcome,) = await store.commit([note(inbox_added=[message(1)])])
    plan.at = ""
    await store.close()

    assert isinstance(outcome, Unknown)
    async with opened(place) as later:
        assert await numbers(later) == [1]


async def test_a_note_that_was_refused_for_lack_of_room_may_be_written_again(place: SqlitePlace) -> None:
    plan = Plan()
    store = store_at(place.path, failing(plan), place)
    await store.open()
    await applied(store, created(1))
    plan.at, plan.error = "COMMIT", broken(sqlite3.SQLITE_FULL)
    (outcome,) = await store.commit([note(inbox_added=[message(1)])])
    plan.at = ""

    assert isinstance(outcome, Refused)
    await applied(store, note(inbox_added=[message(1)]))
    assert await numbers(store) == [1]
    await store.close()


DAMAGE = {
    "inbox": "UPDATE inbox SET body = substr(body, 1, length(body) - 1)",
    "an inbox row in another's place": "UPDATE inbox SET number = number + 5",
    "an inbox row of another session": "UPDATE inbox SET sid = 3",
    "progress": "UPDATE progress SET body = x'00'",
    "progress of another ordinal": "UPDATE progress SET ordinal = ordinal + 1",
    "steps": "UPDATE step SET body = x''",
    "a step of another name": "UPDATE step SET name = 'other'",
    "outbox": "UPDATE outbox SET body = substr(body, 2)",
}


@pytest.mark.parametrize("sql", DAMAGE.values(), ids=DAMAGE)
async def test_mail_that_does_not_decode_is_damage_and_its_bytes_are_kept(sql: str, place: SqlitePlace) -> None:
    store = place.store()
    await store.open()
    await prepared(store)
    await store.close()
    place.execute(sql)
    async with opened(place) as again:
        with pytest.raises(CorruptRecord):
            await again.load(ByPublicId("public-3" if "sid = 3" in sql else "public-1"), WINDOWS)
    connection = sqlite3.connect(place.path)
    counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]
    connection.close()

    assert counts == [2, 2, 1, 1, 1]


TABLES = ("inbox", "progress", "step", "outbox", "dead_letter")


@pytest.mark.parametrize("sql", ["body = x'00'", "id = 'z'", "sid = 2"])
async def test_a_dead_letter_that_does_not_decode_is_damage(sql: str, place: SqlitePlace) -> None:
    store = place.store()
    await store.open()
    await prepared(store)
    await store.close()
    place.execute(f"UPDATE dead_letter SET {sql}")
    async with opened(place) as again:
        with pytest.raises(CorruptRecord):
            await again.letters(LetterQuery())
        with pytest.raises(CorruptRecord):
            await again.letter("z" if sql.startswith("id") else "x")


SHAPES: dict[str, Callable[[SqliteStore], Awaitable[object]]] = {
    "inbox": loaded,
    "progress": loaded,
    "step": loaded,
    "outbox": loaded,
    "dead_letter": lambda store: store.letters(LetterQuery()),
}


@pytest.mark.parametrize("table", SHAPES)
async def test_a_whole_body_of_another_shape_is_damage(table: str, place: SqlitePlace) -> None:
    store = place.store()
    await store.open()
    await applied(store, created(1))
    await applied(store, note(inbox_added=[message(1)], progress=[ProgressRow(1, 1, 0, b"x")]))
    await applied(
        store, note(outbox_added=[outgoing(1)], steps=[StepRow("o", "n", b"b", 1)], dead_letters=[letter("x")])
    )
    await store.close()
    places = {
        "inbox": (Kind.INBOX, 1, 1),
        "progress": (Kind.PROGRESS, 1, 1 << 32),
        "step": (Kind.STEP, 1, crc32(b"o\0n")),
        "outbox": (Kind.OUTBOX, 1, 1),
        "dead_letter": (Kind.DEAD_LETTER, 1, crc32(b"x")),
    }
    kind, ordinal, suborder = places[table]
    place.execute(f"UPDATE {table} SET body = x'{seal(kind, 1, ordinal, suborder, bytes([0x91, 1])).hex()}'")
    async with opened(place) as again:
        with pytest.raises(CorruptRecord, match="shape"):
            await SHAPES[table](again)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_mail_of_a_newer_release_says_so(place: SqlitePlace) -> None:
    store = place.store()
    await store.open()
    await prepared(store)
    await store.close()
    with pytest.MonkeyPatch.context() as future:
        future.setattr(header, "FORMAT", header.FORMAT + 1)
        store = place.store()
        await store.open()
        await applied(store, note(3, inbox_added=[message(30, 3)]))
        await store.close()
    async with opened(place) as again:
        with pytest.raises(FormatTooNew):
            await again.load(ByPublicId("public-3"), WINDOWS)


async def test_each_statement_runs_once_however_many_notes_a_batch_has(place: SqlitePlace) -> None:
    plan = Plan()
    store = store_at(place.path, failing(plan), place)
    await store.open()
    await applied(store, *(created(number) for number in range(1, 101)))
    plan.seen.clear()
    await applied(
        store, *(note(sid, inbox_added=[message(sid, sid)], inbox_started=[(sid, 1)]) for sid in range(1, 101))
    )
    first = [" ".join(sql.split()[:3]) for sql in plan.seen]
    plan.seen.clear()
    mails = {sid: Mail(inbox_settled=[sid], outbox_added=[outgoing(sid)]) for sid in range(1, 101)}
    await applied(store, *(turn(sid, 2, mail=mail) for sid, mail in mails.items()))
    await store.close()

    assert first == [
        "BEGIN IMMEDIATE",
        "UPDATE owner SET",
        "INSERT INTO inbox",
        "UPDATE inbox SET",
        "COMMIT",
    ]
    assert len([sql for sql in plan.seen if not sql.startswith("SELECT")]) == 9


async def test_a_plain_turn_touches_no_table_of_the_mail(place: SqlitePlace) -> None:
    plan = Plan()
    store = store_at(place.path, failing(plan), place)
    await store.open()
    await prepared(store)
    plan.seen.clear()
    await applied(store, turn(1, 2), turn(3, 2))
    await store.close()

    assert len(plan.seen) > 3
    assert not [sql for sql in plan.seen for table in TABLES if f" {table} " in sql]


PLANS = {
    "the inbox of a session": (rows._INBOX, "inbox_by_sid"),  # pyright: ignore[reportPrivateUsage]
    "progress of a session": (rows._PROGRESS, "progress_by_number"),  # pyright: ignore[reportPrivateUsage]
    "steps of a session": (rows._STEPS, "step_by_owner"),  # pyright: ignore[reportPrivateUsage]
    "the outbox of a session": (rows._OUTBOX, "outbox_by_sid"),  # pyright: ignore[reportPrivateUsage]
    "a letter": (f"{reader._LETTERS} WHERE id = ?", "dead_letter_by_id"),  # pyright: ignore[reportPrivateUsage]
    "letters of a session": (
        f"{reader._LETTERS} WHERE place > 0 AND letter.sid = ? ORDER BY place",  # pyright: ignore[reportPrivateUsage]
        "dead_letter_by_sid",
    ),
}


@pytest.mark.parametrize(("sql", "index"), PLANS.values(), ids=PLANS)
async def test_mail_is_found_by_an_index_and_in_order(sql: str, index: str, place: SqlitePlace) -> None:
    async with opened(place):
        pass
    connection = sqlite3.connect(place.path)
    steps = [str(step[3]) for step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (1,))]
    connection.close()

    assert any(index in step for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step], steps


async def test_sessions_with_waiting_mail_are_found_without_looking_at_the_others(place: SqlitePlace) -> None:
    async with opened(place):
        pass
    connection = sqlite3.connect(place.path)
    found = connection.execute(f"EXPLAIN QUERY PLAN {reader._WAITING}", {"after": 0, "limit": 5})  # pyright: ignore[reportPrivateUsage]
    steps = [str(step[3]) for step in found]
    connection.close()

    assert [step for step in steps if "inbox_by_sid (sid>?)" in step]
    assert [step for step in steps if "outbox_by_sid (sid>?)" in step]
    assert [step for step in steps if "SEARCH session USING INTEGER PRIMARY KEY" in step]
    assert not [step for step in steps if step.startswith("SCAN") and "waiting" not in step and "CONSTANT" not in step]


async def test_a_session_with_a_thousand_messages_does_not_slow_down_the_list(place: SqlitePlace) -> None:
    """One step of the list for each session, counted by SQLite's own machine."""
    store = place.store()
    await store.open()
    await applied(store, created(1), created(2), created(3))
    few = [note(sid, inbox_added=[message(sid, sid)]) for sid in (1, 2, 3)]
    await applied(store, *few)

    def steps() -> int:
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        connection = sqlite3.connect(place.path)
        connection.set_progress_handler(count, 10)
        assert len(connection.execute(reader._WAITING, {"after": 0, "limit": 9}).fetchall()) == 3  # pyright: ignore[reportPrivateUsage]
        connection.close()
        return counted

    before = steps()
    await applied(store, note(2, inbox_added=[message(1_000 + n, 2) for n in range(1_000)]))
    after = steps()
    await store.close()

    assert 0 < after <= before + 2


async def test_a_closed_store_refuses_notes_and_lists(place: SqlitePlace) -> None:
    store = place.store()
    (outcome,) = await store.commit([note(inbox_settled=[1])])

    assert isinstance(outcome, Refused)
    for ask in (store.mail_waits(0, 1), store.letters(LetterQuery()), store.letter("x")):
        with pytest.raises(StoreFailed):
            await ask


async def test_a_child_has_a_journal_and_a_name_of_its_own(place: SqlitePlace) -> None:
    async with opened(place) as store:
        await applied(store, created(1))
        (outcome,) = await applied(store, turn(1, 2, children=[created(2), created(3)]))
        first = await store.load(ByPublicId("public-2"), WINDOWS)
        second = await store.load(ByPublicId("public-3"), WINDOWS)

        assert first is not None
        assert second is not None
        assert [first.row.sid, second.row.sid] == list(outcome.children)
        assert [first.row.head_lsn, second.row.head_lsn] == [outcome.lsn + 1, outcome.lsn + 2]
