"""Admission: where a message becomes an envelope in a mailbox, or is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from salon import errors
from salon.cutting import INTERRUPT, ROLLBACK
from salon.fingerprint import fingerprint_of
from salon.forgetting import Forgetting
from salon.frame import RUNNING
from salon.limits import next_place_s
from salon.message import Message
from salon.overflow import Wait
from salon.overlap import Merge, Overlap, check_overlap
from salon.receive import Handler
from salon.recorded import Recorded
from salon.resident import Resident
from salon.session import Session
from salon.ticket import Ticket
from salon.turn_envelope import TurnEnvelope
from salon.turn_id import UNRECORDED
from salon_actors import Phase, SchedulerClosed

if TYPE_CHECKING:
    from salon.cutting import Cutting
    from salon.health import Health
    from salon.intake import Intake
    from salon.joining import Joining
    from salon.limits import Limits
    from salon.marking import Marking
    from salon.merging import Merging
    from salon.metrics import Counters
    from salon.mishap import Mishaps
    from salon.settings import Settings
    from salon.wall import Wall
    from salon_actors import Clock, HostLoop, Scheduler
    from salon_persistence.bridge import Bridge


RATES_FORGOTTEN_S = 60.0
"""Seconds between looks for rates that nobody uses any more."""
IDLE = Phase.IDLE
CLOSING = "The runtime is closing: nothing more is admitted."


@dataclass(frozen=True, slots=True)
class How:
    """What a sender asks for beside the message."""

    timeout_s: float | None = None
    key: str | None = None
    priority: int = 1
    overlap: Overlap | None = None


class Admission:
    """Checks every bound at the moment of sending, so that the caller feels it."""

    def __init__(
        self,
        host: HostLoop,
        scheduler: Scheduler[Resident, TurnEnvelope],
        bridge: Bridge,
        health: Health,
        clock: Clock,
        wall: Wall,
        limits: Limits,
        intake: Intake,
        mishaps: Mishaps,
        marking: Marking,
        merging: Merging,
        cutting: Cutting,
        joining: Joining,
        numbers: Callable[[], int],
        counters: Counters,
        settings: Settings,
    ) -> None:
        self._reply = host.reply
        self._promise = host.promise
        self._scheduler = scheduler
        self._pending_since = bridge.pending_since
        self._health = health
        self._clock = clock
        self._monotonic = clock.monotonic
        self._wall = wall
        self._limits = limits
        self._intake = intake
        self._mishaps = mishaps
        self._marking = marking
        self._merging = merging
        self._cutting = cutting
        self._joining = joining
        self._numbers = numbers
        self._counters = counters
        self._settings = settings
        self._forgetting = Forgetting(host, clock, limits.rates, RATES_FORGOTTEN_S)
        self._crashed = mishaps.parking.remembered
        self._is_rated = not limits.rates.bound_nothing
        self._message_bytes_max = settings.message_bytes_max
        self._turn_timeout_s = settings.turn_timeout_s
        self._context_vars = tuple(settings.context_vars)

    # A plain ask

    def admit(self, resident: Resident, sent: Message[Any], timeout_s: float | None) -> TurnEnvelope | None:
        """Puts the message into the session's mailbox; its reply is the envelope's promise.

        None: it needs more thought than a plain ask, see `send`.

        Raises:
            NoHandler, PayloadTooLarge, MailboxFull, CapacityExceeded, StoreUnavailable, Fenced, ValueError: It was
                not accepted.
        """
        try:
            handler = _handler(resident.cls, sent)
            if not handler.is_simple or self._crashed or self._is_rated:
                return None
            if resident.inbox is not None and resident.inbox.watched is not None:
                return None
            now = self._monotonic()
            self.check_store(now)
            deadline = now + (self._turn_timeout_s if timeout_s is None else _positive(timeout_s))
            message, size = self._by_value(handler, sent)
            if resident.phase is not IDLE or self._limits.runtime(size) is not None:
                self._check_room(resident, size, now)
            envelope = self._envelope(handler, message, self._reply(), deadline, size, 1, now)
            envelope.number |= UNRECORDED
            self._scheduler.submit(resident, envelope, bounded=False)
        except SchedulerClosed:
            closing = errors.Draining(CLOSING)
            closing.message = sent
            raise closing from None
        except errors.SalonError as error:
            self._refused(error, sent)
            raise
        return envelope

    # Everything else

    async def send(self, resident: Resident, sent: Message[Any], how: How, *, told: bool) -> Ticket | Recorded:
        """Accepts a message, durably if it is told, and returns where to follow it; or finds it by its key.

        Raises: As `admit`, and SessionBusy, SessionParked, RateLimited, IdempotencyConflict, NotApplied,
            OutcomeUnknown, ConfigurationError.

        Cancellation: a told message may have been accepted.
        """
        try:
            return await self._send(resident, sent, how, told=told)
        except errors.SalonError as error:
            self._refused(error, sent)
            raise

    def _refused(self, error: errors.SalonError, sent: Message[Any]) -> None:
        error.message = sent
        if isinstance(error, errors.MailboxFull):
            self._counters.mailbox_full += 1

    async def _send(self, resident: Resident, sent: Message[Any], how: How, *, told: bool) -> Ticket | Recorded:
        handler = _handler(resident.cls, sent)
        policy = _policy(handler, how.overlap)
        message, size = self._by_value(handler, sent)
        now = self._monotonic()
        deadline = inf if told and how.timeout_s is None else self._deadline(now, how.timeout_s)
        fingerprint = b"" if how.key is None else fingerprint_of(handler, message)
        latest = min(now + handler.when_full.seconds, deadline) if isinstance(handler.when_full, Wait) else now
        while True:
            if how.key is not None:
                found = await self._joining.known(resident, handler, how.key, fingerprint, deadline, told=told)
                if found is not None:
                    return found
            elif told:
                self._joining.check_room(resident)
            try:
                self._check(resident, policy, size, handler)
                break
            except errors.MailboxFull:
                if self._monotonic() >= latest:
                    raise
            await self._clock.sleep(self._settings.tick_s)
        promise = self._promise()
        envelope = self._envelope(handler, message, promise, deadline, size, how.priority, self._monotonic())
        if not told and how.key is None:
            envelope.number |= UNRECORDED
        sending = self._intake.follow(resident, envelope, how.key, fingerprint)
        overlap = partial(self._overlap, resident, envelope, policy)
        if not isinstance(policy, Merge):
            self._merging.close(resident, handler.message)
        if told:
            self._intake.accept(resident, envelope, self._wall.deadline_us(deadline), _stored(how.overlap), overlap)
            envelope.deadline = self._intake.queue_deadline(envelope)
        else:
            overlap()
        if not isinstance(policy, Merge):
            self._merging.alone(envelope)
            self._submit(resident, envelope)
        if sending.accepted is not None:
            await sending.accepted
        return sending.ticket

    def _check(self, resident: Resident, policy: Overlap, size: int, handler: Handler) -> None:
        """Raises what it is refused with; only when nothing can refuse it any more, others are given up for it."""
        now = self._monotonic()
        self._mishaps.check(resident)
        self.check_store(now)
        if policy == "reject" and not _is_free(resident):
            self._counters.turned_away += 1
            raise self._busy(resident, now)
        given_up = self._given_up(resident, size, now) if handler.when_full == "drop_oldest" else []
        self._check_room(resident, size, now, [old for old, _ in given_up])
        if not self._limits.rates.bound_nothing:
            self._take_token(resident, now)
        for old, full in given_up:
            self._give_up(resident, old, full)

    def _busy(self, resident: Resident, now: float) -> errors.SessionBusy:
        if not (depth := resident.depth):
            return errors.SessionBusy()
        age_s = self._scheduler.oldest_age(resident, now)
        return errors.SessionBusy(depth, age_s, next_place_s(depth, age_s))

    def _take_token(self, resident: Resident, now: float) -> None:
        slow = self._limits.rate(resident.sid, resident.row().tenant, resident.user_id, now)
        self._forgetting.remember()
        if slow is not None:
            self._counters.rate_limited += 1
            raise slow

    def _given_up(self, resident: Resident, size: int, now: float) -> list[tuple[TurnEnvelope, errors.MailboxFull]]:
        """The oldest that would have to go until there is room for this one, each with why; none if that is no help.

        Only those whose own handler says so: of the others none was ever told that it might be dropped.
        """
        droppable = iter(_droppable(self._scheduler.waiting(resident)))
        found: list[tuple[TurnEnvelope, errors.MailboxFull]] = []
        while (full := self._full(resident, size, now, [old for old, _ in found])) is not None:
            oldest = next(droppable, None)
            if oldest is None:
                return []
            found.append((oldest, full))
        return found

    def _give_up(self, resident: Resident, envelope: TurnEnvelope, full: errors.MailboxFull) -> None:
        if self._scheduler.withdraw(resident, envelope):
            self._counters.dropped += 1
            full.retryable, full.retry_after_s = False, None  # it was accepted, and given up for another
            self._mishaps.put_aside(resident, envelope, "dropped", full)

    def _overlap(self, resident: Resident, envelope: TurnEnvelope, policy: Overlap) -> None:
        """What it does to others, once nothing can refuse it any more: of a told one, when it is durable."""
        if isinstance(policy, Merge):
            self._merge(resident, envelope, policy)
        elif policy == "interrupt":
            self._interrupt(resident, envelope)
        elif policy == "rollback":
            self._roll_back(resident, envelope)

    def _merge(self, resident: Resident, envelope: TurnEnvelope, policy: Merge) -> None:
        if envelope.doom is None:
            self._merging.add(resident, envelope, policy)
        else:
            error = errors.TurnStopped("It was stopped before it began; nothing was applied.")
            self._marking.withdrawn(resident, envelope, error, "stopped")

    def _interrupt(self, resident: Resident, newcomer: TurnEnvelope) -> None:
        """What runs is cut; of its own kind, what waits will be, as soon as it has begun."""
        running = resident.running
        if running is not None and running.order < newcomer.order:
            self._cutting.cut(resident, running, INTERRUPT)
        for waiting in self._before(resident, newcomer):
            self._cutting.doom(waiting, INTERRUPT)

    def _roll_back(self, resident: Resident, newcomer: TurnEnvelope) -> None:
        """What runs is as if it had never begun; and of its own kind, what waits never will."""
        running = resident.running
        if running is not None and running.order < newcomer.order:
            self._cutting.cut(resident, running, ROLLBACK)
        for waiting in self._before(resident, newcomer):
            self._scheduler.withdraw(resident, waiting)
            self._counters.turns_superseded += 1
            self._mishaps.withdrawn(resident, waiting)
            error = errors.TurnSuperseded("A later message took its place; it never began.")
            self._marking.withdrawn(resident, waiting, error, "superseded")

    def _before(self, resident: Resident, newcomer: TurnEnvelope) -> list[TurnEnvelope]:
        """The messages of its own kind that waited when it was admitted."""
        return [
            waiting
            for waiting in self._scheduler.waiting(resident)
            if waiting.handler is newcomer.handler and waiting.mark is None and waiting.order < newcomer.order
        ]

    # Parts of both

    def check_store(self, now: float) -> None:
        """Raises what new work is refused with while the store is in trouble or does not keep up."""
        self._health.check()
        since = self._pending_since()
        if since is not None and now - since > self._settings.commit_stall_s:
            raise errors.StoreUnavailable(f"The oldest commit has waited for {now - since:.1f} s.")

    def _check_room(self, resident: Resident, size: int, now: float, given_up: Sequence[TurnEnvelope] = ()) -> None:
        full: errors.SalonError | None = self._full(resident, size, now, given_up)
        if full is not None:
            raise full
        if (full := self._limits.runtime(size, len(given_up), _bytes_of(given_up))) is not None:
            self._counters.over_capacity += 1
            raise full

    def _full(
        self, resident: Resident, size: int, now: float, given_up: Sequence[TurnEnvelope] = ()
    ) -> errors.MailboxFull | None:
        """Whether there is no room for it, once those that are given up have gone."""
        merged, merged_bytes = self._merging.waiting(resident)
        if not (depth := resident.depth + merged - sum(len(each.members) for each in given_up)):
            return None
        if not given_up:
            age_s = self._scheduler.oldest_age(resident, now)
        else:
            left = [each for each in _of_users(self._scheduler.waiting(resident)) if each not in given_up]
            age_s = now - min((each.accepted_at for each in left), default=now)
        return self._limits.mailbox(size, depth, resident.waiting_bytes + merged_bytes - _bytes_of(given_up), age_s)

    def _submit(self, resident: Resident, envelope: TurnEnvelope) -> None:
        try:
            self._scheduler.submit(resident, envelope, bounded=False)
        except SchedulerClosed:
            self._intake.abandoned(resident, envelope, errors.Draining(CLOSING))

    def _deadline(self, now: float, timeout_s: float | None) -> float:
        timeout_s = self._turn_timeout_s if timeout_s is None else _positive(timeout_s)
        frame = RUNNING.get(None)
        if frame is None or frame.over:
            return now + timeout_s
        return min(now + timeout_s, frame.envelope.deadline)  # a nested ask has what is left of its turn's time

    def _by_value(self, handler: Handler, sent: Message[Any]) -> tuple[Message[Any], int]:
        message, size = handler.codec.copy(sent)
        if size > self._message_bytes_max:
            raise errors.PayloadTooLarge(type(sent).__name__, size, self._message_bytes_max)
        return message, size

    def _envelope(
        self,
        handler: Handler,
        message: Message[Any],
        promise: Any,
        deadline: float,
        size: int,
        priority: int,
        now: float,
    ) -> TurnEnvelope:
        envelope = TurnEnvelope(message, promise, deadline, size, priority, now)
        envelope.handler = handler
        envelope.carried = self._carried() if self._context_vars else ()
        envelope.number = self._numbers()
        envelope.frame = envelope.sending = envelope.doom = envelope.mark = None
        return envelope

    def _carried(self) -> tuple[tuple[ContextVar[Any], Any], ...]:
        missing = object()
        found = ((variable, variable.get(missing)) for variable in self._context_vars)
        return tuple((variable, value) for variable, value in found if value is not missing)


def _policy(handler: Handler, asked: Overlap | None) -> Overlap:
    if asked is None:
        return handler.overlap
    policy = check_overlap(asked)
    if isinstance(policy, Merge) and not handler.is_list:
        raise errors.ConfigurationError(f"{handler.name} takes one message at a time: it cannot merge them.")
    return policy


def _stored(asked: Overlap | None) -> str:
    """What a restart must know of it: whether the message waits for others."""
    return "" if asked is None or isinstance(asked, Merge) else asked


def _of_users(waiting: Iterable[TurnEnvelope]) -> list[TurnEnvelope]:
    return [envelope for envelope in waiting if envelope.mark is None]


def _droppable(waiting: Iterable[TurnEnvelope]) -> list[TurnEnvelope]:
    """Those that may be given up for a newer one, the oldest first; of one moment the one that matters least."""
    found = [envelope for envelope in _of_users(waiting) if envelope.handler.when_full == "drop_oldest"]
    return sorted(found, key=lambda envelope: (envelope.accepted_at, -envelope.priority))


def _bytes_of(envelopes: Iterable[TurnEnvelope]) -> int:
    return sum(envelope.size_bytes for envelope in envelopes)


def _positive(timeout_s: float) -> float:
    if not 0 < timeout_s < inf:
        raise ValueError(f"timeout_s is {timeout_s}; it must be above 0, and finite.")
    return timeout_s


def _is_free(resident: Resident) -> bool:
    return resident.is_idle and (resident.inbox is None or not resident.inbox.merging)


def _handler(cls: type[Session[Any, Any]], sent: Message[Any]) -> Handler:
    handlers = cls.salon_type.handlers
    handler = handlers.get(type(sent))
    if handler is None:
        known = ", ".join(message.__name__ for message in handlers) or "nothing"
        raise errors.NoHandler(f"{cls.__name__} does not handle {type(sent).__name__}; it handles {known}.")
    return handler
