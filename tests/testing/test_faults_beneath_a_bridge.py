"""The faulty store where it is used: over a real store, beneath the bridge that a runtime talks to, on both threads."""

import itertools
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from salon.testing import FaultPoint, FaultyStore, SeededChance, When
from salon_actors import HostLoop, current_host_loop
from salon_persistence.bridge import Bridge, bridge_for
from salon_persistence.errors import StoreFailed, StoreUnavailable
from salon_persistence.memory import MemoryFile, MemoryStore
from salon_persistence.records import SessionRow, TurnRecord
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Applied, ByPublicId, Outcome, Refused, Store, Unknown

WALL_US = 1_900_000_000_000_000

Reopen = Callable[[], Store]
"""A new store over what the earlier ones left behind."""


@pytest.fixture(params=["memory", "sqlite"])
def reopen_fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Reopen]:
    """For each number a place of its own, empty at first."""
    return partial(memory_place if request.param == "memory" else sqlite_place, tmp_path)


def memory_place(folder: Path, number: int) -> Reopen:
    file = MemoryFile()
    return lambda: MemoryStore(file, wall_us=lambda: WALL_US, random_bytes=SeededChance(number).random_bytes)


def sqlite_place(folder: Path, number: int) -> Reopen:
    file = folder / f"chat-{number}.db"
    return lambda: SqliteStore(file, wall_us=lambda: WALL_US, random_bytes=SeededChance(number).random_bytes)


@pytest.fixture
def reopen(reopen_fresh: Callable[[int], Reopen]) -> Reopen:
    return reopen_fresh(0)


class Pen:
    """Writes turn after turn of one session through a bridge, and keeps the answers."""

    def __init__(self, bridge: Bridge, host: HostLoop) -> None:
        self.bridge = bridge
        self.host = host
        self.sid = 0

    async def create(self) -> Outcome:
        row = SessionRow(uid=b"u" * 16, public_id="s_1", type="chat", created_us=WALL_US, activity_us=WALL_US)
        outcome = await self.write(TurnRecord(sid=0, version=1, whole=True, created=row))
        self.sid = outcome.sid if isinstance(outcome, Applied) else 0
        return outcome

    async def turn(self, version: int) -> Outcome:
        return await self.write(TurnRecord(sid=self.sid, version=version, state={"count": bytes([version])}))

    async def write(self, record: TurnRecord) -> Outcome:
        promise = self.host.promise()
        self.bridge.commit(record, promise.set_result)
        outcome: Outcome = await promise
        return outcome


@asynccontextmanager
async def pen_over(store: Store) -> AsyncGenerator[Pen]:
    host = current_host_loop()
    bridge = bridge_for(store, host, time.monotonic)
    await bridge.open()
    try:
        yield Pen(bridge, host)
    finally:
        await bridge.close()
        await host.close()


async def version_in(store: Store) -> int:
    async with pen_over(store) as pen:
        stored = await pen.bridge.load(ByPublicId("s_1"), {})
        return stored.row.version if stored is not None else 0


async def test_without_a_fault_everything_is_applied(reopen: Reopen) -> None:
    store = FaultyStore(reopen())
    async with pen_over(store) as pen:
        outcomes = [await pen.create(), await pen.turn(2), await pen.turn(3)]

    assert [type(outcome) for outcome in outcomes] == [Applied] * 3
    assert (await version_in(reopen()), store.calls("commit"), store.fired) == (3, 3, ())


async def test_a_stalled_commit_holds_neither_the_host_loop_nor_the_reads(reopen: Reopen) -> None:
    store = FaultyStore(reopen(), [FaultPoint("commit", 2, "before", "stall")])
    outcomes = list[Outcome]()
    async with pen_over(store) as pen:
        await pen.create()

        async def turn() -> None:
            outcomes.append(await pen.turn(2))

        async with anyio.create_task_group() as group:
            group.start_soon(turn)
            await store.wait_until_stalled()
            stored = await pen.bridge.load(ByPublicId("s_1"), {})
            assert stored is not None
            assert (stored.row.version, outcomes) == (1, [])
            assert pen.bridge.pending_since() is not None
            store.release()

    assert [type(outcome) for outcome in outcomes] == [Applied]
    assert await version_in(reopen()) == 2


async def test_an_answer_that_is_lost_leaves_the_write_and_one_that_is_refused_does_not(reopen: Reopen) -> None:
    plan = [FaultPoint("commit", 2, "instead", "refuse"), FaultPoint("commit", 3, "after", "unknown")]
    async with pen_over(FaultyStore(reopen(), plan)) as pen:
        await pen.create()
        outcomes = [await pen.turn(2), await pen.turn(2)]

    assert [type(outcome) for outcome in outcomes] == [Refused, Unknown]
    assert await version_in(reopen()) == 2


async def test_a_probe_heals_when_the_outage_is_over(reopen: Reopen) -> None:
    store = FaultyStore(reopen(), [FaultPoint("probe", 1, "instead", "refuse", times=2)])
    async with pen_over(store) as pen:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await pen.bridge.probe()
        await pen.bridge.probe()

    assert store.calls("probe") == 3


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_death_at_any_write_the_store_holds_the_state_before_or_after_it(
    when: When, reopen_fresh: Callable[[int], Reopen]
) -> None:
    """Five writes; what was acknowledged before the death is there, and at most the one that died besides."""
    found = list[tuple[int, int]]()
    for number in itertools.count(1):
        reopen, acknowledged = reopen_fresh(number), 0
        store = FaultyStore(reopen(), [FaultPoint("write", number, when, "die")])
        async with pen_over(store) as pen:
            outcomes = [await pen.create(), *[await pen.turn(version) for version in range(2, 6)]]
            acknowledged = sum(isinstance(outcome, Applied) for outcome in outcomes)
            if store.is_dead:
                with pytest.raises(StoreFailed):
                    await pen.bridge.load(ByPublicId("s_1"), {})
        found.append((acknowledged, await version_in(reopen())))
        if not store.fired:
            break

    extra = 0 if when == "before" else 1
    assert found == [*[(n, n + extra) for n in range(5)], (5, 5)]
