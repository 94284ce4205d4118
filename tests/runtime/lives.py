"""Sessions in several lives of a process: each life ends in order, or as a killed process does."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import BaseModel

from salon import Log, Message, Refused, Retry, Runtime, Session, SessionHandle, Settings, SystemClock, receive
from salon.mark import InterruptedTurn
from salon.testing import FaultPoint, FaultyStore
from salon_actors import Clock
from tests.runtime.places import Place

BOUND_S = 10
QUICK = {"drain_deadline_s": 5, "probe_interval_s": 0.001, "tick_s": 0.001, "parked_first_s": 0.001}
CALM: dict[str, Any] = {"crash_budget": 1000}
"""A test whose process dies often is not about sessions that are parked for that."""


@dataclass
class Desk:
    """What the clerk's handlers tell and ask of the test; it outlives the process."""

    began: list[str] = field(default_factory=list[str])
    """Texts, in the order in which their handlers began."""
    closed: set[str] = field(default_factory=set[str])
    """Texts whose handlers wait until they are opened."""
    failing: Counter[str] = field(default_factory=Counter[str])
    """Texts whose handlers fail that many times."""
    refused: set[str] = field(default_factory=set[str])
    attempts: list[int] = field(default_factory=list[int])
    is_deaf: bool = False
    """The process is dead, though its handlers have not returned."""
    opened: anyio.Event | None = None

    def open(self) -> None:
        """Let all handlers go on."""
        self.closed.clear()
        self._opening().set()
        self.opened = None

    def _opening(self) -> anyio.Event:
        self.opened = self.opened or anyio.Event()
        return self.opened

    def die(self) -> None:
        """The process does: what its handlers do from now on does not count."""
        self.is_deaf = True
        self._opening().set()
        self.opened = None

    def has_heard(self, text: str) -> bool:
        return text in self.began

    def has_begun(self, handlers: int) -> bool:
        """Whether so many have begun."""
        return len(self.began) >= handlers

    async def hear(self, text: str, attempt: int) -> None:
        if self.is_deaf:
            return
        self.began.append(text)
        self.attempts.append(attempt)
        while text in self.closed and not self.is_deaf:
            await self._opening().wait()
        if text in self.refused:
            raise Refused("no", text)
        if self.failing[text]:
            self.failing[text] -= 1
            raise RuntimeError(text)


class Sheet(BaseModel):
    lines: Log[str] = Log()
    cut: list[str] = []


class Note(Message[int], name="note"):
    text: str


class Stubborn(Message[int], name="stubborn"):
    text: str


class Aging(Message[int], name="aging"):
    text: str


class Look(Message[int], name="look"):
    pass


class Clerk(Session[Sheet, Desk], name="clerk"):
    """Writes down what it is told; the reply is the number of lines."""

    @receive
    async def note(self, message: Note) -> int:
        return await self._write(message.text)

    @receive(on_crash=Retry(attempts_max=3, backoff_s=0.001))
    async def stubborn(self, message: Stubborn) -> int:
        return await self._write(message.text)

    @receive(max_age_s=60)
    async def aging(self, message: Aging) -> int:
        return await self._write(message.text)

    @receive
    async def look(self, message: Look) -> int:
        await self.deps.hear("look", self.turn.attempt)
        return len(self.state.lines)

    async def _write(self, text: str) -> int:
        self.state.lines.append(text, key=self.turn.id)
        await self.deps.hear(text, self.turn.attempt)
        return len(self.state.lines)

    async def on_interrupted(self, turn: InterruptedTurn) -> None:
        text = getattr(turn.message, "text", "?")
        self.state.cut = [*self.state.cut, f"{text}: {turn.reason} {turn.attempt}"]


class Life:
    """One open runtime over a store that may go wrong."""

    def __init__(self, runtime: Runtime, store: FaultyStore) -> None:
        self.runtime = runtime
        self.store = store

    async def clerk(self) -> SessionHandle[Sheet]:
        return await self.runtime.get_or_create(Clerk, name="clerk")

    def kill(self) -> None:
        """From now on nothing that this process does reaches the store."""
        self.store.die()

    def stat(self, name: str) -> int:
        found = self.runtime.stats()[name]
        assert isinstance(found, int)
        return found

    async def letters(self) -> list[tuple[str, str, int]]:
        """(message, reason, attempts) of every dead letter, oldest first."""
        page = await self.runtime.dead_letters().list(limit=1000)
        return [(letter.message, letter.reason, letter.attempts) for letter in page.items]


@asynccontextmanager
async def life(
    place: Place,
    desk: Desk,
    *points: FaultPoint,
    types: Sequence[type[Session[Any, Any]]] = (Clerk,),
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncGenerator[Life]:
    """Creating the clerk is write number 1 of the first life."""
    store = FaultyStore(place.store(), points)
    bounds = Settings.model_validate({**QUICK, **settings})
    with anyio.fail_after(BOUND_S):
        runtime = Runtime(*types, store=store, deps=desk, settings=bounds, clock=clock or SystemClock())
        it = Life(await runtime.open(), store)
        try:
            yield it
        finally:
            store.release()
            if store.is_dead:
                desk.die()
            await runtime.close()
            desk.is_deaf = False


async def lines_of(clerk: SessionHandle[Sheet]) -> list[str]:
    return [line async for line in (await clerk.peek()).state.lines.scan()]


async def cut_of(clerk: SessionHandle[Sheet]) -> list[str]:
    return (await clerk.peek()).state.cut
