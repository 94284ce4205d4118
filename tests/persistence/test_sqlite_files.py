"""What a SqliteStore does to the file system, and what it leaves alone."""

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from salon_persistence.errors import FormatTooNew, NotAStore, StoreError, StoreInUse, StoreUnavailable
from salon_persistence.sqlite import SqliteStore, layout, opening
from tests.persistence.conformance import applied, grown, history, opened
from tests.persistence.places import SqlitePlace, Ticks
from tests.persistence.sessions import NOW_US, created


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


def store_at(path: Path | str) -> SqliteStore:
    ticks = Ticks()
    return SqliteStore(path, wall_us=ticks.wall_us, random_bytes=ticks.random_bytes)


@contextmanager
def umask(mask: int) -> Generator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pragma(path: Path, name: str) -> object:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        connection.close()


async def refused(path: Path, error: type[StoreError], match: str) -> None:
    """Opening fails with this sentence, and nothing is held afterwards."""
    store = store_at(path)
    try:
        with pytest.raises(error, match=match):
            await store.open()
    finally:
        await store.close()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
async def test_every_file_is_for_its_owner_alone_whatever_the_umask(mask: int, tmp_path: Path) -> None:
    with umask(mask):
        async with opened(SqlitePlace(tmp_path)) as store:
            await grown(store, 2)
            found = modes(tmp_path)

    assert found == dict.fromkeys(("chat.db", "chat.db-wal", "chat.db-shm", "chat.db.lock"), 0o600)


async def test_a_file_that_others_can_read_is_pointed_out_and_not_changed(place: SqlitePlace) -> None:
    async with opened(place):
        pass
    place.path.chmod(0o644)
    store = place.store()
    info = await store.open()
    await store.close()

    assert any("mode 0644" in warning for warning in info.warnings)
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o644


async def test_a_new_file_says_what_it_is(place: SqlitePlace) -> None:
    async with opened(place):
        pass

    assert pragma(place.path, "application_id") == layout.APPLICATION_ID == int.from_bytes(b"SALN", "big")
    assert pragma(place.path, "user_version") == layout.LAYOUT == max(layout.MIGRATIONS)
    assert pragma(place.path, "auto_vacuum") == 2
    assert pragma(place.path, "journal_mode") == "wal"
    assert pragma(place.path, "integrity_check") == "ok"


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1), ("memory", 1)])
async def test_durability_is_the_level_of_synchronising(
    durability: opening.Durability, level: int, tmp_path: Path
) -> None:
    store = SqlitePlace(tmp_path, durability).store()
    info = await store.open()
    writing = store._writing  # pyright: ignore[reportPrivateUsage]
    assert writing is not None
    (found,) = await (await writing.execute("PRAGMA synchronous")).fetchone() or (None,)
    await store.close()

    assert (found, info.durability, store.durability) == (level, durability, durability)


async def test_the_store_introduces_itself(place: SqlitePlace) -> None:
    store = place.store()
    info = await store.open()
    await store.close()

    assert info.store == f"sqlite:///{place.path}"
    assert info.engine.startswith(f"SQLite {sqlite3.sqlite_version}")
    assert (info.format, info.epoch, info.clean) == (layout.LAYOUT, 1, True)
    assert ("let no other program write" in info.engine) is ((3, 7, 0) <= sqlite3.sqlite_version_info <= (3, 51, 2))


@pytest.mark.parametrize(
    ("version", "warns"),
    [((3, 6, 23), False), ((3, 7, 0), True), ((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False)],
)
def test_versions_of_sqlite_with_the_corruption_bug_are_named(
    version: tuple[int, int, int], warns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)

    assert bool(opening.version_warnings()) is warns


async def test_a_file_in_use_names_its_owner_and_since_when(place: SqlitePlace) -> None:
    async with opened(place):
        with pytest.raises(StoreInUse) as caught:
            await place.store().open()

    sentence = str(caught.value)
    assert sentence.startswith(f"chat.db is owned by process {os.getpid()} since ")
    assert sentence.endswith(". One process per file: run one worker (`--workers 1`).")


async def test_the_sentence_has_a_date_when_the_owner_came_on_another_day(place: SqlitePlace) -> None:
    async with opened(place):
        place.ticks.now_us += 3 * 86_400_000_000
        with pytest.raises(StoreInUse, match=r"since \d{4}-\d\d-\d\d \d\d:\d\d\. One"):
            await place.store().open()


async def test_a_lock_file_that_says_nothing_still_holds(place: SqlitePlace) -> None:
    async with opened(place):
        place.path.with_name("chat.db.lock").write_bytes(b"")
        with pytest.raises(StoreInUse, match="owned by another process"):
            await place.store().open()


async def test_two_names_of_one_file_have_one_lock(place: SqlitePlace, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere.db"
    link.symlink_to(place.path)
    async with opened(place):
        await refused(link, StoreInUse, "chat.db is owned")


async def test_a_lock_file_that_a_dead_owner_left_is_no_obstacle(place: SqlitePlace) -> None:
    place.path.with_name("chat.db.lock").write_text(f"1 {NOW_US}\n")
    async with opened(place) as store:
        await grown(store, 2)


def posix_locks() -> list[str]:
    """Of this process, without the running numbers that the kernel gives them."""
    lines = Path("/proc/locks").read_text().splitlines()
    return sorted(line.split(":", 1)[1] for line in lines if f" {os.getpid()} " in line)


async def test_an_attempt_to_open_the_file_drops_none_of_its_owners_locks(place: SqlitePlace) -> None:
    """Closing a file drops all the locks that the process has on it, unless SQLite does the closing."""
    async with opened(place) as store:
        await grown(store, 2)
        before = posix_locks()
        with pytest.raises(StoreInUse):
            await place.store().open()

        assert posix_locks() == before
        assert len(before) >= 3


OWNING = """
    import asyncio, os, sys
    from salon_persistence.sqlite import SqliteStore

    async def main():
        store = SqliteStore(sys.argv[1], wall_us=lambda: 1, random_bytes=os.urandom)
        await store.open()
        print(os.getpid(), flush=True)
        sys.stdin.read()
        await store.close()

    asyncio.run(main())
"""


async def test_an_owner_in_another_process_is_named_and_its_death_frees_the_file(place: SqlitePlace) -> None:
    command = [sys.executable, "-c", textwrap.dedent(OWNING), str(place.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:  # noqa: ASYNC220
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        await refused(place.path, StoreInUse, f"owned by process {pid} since")
        owner.kill()
    async with opened(place) as store:
        await grown(store, 2)


async def test_a_failed_opening_lets_go_of_the_lock(place: SqlitePlace, tmp_path: Path) -> None:
    place.path.write_bytes(b"not a database " * 100)
    await refused(place.path, NotAStore, "not a database")
    place.path.unlink()
    async with opened(place) as store:
        await grown(store, 2)


@pytest.mark.parametrize("text", [b"Dear diary, " * 500, b"x", bytes(4096)], ids=["prose", "a byte", "zeros"])
async def test_what_is_not_a_database_is_left_as_it_is(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "diary.db"
    path.write_bytes(text)
    await refused(path, NotAStore, "diary.db is not a database; it was left as it is")

    assert contents(tmp_path) == {"diary.db": text}


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_the_database_of_another_application_is_left_as_it_is(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(f"PRAGMA journal_mode = {mode}")
    other.execute("CREATE TABLE theirs (text)")
    other.execute("INSERT INTO theirs VALUES ('precious')")
    before = contents(tmp_path)
    await refused(path, NotAStore, "other.db is a database of another application")

    assert contents(tmp_path) == before
    other.close()


async def test_a_database_that_is_marked_but_has_no_tables_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA user_version = 7")
    other.close()

    await refused(path, NotAStore, "another application")


async def test_a_file_of_a_newer_layout_is_left_as_it_is(place: SqlitePlace) -> None:
    async with opened(place) as store:
        await grown(store, 2)
    newer = sqlite3.connect(place.path, isolation_level=None)
    newer.execute(f"PRAGMA user_version = {layout.LAYOUT + 1}")
    newer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    newer.close()
    before = contents(place.path.parent)
    await refused(place.path, FormatTooNew, f"has layout {layout.LAYOUT + 1}; this release knows up to {layout.LAYOUT}")

    assert contents(place.path.parent) == before


async def test_an_empty_file_becomes_a_store(place: SqlitePlace) -> None:
    place.path.touch()
    async with opened(place) as store:
        await grown(store, 2)
    async with opened(place) as store:
        assert await history(store) == [1, 2]


async def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    await refused(tmp_path / "nowhere" / "chat.db", StoreUnavailable, "nowhere does not exist; create it first")

    assert contents(tmp_path) == {}


async def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    await refused(tmp_path, StoreUnavailable, "is not a file")


async def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    await refused(tmp_path / "file" / "chat.db", StoreUnavailable, "cannot be reached|does not exist")


async def test_a_folder_in_which_nothing_can_be_created_is_named() -> None:
    """The kernel's own folder refuses even the superuser."""
    await refused(Path("/proc/self/chat.db"), StoreUnavailable, "chat.db.lock cannot be created")


async def test_a_folder_without_write_permission_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    folder.chmod(0o500)
    if os.geteuid() == 0:
        pytest.skip("the superuser may write anywhere; see the test before")
    await refused(folder / "chat.db", StoreUnavailable, "cannot be created")


@contextmanager
def mounted(folder: Path, options: str) -> Generator[None]:
    """A small file system of its own, if this machine lets us."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    with suppress(FileNotFoundError):
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            try:
                yield
            finally:
                subprocess.run(["umount", str(folder)], check=True)
            return
    pytest.skip("mounting a file system is not allowed here")


async def test_a_read_only_file_system_is_told_apart(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=1m"):
        place = SqlitePlace(tmp_path / "small")
        async with opened(place) as store:
            await grown(store, 2)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "small")], check=True)  # noqa: ASYNC221
        await refused(place.path, StoreUnavailable, "Read-only file system")


async def test_a_disk_that_is_full_refuses_and_harms_nothing_and_heals(tmp_path: Path) -> None:
    from salon_persistence.store import Refused
    from tests.persistence.sessions import turn

    with mounted(tmp_path / "small", "size=1m"):
        place = SqlitePlace(tmp_path / "small")
        async with opened(place) as store:
            await applied(store, created())
            last, outcome = 1, None
            while not isinstance(outcome, Refused):
                last += 1
                (outcome,) = await store.commit([turn(1, last, state={"blob": bytes(20_000)})])
            assert isinstance(outcome.error, StoreUnavailable)
            assert last > 5
            assert await history(store) == list(range(1, last))
            subprocess.run(["mount", "-o", "remount,size=8m", str(tmp_path / "small")], check=True)  # noqa: ASYNC221
            await store.probe()
            await applied(store, turn(1, last))
        async with opened(place) as store:
            assert await history(store) == list(range(1, last + 1))
        assert pragma(place.path, "integrity_check") == "ok"


async def test_a_disk_that_is_full_from_the_start_is_told(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=16k"):
        await refused(tmp_path / "small" / "chat.db", StoreUnavailable, "chat.db")


async def test_a_name_with_odd_letters_is_taken_literally(tmp_path: Path) -> None:
    path = tmp_path / "what? 100% #1 ü.db"
    store = store_at(path)
    await store.open()
    await grown(store, 2)
    await store.close()

    assert path.exists()
    assert contents(tmp_path).keys() == {path.name, path.name + ".lock"}


async def test_a_creation_that_died_half_way_begins_again(place: SqlitePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = layout.MIGRATIONS[1]
    monkeypatch.setattr(layout, "MIGRATIONS", {1: (*whole[:5], "no such statement")})
    with pytest.raises(StoreError):
        await place.store().open()
    monkeypatch.undo()
    async with opened(place) as store:
        await grown(store, 2)


async def test_an_older_layout_is_migrated_step_by_step(place: SqlitePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(place) as store:
        await grown(store, 3)
    steps = {
        **layout.MIGRATIONS,
        3: ("CREATE TABLE third (x)",),
        4: ("CREATE TABLE fourth (x)", "INSERT INTO fourth VALUES (1)"),
    }
    monkeypatch.setattr(layout, "MIGRATIONS", {**steps, 4: (*steps[4], "no such statement")})
    monkeypatch.setattr(opening, "LAYOUT", 4)
    with pytest.raises(StoreError):
        await place.store().open()
    assert pragma(place.path, "user_version") == 3
    monkeypatch.setattr(layout, "MIGRATIONS", steps)
    async with opened(place) as store:
        assert await history(store) == [1, 2, 3]

    assert pragma(place.path, "user_version") == 4


async def test_closing_folds_the_log_into_the_file(place: SqlitePlace) -> None:
    async with opened(place) as store:
        await grown(store, 5)

    assert {path.name for path in place.path.parent.iterdir()} == {"chat.db", "chat.db.lock"}
