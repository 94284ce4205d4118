"""A session whose handlers do what a test says, and time that passes when it says so."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from pydantic import BaseModel

from salon import Log, Message, Receipt, Retry, SalonError, Session, SessionHandle, receive
from salon.testing import VirtualClock

PASSING_S = 0.05


class Broken(Exception):
    """What handlers raise here."""


@dataclass
class Script:
    """What handlers do; it outlives their runtime."""

    failures: Counter[str] = field(default_factory=Counter[str])
    """How often the handler of a text fails from now on."""
    began: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Texts and attempts, in the order in which their handlers began."""
    at: list[float] = field(default_factory=list[float])
    """When they did."""
    closed: dict[str, anyio.Event] = field(default_factory=dict[str, anyio.Event])
    """Texts whose handlers wait for an event."""
    now: Callable[[], float] = field(default=lambda: 0.0)
    before: Callable[[str], Awaitable[None]] | None = None
    """Called by each handler before it does anything else."""

    def close(self, text: str) -> anyio.Event:
        """Let the handler of this text wait for the event."""
        event = self.closed[text] = anyio.Event()
        return event

    @property
    def texts(self) -> list[str]:
        return [text for text, _ in self.began]


class Page(BaseModel):
    lines: Log[str] = Log()
    count: int = 0


class Say(Message[int], name="say"):
    text: str = ""


class Try(Message[int], name="try"):
    """Tried again."""

    text: str = ""


class Keep(Message[int], name="keep"):
    """Put aside when it fails."""

    text: str = ""


class Push(Message[int], name="push"):
    """Takes the place of the oldest."""

    text: str = ""


class Act(Session[Page, Script], name="act"):
    """Writes down each text; the reply is the number of lines."""

    @receive
    async def say(self, message: Say) -> int:
        return await self._act(message.text)

    @receive(on_error=Retry(attempts_max=4, backoff_s=1))
    async def tries(self, message: Try) -> int:
        return await self._act(message.text)

    @receive(on_error="quarantine")
    async def keep(self, message: Keep) -> int:
        return await self._act(message.text)

    @receive(when_full="drop_oldest")
    async def push(self, message: Push) -> int:
        return await self._act(message.text)

    async def _act(self, text: str) -> int:
        script = self.deps
        script.began.append((text, self.turn.attempt))
        script.at.append(script.now())
        if script.before is not None:
            await script.before(text)
        self.state.lines.append(text)
        await self.turn.emit(f"{text} {self.turn.attempt}")
        if text in script.closed:
            await script.closed[text].wait()
        if script.failures[text]:
            script.failures[text] -= 1
            raise Broken(text)
        return len(self.state.lines)


async def lines(handle: SessionHandle[Page]) -> list[str]:
    """What was committed."""
    return list((await handle.peek()).state.lines.tail(100))


async def passing(clock: VirtualClock, condition: Callable[[], object], *, at_most_s: float = 600) -> float:
    """Let time pass until the condition holds; the seconds that have passed."""
    began = clock.monotonic()
    while clock.monotonic() - began <= at_most_s:
        await clock.advance(0)
        for _ in range(3):  # the storage thread has its own time
            if condition():
                return clock.monotonic() - began
            await anyio.sleep(0.0005)
        await clock.advance(PASSING_S)
    raise AssertionError(f"Nothing of it within {at_most_s} s.")


async def ended(receipt: Receipt[int]) -> int | type[SalonError]:
    """The reply, or the class of the error."""
    try:
        return await receipt.wait()
    except SalonError as error:
        return type(error)


async def asked(ask: Awaitable[int]) -> int | type[SalonError]:
    """The reply, or the class of the error."""
    try:
        return await ask
    except SalonError as error:
        return type(error)
