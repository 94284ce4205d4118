"""Notices: a message that ends while others run leaves the inbox by a note, and its callers hear of it at once.

How it ended is recorded by its mark, which waits for the turn that runs. Should the process die before that, the row
that is gone and the dead letter say as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon import errors
from salon.closing import own_steps, rows_of
from salon_persistence.records import Mail

if TYPE_CHECKING:
    from salon.intake import Intake
    from salon.mark import Mark
    from salon.resident import Resident
    from salon.settings import Settings
    from salon.turn_envelope import TurnEnvelope
    from salon_actors import Clock, HostLoop, Promise, Scheduler


class Notices:
    """For all sessions of a runtime; tries until the store takes it, or the runtime closes."""

    def __init__(
        self,
        host: HostLoop,
        scheduler: Scheduler[Resident, TurnEnvelope],
        intake: Intake,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._host = host
        self._scheduler = scheduler
        self._intake = intake
        self._sleep = clock.sleep
        self._probe_interval_s = settings.probe_interval_s
        self._concurrent_turns_max = settings.concurrent_turns_max

    def are_needed(self, resident: Resident) -> bool:
        """Whether a mark would have to wait for a turn, of this session or of another one."""
        return resident.worker is not None or self._scheduler.slots_taken >= self._concurrent_turns_max

    def give(self, resident: Resident, mark: Mark) -> Promise[bool]:
        """Settled when it is durable and the callers were told: True. False: all of it is left to the mark."""
        promise: Promise[bool] = self._host.promise()
        self._host.spawn(self._give, resident, mark, promise)
        return promise

    async def _give(self, resident: Resident, mark: Mark, promise: Promise[bool]) -> None:
        is_given = not await is_refused(mark.envelope) and await self._noted(resident, mark)
        if is_given:
            error = mark.error()
            error.message = mark.envelope.sent
            mark.envelope.forewarn(error, mark.status)
        promise.set_result(is_given)

    async def _noted(self, resident: Resident, mark: Mark) -> bool:
        numbers = rows_of(mark.envelope)
        if not numbers:
            return True
        # Of an answer that was lost: it may be there already.
        again = [letter.id for letter in mark.letters]
        mail = Mail(
            inbox_settled=numbers,
            steps_dropped=own_steps(mark.envelope),
            dead_letters_dropped=again,
            dead_letters=mark.letters,
        )
        while True:
            try:
                await self._intake.note(resident, mail)
            except errors.Fenced:
                return False
            except errors.SalonError:
                await self._sleep(self._probe_interval_s)
            else:
                return True


async def is_refused(envelope: TurnEnvelope) -> bool:
    """Whether the store did not take it into the inbox; of one that is on the way there, wait for the answer.

    Its sender hears that instead, and nothing is recorded of it.
    """
    sending = envelope.sending
    if sending is None or sending.accepted is None or sending.is_promoted:
        return False
    try:
        await sending.accepted
    except errors.SalonError:
        return True
    return False
