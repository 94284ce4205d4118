"""A file of an older layout becomes one of today's, wherever its migration is cut short."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from salon_persistence.records import Mail, NoteRecord
from salon_persistence.sqlite import SqliteStore
from salon_persistence.sqlite.connection import ErrandConnection
from salon_persistence.sqlite.layout import LAYOUT, MIGRATIONS
from salon_persistence.store import Applied, ByName, ByPublicId, SessionQuery
from tests.histories.layout_1 import SPOKEN, WALL_US
from tests.histories.layout_2 import INBOX
from tests.persistence.camera import Camera

FILE = Path(__file__).with_name("layout_1.db")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def store_at(path: Path, factory: type[ErrandConnection] = ErrandConnection) -> SqliteStore:
    return SqliteStore(path, wall_us=lambda: 0, random_bytes=lambda _: b"", factory=factory)


def layout_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    return int(layout)


async def check_written_on(path: Path) -> None:
    """All that was in the file is there, and mail is kept."""
    store = store_at(path)
    info = await store.open()
    named = await store.load(ByName("bakery", "chat", "telegram:1"), {})
    assert named is not None
    (outcome,) = await store.commit([NoteRecord(sid=1, mail=Mail(inbox_added=INBOX))])
    stored = await store.load(ByPublicId("session-1"), {})
    long = await store.load(ByPublicId("session-2"), {})
    listed = await store.find(SessionQuery(tenant="bakery"))
    await store.close()

    assert isinstance(outcome, Applied)
    assert stored is not None
    assert stored.inbox == INBOX
    assert long is not None
    assert long.row.version == SPOKEN
    assert [row.sid for row in listed] == [3, 2, 1]
    assert (info.format, info.wall_high_us) == (LAYOUT, WALL_US)
    assert layout_of(path) == LAYOUT


async def test_a_file_of_layout_1_becomes_one_of_today(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    shutil.copyfile(FILE, path)
    assert layout_of(path) == 1
    await check_written_on(path)
    store = store_at(path)
    await store.open()
    await store.close()

    assert layout_of(path) == LAYOUT


async def test_a_migration_that_was_killed_at_any_statement_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    shutil.copyfile(FILE, path)
    camera = Camera(path, tmp_path / "shots")
    store = store_at(path, camera.connection())
    await store.open()
    await store.close()

    assert "CREATE TABLE inbox" in camera.statements
    assert len(camera.shots) > len(MIGRATIONS[2])
    found: set[int] = set()
    for _, shot in camera.shots:
        found.add(layout_of(shot))
        await check_written_on(shot)
    assert found == {1, LAYOUT}
