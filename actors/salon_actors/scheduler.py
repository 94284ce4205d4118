"""The scheduler: where messages for passive actors come in, and where their turns can be seen and cancelled.

submit -> the actor, or its mailbox -> ready queue -> a worker of the crew -> the behaviour
                 supervision: one tick looks at deadlines, of what runs and of what waits
"""

import contextvars
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import anyio

from salon_actors.actor import Actor, Phase
from salon_actors.behaviour import Behaviour
from salon_actors.clock import Clock
from salon_actors.crew import Crew
from salon_actors.envelope import CONTROL, Envelope
from salon_actors.errors import MailboxFull, SchedulerClosed
from salon_actors.hostloop import HostLoop
from salon_actors.park import Promise
from salon_actors.ready import Ready
from salon_actors.slots import Slots
from salon_actors.supervision import Supervision, guarded
from salon_actors.watchdog import Watchdog

A = TypeVar("A", bound=Actor[Any])
E = TypeVar("E", bound=Envelope)

IDLE, READY, HELD, SUSPENDED = Phase.IDLE, Phase.READY, Phase.HELD, Phase.SUSPENDED


@dataclass(frozen=True, slots=True)
class RunningTurn(Generic[A, E]):
    """A turn that runs right now."""

    actor: A
    envelope: E
    started_at: float
    """Monotonic seconds, up to one tick early."""
    cancelled: str | None
    """Why it was cancelled, if it was and has not returned yet."""


class Load(Protocol):
    """Messages of users that wait, over all actors, and their bytes."""

    @property
    def messages(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...


class Scheduler(Generic[A, E]):
    """Runs the turns of many actors: of each actor one at a time, in order; of different actors concurrently.

    Everything here is for the thread of its host loop.

    Args:
        host: The event loop that it is a guest of.
        clock: Tells deadlines, and sleeps between ticks.
        behaviour: What a turn does, and who hears how it ended.
        tick_s: Seconds between looks at the clock; a deadline is told at most so late.
        stuck_after_s: Seconds after which a cancelled turn that has not returned is reported.
        mailbox_messages_max: Messages that may wait for one actor; control messages do not count.
        turns_max: Turns that may be under way at once, over all actors, control included. Default: any number.
        ready: The choice among ready actors. Default: first come, first served.
        watchdog: Told when it ticks.
    """

    def __init__(
        self,
        host: HostLoop,
        clock: Clock,
        behaviour: Behaviour[A, E],
        *,
        tick_s: float = 0.05,
        stuck_after_s: float = 30,
        mailbox_messages_max: int = 64,
        turns_max: int | None = None,
        ready: Ready[A] | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._host = host
        self._behaviour = behaviour
        self._mailbox_messages_max = mailbox_messages_max
        self._ready = deque[A]() if ready is None else ready
        self._slots = Slots(turns_max)
        self._supervision = Supervision(
            host, clock, behaviour, self._ready, self._slots, watchdog, tick_s=tick_s, stuck_after_s=stuck_after_s
        )
        self._crew = Crew(host, behaviour, self._supervision, self._ready, self._slots)
        self._waking = self._crew.waking
        self._opened: Promise[None] = host.promise()
        self._closing: Promise[None] = host.promise()
        self._closed: Promise[None] | None = None

    # Life

    async def open(self) -> None:
        """Start, in a task of its own, so that `close` may be called from another task than this.

        Every turn runs in a copy of the context that is current here.
        """
        base = contextvars.copy_context()
        self._closed = self._host.promise()
        self._host.spawn(self._serve, base, context=base.copy())
        try:
            await self._opened
        except BaseException:
            self._closing.set_result(None)
            raise
        if not self._crew.is_open:
            raise SchedulerClosed

    async def close(self) -> None:
        """Cancel what runs, abandon what waits, and return when every worker has returned.

        To let turns end first, `await wait_idle()`. A handler that shields itself delays this.
        Cancellation: only the waiting stops.
        """
        if self._closed is not None:
            self._closing.set_result(None)
            await self._closed

    async def _serve(self, base: contextvars.Context) -> None:
        try:
            async with anyio.create_task_group() as group:
                try:
                    group.start_soon(self._supervision.run)
                    self._crew.open(group, base)
                    self._opened.set_result(None)
                    await self._closing
                finally:  # Also when the host's loop shuts down and cancels us: workers are shielded and would stay.
                    self._crew.close()
                    self._abandon_all()
                    group.cancel_scope.cancel()
        finally:
            self._opened.set_result(None)
            if self._closed is not None:
                self._closed.set_result(None)

    def _abandon_all(self) -> None:
        while self._ready:
            actor = self._ready.popleft()
            actor.phase = IDLE
            self._abandon(actor)
        for actor in tuple(self._supervision.waiting):
            self._abandon(actor)

    def _abandon(self, actor: A) -> None:
        self._supervision.resume(actor)
        if actor.phase is SUSPENDED:
            actor.phase = IDLE
        while (envelope := self._supervision.take(actor)) is not None:
            guarded(self._behaviour.abandon, actor, envelope)

    # Messages

    def submit(self, actor: A, envelope: E, *, bounded: bool = True) -> None:
        """Let the message wait for its turn. Nothing is awaited; the turn starts at a later step of the loop.

        Args:
            bounded: False for what was accepted earlier and must not be refused now.

        Raises:
            MailboxFull: As many as may wait do wait; nothing was accepted.
            SchedulerClosed: Not open; nothing was accepted.
        """
        if not self._crew.is_open:
            raise SchedulerClosed
        if actor.phase is IDLE:
            actor.first = envelope
            actor.phase = READY
            supervision = self._supervision
            supervision.messages += 1
            supervision.size_bytes += envelope.size_bytes
            self._ready.append(actor)
            if not self._waking:
                self._crew.wake_one()
        elif bounded and actor.depth >= self._mailbox_messages_max:
            raise MailboxFull(actor.depth, self._mailbox_messages_max)
        else:
            self._supervision.put(actor, envelope)

    def submit_control(self, actor: A, envelope: E, *, first: bool = False) -> None:
        """Let something happen between turns, ahead of the messages of users and without a bound.

        It sets the envelope's priority, and runs for a suspended actor too.

        Args:
            first: Ahead of other control messages too; also from within `Behaviour.finish`.

        Raises:
            SchedulerClosed: Not open; nothing was accepted.
        """
        if not self._crew.is_open:
            raise SchedulerClosed
        envelope.priority = CONTROL
        if first:
            self._supervision.put_back(actor, envelope)
        else:
            self._supervision.put(actor, envelope)
        if actor.phase is IDLE or actor.phase is SUSPENDED:
            self._crew.make_ready(actor)

    def put_back(self, actor: A, envelope: E) -> None:
        """Let a message that was taken wait again, at the head of its lane and without a bound: for another attempt.

        Also from within `Behaviour.finish` of its own turn. It counts as waiting, until its deadline.
        If the scheduler closes, it is abandoned at once.
        """
        if not self._crew.is_open:
            guarded(self._behaviour.abandon, actor, envelope)
            return
        self._supervision.put_back(actor, envelope)
        if actor.phase is IDLE:
            self._crew.make_ready(actor)

    def withdraw(self, actor: A, envelope: E) -> bool:
        """Take out a message that waits; nobody is told. False: it does not wait any more.

        Linear in what waits for this actor.
        """
        return self._supervision.withdraw(actor, envelope)

    def suspend(self, actor: A) -> None:
        """Let no message of a user start until `resume`; harmless when it is suspended already.

        A turn that runs goes on; control runs; what waits stays where it is, is refused when it is too much, and
        expires when it is late. `wait_idle` does not wait for it.
        """
        self._supervision.suspend(actor)
        if actor.phase is IDLE:
            actor.phase = SUSPENDED

    def resume(self, actor: A) -> None:
        """Let the actor go on with what waits. Harmless when it is not suspended."""
        self._supervision.resume(actor)
        if actor.phase is not SUSPENDED:
            return
        if self._crew.is_open:
            self._crew.go_on(actor)
        else:
            actor.phase = IDLE

    def release(self, actor: A) -> None:
        """The gate opened: the actor may take its next message. It must be held."""
        assert actor.phase is HELD, f"released while {actor.phase.value}"
        self._crew.held -= 1
        self._crew.go_on(actor)
        self._crew.note_idle()

    def cancel(self, actor: A, reason: str) -> bool:
        """Cancel the running turn, which ends as `Cancelled(reason)`. False: no turn of this actor runs.

        The actor stays busy until the coroutine has returned.
        """
        if actor.worker is None:
            return False
        self._supervision.cancel(actor.worker, reason)
        return True

    def give_up_slot(self, actor: A) -> None:
        """The running turn waits for another one, which may take its slot. Once for each thing that it waits for.

        Nothing happens when no turn of this actor runs.
        """
        if actor.worker is not None:
            self._slots.give_up(actor.worker)

    def regain_slot(self, actor: A) -> None:
        """It goes on, at once: more than `turns_max` turns may be under way for a while. Once per `give_up_slot`."""
        if actor.worker is not None:
            self._slots.regain(actor.worker)

    # Introspection

    @property
    def is_fast(self) -> bool:
        """False: workers retire after every turn, because this backend does not show its cancel scopes."""
        return self._crew.is_fast

    @property
    def is_idle(self) -> bool:
        """No actor is ready, running or held."""
        return self._crew.is_idle

    @property
    def slots_taken(self) -> int:
        """Turns that are under way: they have suspended, and have not given up their slot."""
        return self._slots.taken

    @property
    def held_count(self) -> int:
        return self._crew.held

    @property
    def ready_count(self) -> int:
        return len(self._ready)

    @property
    def worker_count(self) -> int:
        return len(self._crew.workers)

    @property
    def retired(self) -> Counter[str]:
        """Workers that were not reused, by the class of the message whose turn they had run."""
        return self._crew.retired.copy()

    @property
    def totals(self) -> tuple[int, int]:
        """Messages of users that wait, over all actors, and their bytes."""
        return self._supervision.messages, self._supervision.size_bytes

    @property
    def load(self) -> Load:
        """The same as it changes, for who looks with each message."""
        return self._supervision

    def waiting(self, actor: A) -> list[E]:
        """What waits, in the order in which it would run if nothing else came: control first."""
        if actor.mailbox is not None:
            return actor.mailbox.in_order()
        return [] if actor.first is None else [actor.first]

    def oldest(self, actor: A) -> E | None:
        """Of the messages of users that wait, the one with the earliest `accepted_at`; of several, of least priority.

        Within a lane the first one counts as the oldest.
        """
        return actor.first if actor.mailbox is None else actor.mailbox.oldest()

    def oldest_age(self, actor: A, now: float) -> float:
        """Seconds since the oldest was accepted; 0 when nothing waits."""
        oldest = self.oldest(actor)
        return 0.0 if oldest is None else max(0.0, now - oldest.accepted_at)

    def running(self) -> list[RunningTurn[A, E]]:
        return [
            RunningTurn(worker.actor, worker.envelope, worker.started_at, worker.reason)
            for worker in self._crew.workers
            if worker.actor is not None and worker.envelope is not None
        ]

    async def wait_idle(self) -> None:
        """Return when no actor is ready, running or held.

        Raises:
            SchedulerClosed: It closed meanwhile.

        Cancellation: only the waiting stops.
        """
        await self._crew.wait_idle()
