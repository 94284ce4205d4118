"""Joining: whoever sends under a key that was used before gets what came of the first time, or waits for it too."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from salon import errors
from salon.events import own_error

if TYPE_CHECKING:
    from salon.intake import Intake
    from salon.metrics import Counters
    from salon.recall import Recall
    from salon.receive import Handler
    from salon.recorded import Recorded
    from salon.resident import Resident
    from salon.sending import Sending
    from salon.ticket import Ticket
    from salon.turn_envelope import TurnEnvelope
    from salon_actors import Clock


class Joining:
    """Looks into ledgers first, then at what waits and runs."""

    def __init__(self, intake: Intake, recall: Recall, clock: Clock, counters: Counters, turn_timeout_s: float) -> None:
        self._intake = intake
        self._recall = recall
        self._monotonic = clock.monotonic
        self._counters = counters
        self._turn_timeout_s = turn_timeout_s

    async def known(
        self, resident: Resident, handler: Handler, key: str, fingerprint: bytes, deadline: float, *, told: bool
    ) -> Ticket | Recorded | None:
        """What was sent under this key; None when nothing was, and there is room to record one more.

        Args:
            deadline: Of who joins; the later one counts.
            told: It is to be in the durable inbox when this returns.

        Raises:
            IdempotencyConflict: It was a message with other content.
            CapacityExceeded: Nothing was sent under it, and no more can be recorded now.
            NotApplied, OutcomeUnknown: The store did not make durable what was asked before and is told now.
            StoreUnavailable: Memory does not know, and the store cannot be asked.
        """
        while True:
            await self._recall.refresh(resident)
            recorded = self._recall.by_key(resident, handler, key, fingerprint)
            if recorded is not None:
                self._counters.keys_recalled += 1
                return recorded
            envelope = resident.inbox.by_key.get(key) if resident.inbox is not None else None
            if envelope is None or envelope.sending is None:
                self.check_room(resident, key)
                return None
            _check_same(handler, envelope.sending, fingerprint)
            if envelope.sending.ticket.ending is not None:
                return envelope.sending.ticket  # told before the store has answered
            if not (told and envelope.sending.row is None and envelope.sending.is_ending):
                return await self._join(resident, envelope, envelope.sending, deadline, told=told)
            await envelope.sending.ticket.ended()  # too late for the inbox: its end is on the way to the store

    def check_room(self, resident: Resident, key: str | None = None) -> None:
        """Raises CapacityExceeded when no more keys can be recorded; without a key there is always room."""
        self._recall.check_room(resident, key)

    async def _join(
        self, resident: Resident, envelope: TurnEnvelope, sending: Sending, deadline: float, *, told: bool
    ) -> Ticket:
        self._counters.keys_joined += 1
        self._prolong(envelope, sending, deadline)
        if told and sending.row is None:
            self._intake.promote(resident, envelope, deadline)
        if told and sending.accepted is not None:
            try:
                await sending.accepted
            except errors.SalonError as error:
                raise own_error(error) from None
        return sending.ticket

    def _prolong(self, envelope: TurnEnvelope, sending: Sending, deadline: float) -> None:
        """The later deadline counts; of a turn that runs, as far as its handler may go on."""
        if sending.row is not None:
            self._intake.put_off_deadline(sending, deadline)
        if envelope.frame is not None:
            latest = self._monotonic() + self._turn_timeout_s if deadline == inf else deadline
            envelope.deadline = max(envelope.deadline, min(latest, envelope.frame.run_until))
        elif sending.row is not None:
            envelope.deadline = max(envelope.deadline, self._intake.queue_deadline(envelope))
        else:
            envelope.deadline = max(envelope.deadline, deadline)
            sending.deadline = max(sending.deadline, deadline)


def _check_same(handler: Handler, sending: Sending, fingerprint: bytes) -> None:
    """Fingerprints of different schemas say nothing about each other."""
    name, row = handler.message.salon_name, sending.row
    is_comparable = row is None or (row.message in name.all and row.schema_version == name.schema_version)
    is_other = type(sending.message) is not handler.message and not (row is not None and row.message in name.all)
    if is_other or (is_comparable and sending.fingerprint != fingerprint):
        raise errors.IdempotencyConflict("The key was used for a message with other content.")
