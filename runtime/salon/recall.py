"""Recall: how messages ended, from the session's ledger, for those who send or ask again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from salon import errors
from salon.events import Ending, ErrorInfo
from salon.recorded import Recorded
from salon_persistence import codec

if TYPE_CHECKING:
    from salon.activation import Residents
    from salon.limits import Limits
    from salon.receive import Handler
    from salon.resident import Resident
    from salon.settings import Settings
    from salon.wall import Wall
    from salon_actors import Clock
    from salon_persistence.ledger import Ledger
    from salon_persistence.records import LedgerEntry

logger = logging.getLogger("salon")


class Recall:
    """Looks into ledgers, and lets what is too old go."""

    def __init__(self, residents: Residents, limits: Limits, clock: Clock, wall: Wall, settings: Settings) -> None:
        self._residents = residents
        self._limits = limits
        self._monotonic = clock.monotonic
        self._wall = wall
        self._records_max = settings.idempotency_records_max
        self._age_us = int(settings.idempotency_age_s * 1_000_000)

    async def refresh(self, resident: Resident) -> None:
        """After an unknown outcome memory does not know what is recorded; the store does."""
        if resident.is_stale:
            await self._residents.refresh(resident)

    def by_key(self, resident: Resident, handler: Handler, key: str, fingerprint: bytes) -> Recorded | None:
        """How the message with this key ended.

        Raises:
            IdempotencyConflict: It was a message with other content.
        """
        ledger = resident.image.ledger
        entry = ledger.of_key(key) if ledger is not None else None
        if entry is None or entry.at_us < self._oldest_us():
            return None
        same_schema = entry.message_schema == handler.message.salon_name.schema_version
        if entry.fingerprint != fingerprint and same_schema:
            raise errors.IdempotencyConflict("The key was used for a message with other content.")
        return recorded(resident, entry)

    def by_turn(self, resident: Resident, turn: str) -> Recorded | None:
        ledger = resident.image.ledger
        entry = ledger.of_turn(turn) if ledger is not None else None
        return None if entry is None else recorded(resident, entry)

    def check_room(self, resident: Resident, key: str | None) -> None:
        """Raises CapacityExceeded when the session keeps as many keys as it may, all of them young."""
        ledger = resident.image.ledger
        if ledger is None or max(ledger.keyed, len(ledger) - ledger.keyed) < self._records_max:
            return  # as nearly always: how old the oldest is takes longer to find out than all of this
        self.forget(resident)
        if key is None or ledger.keyed < self._records_max:
            return
        full = self._limits.records(ledger.keyed, self._age_s(ledger))
        if full is not None:
            raise full

    def forget(self, resident: Resident) -> None:
        """Let the records go that nobody may rely on any more; of those without a key also where there are too many."""
        if resident.image.ledger is not None:
            resident.image.ledger.forget(self._oldest_us(), self._records_max - 1)

    def _oldest_us(self) -> int:
        return self._now_us() - self._age_us

    def _age_s(self, ledger: Ledger) -> float:
        oldest_us = ledger.oldest_us
        return 0.0 if oldest_us is None else max(0, self._now_us() - oldest_us) / 1_000_000

    def _now_us(self) -> int:
        return self._wall.now_us(self._monotonic())


def recorded(resident: Resident, entry: LedgerEntry) -> Recorded:
    """The entry as callers see it."""
    return Recorded(entry.turn, _ending(resident, entry), attempt=entry.attempt, chunks=entry.chunks)


def _ending(resident: Resident, entry: LedgerEntry) -> Ending:
    turn = entry.turn
    if entry.outcome == "done":
        return _done(resident, entry)
    if entry.outcome == "refused":
        code, detail = codec.unpack(entry.reply)
        return Ending.failed(turn, errors.Refused(code, detail))
    if entry.outcome == "stopped":
        return Ending.failed(turn, errors.TurnStopped("The turn was stopped."))
    if entry.outcome == "interrupted":
        return Ending.failed(turn, errors.TurnInterrupted("The turn was interrupted."))
    if entry.outcome == "superseded":
        return Ending.failed(turn, errors.TurnSuperseded("A later message took its place."))
    return Ending.failed(turn, _dead(entry), status="dead_lettered")


def _dead(entry: LedgerEntry) -> errors.SalonError:
    """What its callers were told at the time."""
    try:
        return ErrorInfo.model_validate(codec.unpack(entry.reply)).error()
    except ValueError:
        return errors.TurnFailed(entry.message, "an error")


def _done(resident: Resident, entry: LedgerEntry) -> Ending:
    handlers = resident.cls.salon_type.handlers.values()
    handler = next((known for known in handlers if entry.message in known.message.salon_name.all), None)
    if handler is None:
        reply: Any = codec.unpack(entry.reply)
        return Ending.done(entry.turn, reply)
    try:
        reply = handler.decode_reply(entry.reply)
    except ValueError:
        logger.error("salon: the recorded reply of turn %s is not what %s promises now", entry.turn, handler.name)
        return Ending.failed(entry.turn, errors.SchemaTooNew("The recorded reply does not fit its message any more."))
    return Ending.done(entry.turn, reply, by_value=handler.copy_reply, reply_bytes=len(entry.reply))
