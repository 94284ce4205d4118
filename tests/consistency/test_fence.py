"""Two runtimes on one file, the lock removed on purpose: the fence alone must hold.

Only a stale write that comes last tells a fence from none: while the new owner goes on writing, its next turn mends
what a stale one has spoilt. So the new owner is quiet when the stale one writes, and nobody writes after it.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import anyio
import pytest

from salon import Fenced, Runtime, SessionHandle, Settings
from salon.testing import FaultPoint, FaultyStore, History, Violation, check
from salon_persistence import files
from salon_persistence.memory import MemoryStore
from salon_persistence.records import TurnRecord
from salon_persistence.sqlite import writer
from salon_persistence.store import Outcome, Store
from tests.consistency.notebook import Append, Client, Desk, Lines, Notebook, read
from tests.runtime.conftest import place as place
from tests.runtime.places import Place

Check = Literal["epoch", "version"]

NAMES = ["s0", "s1", "s2", "s3"]
SETTINGS = Settings(probe_interval_s=0.001)


@dataclass
class Gates:
    """Where handlers of the stale runtime wait until it has become stale."""

    opened: anyio.Event
    full: anyio.Event
    """As many wait as there are sessions."""
    waiting: int = 0

    async def sleep(self, seconds: float) -> None:
        self.waiting += 1
        if self.waiting == len(NAMES):
            self.full.set()
        await self.opened.wait()


@pytest.fixture
def without_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(self: files.OwnerLock, now_us: int) -> None:
        """Everybody owns the file."""

    monkeypatch.setattr(files.OwnerLock, "acquire", acquire)


def store_of(place: Place) -> Store:
    """Another owner of the same file."""
    store = place.store()
    if isinstance(store, MemoryStore):
        store.file.owner = None
    return store


@asynccontextmanager
async def opened(place: Place, desk: Desk, *points: FaultPoint) -> AsyncGenerator[tuple[Runtime, FaultyStore]]:
    store = FaultyStore(store_of(place), points)
    async with Runtime(Notebook, store=store, deps=desk, settings=SETTINGS) as runtime:
        yield runtime, store


async def clients(runtime: Runtime, history: History) -> dict[str, Client]:
    handles: dict[str, SessionHandle[Lines]] = {}
    for name in NAMES:
        handles[name] = await runtime.get_or_create(Notebook, name=name)
    return {name: Client(history, name, handle) for name, handle in handles.items()}


@dataclass
class Ending:
    history: History
    errors: list[object]
    """What the stale runtime's clients met."""


async def a_stale_write_comes_last(place: Place, late_turns: int) -> Ending:
    history, gates, errors = History(), Gates(anyio.Event(), anyio.Event()), list[object]()
    async with opened(place, Desk(gates.sleep)) as (stale, _):
        old = await clients(stale, history)
        for name, client in old.items():
            await client.append(Append(element=f"{name} first"))
        async with anyio.create_task_group() as group:

            async def append(client: Client, element: str, takes_s: float) -> None:
                errors.append(await client.append(Append(element=element, takes_s=takes_s)))

            for name, client in old.items():
                group.start_soon(append, client, f"{name} running", 1)
            with anyio.fail_after(10):
                await gates.full.wait()
            async with opened(place, Desk(anyio.sleep)) as (owner, _):
                for name, client in (await clients(owner, history)).items():
                    for number in range(2):
                        assert await client.append(Append(element=f"{name} of the new owner {number}")) is None
                gates.opened.set()
        for number in range(late_turns):
            for name, client in old.items():
                errors.append(await client.append(Append(element=f"{name} late {number}")))
    async with opened(place, Desk(anyio.sleep)) as (witness, _):
        for name, client in (await clients(witness, history)).items():
            history.final(name, await elements_left(client.handle))
    return Ending(history, errors)


async def elements_left(handle: SessionHandle[Lines]) -> list[str]:
    """Whatever is there, fit or not."""
    state = (await handle.peek()).state
    return [element async for element in state.lines.scan()]


@pytest.mark.usefixtures("without_lock")
async def test_every_write_of_a_stale_runtime_is_refused_though_it_comes_last(place: Place) -> None:
    ending = await a_stale_write_comes_last(place, late_turns=3)

    assert [Fenced] * 4 * len(NAMES) == list(map(type, ending.errors))
    assert check(ending.history, acknowledged_min=3 * len(NAMES)) == []


def remove_from_sqlite(monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    """As a store would be that trusts its lock."""
    if check == "epoch":
        claim = "UPDATE owner SET lsn = max(lsn, ?), sid = max(sid, ?), wall_us = ? WHERE id = 1 AND ?"
        monkeypatch.setattr(writer, "_CLAIM", claim)
    else:
        turn = "UPDATE session SET head_lsn = ?, version = ? WHERE sid = ? AND (? OR ? OR ? OR TRUE)"
        monkeypatch.setattr(writer, "_TURN", turn)
        monkeypatch.setattr(writer, "_JOURNAL", writer._JOURNAL.replace("INSERT", "INSERT OR REPLACE"))  # pyright: ignore


def remove_from_memory(monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    checked: Any = MemoryStore._stand  # pyright: ignore

    def stand_anyhow(self: MemoryStore, record: TurnRecord, sid: int, lsn: int, body: bytes) -> Outcome:
        if record.created is None:
            self.file.sessions[sid].version = record.version - 1
        return cast(Outcome, checked(self, record, sid, lsn, body))

    def go_on(self: MemoryStore) -> Any:
        return self._stopped  # pyright: ignore

    if check == "epoch":
        monkeypatch.setattr(MemoryStore, "_fenced", go_on)
    else:
        monkeypatch.setattr(MemoryStore, "_stand", stand_anyhow)


REMOVERS: dict[str, Callable[[pytest.MonkeyPatch, Check], None]] = {
    "sqlite": remove_from_sqlite,
    "memory": remove_from_memory,
}


def _violations_of(error: BaseException) -> list[Violation]:
    """A file that cannot be read any more lost everything."""
    return [Violation("lost", "", (), repr(error))]


async def _end_with(place: Place, removed: set[Check], monkeypatch: pytest.MonkeyPatch) -> list[Violation]:
    for one in removed:
        REMOVERS[place.kind](monkeypatch, one)
    try:
        ending = await a_stale_write_comes_last(place, late_turns=0)
    except Exception as error:
        return _violations_of(error)
    return check(ending.history, acknowledged_min=3 * len(NAMES))


@pytest.mark.usefixtures("without_lock")
@pytest.mark.parametrize("removed", ["epoch", "version"])
async def test_either_check_alone_keeps_a_stale_write_out(
    place: Place, removed: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _end_with(place, {removed}, monkeypatch) == []


@pytest.mark.usefixtures("without_lock")
async def test_a_session_that_another_has_written_is_read_back_before_its_next_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two owners of one file will do, each of its own sessions: the version alone tells that a session moved."""
    remove_from_memory(monkeypatch, "epoch")
    ending = await a_stale_write_comes_last(Place("memory", tmp_path), late_turns=2)

    assert [Fenced] * len(NAMES) + [type(None)] * 2 * len(NAMES) == list(map(type, ending.errors))
    assert check(ending.history, acknowledged_min=5 * len(NAMES)) == []


@pytest.mark.usefixtures("without_lock")
async def test_without_either_check_the_same_writes_lose_what_was_acknowledged(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await _end_with(place, {"epoch", "version"}, monkeypatch)

    assert "lost" in {violation.kind for violation in found}


@pytest.mark.usefixtures("without_lock")
async def test_a_stale_snapshot_that_comes_last_is_refused(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The stale runtime has turns enough for a snapshot; it is held up on its way until another one owns the file."""
    caplog.set_level(logging.CRITICAL, logger="salon")
    history = History()
    async with opened(place, Desk(anyio.sleep), FaultPoint("keep", 1, "before", "stall")) as (stale, store):
        old = (await clients(stale, history))["s0"]
        async with anyio.create_task_group() as group:
            group.start_soon(append_until_fenced, old)
            await store.wait_until_stalled()
            async with opened(place, Desk(anyio.sleep)) as (owner, _):
                new = (await clients(owner, history))["s0"]
                for number in range(200):
                    assert await new.append(Append(element=f"new {number}")) is None
            store.release()
        assert stale.stats()["snapshots_failed"] == 1
    async with opened(place, Desk(anyio.sleep)) as (witness, _):
        for name, client in (await clients(witness, history)).items():
            history.final(name, await read(await client.handle.peek()))

    assert check(history, acknowledged_min=200 + 2) == []


async def append_until_fenced(client: Client) -> None:
    """Its last turn waits behind the snapshot."""
    number = 0
    while (error := await client.append(Append(element=f"old {number}"))) is None:
        number += 1
    assert isinstance(error, Fenced)
