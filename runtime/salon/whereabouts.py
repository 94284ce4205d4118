"""Whereabouts: where a turn of one session is: moving in this process, ended a while ago, or recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from salon import errors
from salon.recorded import Recorded
from salon.ticket import Ticket
from salon.turn_id import UNRECORDED, turn_number

if TYPE_CHECKING:
    from salon.machinery import Machinery
    from salon.resident import Resident
    from salon.turn_envelope import TurnEnvelope


class SessionTurns:
    """The turns of one session, on behalf of whoever holds a handle of it."""

    __slots__ = ("_enter", "_machinery")

    def __init__(self, machinery: Machinery, enter: Callable[[], Awaitable[Resident]]) -> None:
        self._machinery = machinery
        self._enter = enter

    async def find(self, turn: str, /) -> Ticket | Recorded:
        """The ticket while there is one, else the record.

        Raises:
            NotApplied: There is neither, and there will not be: the turn never happened.
            OutcomeUnknown: Its record is too old to be kept; or it was an ask without a key, which has none.
            ValueError: The text was never the id of a turn.
        """
        number = turn_number(turn)
        resident = await self._enter()
        machinery = self._machinery
        found = self.moving(resident, number) or self._ended(resident, number)
        if found is not None:
            return found
        await machinery.recall.refresh(resident)
        recorded = machinery.recall.by_turn(resident, turn) or self.moving(resident, number)
        if recorded is not None:
            return recorded
        ledger = resident.image.ledger
        if ledger is not None and number <= ledger.forgotten:
            raise errors.OutcomeUnknown(f"How turn {turn} ended is not kept any more.")
        if number & UNRECORDED:
            raise errors.OutcomeUnknown(f"Turn {turn} was an ask without a key: how it ended is not recorded.")
        raise errors.NotApplied(f"Turn {turn} did not happen: nothing of it was applied.")

    async def find_key(self, key: str) -> Ticket | Recorded:
        """As `find`, by the key under which it was sent.

        Raises:
            NotApplied: Nothing was sent under it, or what was sent was rolled back.
            OutcomeUnknown: As NotApplied, unless it was so long ago that its record is not kept.
        """
        resident = await self._enter()
        recall = self._machinery.recall
        await recall.refresh(resident)
        envelope = resident.inbox.by_key.get(key) if resident.inbox is not None else None
        if envelope is not None and envelope.sending is not None:
            return envelope.sending.ticket
        ledger = resident.image.ledger
        entry = ledger.of_key(key) if ledger is not None else None
        if entry is None and ledger is not None and ledger.forgotten:
            raise errors.OutcomeUnknown("Nothing is recorded under this key, and old records are not kept.")
        if entry is None:
            raise errors.NotApplied("Nothing was applied under this key.")
        return await self.find(entry.turn)

    def moving(self, resident: Resident, number: int) -> Ticket | None:
        """Of a turn that waits or runs; a plain ask is followed from now on."""
        envelope = self.envelope(resident, number)
        return None if envelope is None else self._machinery.intake.followed(resident, envelope).ticket

    def envelope(self, resident: Resident, number: int) -> TurnEnvelope | None:
        if resident.inbox is not None and number in resident.inbox.by_number:
            return resident.inbox.by_number[number]
        candidates = self._machinery.scheduler.waiting(resident)
        if resident.worker is not None and resident.worker.envelope is not None:
            candidates = [resident.worker.envelope, *candidates]
        return next((each for each in candidates if each.number == number and each.mark is None), None)

    def _ended(self, resident: Resident, number: int) -> Ticket | None:
        ticket = self._machinery.ended.find(number)
        if ticket is None or ticket.sid != resident.sid:
            return None
        ending = ticket.leader.ending
        is_open = ending is not None and isinstance(ending.error, errors.OutcomeUnknown | errors.Fenced)
        return None if is_open else ticket  # the store may know by now
