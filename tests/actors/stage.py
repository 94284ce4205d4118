"""What the engine's tests play on: a clock that stands still, and a behaviour whose handlers are the messages."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from salon_actors import (
    NORMAL,
    Actor,
    Cancelled,
    Ending,
    Envelope,
    HostLoop,
    Raised,
    Ready,
    Reply,
    Returned,
    Scheduler,
    current_host_loop,
)

Handler: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
Someone: TypeAlias = Actor[Envelope]
Troupe: TypeAlias = Scheduler[Someone, Envelope]


class StillClock:
    """Moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps = 0
        """How often somebody has gone to sleep."""
        self._sleepers: list[tuple[float, anyio.Event]] = []

    def wall(self) -> datetime:
        return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float, /) -> None:
        self.sleeps += 1
        entry = (self.now + seconds, anyio.Event())
        self._sleepers.append(entry)
        try:
            await entry[1].wait()
        finally:
            self._sleepers.remove(entry)

    @property
    def sleepers(self) -> int:
        return len(self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let the time pass at once, wake who is due, and let everybody come to rest."""
        await settle()
        self.now += seconds
        for due, event in self._sleepers:
            if due <= self.now:
                event.set()
        await settle()


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(30):
        await checkpoint()


class TurnLost(Exception):
    """How the caller of a turn hears that it did not return: `.ending` says more."""

    def __init__(self, ending: object) -> None:
        super().__init__(str(ending))
        self.ending = ending


class Play:
    """Runs the message, a coroutine function, as the handler, and remembers whatever the engine says."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []
        self.endings: list[Ending] = []
        self.holds = False
        """Every turn is held until it is released."""

    async def handle(self, actor: Someone, envelope: Envelope, /) -> object:
        handler: Any = envelope.message
        return await handler()

    def finish(self, actor: Someone, envelope: Envelope, ending: Ending, /) -> bool:
        self.endings.append(ending)
        self.said.append(("finish", actor, type(ending).__name__))
        match ending:
            case Returned(value):
                envelope.promise.set_result(value)
            case Raised(error):
                envelope.promise.set_exception(error)
            case Cancelled():
                envelope.promise.set_exception(TurnLost(ending))
        return not self.holds

    def expire(self, actor: Someone, envelope: Envelope, started: bool, /) -> None:
        self.said.append(("expire", actor, started))
        envelope.promise.set_exception(TurnLost("expired while running" if started else "expired while waiting"))

    def stuck(self, actor: Someone, envelope: Envelope, late_s: float, /) -> None:
        self.said.append(("stuck", actor, late_s))

    def abandon(self, actor: Someone, envelope: Envelope, /) -> None:
        self.said.append(("abandon", actor))
        envelope.promise.set_exception(TurnLost("abandoned"))


class Stage:
    """An open scheduler, and everything around it."""

    def __init__(self, ready: Ready[Someone] | None = None, play: Play | None = None, **bounds: Any) -> None:
        self.host: HostLoop = current_host_loop()
        self.clock = StillClock()
        self.play = Play() if play is None else play
        self.scheduler: Troupe = Scheduler(self.host, self.clock, self.play, ready=ready, **bounds)

    def submit(
        self, actor: Someone, handler: Handler, *, within_s: float | None = None, priority: int = NORMAL
    ) -> Reply[Any]:
        envelope = self.envelope(handler, within_s=within_s, priority=priority)
        self.scheduler.submit(actor, envelope)
        return self.reply_to(envelope)

    def submit_control(self, actor: Someone, handler: Handler, *, within_s: float | None = None) -> Reply[Any]:
        envelope = self.envelope(handler, within_s=within_s)
        self.scheduler.submit_control(actor, envelope)
        return self.reply_to(envelope)

    def envelope(
        self, handler: Handler, *, within_s: float | None = None, priority: int = NORMAL, size_bytes: int = 0
    ) -> Envelope:
        deadline = inf if within_s is None else self.clock.now + within_s
        return Envelope(handler, self.host.promise(), deadline, size_bytes, priority, accepted_at=self.clock.now)

    def reply_to(self, envelope: Envelope) -> Reply[Any]:
        return envelope.promise


@asynccontextmanager
async def staged(ready: Ready[Someone] | None = None, play: Play | None = None, **bounds: Any) -> AsyncGenerator[Stage]:
    stage = Stage(ready, play, **bounds)
    await stage.scheduler.open()
    try:
        yield stage
    finally:
        await stage.scheduler.close()
        await stage.host.close()


def actor() -> Someone:
    return Actor()


def says(value: object) -> Handler:
    """A handler that returns `value` at once."""

    async def handler() -> object:
        return value

    return handler


def waits(event: anyio.Event, value: object = None) -> Handler:
    """A handler that returns `value` when the event is set."""

    async def handler() -> object:
        await event.wait()
        return value

    return handler


def notes(order: list[Any], name: object) -> Handler:
    """A handler that puts `name` on the list."""

    async def handler() -> None:
        order.append(name)

    return handler


async def innocents(stage: Stage, go: anyio.Event) -> list[Any]:
    """Turns of other actors that are under way, and return 0, 1, 2, 3 when they may."""
    replies = [stage.submit(actor(), waits(go, number)) for number in range(4)]
    await settle()
    return replies
