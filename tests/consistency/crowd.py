"""Clients of some notebooks that do, by a seed, whatever clients do, and write down what they saw."""

from collections import Counter

import anyio
import anyio.lowlevel

from salon import Runtime, SessionHandle, Settings, StoreUnavailable
from salon.testing import History, SeededChance
from tests.consistency.notebook import Append, Client, Desk, Lines, Notebook, read
from tests.runtime.places import Place

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
