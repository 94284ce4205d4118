"""What many clients did and saw of real sessions, under everything that happens to a chatbot, can be."""

from collections import Counter

import anyio
import pytest

from salon import Runtime
from salon.testing import FaultPoint, FaultyStore, History, SeededChance, check
from tests.consistency.crowd import SETTINGS, Crowd, open_all, write_finals
from tests.consistency.notebook import Append, Client, Desk, Notebook
from tests.runtime.conftest import place as place
from tests.runtime.places import Place

SESSIONS = 4
NAMES = [f"s{n}" for n in range(SESSIONS)]


@pytest.mark.parametrize("seed", range(3))
async def test_concurrency_cancellation_deadlines_and_restarts_leave_a_history_that_can_be(
    place: Place, seed: int
) -> None:
    history, desk, met = History(), Desk(anyio.sleep), Counter[str]()
    for life in range(3):
        async with Runtime(Notebook, store=place.store(), deps=desk, settings=SETTINGS) as runtime:
            crowd = Crowd(history, SeededChance(10 * seed + life), desk, life)
            await crowd.play(await open_all(runtime, NAMES))
            met += crowd.met
    await write_finals(history, place, desk, NAMES)

    assert check(history, acknowledged_min=100) == []
    assert desk.overlaps == []
    assert all(met[kind] > 0 for kind in ("NoneType", "TurnTimeout", "Refused", "TurnFailed", "caller cancelled")), met
    assert sum(read.fate == "returned" and bool(read.elements) for read in history.reads) > 50


TROUBLE = [
    FaultPoint("commit", 9, "instead", "refuse"),
    FaultPoint("commit", 14, "instead", "unknown"),
    FaultPoint("commit", 19, "after", "unknown"),
    FaultPoint("commit", 23, "instead", "unknown", sid=1),
    FaultPoint("commit", 26, "after", "unknown", sid=2),
    FaultPoint("commit", 30, "instead", "fence", sid=3),
    FaultPoint("load", 2, "instead", "refuse", times=6),
]


@pytest.mark.parametrize("seed", range(3))
async def test_a_store_in_trouble_leaves_a_history_that_can_be(place: Place, seed: int) -> None:
    history, desk = History(), Desk(anyio.sleep)
    store = FaultyStore(place.store(), TROUBLE)
    async with Runtime(Notebook, store=store, deps=desk, settings=SETTINGS) as runtime:
        crowd = Crowd(history, SeededChance(seed), desk, 0)
        await crowd.play(await open_all(runtime, NAMES))
        stats = runtime.stats()
    await write_finals(history, place, desk, NAMES)

    assert check(history, acknowledged_min=20) == []
    assert desk.overlaps == []
    assert len(store.fired) >= 5
    assert [] == [name for name in ("not_applied", "outcome_unknown", "reloads") if not stats[name]], stats


LIES = [
    ("lost", FaultPoint("commit", 12, "instead", "lose", times=3)),
    ("not_applied", FaultPoint("commit", 12, "after", "refuse", times=3)),
]


@pytest.mark.parametrize(("kind", "lie"), LIES)
async def test_a_store_that_lies_is_found_out(place: Place, kind: str, lie: FaultPoint) -> None:
    history, desk = History(), Desk(anyio.sleep)
    store = FaultyStore(place.store(), [lie])
    async with Runtime(Notebook, store=store, deps=desk, settings=SETTINGS) as runtime:
        for session, handle in (await open_all(runtime, NAMES)).items():
            for number in range(5):
                await until_well(runtime)
                await Client(history, session, handle).append(Append(element=f"{session}.{number}"))
    await write_finals(history, place, desk, NAMES)

    assert len(store.fired) == 3
    assert kind in {violation.kind for violation in check(history)}


async def until_well(runtime: Runtime) -> None:
    with anyio.fail_after(10):
        while not runtime.stats()["store_is_well"]:  # noqa: ASYNC110  # nobody tells when a store heals
            await anyio.sleep(0.001)
