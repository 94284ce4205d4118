"""A file that the release with layout 2 wrote is read by today's code, and written on."""

import shutil
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from salon_persistence.image import replay
from salon_persistence.records import Mail, NoteRecord, StoredSession
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Applied, ByPublicId, LetterQuery
from tests.histories.layout_2 import (
    EPOCH,
    FORGOTTEN,
    INBOX,
    LETTERS,
    OUTBOX,
    PROGRESS,
    RECORDED,
    STEPS,
    TELLING,
    TO_CHILD,
    UNDELIVERED,
    UUID_OF_STORE,
    WALL_US,
    created,
    entry,
)

FILE = Path(__file__).with_name("layout_2.db")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    copy = tmp_path / "old.db"
    shutil.copyfile(FILE, copy)
    store = SqliteStore(copy, wall_us=lambda: 0, random_bytes=lambda _: b"")
    info = await store.open()
    assert (info.uuid, info.epoch, info.clean, info.wall_high_us) == (UUID_OF_STORE, 2, True, WALL_US)
    yield store
    await store.close()


async def loaded(store: SqliteStore, number: int) -> StoredSession:
    stored = await store.load(ByPublicId(f"session-{number}"), {})
    assert stored is not None
    return stored


async def test_all_mail_of_a_session_is_read(store: SqliteStore) -> None:
    stored = await loaded(store, 1)

    assert stored.inbox == INBOX
    assert stored.progress == PROGRESS
    assert stored.steps == STEPS
    assert stored.outbox == OUTBOX
    assert (await loaded(store, 2)).inbox == ()


async def test_a_child_and_what_it_was_told_are_read(store: SqliteStore) -> None:
    child = await loaded(store, 3)

    assert child.inbox == (TO_CHILD,)
    assert child.tail == (replace(created(3), sid=3),)


async def test_the_last_turn_is_read_without_its_mail(store: SqliteStore) -> None:
    stored = await loaded(store, 1)

    assert stored.tail[-1] == replace(TELLING, mail=None, children=())


async def test_dead_letters_are_read(store: SqliteStore) -> None:
    found = await store.letters(LetterQuery())

    assert [letter.row for letter in found] == [*LETTERS, UNDELIVERED]
    assert {(letter.sid, letter.public_id, letter.type) for letter in found} == {(1, "session-1", "chat")}


async def test_the_ledger_is_read_from_pages_and_tail(store: SqliteStore) -> None:
    ledger = replay(await loaded(store, 1)).ledger
    assert ledger is not None
    versions = range(FORGOTTEN, RECORDED + 2)

    assert len(ledger) == len(versions)
    assert [ledger.of_turn(f"t1-{version}") for version in versions] == [entry(version) for version in versions]
    assert ledger.of_key("update-31") == entry(31)
    assert ledger.of_key("update-29") is ledger.of_turn("t1-29") is None
    assert ledger.forgotten == EPOCH | FORGOTTEN - 1


async def test_it_is_written_on(store: SqliteStore) -> None:
    settled = Mail(inbox_settled=[INBOX[0].number], outbox_settled=[OUTBOX[0].number], dead_letters_dropped=["t1-90"])
    (outcome,) = await store.commit([NoteRecord(sid=1, mail=settled)])
    stored = await loaded(store, 1)

    assert isinstance(outcome, Applied)
    assert (stored.inbox, stored.outbox) == (INBOX[1:], OUTBOX[1:])
    assert await store.mail_waits(0, 9) == [(1, "session-1"), (3, "session-3")]
    assert len(await store.letters(LetterQuery())) == 2
