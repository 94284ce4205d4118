"""What many clients did and saw of real sessions, under everything that happens to a chatbot, can be."""

from collections import Counter

import anyio
import anyio.lowlevel
import pytest

from salon import Runtime, SessionHandle, Settings, StoreUnavailable
from salon.testing import FaultPoint, FaultyStore, History, SeededChance, check
from tests.consistency.notebook import Append, Client, Desk, Lines, Notebook, read
from tests.runtime.conftest import place as place
from tests.runtime.places import Place

SESSIONS = 4
CLIENTS = 5
STEPS = 20
SETTINGS = Settings(tick_s=0.002, probe_interval_s=0.001)


class Crowd:
    """Clients of some notebooks that do, by a seed, whatever clients do."""

    def __init__(self, history: History, chance: SeededChance, desk: Desk, life: int) -> None:
        self.history = history
        self.chance = chance
        self.desk = desk
        self.life = life
        self.met = Counter[str]()

    async def play(self, handles: dict[str, SessionHandle[Lines]]) -> None:
        async with anyio.create_task_group() as group:
            for session, handle in handles.items():
                for number in range(CLIENTS):
                    group.start_soon(self._live, Client(self.history, session, handle), f"{session}.{number}")

    async def _live(self, client: Client, name: str) -> None:
        for step in range(STEPS):
            await self._step(client, f"{name}.{self.life}.{step}")
            await anyio.lowlevel.checkpoint()

    async def _step(self, client: Client, element: str) -> None:
        takes_s = self.chance.below(3) * 0.001
        match self.chance.below(10):
            case 0:
                await self._append(client, Append(element=element, takes_s=0.05), timeout_s=0.004)
            case 1:
                with anyio.move_on_after(0.001):
                    await client.append(Append(element=element, takes_s=0.003))
                self.met["caller cancelled"] += 1
            case 2:
                await self._append(client, Append(element=element, takes_s=takes_s, ends="refused"))
            case 3:
                await self._append(client, Append(element=element, takes_s=takes_s, ends="raised"))
            case 4 | 5:
                await client.peek()
            case 6:
                await client.read()
            case _:
                await self._append(client, Append(element=element, takes_s=takes_s))

    async def _append(self, client: Client, message: Append, timeout_s: float | None = None) -> None:
        error = await client.append(message, timeout_s)
        self.met[type(error).__name__] += 1


async def open_all(runtime: Runtime, names: list[str]) -> dict[str, SessionHandle[Lines]]:
    handles: dict[str, SessionHandle[Lines]] = {}
    while len(handles) < len(names):
        name = names[len(handles)]
        try:
            handles[name] = await runtime.get_or_create(Notebook, name=name)
        except StoreUnavailable:
            pass  # A fault may have come as early as this; the next call is another one.
    return handles


async def write_finals(history: History, place: Place, desk: Desk, names: list[str]) -> None:
    async with Runtime(Notebook, store=place.store(), deps=desk) as runtime:
        for name, handle in (await open_all(runtime, names)).items():
            history.final(name, await read(await handle.peek()))


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
    await write_finals(history, place, desk, NAMES)

    assert check(history, acknowledged_min=20) == []
    assert desk.overlaps == []
    assert len(store.fired) >= 5
    assert sum(append.fate == "unknown" for append in history.appends) > 0
    assert crowd.met["NotApplied"] + crowd.met["StoreUnavailable"] > 0


LIES = [
    ("lost", FaultPoint("commit", 12, "instead", "lose", times=12)),
    ("not_applied", FaultPoint("commit", 12, "after", "refuse", times=12)),
]


@pytest.mark.parametrize(("kind", "lie"), LIES)
async def test_a_store_that_lies_is_found_out(place: Place, kind: str, lie: FaultPoint) -> None:
    history, desk = History(), Desk(anyio.sleep)
    store = FaultyStore(place.store(), [lie])
    async with Runtime(Notebook, store=store, deps=desk, settings=SETTINGS) as runtime:
        await Crowd(history, SeededChance(1), desk, 0).play(await open_all(runtime, NAMES))
    await write_finals(history, place, desk, NAMES)

    assert store.fired
    assert kind in {violation.kind for violation in check(history)}
