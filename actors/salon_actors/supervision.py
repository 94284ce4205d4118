"""Supervision: one task looks at the clock for everybody, so that no message needs a cancel scope of its own.

A scope per message costs more than the whole ask. A deadline is therefore told at the next tick, up to `tick_s` late.
The tick sleeps while something runs or waits; otherwise it is parked, and an idle process is not woken.
"""

import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from salon_actors.actor import Actor
from salon_actors.behaviour import DEADLINE, Behaviour
from salon_actors.clock import Clock
from salon_actors.envelope import Envelope
from salon_actors.hostloop import HostLoop
from salon_actors.mailbox import Mailbox
from salon_actors.park import Promise
from salon_actors.worker import Worker

A = TypeVar("A", bound=Actor[Any])
E = TypeVar("E", bound=Envelope)

LOG = logging.getLogger("salon_actors")


class Supervision(Generic[A, E]):
    def __init__(
        self, host: HostLoop, clock: Clock, behaviour: Behaviour[A, E], *, tick_s: float, stuck_after_s: float
    ) -> None:
        self._host = host
        self._clock = clock
        self._behaviour = behaviour
        self._tick_s = tick_s
        self._stuck_after_s = stuck_after_s
        self.pause: Promise[None] | None = None
        """What it waits for while nothing runs and nothing waits; `wake` ends it."""
        self.now = clock.monotonic()
        """Monotonic time as of the last tick, or as of when it was woken; read instead of the clock, per turn."""
        self.workers: dict[Worker[A, E], None] = {}
        """Every worker there is. A dict, because its order is the same in every run."""
        self.waiting: dict[A, None] = {}
        """Actors with a mailbox, and none else: the scan costs nothing for those that are idle."""

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            if not self._has_work():
                self.pause = self._host.promise()
                await self.pause
            await self._clock.sleep(self._tick_s)
            self.now = self._clock.monotonic()
            self._look_at_running()
            self._look_at_waiting()

    def wake(self) -> None:
        """There is something to look at."""
        if self.pause is not None:
            self.now = self._clock.monotonic()
            self.pause.set_result(None)
            self.pause = None

    def mailbox(self, actor: A) -> Mailbox[E]:
        """The actor's mailbox with everything that waits in it, and from now on looked after."""
        if actor.mailbox is None:
            actor.mailbox = Mailbox[E]()
            self.waiting[actor] = None
            self.wake()
            if actor.first is not None:
                actor.mailbox.put(actor.first)
                actor.first = None
        return actor.mailbox

    def take(self, actor: A) -> E | None:
        """The next message of the actor; None when nothing waits."""
        if (envelope := actor.first) is not None:
            actor.first = None
        elif actor.mailbox is not None:
            envelope = actor.mailbox.take()
            if not actor.mailbox:
                actor.mailbox = None
                del self.waiting[actor]
        return envelope

    def cancel(self, worker: Worker[A, E], reason: str) -> None:
        worker.cancel(reason, self._clock.monotonic())

    def expire(self, actor: A, envelope: E, *, started: bool) -> None:
        guarded(self._behaviour.expire, actor, envelope, started)

    def _has_work(self) -> bool:
        return bool(self.waiting) or any(worker.envelope is not None for worker in self.workers)

    def _look_at_running(self) -> None:
        for worker in tuple(self.workers):
            actor, envelope = worker.actor, worker.envelope
            if actor is None or envelope is None:
                continue
            if worker.reason is not None:
                self._look_whether_stuck(worker, actor, envelope)
            elif envelope.deadline <= self.now:
                self.expire(actor, envelope, started=True)
                worker.cancel(DEADLINE, envelope.deadline)

    def _look_whether_stuck(self, worker: Worker[A, E], actor: A, envelope: E) -> None:
        late_s = self.now - worker.cancelled_at
        if late_s >= self._stuck_after_s and not worker.is_reported:
            worker.is_reported = True
            guarded(self._behaviour.stuck, actor, envelope, late_s)

    def _look_at_waiting(self) -> None:
        late = [actor for actor in self.waiting if actor.mailbox is not None and actor.mailbox.earliest <= self.now]
        for actor in late:
            if actor.mailbox is None:  # Another one's `expire` changed it.
                continue
            expired = actor.mailbox.take_expired(self.now)
            if not actor.mailbox:
                actor.mailbox = None
                del self.waiting[actor]
            for envelope in expired:
                self.expire(actor, envelope, started=False)


def guarded(fn: Callable[..., object], *args: object) -> None:
    """What the behaviour raises where it must not is logged: it concerns one actor, not the others."""
    try:
        fn(*args)
    except Exception:
        LOG.exception("The behaviour raised where it must not.")
