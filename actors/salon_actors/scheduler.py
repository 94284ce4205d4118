"""The scheduler: passive actors, one ready queue, a few reusable workers, one spare woken.

Before a turn starts, if more is ready and nobody is being woken, one spare worker is woken: a handler that suspends
never holds the others, and one that does not costs no task switch. A worker is reused only after a clean turn.
"""

import contextvars
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from salon_actors.actor import Actor, Phase
from salon_actors.behaviour import CLOSED, Behaviour, Cancelled, Ending, Raised, Returned
from salon_actors.clock import Clock
from salon_actors.context import OVER
from salon_actors.envelope import Envelope
from salon_actors.errors import ForeignCancellation, MailboxFull, SchedulerClosed
from salon_actors.hostloop import HostLoop
from salon_actors.interrupts import deadly
from salon_actors.mailbox import Mailbox
from salon_actors.park import Promise
from salon_actors.supervision import Supervision, guarded
from salon_actors.worker import Worker

A = TypeVar("A", bound=Actor[Any])
E = TypeVar("E", bound=Envelope)
X = TypeVar("X")

LOG = logging.getLogger("salon_actors")

BUDGET = 256
"""Turns that a worker runs in a row before the loop gets its turn: below a millisecond of engine at 1.6 µs each."""
STRIDE_MAX = 64
"""Workers woken at once, which share the budget."""
PARKED_MAX = 256
"""Workers kept for reuse; a parked task costs about 5 KB, a new one 10 µs."""

IDLE, READY, RUNNING, HELD = Phase.IDLE, Phase.READY, Phase.RUNNING, Phase.HELD


class Ready(Protocol[X]):
    """The choice among ready actors. A deque is one; simulation passes a seeded one."""

    def append(self, item: X, /) -> None: ...

    def popleft(self) -> X: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class RunningTurn(Generic[A, E]):
    """A turn that runs right now."""

    actor: A
    envelope: E
    started_at: float
    """Monotonic seconds, up to one tick early."""
    cancelled: str | None
    """Why it was cancelled, if it was and has not returned yet."""


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
        ready: The choice among ready actors. Default: first come, first served.
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
        ready: Ready[A] | None = None,
    ) -> None:
        self._host = host
        self._behaviour = behaviour
        self._mailbox_messages_max = mailbox_messages_max
        self._ready: Ready[A] = deque[A]() if ready is None else ready
        self._supervision = Supervision(host, clock, behaviour, tick_s=tick_s, stuck_after_s=stuck_after_s)
        self._workers = self._supervision.workers
        self._waiting = self._supervision.waiting
        self._parked: list[Worker[A, E]] = []
        self._waking: set[Worker[A, E]] = set()
        self._stride = 1
        self._has_suspended = False
        self._held = 0
        self._retired = Counter[str]()
        self._idle_waiters: list[Promise[None]] = []
        self._is_open = False
        self._is_fast = False
        self._cancelled: type[BaseException] = BaseException
        self._opened: Promise[None] = host.promise()
        self._closing: Promise[None] = host.promise()
        self._closed: Promise[None] | None = None
        self._base: contextvars.Context
        self._group: TaskGroup
        self._run_worker: Callable[[Worker[A, E]], Coroutine[Any, Any, object]]

    # Life

    async def open(self) -> None:
        """Start, in a task of its own, so that `close` may be called from another task than this.

        Every turn runs in a copy of the context that is current here.
        """
        self._base = contextvars.copy_context()
        self._closed = self._host.promise()
        self._host.spawn(self._serve, context=self._base.copy())
        try:
            await self._opened
        except BaseException:
            self._closing.set_result(None)
            raise
        if not self._is_open:
            raise SchedulerClosed

    async def close(self) -> None:
        """Cancel what runs, abandon what waits, and return when every worker has returned.

        To let turns end first, `await wait_idle()`. A handler that shields itself delays this.
        Cancellation: only the waiting stops.
        """
        if self._closed is not None:
            self._closing.set_result(None)
            await self._closed

    async def _serve(self) -> None:
        try:
            async with anyio.create_task_group() as self._group:
                try:
                    self._group.start_soon(self._supervision.run)
                    self._begin(self._group.cancel_scope)
                    await self._closing
                finally:  # Also when the host's loop shuts down and cancels us: workers are shielded and would stay.
                    self._halt()
                    self._group.cancel_scope.cancel()
        finally:
            self._opened.set_result(None)
            if self._closed is not None:
                self._closed.set_result(None)

    def _begin(self, scope: anyio.CancelScope) -> None:
        self._is_fast = self._host.watch(scope).is_fast
        self._run_worker = self._host.protect(self._work if self._is_fast else self._work_contained)
        self._cancelled = anyio.get_cancelled_exc_class()
        self._is_open = True
        self._opened.set_result(None)

    def _halt(self) -> None:
        self._is_open = False
        while self._parked:
            worker = self._parked.pop()
            if not worker.pause.done():
                worker.pause.set_result(None)
        for worker in tuple(self._workers):
            if worker.envelope is not None:
                self._supervision.cancel(worker, CLOSED)
        while self._ready:
            actor = self._ready.popleft()
            actor.phase = IDLE
            self._abandon(actor)
        for actor in tuple(self._waiting):
            self._abandon(actor)
        for waiter in self._idle_waiters:
            waiter.set_exception(SchedulerClosed())
        self._idle_waiters.clear()

    def _abandon(self, actor: A) -> None:
        while (envelope := self._take(actor)) is not None:
            guarded(self._behaviour.abandon, actor, envelope)

    # Messages

    def submit(self, actor: A, envelope: E) -> None:
        """Let the message wait for its turn. Nothing is awaited; the turn starts at a later step of the loop.

        Raises:
            MailboxFull: As many as may wait do wait; nothing was accepted.
            SchedulerClosed: Not open; nothing was accepted.
        """
        if not self._is_open:
            raise SchedulerClosed
        if actor.phase is IDLE:
            actor.first = envelope
            actor.phase = READY
            self._ready.append(actor)
            if not self._waking:
                self._wake_one()
        elif actor.depth >= self._mailbox_messages_max:
            raise MailboxFull(actor.depth, self._mailbox_messages_max)
        else:
            self._mailbox(actor).put(envelope)

    def submit_control(self, actor: A, envelope: E) -> None:
        """Let something happen between turns, ahead of the messages of users and without a bound.

        Raises:
            SchedulerClosed: Not open; nothing was accepted.
        """
        if not self._is_open:
            raise SchedulerClosed
        self._mailbox(actor).put_control(envelope)
        if actor.phase is IDLE:
            self._make_ready(actor)

    def release(self, actor: A) -> None:
        """The gate opened: the actor may take its next message. It must be held."""
        assert actor.phase is HELD, f"released while {actor.phase.value}"
        self._held -= 1
        self._go_on(actor)
        self._note_idle()

    def cancel(self, actor: A, reason: str) -> bool:
        """Cancel the running turn, which ends as `Cancelled(reason)`. False: no turn of this actor runs.

        The actor stays busy until the coroutine has returned.
        """
        if actor.worker is None:
            return False
        self._supervision.cancel(actor.worker, reason)
        return True

    def _mailbox(self, actor: A) -> Mailbox[E]:
        """The actor's mailbox, with everything that waits in it."""
        if actor.mailbox is None:
            actor.mailbox = Mailbox[E]()
            self._waiting[actor] = None
            self._supervision.wake()
            if actor.first is not None:
                actor.mailbox.put(actor.first)
                actor.first = None
        return actor.mailbox

    def _take(self, actor: A) -> E | None:
        """The next message; None when all of them have expired."""
        if (envelope := actor.first) is not None:
            actor.first = None
        elif actor.mailbox is not None:
            envelope = actor.mailbox.take()
            if not actor.mailbox:
                actor.mailbox = None
                del self._waiting[actor]
        return envelope

    # Introspection

    @property
    def is_fast(self) -> bool:
        """False: workers retire after every turn, because this backend does not show its cancel scopes."""
        return self._is_fast

    @property
    def is_idle(self) -> bool:
        """No actor is ready, running or held."""
        return not self._ready and not self._held and all(worker.envelope is None for worker in self._workers)

    @property
    def held_count(self) -> int:
        return self._held

    @property
    def ready_count(self) -> int:
        return len(self._ready)

    @property
    def worker_count(self) -> int:
        return len(self._workers)

    @property
    def retired(self) -> Counter[str]:
        """Workers that were not reused, by the class of the message whose turn they had run."""
        return self._retired.copy()

    def running(self) -> list[RunningTurn[A, E]]:
        return [
            RunningTurn(worker.actor, worker.envelope, worker.started_at, worker.reason)
            for worker in self._workers
            if worker.actor is not None and worker.envelope is not None
        ]

    async def wait_idle(self) -> None:
        """Return when no actor is ready, running or held.

        Raises:
            SchedulerClosed: It closed meanwhile.

        Cancellation: only the waiting stops.
        """
        while not self.is_idle:
            waiter: Promise[None] = self._host.promise()
            self._idle_waiters.append(waiter)
            await waiter

    def _note_idle(self) -> None:
        if self._idle_waiters and self.is_idle:
            for waiter in self._idle_waiters:
                waiter.set_result(None)
            self._idle_waiters.clear()

    # Workers

    def _make_ready(self, actor: A) -> None:
        actor.phase = READY
        self._ready.append(actor)
        if not self._waking:
            self._wake_one()

    def _go_on(self, actor: A) -> None:
        """To the next message of the actor, if one waits."""
        if actor.has_waiting:
            self._make_ready(actor)
        else:
            actor.phase = IDLE

    def _wake_one(self) -> None:
        while self._parked:
            worker = self._parked.pop()
            if not worker.pause.done():  # Done when its task was cancelled by somebody else: it leaves.
                self._waking.add(worker)
                worker.pause.set_result(None)
                return
        worker = Worker[A, E](self._behaviour.handle)
        self._waking.add(worker)
        self._workers[worker] = None
        self._base.copy().run(self._group.start_soon, self._run_worker, worker)

    def _wake_more(self) -> None:
        """Turns suspend, so that a worker begins one per step of the loop: wake twice as many workers as before.

        A thousand turns then begin within twenty-odd steps. Where nobody suspends, one worker does it all.
        """
        self._has_suspended = False
        if len(self._ready) > 1:
            self._stride = min(self._stride * 2, STRIDE_MAX)
            for _ in range(min(self._stride, len(self._ready) - 1) - len(self._waking)):
                self._wake_one()

    async def _work_contained(self, worker: Worker[A, E]) -> None:
        """Where a stray scope cannot be closed, the task that ends inside it fails: keep that from the others."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._work, worker)
        except* RuntimeError as errors:
            LOG.warning("A turn left a cancel scope open: %s", errors.exceptions[0])

    async def _work(self, worker: Worker[A, E]) -> None:
        try:
            with anyio.CancelScope(shield=True) as worker.scope:
                worker.watch = self._host.watch(worker.scope)
                await self._turns(worker)
                worker.driver.close()
                await worker.watch.unwind()
        finally:
            self._leave(worker)

    def _leave(self, worker: Worker[A, E]) -> None:
        """Hand on what this worker was meant to do: it may have been woken, or the only one."""
        del self._workers[worker]
        self._waking.discard(worker)
        if self._is_open and self._ready and not self._waking:
            self._wake_one()
        self._note_idle()

    async def _turns(self, worker: Worker[A, E]) -> None:
        ready, base, supervision = self._ready, self._base, self._supervision
        send, is_clean = worker.driver.send, worker.watch.is_clean
        while self._is_open:
            self._waking.discard(worker)
            if self._has_suspended:
                self._wake_more()
            if supervision.pause is not None:
                supervision.wake()
            budget = BUDGET // self._stride
            while ready and budget:
                budget -= 1
                actor = ready.popleft()
                if ready and not self._waking:
                    self._wake_one()  # If this handler suspends, the spare goes on with the rest.
                envelope = actor.first
                if envelope is not None and envelope.deadline > supervision.now:
                    actor.first = None
                elif (envelope := self._take_timely(actor)) is None:
                    continue
                actor.phase, actor.worker = RUNNING, worker
                worker.actor, worker.envelope, worker.started_at = actor, envelope, supervision.now
                context = base.copy()
                waits_for = context.run(send, (actor, envelope))
                if waits_for is not OVER:
                    self._has_suspended = True
                    await worker.driver.go_on(context, waits_for)
                self._end_turn(worker, actor, envelope)
                if worker.reason is not None or not is_clean():
                    self._note_retired(worker, envelope)
                    return
            if ready and not self._waking:
                self._wake_one()
            if not self._is_open or len(self._parked) >= PARKED_MAX:
                return
            if self._idle_waiters:
                self._note_idle()
            if not ready:
                self._stride = 1
            worker.pause = self._host.reply()
            self._parked.append(worker)
            try:
                await worker.pause
            except self._cancelled:  # By a loop that cancels every task it knows.
                if worker in self._parked:
                    self._parked.remove(worker)
                return

    def _take_timely(self, actor: A) -> E | None:
        """The message to run. None: there is no turn now, because what waited has expired."""
        envelope = self._take(actor)
        if envelope is None:
            actor.phase = IDLE
        elif envelope.deadline <= self._supervision.now:
            self._supervision.expire(actor, envelope, started=False)
            self._go_on(actor)
            return None
        return envelope

    def _end_turn(self, worker: Worker[A, E], actor: A, envelope: E) -> None:
        driver = worker.driver
        value, error = driver.value, driver.error
        driver.value = driver.error = None
        ending = Returned(value) if error is None and worker.reason is None else self._failure(worker, error)
        try:
            free = self._behaviour.finish(actor, envelope, ending)
        except Exception:
            LOG.exception("The behaviour raised where it must not.")
            free = True
        worker.actor = worker.envelope = actor.worker = None
        if not free:
            actor.phase = HELD
            self._held += 1
        elif actor.first is None and actor.mailbox is None:
            actor.phase = IDLE
        else:
            actor.phase = READY
            self._ready.append(actor)
        if error is not None and (end := deadly(error)) is not None:
            raise end

    def _failure(self, worker: Worker[A, E], error: BaseException | None) -> Ending:
        if worker.reason is not None:
            return Cancelled(worker.reason, error)
        assert error is not None
        if not isinstance(error, self._cancelled):
            return Raised(error)
        foreign = ForeignCancellation()
        foreign.__cause__ = error
        return Raised(foreign)

    def _note_retired(self, worker: Worker[A, E], envelope: E) -> None:
        name = type(envelope.message).__qualname__
        self._retired[name] += 1
        if worker.reason is None and self._is_fast:
            LOG.warning("The turn of a message %s left a cancel scope or a cancellation behind.", name)
