"""Stored time never runs backwards, whatever the clock on the wall does, in one life or across a restart."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import anyio
import pytest

from salon import Runtime, Settings, SystemChance
from salon.info import microseconds
from salon.testing import VirtualClock
from salon_persistence.memory import MemoryFile, MemoryStore
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Store
from tests.consistency.notebook import Append, Desk, Notebook
from tests.consistency.recorder import Recorder

HOUR_S = 3600.0
BOOT = VirtualClock().wall()


class Shelf:
    """One place, opened by processes whose clocks disagree."""

    def __init__(self, kind: Literal["sqlite", "memory"], folder: Path) -> None:
        self._kind = kind
        self._path = folder / "chat.db"
        self._file = MemoryFile()
        self.recorder: Recorder

    def open(self, clock: VirtualClock, activity_lag_s: float = 0) -> Runtime:
        self.recorder = Recorder(self._store(clock))
        desk, settings = Desk(anyio.sleep), Settings(activity_lag_s=activity_lag_s)
        return Runtime(Notebook, store=self.recorder, deps=desk, clock=clock, settings=settings)

    def _store(self, clock: VirtualClock) -> Store:
        def wall_us() -> int:
            return microseconds(clock.wall())

        random_bytes = SystemChance().random_bytes
        if self._kind == "memory":
            return MemoryStore(self._file, wall_us=wall_us, random_bytes=random_bytes)
        return SqliteStore(self._path, wall_us=wall_us, random_bytes=random_bytes)

    def times(self) -> list[datetime]:
        """When the turns were that this process wrote."""
        return [BOOT + timedelta(microseconds=record.at_us - microseconds(BOOT)) for record in self.recorder.records]


@pytest.fixture(params=["sqlite", "memory"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    return Shelf(request.param, tmp_path)


async def test_a_wall_clock_that_is_set_back_makes_no_turn_earlier_than_the_one_before(shelf: Shelf) -> None:
    clock = VirtualClock()
    async with shelf.open(clock) as runtime:
        notebook = await runtime.create(Notebook)
        for number, step_s in enumerate((10, -HOUR_S, 5, 2 * HOUR_S, -HOUR_S)):
            clock.step_wall(step_s)
            await clock.advance(1)
            before = (await notebook.info()).last_activity_at
            await notebook.ask(Append(element=str(number)))
            assert (await notebook.info()).last_activity_at >= before

    times = shelf.times()
    assert len(times) == 6
    assert sorted(times) == times
    assert times[-1] > BOOT + timedelta(seconds=HOUR_S)


async def test_a_process_whose_clock_is_late_goes_on_from_the_time_that_the_store_has_seen(shelf: Shelf) -> None:
    early = VirtualClock()
    async with shelf.open(early) as runtime:
        notebook = await runtime.create(Notebook)
        await early.advance(HOUR_S)
        await notebook.ask(Append(element="first"))
    seen = shelf.times()[-1]
    async with shelf.open(VirtualClock()) as runtime:
        again = await runtime.get(Notebook, notebook.session_id)
        await again.ask(Append(element="second"))
        other = await (await runtime.create(Notebook)).info()

        assert other.created_at >= seen
        assert (await again.info()).last_activity_at >= seen
    assert shelf.times()[0] >= seen


async def test_stored_activity_lags_by_as_much_as_is_allowed_and_no_more(shelf: Shelf) -> None:
    clock, lag_s = VirtualClock(), 60.0
    async with shelf.open(clock, lag_s) as runtime:
        notebook = await runtime.create(Notebook)
        for number in range(12):
            await clock.advance(25)
            await notebook.ask(Append(element=str(number)))
    last, written = shelf.times()[-1], [record.activity_us is not None for record in shelf.recorder.records[1:]]
    async with shelf.open(clock, lag_s) as runtime:
        found = (await (await runtime.get(Notebook, notebook.session_id)).info()).last_activity_at

    assert last - timedelta(seconds=lag_s) <= found <= last
    assert 4 == sum(written)
