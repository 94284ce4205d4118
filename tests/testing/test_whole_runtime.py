"""The kit put together: a whole runtime on a virtual clock, with seeded chance, over a store that goes wrong.

Every write of a small program goes wrong once, in every way; the program goes on, the runtime is closed and opened
again, the clients come back, and the history of all of it must hold.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import pytest
from pydantic import BaseModel

from salon import Message, OutcomeUnknown, Runtime, SalonError, Session, SessionHandle, receive
from salon.testing import Effect, FaultPoint, FaultyStore, History, SeededChance, SeededReady, VirtualClock, When, check
from salon_persistence.memory import MemoryFile, MemoryStore

NAMES = ("ann", "bob")
CLIENTS_PER_SESSION = 2
MESSAGES_PER_CLIENT = 3


class Said(BaseModel):
    elements: list[str] = []


class Say(Message[int], name="say"):
    element: str


@dataclass(frozen=True)
class Deps:
    clock: VirtualClock
    chance: SeededChance


class Chat(Session[Said, Deps], name="chat"):
    @receive
    async def say(self, message: Say) -> int:
        self.state.elements.append(message.element)
        await self.deps.clock.sleep(self.deps.chance.uniform())
        return len(self.state.elements) - 1


@dataclass
class World:
    """What outlives a runtime: the file, the clock, the clients' memory of what they did and saw."""

    seed: int
    clock: VirtualClock = field(default_factory=VirtualClock)
    file: MemoryFile = field(default_factory=MemoryFile)
    history: History = field(default_factory=History)

    def store(self) -> MemoryStore:
        chance = SeededChance(self.seed)
        return MemoryStore(
            self.file,
            wall_us=lambda: int(self.clock.wall().timestamp() * 1_000_000),
            random_bytes=chance.random_bytes,
        )

    async def live(self, store: FaultyStore, part: str) -> None:
        """One incarnation of the runtime, from its opening to its end, with all clients."""
        chance = SeededChance(self.seed)
        runtime = Runtime(
            Chat,
            store=store,
            deps=Deps(self.clock, chance),
            clock=self.clock,
            chance=SeededChance(self.seed + len(part)),
            ready=lambda: SeededReady(self.seed),
        )
        async with runtime:
            done = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(self._clients, runtime, part, done)
                while not done.is_set():
                    await self.clock.advance(0.5)
                    store.release()

    async def _clients(self, runtime: Runtime, part: str, done: anyio.Event) -> None:
        async with anyio.create_task_group() as group:
            for name in NAMES:
                for number in range(CLIENTS_PER_SESSION):
                    group.start_soon(self._client, runtime, name, f"{part}-{name}-{number}")
        done.set()

    async def _client(self, runtime: Runtime, name: str, prefix: str) -> None:
        try:
            chat = await runtime.get_or_create(Chat, name=name)
        except SalonError:
            return
        for number in range(MESSAGES_PER_CLIENT):
            await self._say(chat, name, f"{prefix}-{number}")
            await self._look(chat, name)

    async def _say(self, chat: SessionHandle[Said], name: str, element: str) -> None:
        append = self.history.append(name, element)
        try:
            index = await chat.ask(Say(element=element), timeout_s=60)
        except OutcomeUnknown:
            append.unknown()
        except SalonError:
            append.not_applied()
        else:
            append.acknowledged(index)

    async def _look(self, chat: SessionHandle[Said], name: str) -> None:
        read = self.history.read(name)
        try:
            view = await chat.peek()
        except SalonError:
            read.failed()
        else:
            read.returned(view.state.elements)

    async def end(self) -> None:
        """What is there in the end, as a runtime of its own sees it."""
        async with Runtime(
            Chat, store=self.store(), deps=Deps(self.clock, SeededChance(0)), clock=self.clock
        ) as runtime:
            for name in NAMES:
                view = await (await runtime.get_or_create(Chat, name=name)).peek()
                self.history.final(name, view.state.elements)


FAULTS: list[tuple[When, Effect]] = [
    ("instead", "refuse"),
    ("instead", "unknown"),
    ("after", "unknown"),
    ("before", "stall"),
    ("after", "stall"),
    ("before", "die"),
    ("after", "die"),
]
EACH = len(NAMES) * CLIENTS_PER_SESSION * MESSAGES_PER_CLIENT


async def played(seed: int, plan: list[FaultPoint]) -> tuple[World, FaultyStore]:
    world = World(seed)
    store = FaultyStore(world.store(), plan)
    await world.live(store, "first")
    await world.live(FaultyStore(world.store()), "second")
    await world.end()
    return world, store


@pytest.mark.parametrize(("when", "effect"), FAULTS)
async def test_whichever_write_goes_wrong_no_promise_is_broken(when: When, effect: Effect) -> None:
    writes = 0
    for number in itertools.count(1):
        world, store = await played(number, [FaultPoint("write", number, when, effect)])
        untouched = not store.fired

        assert check(world.history, acknowledged_min=2 * EACH if untouched else EACH) == []
        if untouched:
            writes = store.calls("write")
            break

    assert writes > EACH // 2


LIES: list[tuple[When, Effect, Callable[[set[str]], bool]]] = [
    ("instead", "lose", lambda kinds: bool(kinds & {"lost", "misplaced", "prefix", "stale"})),
    ("after", "refuse", lambda kinds: "not_applied" in kinds),
]


@pytest.mark.parametrize(("when", "effect", "is_caught"), LIES)
async def test_a_store_that_lies_once_is_caught(
    when: When, effect: Effect, is_caught: Callable[[set[str]], bool]
) -> None:
    """The negative control: the same program and the same check, over a store that no promise can be kept on."""
    world, store = await played(3, [FaultPoint("commit", 5, when, effect)])

    assert store.fired
    assert is_caught({violation.kind for violation in check(world.history)})
