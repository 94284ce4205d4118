"""Each store passes the same checks, and what one wrote another reads."""

from pathlib import Path

import pytest

from salon_persistence.store import ByPublicId, Store
from tests.persistence.conformance import CHECKS, Check, Place, applied, grown, is_applied, opened
from tests.persistence.mail_conformance import MAIL_CHECKS
from tests.persistence.places import MemoryPlace, SqlitePlace
from tests.persistence.sessions import WINDOWS, created, snapshot, turn


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryPlace | SqlitePlace:
    return MemoryPlace() if request.param == "memory" else SqlitePlace(tmp_path)


@pytest.mark.parametrize("check", CHECKS + MAIL_CHECKS, ids=lambda check: check.__name__)
async def test_a_store_keeps_its_promises(check: Check, place: Place) -> None:
    await check(place)


async def test_a_clock_that_is_set_back_does_not_take_the_store_along(place: MemoryPlace | SqlitePlace) -> None:
    async with opened(place) as store:
        await grown(store, 2)
    before_us = place.ticks.now_us
    place.ticks.now_us -= 1_000_000_000
    for _ in range(2):
        store = place.store()
        info = await store.open()
        await applied(store, created(info.epoch))
        await store.close()

        assert before_us - 10 < info.wall_high_us <= before_us


async def test_sqlite_keeps_them_at_full_durability_too(tmp_path: Path) -> None:
    for number, check in enumerate(CHECKS[:3]):
        folder = tmp_path / str(number)
        folder.mkdir()
        await check(SqlitePlace(folder, "full"))


def test_every_check_of_the_module_is_run() -> None:
    from tests.persistence import conformance

    helpers = {"opened", "fails", "applied", "grown", "history", "is_applied", "is_fenced", "is_refused"}
    functions = {
        name for name, value in vars(conformance).items() if getattr(value, "__module__", "") == conformance.__name__
    }

    assert functions - helpers - {"Place"} == {check.__name__ for check in CHECKS}


async def copied(source: Store, target: Store, public_id: str) -> None:
    """Everything of one session that the source can still tell, written through the target."""
    stored = await source.load(ByPublicId(public_id), WINDOWS)
    assert stored is not None
    assert stored.snapshot is None
    first, *others = stored.tail
    first.sid = 0
    (done,) = await applied(target, first)
    for record in others:
        record.sid = done.sid
        await applied(target, record)


@pytest.mark.parametrize("direction", ["memory to sqlite", "sqlite to memory"])
async def test_records_written_through_one_store_are_read_through_another(direction: str, tmp_path: Path) -> None:
    places: list[Place] = [MemoryPlace(), SqlitePlace(tmp_path)]
    if direction == "sqlite to memory":
        places.reverse()
    async with opened(places[0]) as source, opened(places[1]) as target:
        await grown(source, 12)
        before = await source.load(ByPublicId("public-1"), WINDOWS)
        await copied(source, target, "public-1")
        for store in (source, target):
            is_applied((await store.keep([snapshot(1, 12, 0)]))[0])
            await applied(store, turn(1, 13))
        after = [await store.load(ByPublicId("public-1"), WINDOWS) for store in (source, target)]

        assert before is not None
        assert after[0] == after[1] is not None
