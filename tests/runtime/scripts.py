"""A chat whose turns play what a test has written for them, in lives of a process that end in order or are killed."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from salon import Log, Merge, Message, Receipt, Retry, Runtime, SalonError, Session, SessionHandle, Settings, receive
from salon.mark import InterruptedTurn
from salon.testing import FaultPoint, FaultyStore, VirtualClock
from salon_actors import Clock, SystemClock
from tests.runtime.places import Place
from tests.runtime.waiting import until

BOUND_S = 10
MERGE = Merge(window_s=1, wait_max_s=3, messages_max=4)


class State(BaseModel):
    lines: Log[str] = Log()
    count: int = 0


class Say(Message[str], name="say"):
    text: str


class Other(Message[str], name="other"):
    text: str


class Again(Message[str], name="again"):
    text: str


class Quick(Message[str], name="quick"):
    text: str


class Cues:
    """What handlers do, and what the test hears of them; it outlives the process."""

    def __init__(self) -> None:
        self.began: list[str] = []
        """Texts, in the order in which their handlers began."""
        self.closed: set[str] = set()
        """Texts whose handlers wait until they are opened."""
        self.scripts: dict[str, Script] = {}
        """What the handler of a text does instead of the usual."""
        self.cut: Script | None = None
        """What `on_interrupted` does instead of the usual."""

    async def play(self, chat: "Chat", text: str) -> str:
        self.began.append(text)
        return await self.scripts.get(text, usual)(chat, text)

    async def pause(self, text: str) -> None:
        while text in self.closed:  # noqa: ASYNC110  # one set serves several event loops, an event only one
            await anyio.sleep(0.0005)


class Chat(Session[State, Cues], name="chat"):
    @receive
    async def say(self, message: Say) -> str:
        return await self.deps.play(self, message.text)

    @receive
    async def other(self, message: Other) -> str:
        return await self.deps.play(self, message.text)

    @receive(on_crash=Retry(attempts_max=3, backoff_s=0.001), on_error=Retry(attempts_max=3, backoff_s=0.001))
    async def again(self, message: Again) -> str:
        return await self.deps.play(self, message.text)

    @receive(overlap=MERGE)
    async def quick(self, messages: list[Quick]) -> str:
        return await self.deps.play(self, "+".join(message.text for message in messages))

    async def on_interrupted(self, turn: InterruptedTurn) -> None:
        text: str = getattr(turn.message, "text")  # noqa: B009  # it may be any message
        if self.deps.cut is not None:
            await self.deps.cut(self, text)
        else:
            said = "".join(map(str, turn.chunks))
            self.state.lines.append(f"cut {text}, {turn.reason} {turn.attempt}: {said}")


Script: TypeAlias = Callable[[Chat, str], Awaitable[str]]


async def usual(chat: Chat, text: str) -> str:
    """Keeps the user's words, pauses where the test wants it to, and answers."""
    chat.state.lines.append(f"user {text}")
    await chat.turn.checkpoint()
    await chat.deps.pause(text)
    chat.state.lines.append(f"bot {text}")
    chat.state.count += 1
    return f"re {text}"


class Scene:
    """One open runtime over a store that may go wrong, and a chat in it."""

    def __init__(
        self, runtime: Runtime, store: FaultyStore, chat: SessionHandle[State], group: anyio.abc.TaskGroup
    ) -> None:
        self.runtime = runtime
        self.store = store
        self.chat = chat
        self._group = group
        self.seen: dict[str, str] = {}
        """What each caller got: by text, the reply or the name of the error."""

    async def send(self, message: Message[str], *, told: bool = False, stalled: bool = False, **how: Any) -> None:
        """Send it from a task of its own, and return when it is admitted; if it is told, when it is durable.

        Args:
            stalled: The store does not answer now: return when it was handed over.
        """
        accepted = anyio.Event()
        self._group.start_soon(self._send, message, told, how, accepted)
        if told and not stalled:
            await accepted.wait()
        for _ in range(10):
            await checkpoint()

    async def _send(self, message: Any, told: bool, how: dict[str, Any], accepted: anyio.Event) -> None:
        try:
            if told:
                receipt = await self.chat.tell(message, **how)
                accepted.set()
                self.seen[message.text] = await receipt.wait()
            else:
                self.seen[message.text] = await self.chat.ask(message, **how)
        except SalonError as error:
            self.seen[message.text] = type(error).__name__
        finally:
            accepted.set()

    async def saw(self, *texts: str) -> dict[str, str]:
        """What the callers got, as soon as all of them have got something."""
        await until(lambda: all(text in self.seen for text in texts))
        return {text: self.seen[text] for text in texts}

    async def tell(self, message: Message[str], **how: Any) -> Receipt[str]:
        return await self.chat.tell(message, **how)

    async def lines(self) -> list[str]:
        return (await self.chat.peek()).state.lines.tail(100)

    async def letters(self) -> list[tuple[str, str]]:
        page = await self.runtime.dead_letters().list(limit=100)
        return [(letter.message, letter.reason) for letter in page.items]

    def stat(self, name: str) -> int:
        found = self.runtime.stats()[name]
        assert isinstance(found, int)
        return found

    def kill(self) -> None:
        """From now on nothing that this process does reaches the store."""
        self.store.die()


@asynccontextmanager
async def scene(
    place: Place, cues: Cues, *points: FaultPoint, clock: Clock | None = None, **settings: Any
) -> AsyncGenerator[Scene]:
    """Creating the chat is write number 1 of the first life."""
    tick_s = 0.001 if clock is None else 0.05
    quick = {"drain_deadline_s": 5, "probe_interval_s": 0.001, "tick_s": tick_s, "crash_budget": 1000}
    store = FaultyStore(place.store(), points)
    bounds = Settings.model_validate({**quick, **settings})
    runtime = Runtime(Chat, store=store, deps=cues, settings=bounds, clock=clock or SystemClock())
    with anyio.fail_after(BOUND_S):
        await runtime.open()
        try:
            chat = await runtime.get_or_create(Chat, name="chat")
            async with anyio.create_task_group() as group:
                yield Scene(runtime, store, chat, group)
                group.cancel_scope.cancel()
        finally:
            store.release()
            closed, cues.closed = cues.closed, set()
            await _close(runtime, clock)
            cues.closed = closed


async def _close(runtime: Runtime, clock: Clock | None) -> None:
    """Also when a test has failed, and nobody moves its clock any more."""
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as group:
            if isinstance(clock, VirtualClock):
                group.start_soon(_run, clock)
            await runtime.close()
            group.cancel_scope.cancel()


async def _run(clock: VirtualClock) -> None:
    await anyio.sleep(2)  # nobody has to wait so long where nothing went wrong
    while True:
        await anyio.sleep(0.001)
        await clock.advance(1)
