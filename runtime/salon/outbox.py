"""The outbox: what turns have posted leaves the process, beside the turns, in order and at least once.

commit or activation -> take -> deliver -> note that it has left -> the session's next
                                  | fails
                                  +-> note of the attempt, back-off -> deliver again -> ... -> dead letter

The rows are durable before they come here, so that whatever becomes of this process, they leave.
A note that is lost repeats a delivery under the same key and loses nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from salon.alarm import Alarm
from salon.backoff import Backoff
from salon.chance import Chance
from salon.deliver import Deliverer
from salon.delivery import Delivery, DeliveryFrame, session_in
from salon.errors import MessageInvalid, Refused, SchemaTooNew
from salon.metrics import Counters
from salon.outbox_queue import OutboxQueue, Stage
from salon.outgoing import Outgoing
from salon.wall import Wall
from salon_actors import Clock, HostLoop, Promise
from salon_actors.interrupts import deadly
from salon_persistence.bridge import Bridge
from salon_persistence.errors import CorruptRecord, StoreFailed
from salon_persistence.records import DeadLetterRow, NoteRecord, OutboxRow
from salon_persistence.store import Applied, Fenced, Outcome

if TYPE_CHECKING:
    from salon.resident import Resident
    from salon.session import Session

logger = logging.getLogger("salon")

NOTE_AGAIN_S = 1.0
"""Seconds until a note that the store has not taken is handed to it again."""

EXHAUSTED = "attempts_exhausted"
REFUSED = "refused"
UNKNOWN_KIND = "unknown_kind"
UNDECODABLE = "undecodable"
TOO_NEW = "schema_too_new"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how often deliveries are tried."""

    backoff: Backoff
    attempts_max: int
    """Tries of one delivery, at least 1; after the last one it is a dead letter."""
    timeout_s: float
    """Seconds that one try may take."""
    concurrent_max: int
    """Sessions that deliver at once, at least 1; each delivers one thing at a time."""


@dataclass(frozen=True, slots=True)
class _Unfit:
    """Why the head of a queue cannot be delivered at all."""

    reason: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class _Failure:
    cause: str
    is_final: bool = False
    """It was refused: to try again would be refused again."""


class Outbox:
    """Of a Runtime: all its sessions' outboxes. For the host loop only."""

    def __init__(
        self,
        bridge: Bridge,
        host: HostLoop,
        clock: Clock,
        wall: Wall,
        chance: Chance,
        counters: Counters,
        deps: Any,
        deliverers: Mapping[type[Any], Mapping[str, Deliverer]],
        bounds: Bounds,
    ) -> None:
        """To be made where the Runtime opens: deliveries run in copies of the context of here.

        Args:
            deliverers: Of each session class, by every stored name of the kind.
        """
        self._bridge = bridge
        self._host = host
        self._clock = clock
        self._wall = wall
        self._chance = chance
        self._counters = counters
        self._deps = deps
        self._deliverers = deliverers
        self._bounds = bounds
        self._context = copy_context()
        self._alarm = Alarm(host, clock)
        self._queues: dict[int, OutboxQueue] = {}
        self._ready: deque[OutboxQueue] = deque()
        self._running: dict[OutboxQueue, anyio.CancelScope | None] = {}
        """None: its task has not begun; only there can a scope be made."""
        self._late: set[OutboxQueue] = set()
        """Those of the running ones that are past their deadline: they have no slot any more."""
        self._noting = 0
        self._is_stopped = False
        self._is_cut = False
        self._closed: Promise[None] | None = None

    @property
    def depth(self) -> int:
        """What is still to leave, of the sessions in memory."""
        return sum(map(len, self._queues.values()))

    def depth_of(self, resident: Resident) -> int:
        """How many of them are of this session."""
        queue = self._queues.get(resident.sid)
        return 0 if queue is None else len(queue)

    @property
    def running(self) -> int:
        """Deliveries under way."""
        return len(self._running)

    def is_idle(self, resident: Resident) -> bool:
        """Nothing of the session is to leave or to be noted: it may leave memory."""
        return resident.sid not in self._queues

    def take(self, resident: Resident, rows: Sequence[OutboxRow], *, restored: bool = False) -> None:
        """Deliver these, in their order, after what the session has posted before.

        Args:
            rows: Durable.
            restored: They were read from the store, and some of them may be known here.
        """
        if not rows or self._is_stopped:
            return
        queue = self._queues.get(resident.sid)
        if queue is None:
            queue = self._queues[resident.sid] = OutboxQueue(resident)
        queue.resident = resident
        queue.add(rows, restored=restored)
        self._go_on(queue)

    def stop(self) -> None:
        """Begin nothing more. What has not left stays in the store, for the next Runtime."""
        self._is_stopped = True
        self._ready.clear()

    async def close(self) -> None:
        """Begin nothing more, and return when no delivery runs and no note is with the store. May be called again.

        Cancellation: deliveries that still run are cancelled, and count as never tried.
        """
        self.stop()
        if self._closed is None:
            self._closed = self._host.promise()
        self._look_whether_closed()
        try:
            await self._closed
        except BaseException:
            self._is_cut = True
            for scope in self._running.values():
                if scope is not None:
                    scope.cancel()
            raise

    def _look_whether_closed(self) -> None:
        if self._closed is not None and not self._running and not self._noting:
            self._closed.set_result(None)

    def _go_on(self, queue: OutboxQueue) -> None:
        """Whatever the session is to do next."""
        if queue.stage is not Stage.IDLE or self._is_stopped:
            return
        if not len(queue):
            self._forget_if_over(queue)
            return
        wait_s = self._wait_s(queue.head)
        if wait_s > 0:
            queue.stage = Stage.WAITING
            self._alarm.call_in(wait_s, partial(self._resume, queue))
        else:
            queue.stage = Stage.READY
            self._ready.append(queue)
            self._pump()

    def _wait_s(self, row: OutboxRow) -> float:
        """No longer than any back-off: the wall clock may have been set back since."""
        if row.due_us is None:
            return 0.0
        left_us = row.due_us - self._now_us()
        return min(left_us / 1_000_000, self._bounds.backoff.max_s)

    def _resume(self, queue: OutboxQueue) -> None:
        """It has waited, whatever the clock on the wall says."""
        if not self._is_stopped:
            queue.stage = Stage.READY
            self._ready.append(queue)
            self._pump()

    def _pump(self) -> None:
        while self._ready and len(self._running) - len(self._late) < self._bounds.concurrent_max:
            self._begin(self._ready.popleft())

    def _begin(self, queue: OutboxQueue) -> None:
        found = self._found(queue)
        if isinstance(found, _Unfit):
            self._bury(queue, found.reason, queue.head.attempts, found.cause)
            return
        attempt = queue.head.attempts + 1
        if queue.is_suspect:
            # Otherwise a delivery that ends the process would end each one after it, and never be counted.
            queue.trust()
            queue.tried(attempt, None)
            self._hold(queue, partial(self._start, queue, *found, attempt))
        else:
            self._start(queue, *found, attempt)

    def _found(self, queue: OutboxQueue) -> tuple[Deliverer, Outgoing] | _Unfit:
        row = queue.head
        if queue.is_suspect and row.attempts >= self._bounds.attempts_max:
            return _Unfit(EXHAUSTED)
        deliverer = self._deliverers.get(queue.resident.cls, {}).get(row.kind)
        if deliverer is None:
            return _Unfit(UNKNOWN_KIND)
        try:
            return deliverer, deliverer.codec.decode(row.body, row.schema_version)
        except SchemaTooNew:
            return _Unfit(TOO_NEW, "SchemaTooNew")
        except (MessageInvalid, CorruptRecord) as error:
            return _Unfit(UNDECODABLE, type(error).__name__)

    def _start(self, queue: OutboxQueue, deliverer: Deliverer, outgoing: Outgoing, attempt: int) -> None:
        queue.stage = Stage.DELIVERING
        self._running[queue] = None
        self._host.spawn(self._deliver, queue, deliverer, outgoing, attempt, context=self._context.copy())

    async def _deliver(self, queue: OutboxQueue, deliverer: Deliverer, outgoing: Outgoing, attempt: int) -> None:
        scope = self._running[queue] = anyio.CancelScope()
        if self._is_cut:
            scope.cancel()
        late = self._alarm.call_in(self._bounds.timeout_s, partial(self._expire, queue, deliverer, scope))
        delivery = Delivery(queue.head.key, attempt)
        frame = DeliveryFrame(deliverer.name, queue.resident, delivery, self._deps)
        try:
            failure = await self._tried(deliverer, session_in(queue.resident.cls, frame), outgoing, scope)
        finally:
            late.cancel()
            del self._running[queue]
            self._late.discard(queue)
        if self._queues.get(queue.resident.sid) is queue:
            self._tell(queue, deliverer, attempt, failure)
        self._pump()
        self._look_whether_closed()

    def _tell(self, queue: OutboxQueue, deliverer: Deliverer, attempt: int, failure: _Failure | None) -> None:
        if failure is None:
            self._delivered(queue)
        elif not self._is_cut:
            self._failed(queue, deliverer, attempt, failure)
        elif queue.head.attempts == attempt:
            queue.tried(attempt - 1, None)  # it was not given its time
            self._note(queue)

    async def _tried(
        self, deliverer: Deliverer, session: Session[Any, Any], outgoing: Outgoing, scope: anyio.CancelScope
    ) -> _Failure | None:
        """None: it has left. A method that returned after its deadline may have swallowed its cancellation."""
        returned = False
        try:
            with scope:
                await deliverer.function(session, outgoing)
                returned = not scope.cancel_called
        except Refused:
            return _Failure("Refused", is_final=True)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is tried again
            # A scope that the method has left open may spoil the end of ours, not what it did.
            return None if returned else _Failure(type(error).__name__)
        except BaseException as error:
            if deadly(error) is not None or self._is_cut:
                raise
            return _Failure("a foreign cancellation")  # of something that the method waited for
        return None if returned else _Failure("Timeout")

    def _expire(self, queue: OutboxQueue, deliverer: Deliverer, scope: anyio.CancelScope) -> None:
        """A method that ignores its cancellation holds up its own session, and nobody else."""
        scope.cancel()
        self._late.add(queue)
        logger.warning(
            "salon delivery %s (%s) of session %d is cancelled: it took more than %.1f s",
            queue.head.key,
            deliverer.name,
            queue.resident.sid,
            self._bounds.timeout_s,
        )
        self._pump()

    def _delivered(self, queue: OutboxQueue) -> None:
        self._counters.delivered += 1
        queue.stage = Stage.IDLE
        queue.settle()
        self._note(queue)
        self._go_on(queue)

    def _failed(self, queue: OutboxQueue, deliverer: Deliverer, attempt: int, failure: _Failure) -> None:
        self._counters.delivery_failures += 1
        if failure.is_final or attempt >= self._bounds.attempts_max:
            self._bury(queue, REFUSED if failure.is_final else EXHAUSTED, attempt, failure.cause)
            return
        wait_s = self._bounds.backoff.full_s(attempt, self._chance)
        queue.tried(attempt, self._now_us() + int(wait_s * 1_000_000))
        queue.stage = Stage.WAITING
        self._note(queue)
        self._alarm.call_in(wait_s, partial(self._resume, queue))
        logger.info(
            "salon delivery %s (%s) of session %d failed the %d. time, with %s; again in %.1f s",
            queue.head.key,
            deliverer.name,
            queue.resident.sid,
            attempt,
            failure.cause,
            wait_s,
        )

    def _bury(self, queue: OutboxQueue, reason: str, attempts: int, cause: str) -> None:
        """It goes to the dead letters, and the session's next only when that is durable, or a crash might swap them."""
        row = queue.head
        self._counters.outgoing_dead_lettered += 1
        logger.error(
            "salon delivery %s of session %d is a dead letter: %s %s", row.key, queue.resident.sid, reason, cause
        )
        queue.settle(
            DeadLetterRow(
                id=f"out-{row.number}",
                kind="outgoing",
                reason=reason,
                message=row.kind,
                schema_version=row.schema_version,
                body=row.body,
                at_us=self._now_us(),
                attempts=attempts,
                cause=cause,
                state_version=queue.resident.image.version,
                key=row.key,
            )
        )
        self._hold(queue, partial(self._released, queue))

    def _released(self, queue: OutboxQueue) -> None:
        queue.stage = Stage.IDLE
        self._go_on(queue)

    def _hold(self, queue: OutboxQueue, then: Callable[[], None]) -> None:
        """Go on with `then` when the store knows all that there is to know."""
        queue.stage = Stage.HELD
        queue.then = then
        self._note(queue)

    def _note(self, queue: OutboxQueue) -> None:
        if queue.is_noting or not queue.wants_note:
            return
        mail = queue.note()
        self._noting += 1
        record = NoteRecord(sid=queue.resident.sid, generation=queue.resident.generation, mail=mail)
        self._bridge.commit(record, partial(self._noted, queue))

    def _noted(self, queue: OutboxQueue, outcome: Outcome) -> None:
        self._noting -= 1
        if isinstance(outcome, Applied):
            queue.noted()
            self._heard(queue)
        elif isinstance(outcome, Fenced) or isinstance(outcome.error, StoreFailed):
            self._lost(queue, outcome)
        else:
            queue.unnoted()
            self._alarm.call_in(NOTE_AGAIN_S, partial(self._note, queue))
        self._look_whether_closed()

    def _heard(self, queue: OutboxQueue) -> None:
        if queue.wants_note:
            self._note(queue)
        elif queue.stage is Stage.HELD and not self._is_cut:
            queue.then()  # also when no other begins: its attempt is counted already
        else:
            self._forget_if_over(queue)

    def _lost(self, queue: OutboxQueue, outcome: Outcome) -> None:
        """Who cannot tell the store what has left delivers nothing more: its rows are the next owner's."""
        if isinstance(outcome, Fenced) and not outcome.whole_store:
            logger.error("salon forgets the outbox of session %d, which is not ours any more", queue.resident.sid)
            queue.stage = Stage.HELD
            del self._queues[queue.resident.sid]
        elif not self._is_stopped:
            logger.error("salon delivers nothing more: %s from the store", type(outcome).__name__)
            self.stop()

    def _forget_if_over(self, queue: OutboxQueue) -> None:
        if queue.is_over and self._queues.get(queue.resident.sid) is queue:
            del self._queues[queue.resident.sid]

    def _now_us(self) -> int:
        return self._wall.now_us(self._clock.monotonic())
