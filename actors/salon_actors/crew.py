"""The crew: the ready queue, and the few workers that take actors from it.

Before a turn starts, if more is ready and nobody is being woken, one spare worker is woken: a handler that suspends
never holds the others, and one that does not costs no task switch. A worker is reused only after a clean turn.

    spawned -> runs turns -> parked -> woken -> runs turns -> ... -> retired: after a turn that was cancelled or unclean
"""

import contextvars
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from salon_actors.actor import Actor, Phase
from salon_actors.behaviour import CLOSED, Behaviour, Cancelled, Ending, Raised, Returned
from salon_actors.context import OVER
from salon_actors.envelope import Envelope
from salon_actors.errors import ForeignCancellation, SchedulerClosed
from salon_actors.hostloop import HostLoop
from salon_actors.interrupts import deadly
from salon_actors.park import Promise
from salon_actors.ready import Ready
from salon_actors.slots import Slots
from salon_actors.supervision import Supervision
from salon_actors.worker import Worker

A = TypeVar("A", bound=Actor[Any])
E = TypeVar("E", bound=Envelope)

LOG = logging.getLogger("salon_actors")

BUDGET = 256
"""Turns that a worker runs in a row before the loop gets its turn: below a millisecond of engine at 1.6 µs each."""
STRIDE_MAX = 64
"""Workers woken at once, which share the budget."""
PARKED_MAX = 256
"""Workers kept for reuse; a parked task costs about 5 KB, a new one 10 µs."""

IDLE, READY, RUNNING, HELD, SUSPENDED = Phase.IDLE, Phase.READY, Phase.RUNNING, Phase.HELD, Phase.SUSPENDED


class Crew(Generic[A, E]):
    """Workers of one scheduler."""

    def __init__(
        self, host: HostLoop, behaviour: Behaviour[A, E], supervision: Supervision[A, E], ready: Ready[A], slots: Slots
    ) -> None:
        self._host = host
        self._behaviour = behaviour
        self._supervision = supervision
        self.ready = ready
        self.slots = slots
        slots.on_room = self._wake_if_needed
        self.workers = supervision.workers
        self.waking: set[Worker[A, E]] = set()
        """Woken, and not there yet."""
        self._parked: list[Worker[A, E]] = []
        self._stride = 1
        self._has_suspended = False
        self.held = 0
        """Actors whose turn has returned and waits to be released."""
        self.retired = Counter[str]()
        """Workers that were not reused, by the class of the message whose turn they had run."""
        self._idle_waiters: list[Promise[None]] = []
        self.is_open = False
        self.is_fast = False
        self._cancelled: type[BaseException] = BaseException
        self._base: contextvars.Context
        self._group: TaskGroup
        self._run_worker: Callable[[Worker[A, E]], Coroutine[Any, Any, object]]

    def open(self, group: TaskGroup, base: contextvars.Context) -> None:
        """Workers live in `group`, which the current task has entered; each turn gets a copy of `base`."""
        self._group, self._base = group, base
        self.is_fast = self._host.watch(group.cancel_scope).is_fast
        self._run_worker = self._host.protect(self._work if self.is_fast else self._work_contained)
        self._cancelled = anyio.get_cancelled_exc_class()
        self.is_open = True

    def close(self) -> None:
        """Send the parked ones home, cancel the turns that run, and tell who waits for idleness."""
        self.is_open = False
        while self._parked:
            worker = self._parked.pop()
            if not worker.pause.done():
                worker.pause.set_result(None)
        for worker in tuple(self.workers):
            if worker.envelope is not None:
                self._supervision.cancel(worker, CLOSED)
        for waiter in self._idle_waiters:
            waiter.set_exception(SchedulerClosed())
        self._idle_waiters.clear()

    @property
    def is_idle(self) -> bool:
        """No actor is ready, running or held."""
        return not self.ready and not self.held and all(worker.envelope is None for worker in self.workers)

    async def wait_idle(self) -> None:
        while not self.is_idle:
            if not self.is_open:
                raise SchedulerClosed
            waiter: Promise[None] = self._host.promise()
            self._idle_waiters.append(waiter)
            await waiter

    def note_idle(self) -> None:
        """Something has ended: tell who waits for it, if it was the last."""
        if self._idle_waiters and self.is_idle:
            for waiter in self._idle_waiters:
                waiter.set_result(None)
            self._idle_waiters.clear()

    def go_on(self, actor: A) -> None:
        """To the next message of the actor, if one waits that may run."""
        if (mailbox := actor.mailbox) is None:
            if actor.first is None:
                actor.phase = IDLE
            else:
                self.make_ready(actor)
        elif mailbox.has_next:
            self.make_ready(actor)
        else:
            actor.phase = SUSPENDED

    def make_ready(self, actor: A) -> None:
        actor.phase = READY
        self.ready.append(actor)
        if not self.waking:
            self.wake_one()

    def wake_one(self) -> None:
        if self.slots.is_full:  # Somebody is woken when there is room.
            return
        while self._parked:
            worker = self._parked.pop()
            if not worker.pause.done():  # Done when its task was cancelled by somebody else: it leaves.
                self.waking.add(worker)
                worker.pause.set_result(None)
                return
        worker = Worker[A, E](self._behaviour.handle)
        self.waking.add(worker)
        self.workers[worker] = None
        self._base.copy().run(self._group.start_soon, self._run_worker, worker)

    def _wake_if_needed(self) -> None:
        if self.is_open and self.ready and not self.waking:
            self.wake_one()

    def _wake_more(self) -> None:
        """Turns suspend, so that a worker begins one per step of the loop: wake twice as many workers as before.

        A thousand turns then begin within twenty-odd steps. Where nobody suspends, one worker does it all.
        """
        self._has_suspended = False
        if len(self.ready) > 1:
            self._stride = min(self._stride * 2, STRIDE_MAX)
            for _ in range(min(self._stride, len(self.ready) - 1) - len(self.waking)):
                self.wake_one()

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
        del self.workers[worker]
        self.waking.discard(worker)
        self.slots.leave(worker)
        self._wake_if_needed()
        self.note_idle()

    async def _turns(self, worker: Worker[A, E]) -> None:
        ready, base, supervision = self.ready, self._base, self._supervision
        send, is_clean = worker.driver.send, worker.watch.is_clean
        slots = self.slots
        while self.is_open:
            self.waking.discard(worker)
            if self._has_suspended:
                self._wake_more()
            if supervision.pause is not None:
                supervision.wake()
            budget = 0 if self.slots.is_full else BUDGET // self._stride
            while ready and budget:
                budget -= 1
                actor = ready.popleft()
                if ready and not self.waking:
                    self.wake_one()  # If this handler suspends, the spare goes on with the rest.
                envelope = actor.first
                if envelope is not None and envelope.deadline > supervision.now:
                    actor.first = None
                    supervision.messages -= 1
                    supervision.size_bytes -= envelope.size_bytes
                elif (envelope := self._take_timely(actor)) is None:
                    continue
                actor.phase, actor.worker = RUNNING, worker
                worker.actor, worker.envelope, worker.started_at = actor, envelope, supervision.now
                context = base.copy()
                waits_for = context.run(send, (actor, envelope))
                if waits_for is not OVER:
                    self._has_suspended = True
                    slots.enter(worker)
                    await worker.driver.go_on(context, waits_for)
                    slots.leave(worker)
                    if slots.is_full:
                        budget = 0
                self._end_turn(worker, actor, envelope)
                if worker.reason is not None or not is_clean():
                    self._note_retired(worker, envelope)
                    return
            if ready and not self.waking:
                self.wake_one()
            if not self.is_open or len(self._parked) >= PARKED_MAX:
                return
            if self._idle_waiters:
                self.note_idle()
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
        envelope = self._supervision.take(actor)
        if envelope is None:
            actor.phase = SUSPENDED if actor.is_suspended else IDLE
        elif envelope.deadline <= self._supervision.now:
            self._supervision.expire(actor, envelope, started=False)
            self.go_on(actor)
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
            self.held += 1
        elif (mailbox := actor.mailbox) is None:  # What comes while a turn runs waits there.
            actor.phase = IDLE
        elif not mailbox.is_suspended or mailbox.has_next:
            actor.phase = READY
            self.ready.append(actor)
        else:
            actor.phase = SUSPENDED
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
        self.retired[name] += 1
        if worker.reason is None and self.is_fast:
            LOG.warning("The turn of a message %s left a cancel scope or a cancellation behind.", name)
