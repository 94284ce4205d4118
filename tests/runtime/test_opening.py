"""What cannot be opened is told by a typed error, and left as it was."""

# ruff: noqa: ASYNC240  # a test may wait for its own small files

import os
import sqlite3
from pathlib import Path

import pytest

from salon import ConfigurationError, Corrupt, Runtime, SchemaTooNew, Session, StoreInUse, StoreUnavailable
from salon.errors import SalonError
from tests.runtime.places import Kind, Place


class Chat(Session, name="chat"):
    pass


async def refused(path: Path, error: type[SalonError]) -> str:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error) as caught:
        await Runtime(Chat, store=f"sqlite:///{path}").open()
    assert (path.read_bytes() if path.is_file() else None) == before
    return str(caught.value)


async def test_a_file_in_use_names_its_owner_and_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with Runtime(Chat, store=f"sqlite:///{path}"):
        with pytest.raises(StoreInUse) as caught:
            await Runtime(Chat, store=f"sqlite:///{path}").open()

    sentence = str(caught.value)
    assert sentence.startswith(f"chat.db is owned by process {os.getpid()} since ")
    assert sentence.endswith("One process per file: run one worker (`--workers 1`).")
    async with Runtime(Chat, store=f"sqlite:///{path}") as runtime:
        await runtime.create(Chat)


async def test_a_file_of_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with Runtime(Chat, store=f"sqlite:///{path}"):
        pass
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    await refused(path, SchemaTooNew)


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_text("Dear diary, " * 1000)
    await refused(path, Corrupt)


async def test_a_database_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE notes(text)")
    database.close()
    await refused(path, Corrupt)


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    await refused(tmp_path / "nowhere" / "chat.db", StoreUnavailable)


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    await refused(tmp_path / "file" / "chat.db", StoreUnavailable)


async def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with Runtime(Chat, store=f"sqlite:///{path}") as runtime:
        await runtime.create(Chat)
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}

    assert set(modes) >= {"chat.db", "chat.db-wal", "chat.db.lock"}
    assert set(modes.values()) == {"0o600"}


async def test_a_session_of_a_type_that_nobody_passed_is_kept(tmp_path: Path) -> None:
    class Other(Session, name="other"):
        pass

    url = f"sqlite:///{tmp_path / 'chat.db'}"
    async with Runtime(Chat, store=url) as runtime:
        chat = await runtime.create(Chat)
    async with Runtime(Other, store=url) as runtime:
        with pytest.raises(ConfigurationError, match="holds a session of type 'chat'"):
            await runtime.explain(chat.session_id)
    async with Runtime(Chat, store=url) as runtime:
        await runtime.get(Chat, chat.session_id)


async def test_a_damaged_file_is_told_as_such_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with Runtime(Chat, store=f"sqlite:///{path}") as runtime:
        await runtime.create(Chat)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    before = path.read_bytes()
    with pytest.raises(Corrupt, match="damaged"):
        async with Runtime(Chat, store=f"sqlite:///{path}") as runtime:
            await runtime.find()

    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
async def test_one_store_object_is_opened_once_and_its_first_owner_left_alone(kind: Kind, tmp_path: Path) -> None:
    store = Place(kind, tmp_path).store()
    async with Runtime(Chat, store=store) as runtime:
        with pytest.raises(StoreInUse):
            await Runtime(Chat, store=store).open()
        chat = await runtime.create(Chat)
        assert (await chat.peek()).version == 1
    async with Runtime(Chat, store=store) as runtime:
        await runtime.get(Chat, chat.session_id)
