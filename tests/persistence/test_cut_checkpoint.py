"""A checkpoint that was cut short leaves a file that is whole only with its log: it is opened, and nothing is lost."""

import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest

from salon_persistence.store import Applied, ByPublicId
from tests.persistence.places import SqlitePlace
from tests.persistence.sessions import created, turn

TURNS = 40
"""Of 20 KB each: the log holds more pages than the file has."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def first_page_in(log: Path) -> bytes:
    """The newest copy of page 1 in a write-ahead log: frames of 24 bytes and a page behind 32 bytes of header."""
    data = log.read_bytes()
    (page_bytes,) = struct.unpack_from(">I", data, 8)
    found = b""
    for offset in range(32, len(data) - page_bytes - 23, 24 + page_bytes):
        (number,) = struct.unpack_from(">I", data, offset)
        if number == 1:
            found = data[offset + 24 : offset + 24 + page_bytes]
    return found


async def test_a_file_in_the_middle_of_a_checkpoint_is_opened_with_all_that_is_in_its_log(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    cut = SqlitePlace(tmp_path / "cut")
    cut.path.parent.mkdir()
    store = place.store()
    await store.open()
    (outcome,) = await store.commit([created()])
    assert isinstance(outcome, Applied)
    for version in range(2, TURNS + 2):
        (outcome,) = await store.commit([turn(outcome.sid, version, state={"text": b"x" * 20_000})])
        assert isinstance(outcome, Applied)
    for suffix in ("", "-wal"):
        shutil.copy(f"{place.path}{suffix}", f"{cut.path}{suffix}")
    await store.close()
    head = first_page_in(Path(f"{cut.path}-wal"))
    with cut.path.open("r+b") as file:  # what a checkpoint writes first, and nothing of the rest
        file.write(head)
    named, there = struct.unpack_from(">I", head, 28)[0], cut.path.stat().st_size // 4096
    assert named > there
    with (
        closing(sqlite3.connect(f"file:{cut.path}?mode=ro&immutable=1", uri=True)) as alone,
        pytest.raises(sqlite3.DatabaseError, match="malformed"),
    ):
        alone.execute("SELECT count(*) FROM sqlite_master")

    again = cut.store()
    await again.open()
    stored = await again.load(ByPublicId("public-1"), {})
    await again.close()

    assert stored is not None
    assert (stored.row.version, len(stored.tail)) == (TURNS + 1, TURNS + 1)
