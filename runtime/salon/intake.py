"""The intake: messages come into the durable inbox, begin only with a durable mark, and come back after a restart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any
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
from salon_persistence.records import InboxRow, Mail, NoteRecord
from salon_persistence.store import Applied, Outcome, Refused, Unknown

if TYPE_CHECKING:
    from salon.activation import Residents
    from salon.ended import Ended
    from salon.gate import Gate
    from salon.held import Held
    from salon.metrics import Counters
    from salon.mishap import Mishaps
    from salon.settings import Settings
    from salon.wall import Wall
    from salon_actors import Clock, HostLoop, Scheduler
    from salon_persistence.bridge import Bridge

logger = logging.getLogger("salon")


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
        self.mishaps: Mishaps

    # Who follows a message

    def follow(
        self, resident: Resident, envelope: TurnEnvelope, key: str | None = None, fingerprint: bytes = b""
    ) -> Sending:
        """From now on callers may ask after it: it is found by its number, and by its key."""
        running = resident.worker is not None and resident.worker.envelope is envelope
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
        if inbox is not None:
            inbox.remove(envelope)
            if inbox.is_empty:
                resident.inbox = None
        if sending is not None:
            self._ended.keep(sending.ticket)

    def watch(self, resident: Resident, after: int | None) -> SessionWatch:
        """All turns of the session from now on."""

        async def opening() -> Broadcast:
            return self._broadcast(resident)

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
        for broadcast in self._watched:
            broadcast.close(errors.Draining("The runtime is closed."))

    # Into the inbox

    def accept(self, resident: Resident, envelope: TurnEnvelope, deadline_us: int | None, overlap: str) -> None:
        """Make it durable; `sending.accepted` is settled then. It may be submitted at once: it waits for that itself.

        One that will begin at once is marked as begun in the same write.
        """
        sending, name = envelope.sending, envelope.handler.message.salon_name
        assert sending is not None
        row = sending.row = InboxRow(
            number=envelope.number,
            sid=resident.sid,
            priority=envelope.priority,
            message=name.name,
            schema_version=name.schema_version,
            body=envelope.handler.codec.encode(envelope.message),
            key=sending.key,
            fingerprint=sending.fingerprint,
            overlap=overlap,
            deadline_us=deadline_us,
            accepted_us=self._wall.now_us(self._monotonic()),
            attempts=1 if resident.is_idle and not envelope.handler.is_list else 0,
        )
        sending.marked = row.attempts
        sending.ticket.durable = True
        accepted = sending.accepted = self._host.promise()
        note = NoteRecord(sid=resident.sid, generation=resident.generation, mail=Mail(inbox_added=(row,)))
        self._bridge.commit(note, partial(self._accepted, resident, envelope, accepted))

    def _accepted(self, resident: Resident, envelope: TurnEnvelope, accepted: Any, outcome: Outcome) -> None:
        if isinstance(outcome, Applied):
            accepted.set_result(None)
            return
        error = self._gate.refusal(resident, outcome)
        error.message = envelope.sent
        assert envelope.sending is not None
        envelope.sending.row = None
        accepted.set_exception(error)
        if self._scheduler.withdraw(resident, envelope):
            envelope.fail(error)

    def run_deadline(self, envelope: TurnEnvelope) -> float:
        """Until when its turn may run, if it begins now."""
        latest = self._monotonic() + self._turn_timeout_s
        if envelope.sending is None or envelope.sending.row is None:
            return min(envelope.deadline, latest)
        return min(self._told_deadline(envelope), latest)

    def queue_deadline(self, envelope: TurnEnvelope) -> float:
        """Until when a told message may wait: its own deadline, and the age that its handler allows."""
        sending = envelope.sending
        assert sending is not None
        assert sending.row is not None
        if envelope.handler.max_age_s is None:
            return self._told_deadline(envelope)
        now = self._monotonic()
        age_s = max(0, self._wall.now_us(now) - sending.row.accepted_us) / 1_000_000
        return min(self._told_deadline(envelope), now + envelope.handler.max_age_s - age_s)

    def _told_deadline(self, envelope: TurnEnvelope) -> float:
        assert envelope.sending is not None
        assert envelope.sending.row is not None
        deadline_us = envelope.sending.row.deadline_us
        if deadline_us is None:
            return inf
        now = self._monotonic()
        return now + (deadline_us - self._wall.now_us(now)) / 1_000_000

    # To its turn

    async def ready(self, resident: Resident, envelope: TurnEnvelope) -> None:
        """Return when the handler may begin: the message is durable, and so is that its attempt has begun."""
        sending = envelope.sending
        assert sending is not None
        await self._all_accepted(envelope)
        told = [
            member.sending
            for member in envelope.members
            if member.sending is not None and member.sending.row is not None
        ]
        marks = [(each.row.number, sending.attempt) for each in told if each.row and each.marked < sending.attempt]
        if marks:
            dropped = tuple(number for number, _ in marks) if sending.attempt > 1 else ()
            await self.note(resident, Mail(inbox_started=marks, progress_dropped=dropped))
            for each in told:
                each.marked = sending.attempt
        if told:
            envelope.deadline = self.run_deadline(envelope)
        sending.ticket.begin(sending.attempt)

    async def _all_accepted(self, envelope: TurnEnvelope) -> None:
        """Of messages that were merged, those that the store refused are not among them any more."""
        refused: errors.SalonError | None = None
        kept: list[TurnEnvelope] = []
        for member in envelope.members:
            try:
                if member.sending is not None and member.sending.accepted is not None:
                    await member.sending.accepted
                kept.append(member)
            except errors.SalonError as error:
                refused = error
        if refused is None:
            return
        if not kept:
            raise refused
        for member in set(envelope.members).difference(kept):
            member.fail_alone(refused)
        assert envelope.sending is not None
        envelope.sending.members = tuple(kept)
        envelope.message = [member.sent for member in kept]

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
            note = NoteRecord(sid=resident.sid, generation=resident.generation, mail=Mail(inbox_started=marked))
            self._bridge.commit(note, _let_be)

    def unsettled(self, held: Held, error: errors.SalonError, outcome: Outcome) -> None:
        """The store did not take the end of its turn."""
        envelope, resident = held.envelope, held.resident
        envelope.fail(error)
        numbers = _rows_of(envelope)
        if not numbers:
            return
        if isinstance(outcome, Refused):
            self._host.spawn(self._settle, resident, numbers)
        elif isinstance(outcome, Unknown):
            self._host.spawn(self._look_again, resident)

    async def _settle(self, resident: Resident, numbers: Sequence[int]) -> None:
        """Its callers were told that it was not applied: it must not come back, as soon as that can be written."""
        while True:
            try:
                await self.note(resident, Mail(inbox_settled=numbers))
            except errors.NotApplied:
                await self._clock.sleep(self._probe_interval_s)
            except errors.SalonError:
                return
            else:
                return

    async def _look_again(self, resident: Resident) -> None:
        """Nobody knows whether it was applied: the session is read back, and what is still there has crashed."""
        while resident.is_stale:
            try:
                await self._residents.reload(resident)
            except errors.StoreUnavailable as error:
                if not error.retryable:
                    return
                await self._clock.sleep(self._probe_interval_s)
            except errors.SalonError:
                return


def _let_be(outcome: Outcome) -> None:
    """It was worth a try: without it, the next life takes the message for one that has begun."""


def _rows_of(envelope: TurnEnvelope) -> Sequence[int]:
    members = [member.sending for member in envelope.members]
    return tuple(sending.row.number for sending in members if sending is not None and sending.row is not None)
