"""The intake: messages come into the durable inbox, begin only with a durable mark, and come back after a restart."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING
from weakref import WeakSet

from salon import errors
from salon.inbox import Inbox
from salon.replay import ReplayBounds
from salon.resident import Resident
from salon.sending import Sending
from salon.ticket import Ticket
from salon.turn_envelope import TurnEnvelope
from salon.watch import Broadcast, SessionWatch
from salon_actors import SchedulerClosed
from salon_persistence import codec
from salon_persistence.records import CHECKPOINT, CHUNKS, InboxRow, Mail, NoteRecord, ProgressRow
from salon_persistence.store import Applied, Fenced, Outcome, Refused, Unknown

if TYPE_CHECKING:
    from salon.activation import Residents
    from salon.ended import Ended
    from salon.gate import Gate
    from salon.leftovers import Leftovers
    from salon.metrics import Counters
    from salon.mishap import Mishaps
    from salon.settings import Settings
    from salon.wall import Wall
    from salon_actors import Clock, HostLoop, Promise, Scheduler
    from salon_persistence.bridge import Bridge

logger = logging.getLogger("salon")

NORMAL = 1
"""The priority of most messages."""


class Intake:
    """For all sessions of a runtime."""

    def __init__(
        self,
        host: HostLoop,
        scheduler: Scheduler[Resident, TurnEnvelope],
        bridge: Bridge,
        gate: Gate,
        residents: Residents,
        ended: Ended,
        clock: Clock,
        wall: Wall,
        counters: Counters,
        settings: Settings,
    ) -> None:
        self._host = host
        self._scheduler = scheduler
        self._bridge = bridge
        self._gate = gate
        self._residents = residents
        self._ended = ended
        self._clock = clock
        self._monotonic = clock.monotonic
        self._wall = wall
        self._counters = counters
        self._watched: WeakSet[Broadcast] = WeakSet()
        self._turn_timeout_s = settings.turn_timeout_s
        self._probe_interval_s = settings.probe_interval_s
        self._bounds = ReplayBounds(settings.replay_events_max, settings.replay_bytes_max)
        self._concurrent_turns_max = settings.concurrent_turns_max
        self._never_begun: set[int] = set()
        """Marked when they were accepted, of which nobody knows whether they were."""
        self.mishaps: Mishaps
        self.leftovers: Leftovers

    # Who follows a message

    def follow(
        self, resident: Resident, envelope: TurnEnvelope, key: str | None = None, fingerprint: bytes = b""
    ) -> Sending:
        """From now on callers may ask after it: it is found by its number, and by its key."""
        running = resident.runs(envelope)
        ticket = Ticket(self._host, envelope.number, position=resident.depth, bounds=self._bounds)
        sending = envelope.sending = Sending(envelope.message, ticket, key, fingerprint)
        if running:
            ticket.begin(sending.attempt)
        inbox = self.inbox_of(resident)
        inbox.add(envelope)
        ticket.sid = resident.sid
        if inbox.watched is not None:
            inbox.watched.admit(ticket)
        sending.on_end = partial(self._ended_of, resident)
        return sending

    def inbox_of(self, resident: Resident) -> Inbox:
        """Its inbox, made when there is none."""
        if resident.inbox is None:
            resident.inbox = Inbox()
        return resident.inbox

    def followed(self, resident: Resident, envelope: TurnEnvelope) -> Sending:
        """As `follow`, once."""
        return envelope.sending or self.follow(resident, envelope)

    def _ended_of(self, resident: Resident, envelope: TurnEnvelope) -> None:
        inbox, sending = resident.inbox, envelope.sending
        resident.doubts += 1  # who reads the session back just now may have seen it waiting
        if inbox is not None:
            inbox.remove(envelope)
            if inbox.is_empty:
                resident.inbox = None
        if sending is not None:
            self._ended.keep(sending.ticket)

    def watch(self, enter: Callable[[], Awaitable[Resident]], after: int | None) -> SessionWatch:
        """All turns of a session, from when the first event is asked for."""

        async def opening() -> Broadcast:
            return self._broadcast(await enter())

        return SessionWatch(opening, after)

    def _broadcast(self, resident: Resident) -> Broadcast:
        inbox = self.inbox_of(resident)
        if inbox.watched is None:
            inbox.watched = Broadcast(self._host, resident.image.version)
            self._watched.add(inbox.watched)
            known = [*inbox.by_number.values()]
            running = resident.worker.envelope if resident.worker is not None else None
            for envelope in (*known, *([running] if running is not None else []), *self._scheduler.waiting(resident)):
                if envelope.mark is None:
                    self._admit(resident, inbox.watched, envelope)
        return inbox.watched

    def _admit(self, resident: Resident, watched: Broadcast, envelope: TurnEnvelope) -> None:
        if envelope.sending is None:
            self.follow(resident, envelope)  # which admits it
        elif envelope.sending.ticket.watchers is None:
            watched.admit(envelope.sending.ticket)

    def close(self) -> None:
        """Nothing more will be heard of in this process."""
        self._ended.clear()
        for resident in self._residents:
            self._lose(resident)
        self.leftovers.close(errors.Draining("The runtime closed before the end of the turn was durable."))
        for broadcast in self._watched:
            broadcast.close(errors.Draining("The runtime is closed."))

    def _lose(self, resident: Resident) -> None:
        """Whoever still waits for a message of this session hears that this process will not tell."""
        inbox = resident.inbox
        for envelope in tuple(inbox.by_number.values()) if inbox is not None else ():
            error = errors.Draining("The runtime closed before the end of the turn was durable.")
            error.message = envelope.sent
            envelope.despair(error)

    # Into the inbox

    def accept(
        self,
        resident: Resident,
        envelope: TurnEnvelope,
        deadline_us: int | None,
        overlap: str,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it durable; `sending.accepted` is settled then. It may be submitted at once: it waits for that itself.

        One that will begin at once is marked as begun in the same write.

        Args:
            then: Called when it is durable.
        """
        attempts = 1 if self._begins_at_once(resident, envelope) else 0
        accepted = self._write(resident, envelope, deadline_us, overlap, attempts)
        self._add(resident, envelope, partial(self._accepted, resident, envelope, accepted, then))

    def _begins_at_once(self, resident: Resident, envelope: TurnEnvelope) -> bool:
        """Nothing is before it; and should something overtake it, that is of another priority, see `ready`."""
        has_room = self._scheduler.slots_taken < self._concurrent_turns_max
        return resident.is_idle and has_room and envelope.priority == NORMAL and not envelope.handler.is_list

    def promote(self, resident: Resident, envelope: TurnEnvelope, deadline: float) -> None:
        """As `accept`, for one that was asked; if its turn runs, it goes on while that is written.

        What the turn has shown and kept so far is written along: it was in memory only.
        """
        sending = envelope.sending
        assert sending is not None
        attempts = sending.attempt if resident.runs(envelope) else sending.attempt - 1
        promised = self._write(
            resident, envelope, self._wall.deadline_us(max(deadline, envelope.deadline)), "", attempts
        )
        sending.is_promoted = True
        progress = _progress_of(resident, envelope)
        self._add(resident, envelope, partial(self._promoted, resident, envelope, promised), progress)

    def _write(
        self, resident: Resident, envelope: TurnEnvelope, deadline_us: int | None, overlap: str, attempts: int
    ) -> Promise[None]:
        sending, name = envelope.sending, type(envelope.sent).salon_name
        assert sending is not None
        sending.row = InboxRow(
            number=envelope.number,
            sid=resident.sid,
            priority=envelope.priority,
            message=name.name,
            schema_version=name.schema_version,
            body=envelope.handler.codec.encode(envelope.sent),
            key=sending.key,
            fingerprint=sending.fingerprint,
            overlap=overlap,
            deadline_us=deadline_us,
            accepted_us=self._wall.now_us(self._monotonic()),
            attempts=attempts,
        )
        sending.marked = attempts
        sending.ticket.durable = True
        self.time(envelope, sending.row)
        promise = sending.accepted = self._host.promise()
        return promise

    def _add(
        self,
        resident: Resident,
        envelope: TurnEnvelope,
        done: Callable[[Outcome], None],
        progress: Sequence[ProgressRow] = (),
    ) -> None:
        assert envelope.sending is not None
        assert envelope.sending.row is not None
        mail = Mail(inbox_added=(envelope.sending.row,), progress=progress)
        self._bridge.commit(NoteRecord(sid=resident.sid, generation=resident.generation, mail=mail), done)

    def _accepted(
        self,
        resident: Resident,
        envelope: TurnEnvelope,
        accepted: Promise[None],
        then: Callable[[], None],
        outcome: Outcome,
    ) -> None:
        if isinstance(outcome, Applied):
            then()
            accepted.set_result(None)
            return
        error = self._not_accepted(resident, envelope, outcome)
        assert envelope.sending is not None
        envelope.sending.row = None
        accepted.set_exception(error)
        if isinstance(outcome, Unknown):
            self._never_begun.add(envelope.number)
            self.leftovers.look_again(resident)
        if not resident.runs(envelope):  # a turn that runs waits for this, and ends by itself
            self._scheduler.withdraw(resident, envelope)
            envelope.fail(error)

    def _promoted(self, resident: Resident, envelope: TurnEnvelope, promised: Promise[None], outcome: Outcome) -> None:
        """What was asked goes on as it was. A row that may be there is settled with its turn."""
        sending = envelope.sending
        assert sending is not None
        if isinstance(outcome, Applied):
            promised.set_result(None)
            return
        promised.set_exception(self._not_accepted(resident, envelope, outcome))
        if not isinstance(outcome, Unknown):
            sending.row = sending.accepted = None
            envelope.deadline = self.run_deadline(envelope)

    def _not_accepted(
        self, resident: Resident, envelope: TurnEnvelope, outcome: Fenced | Refused | Unknown
    ) -> errors.SalonError:
        error = self._gate.refusal(resident, outcome)
        error.message = envelope.sent
        if isinstance(error, errors.OutcomeUnknown):
            error.retryable = envelope.is_keyed
        return error

    def has_begun(self, row: InboxRow) -> bool:
        """Whether the handler of a row that was found in the inbox may have run."""
        return row.attempts > 0 and row.due_us is None and row.number not in self._never_begun

    def put_off_deadline(self, sending: Sending, deadline: float) -> None:
        """Whoever has joined gives it more time, in this life of the process."""
        row, later = sending.row, max(sending.deadline, deadline)
        if row is not None and later > sending.deadline:
            sending.deadline = later
            sending.row = replace(row, deadline_us=self._wall.deadline_us(later))

    def time(self, envelope: TurnEnvelope, row: InboxRow) -> None:
        """From now on its time is that of the monotonic clock: whoever sets the clock on the wall changes nothing."""
        sending, now, max_age_s = envelope.sending, self._monotonic(), envelope.handler.max_age_s
        assert sending is not None
        now_us = self._wall.now_us(now)
        left_us = inf if row.deadline_us is None else row.deadline_us - now_us
        sending.deadline = now + left_us / 1_000_000
        if max_age_s is not None:
            sending.too_old_at = now + max_age_s - max(0, now_us - row.accepted_us) / 1_000_000

    def run_deadline(self, envelope: TurnEnvelope) -> float:
        """Until when its turn may run, if it begins now: of merged messages, as long as one of them has time."""
        latest = self._monotonic() + self._turn_timeout_s
        return min(max(map(self._own_deadline, envelope.members)), latest)

    def _own_deadline(self, envelope: TurnEnvelope) -> float:
        sending = envelope.sending
        return envelope.deadline if sending is None or sending.row is None else sending.deadline

    def queue_deadline(self, envelope: TurnEnvelope) -> float:
        """Until when a told message may wait: its own deadline, and the age that its handler allows."""
        sending = envelope.sending
        assert sending is not None
        assert sending.row is not None
        return min(sending.deadline, sending.too_old_at)

    # To its turn

    async def ready(self, resident: Resident, envelope: TurnEnvelope) -> None:
        """Return when the handler may begin: the message is durable, and so is that its attempt has begun."""
        sending = envelope.sending
        assert sending is not None
        if sending.accepted is not None and not sending.is_promoted:
            await sending.accepted
        told = [m.sending for m in envelope.members if m.sending is not None and m.sending.row is not None]
        marks = [(each.row.number, sending.attempt) for each in told if each.row and each.marked < sending.attempt]
        dropped = tuple(number for number, _ in marks) if sending.attempt > 1 else ()
        if envelope.priority != NORMAL:
            marks += self._overtaken(resident)
        if marks:
            again = [(number, None) for number in dropped]
            mail = Mail(inbox_started=marks, inbox_put_off=again, progress_dropped=dropped)
            await self._mark(resident, told, sending.attempt, mail)
            self._never_begun.difference_update(number for number, _ in marks)
        if told:
            envelope.deadline = self.run_deadline(envelope)
        sending.ticket.begin(sending.attempt)

    async def _mark(self, resident: Resident, told: Sequence[Sending], attempt: int, mail: Mail) -> None:
        """It counts as durable until it has failed: a runtime that closes meanwhile would not know."""
        for each in told:
            each.marked = attempt
        try:
            await self.note(resident, mail)
        except errors.SalonError:
            for each in told:
                each.marked = attempt - 1
            raise

    def _overtaken(self, resident: Resident) -> list[tuple[int, int]]:
        """What was marked when it was accepted, and has not begun: this one comes first."""
        waiting = [e.sending for e in self._scheduler.waiting(resident) if e.sending is not None]
        marked = [each for each in waiting if each.row is not None and each.marked >= each.attempt]
        for each in marked:
            each.marked = each.attempt - 1
        return [(each.row.number, each.marked) for each in marked if each.row is not None]

    def submit_accepted(self, resident: Resident, envelope: TurnEnvelope) -> None:
        """Let a message wait that was accepted before; the bounds were asked then."""
        try:
            self._scheduler.submit(resident, envelope, bounded=False)
        except SchedulerClosed:
            error = errors.Draining("The runtime closed before the turn began; nothing was applied.")
            self.abandoned(resident, envelope, error)

    async def note(self, resident: Resident, mail: Mail) -> None:
        """Write it down for the session, and return when it is durable.

        Raises:
            NotApplied, OutcomeUnknown, Fenced: It is not, or nobody knows.
        """
        promise = self._host.promise()
        note = NoteRecord(sid=resident.sid, generation=resident.generation, mail=mail)
        self._bridge.commit(note, promise.set_result)
        outcome = await promise
        if not isinstance(outcome, Applied):
            raise self._gate.refusal(resident, outcome)

    def not_begun(self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError) -> bool:
        """The store let it not begin. A told message waits for better days, at the head; True."""
        sending = envelope.sending
        assert sending is not None
        if sending.row is None:
            envelope.fail(error)
            return True
        envelope.deadline = self.queue_deadline(envelope)
        self._scheduler.put_back(resident, envelope)
        self.mishaps.rest(resident, self._probe_interval_s)
        return True

    # Not to its end

    def abandoned(self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError) -> None:
        """The runtime closes and it has not begun: a told one will begin in the next life."""
        self._unmark(resident, envelope)
        if envelope.sending is None:
            envelope.fail(error)
        else:
            envelope.despair(error)

    def cut_off(self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError) -> None:
        """The runtime closes while it runs. A told one is found in the inbox by the next life, as after a crash."""
        if envelope.sending is None:
            envelope.fail(error)
        else:
            envelope.despair(error)

    def _unmark(self, resident: Resident, envelope: TurnEnvelope) -> None:
        sendings = [member.sending for member in envelope.members if member.sending is not None]
        marked = [(s.row.number, s.attempt - 1) for s in sendings if s.row is not None and s.marked >= s.attempt]
        if marked:
            now_us = self._wall.now_us(self._monotonic())
            again = [(number, now_us) for number, attempts in marked if attempts]
            self._tell_store(resident, Mail(inbox_started=marked, inbox_put_off=again))

    def put_off(self, resident: Resident, envelope: TurnEnvelope, seconds: float) -> None:
        """Its attempt has failed, and another one follows: should the process die meanwhile, it was not cut."""
        due_us = self._wall.now_us(self._monotonic()) + int(seconds * 1_000_000)
        sendings = [member.sending for member in envelope.members if member.sending is not None]
        if again := [(sending.row.number, due_us) for sending in sendings if sending.row is not None]:
            self._tell_store(resident, Mail(inbox_put_off=again))

    def _tell_store(self, resident: Resident, mail: Mail) -> None:
        self._bridge.commit(NoteRecord(sid=resident.sid, generation=resident.generation, mail=mail), _let_be)


def _let_be(outcome: Outcome) -> None:
    """It was worth a try: without it, the next life takes the message for one that has begun."""


def _progress_of(resident: Resident, envelope: TurnEnvelope) -> Sequence[ProgressRow]:
    """Of a turn that runs and was not in the inbox so far: its chunks, and its checkpoint."""
    frame, sending, rows = envelope.frame, envelope.sending, list[ProgressRow]()
    if sending is not None and (chunks := sending.ticket.unshown()):
        first = sending.ticket.seq - len(chunks) + 1
        rows.append(ProgressRow(envelope.number, CHUNKS, first, codec.pack(chunks)))
    if frame is not None and frame.checkpoint is not None:
        rows.append(ProgressRow(envelope.number, CHECKPOINT, 0, frame.checkpoint.encode(resident.sid)))
    return rows
