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
from salon_actors.envelope import CONTROL, Envelope
from salon_actors.hostloop import HostLoop
from salon_actors.mailbox import Mailbox
from salon_actors.park import Promise
from salon_actors.ready import Ready
from salon_actors.slots import Slots
from salon_actors.watchdog import Watchdog
from salon_actors.worker import Worker

A = TypeVar("A", bound=Actor[Any])
E = TypeVar("E", bound=Envelope)

LOG = logging.getLogger("salon_actors")


class Supervision(Generic[A, E]):
    def __init__(
        self,
        host: HostLoop,
        clock: Clock,
        behaviour: Behaviour[A, E],
        ready: Ready[A],
        slots: Slots,
        watchdog: Watchdog | None,
        *,
        tick_s: float,
        stuck_after_s: float,
    ) -> None:
        self._host = host
        self._clock = clock
        self._behaviour = behaviour
        self._ready = ready
        self._slots = slots
        self._watchdog = watchdog
        self._tick_s = tick_s
        self._stuck_after_s = stuck_after_s
        self.pause: Promise[None] | None = None
        """What it waits for while nothing runs and nothing waits; `wake` ends it."""
        self.now = clock.monotonic()
        """Monotonic time as of the last tick, or as of when it was woken; read instead of the clock, per turn."""
        self.workers: dict[Worker[A, E], None] = {}
        """Every worker there is. A dict, because its order is the same in every run."""
        self.waiting: dict[A, None] = {}
        """Actors with something in a mailbox, and none else: the scan costs nothing for those that are idle."""
        self.messages = 0
        """Of users, that wait for any actor; the crew counts those that it takes without a mailbox."""
        self.size_bytes = 0
        """Of those messages."""

    async def run(self) -> None:
        """Tick until cancelled."""
        try:
            while True:
                if not self._has_work():
                    self.pause = self._host.promise()
                    self._beat(None)
                    await self.pause
                await self._clock.sleep(self._tick_s)
                self.now = self._clock.monotonic()
                self._beat(self.now)
                self._look_at_running()
                self._look_at_ready()
                self._look_at_waiting()
        finally:
            self._beat(None)

    def _beat(self, now: float | None) -> None:
        if self._watchdog is not None:
            self._watchdog.beat = now

    def wake(self) -> None:
        """There is something to look at."""
        if self.pause is not None:
            self.now = self._clock.monotonic()
            self._beat(self.now)
            self.pause.set_result(None)
            self.pause = None

    def put(self, actor: A, envelope: E) -> None:
        self._count(envelope)
        self._mailbox(actor).put(envelope)

    def put_back(self, actor: A, envelope: E) -> None:
        """Ahead of those of its priority."""
        self._count(envelope)
        self._mailbox(actor).put_back(envelope)

    def take(self, actor: A) -> E | None:
        """The next message of the actor; None when nothing waits that may run."""
        if (envelope := actor.first) is not None:
            actor.first = None
        elif (mailbox := actor.mailbox) is not None:
            envelope = mailbox.take()
            if not mailbox:
                self._tidy(actor, mailbox)
        if envelope is not None:
            self._discount(envelope)
        return envelope

    def withdraw(self, actor: A, envelope: E) -> bool:
        """Take this one out. False: it does not wait."""
        if actor.first is envelope:
            actor.first = None
        elif (mailbox := actor.mailbox) is None or not mailbox.withdraw(envelope):
            return False
        elif not mailbox:
            self._tidy(actor, mailbox)
        self._discount(envelope)
        return True

    def suspend(self, actor: A) -> None:
        """A suspended actor has a mailbox, even if it is empty: nobody who has none need be asked."""
        if actor.first is not None:
            self._mailbox(actor)
        elif actor.mailbox is None:
            actor.mailbox = Mailbox[E]()
        assert actor.mailbox is not None
        actor.mailbox.is_suspended = True

    def resume(self, actor: A) -> None:
        if (mailbox := actor.mailbox) is not None:
            mailbox.is_suspended = False
            if not mailbox:
                actor.mailbox = None

    def _mailbox(self, actor: A) -> Mailbox[E]:
        """The actor's mailbox with everything that waits in it, and from now on looked after: it is not left empty."""
        if (mailbox := actor.mailbox) is None:
            mailbox = actor.mailbox = Mailbox[E]()
            self.waiting[actor] = None
            self.wake()
            if actor.first is not None:
                mailbox.put(actor.first)
                actor.first = None
        elif mailbox.is_suspended:  # It may have been empty, and nobody looks after those.
            self.waiting[actor] = None
            self.wake()
        return mailbox

    def _tidy(self, actor: A, mailbox: Mailbox[E]) -> None:
        """The mailbox has become empty."""
        self.waiting.pop(actor, None)
        if not mailbox.is_suspended:
            actor.mailbox = None

    def _count(self, envelope: E) -> None:
        if envelope.priority != CONTROL:
            self.messages += 1
            self.size_bytes += envelope.size_bytes

    def _discount(self, envelope: E) -> None:
        if envelope.priority != CONTROL:
            self.messages -= 1
            self.size_bytes -= envelope.size_bytes

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
            if envelope.deadline <= self.now and not worker.is_late:
                worker.is_late = True
                self.expire(actor, envelope, started=True)  # also if it was cancelled for something else
                worker.cancel(DEADLINE, envelope.deadline)

    def _look_whether_stuck(self, worker: Worker[A, E], actor: A, envelope: E) -> None:
        late_s = self.now - worker.cancelled_at
        if late_s >= self._stuck_after_s and not worker.is_reported:
            worker.is_reported = True
            self._slots.give_up(worker)  # Otherwise a few of its kind would stop everybody else.
            guarded(self._behaviour.stuck, actor, envelope, late_s)

    def _look_at_ready(self) -> None:
        """While no slot is free, what woke an actor waits for more than a worker, and may expire."""
        if self._slots.is_full:
            for actor in [self._ready.popleft() for _ in range(len(self._ready))]:
                if actor.first is not None:
                    self._mailbox(actor)
                self._ready.append(actor)

    def _look_at_waiting(self) -> None:
        late = [actor for actor in self.waiting if actor.mailbox is not None and actor.mailbox.earliest <= self.now]
        for actor in late:
            if actor.mailbox is None:  # Another one's `expire` changed it.
                continue
            expired = actor.mailbox.take_expired(self.now)
            if not actor.mailbox:
                self._tidy(actor, actor.mailbox)
            for envelope in expired:
                self._discount(envelope)
            for envelope in expired:
                self.expire(actor, envelope, started=False)


def guarded(fn: Callable[..., object], *args: object) -> None:
    """What the behaviour raises where it must not is logged: it concerns one actor, not the others."""
    try:
        fn(*args)
    except Exception:
        LOG.exception("The behaviour raised where it must not.")
