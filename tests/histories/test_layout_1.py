"""A file that the release with layout 1 wrote is read by today's code, and written on."""

import shutil
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from salon_persistence.codec import unpack
from salon_persistence.image import replay
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Applied, ByName, ByPublicId, SessionQuery, StoreInfo
from tests.histories.layout_1 import (
    ENDED,
    EVERY_PART,
    SNAPSHOTS,
    SPOKEN,
    UUID_OF_STORE,
    VALUES,
    WALL_US,
    facts,
    line,
    spoken,
)

FILE = Path(__file__).with_name("layout_1.db")
WINDOWS = {"chat": {"lines": 1_000}}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncGenerator[tuple[SqliteStore, StoreInfo]]:
    copy = tmp_path / "old.db"
    shutil.copyfile(FILE, copy)
    store = SqliteStore(copy, wall_us=lambda: 0, random_bytes=lambda _: b"")
    info = await store.open()
    yield store, info
    await store.close()


async def test_the_store_is_the_same_and_its_time_does_not_run_back(opened: tuple[SqliteStore, StoreInfo]) -> None:
    _, info = opened

    assert (info.uuid, info.epoch, info.clean) == (UUID_OF_STORE, 2, True)
    assert info.wall_high_us == WALL_US


async def test_every_type_of_value_is_read(opened: tuple[SqliteStore, StoreInfo]) -> None:
    store, _ = opened
    stored = await store.load(ByName("bakery", "chat", "telegram:1"), WINDOWS)
    assert stored is not None
    found = {name: unpack(data) for name, data in replay(stored).state.items()}

    assert found == VALUES
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in VALUES.items()}
    assert replay(stored).schema_version == 2
    assert stored.row == replace(facts(1), sid=1, version=2, head_lsn=4)


async def test_a_long_conversation_is_read_from_snapshot_pages_and_tail(
    opened: tuple[SqliteStore, StoreInfo],
) -> None:
    store, _ = opened
    stored = await store.load(ByPublicId("session-2"), WINDOWS)
    assert stored is not None
    assert stored.snapshot is not None
    image = replay(stored)

    assert stored.snapshot.version == SNAPSHOTS[-1]
    assert len(stored.tail) == SPOKEN - SNAPSHOTS[-1]
    assert stored.tail[-1] == spoken(SPOKEN)
    assert image.log("lines").items == [(number, line(number)) for number in range(SPOKEN - 1)]
    pages = await store.read_pages(2, "lines", 70, 70)
    assert [number for page in pages[::-1] for number, _ in page.items][:70] == list(range(70))


async def test_every_part_of_a_turn_is_read(opened: tuple[SqliteStore, StoreInfo]) -> None:
    store, _ = opened
    stored = await store.load(ByPublicId("session-3"), WINDOWS)
    assert stored is not None

    assert stored.tail[-1] == EVERY_PART
    assert stored.row == replace(ENDED, sid=3, version=2, head_lsn=stored.row.head_lsn)


async def test_its_sessions_are_listed_and_written_on(opened: tuple[SqliteStore, StoreInfo]) -> None:
    store, _ = opened
    listed = await store.find(SessionQuery(tenant="bakery"))
    outcomes = await store.commit([spoken(SPOKEN + 1)])
    stored = await store.load(ByPublicId("session-2"), WINDOWS)

    assert [row.sid for row in listed] == [3, 2, 1]
    assert isinstance(outcomes[0], Applied)
    assert stored is not None
    assert stored.row.version == SPOKEN + 1
