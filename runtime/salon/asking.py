"""Asking: how a caller waits for a reply, and how a turn does; and how somebody stops a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salon import errors
from salon.cutting import STOP
from salon.frame import RUNNING, is_in_turn_with

if TYPE_CHECKING:
    from salon.admission import Admission, How
    from salon.cutting import Cutting
    from salon.frame import Tools
    from salon.marking import Marking
    from salon.merging import Merging
    from salon.message import Message
    from salon.mishap import Mishaps
    from salon.resident import Resident
    from salon.turn_envelope import TurnEnvelope
    from salon.whereabouts import SessionTurns
    from salon_actors import Scheduler


class Asking:
    """From outside, and on behalf of a turn; see `nesting`."""

    def __init__(
        self,
        scheduler: Scheduler[Resident, TurnEnvelope],
        admission: Admission,
        cutting: Cutting,
        marking: Marking,
        merging: Merging,
        mishaps: Mishaps,
        tools: Tools,
    ) -> None:
        self._scheduler = scheduler
        self._admission = admission
        self._cutting = cutting
        self._marking = marking
        self._merging = merging
        self._mishaps = mishaps
        self._tools = tools

    async def ask(self, resident: Resident, message: Message[Any], how: How) -> Any:
        found = await self._admission.send(resident, message, how, told=False)
        ending = await found.ended()
        try:
            return ending.result()
        except errors.SalonError as error:  # an instance of this caller's own
            error.message = message
            raise

    async def within_turn(self, resident: Resident, message: Message[Any], how: How) -> Any:
        """As `ask`, on behalf of the turn that runs here, if one does."""
        if not is_in_turn_with(self._tools):
            return await self.ask(resident, message, how)
        try:
            with self._tools.nesting.waiting(RUNNING.get(), resident.sid):
                return await self.ask(resident, message, how)
        except errors.DeadlockError as error:
            error.message = error.message or message
            raise

    def stop(self, resident: Resident, number: int | None, turns: SessionTurns) -> None:
        """Cut the turn with this number, or the one that runs; nothing, if there is none."""
        running = resident.running
        if running is not None and number in (None, *_numbers(running)):
            self._cutting.cut(resident, running, STOP)
        elif number is not None and (waiting := turns.envelope(resident, number)) is not None:
            self._withdraw(resident, waiting)

    def _withdraw(self, resident: Resident, envelope: TurnEnvelope) -> None:
        if self._merging.leave(resident, envelope) or self._scheduler.withdraw(resident, envelope):
            attempted = envelope.sending is not None and envelope.sending.attempt > 1
            when = "between two attempts" if attempted else "before it began"
            error = errors.TurnStopped(f"It was stopped {when}; nothing was applied.")
            self._mishaps.withdrawn(resident, envelope)
            self._marking.withdrawn(resident, envelope, error, "stopped")
        else:
            self._cutting.doom(envelope, STOP)  # on the way into the inbox, and to a group: it comes no further


def _numbers(envelope: TurnEnvelope) -> list[int]:
    """Of the messages of its turn."""
    return [member.number for member in envelope.members]
