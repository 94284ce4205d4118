"""Steps: stored results of `turn.once`, as a session comes into memory with them; those that are too old go."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from salon import errors
from salon.closing import steps_owner
from salon_persistence.records import Mail, StepRow

if TYPE_CHECKING:
    from salon.intake import Intake
    from salon.resident import Resident
    from salon.settings import Settings
    from salon.wall import Wall
    from salon_actors import Clock, HostLoop

logger = logging.getLogger("salon")


class Steps:
    """Of a message that waits they are kept as long as it does, of a key otherwise for `idempotency_age_s`."""

    def __init__(self, host: HostLoop, intake: Intake, clock: Clock, wall: Wall, settings: Settings) -> None:
        self._host = host
        self._intake = intake
        self._monotonic = clock.monotonic
        self._wall = wall
        self._age_us = int(settings.idempotency_age_s * 1_000_000)

    def restore(self, resident: Resident, steps: Sequence[StepRow]) -> None:
        """Take what the store holds of them. The messages that wait are in the inbox already."""
        old = self._old(resident, steps)
        inbox = self._intake.inbox_of(resident)
        for step in steps:
            if step.owner not in old:
                inbox.steps.setdefault(step.owner, {})[step.name] = step.body
        if old:
            self._host.spawn(self._drop, resident, sorted(old))

    def _old(self, resident: Resident, steps: Sequence[StepRow]) -> set[str]:
        """Owners whose newest step is too old."""
        oldest_us = self._wall.now_us(self._monotonic()) - self._age_us
        young = {step.owner for step in steps if step.at_us >= oldest_us}
        waiting = resident.inbox.by_number.values() if resident.inbox is not None else ()
        return {step.owner for step in steps} - young - {steps_owner(envelope) or "" for envelope in waiting}

    async def _drop(self, resident: Resident, owners: Sequence[str]) -> None:
        try:
            await self._intake.note(resident, Mail(steps_dropped=owners))
        except errors.SalonError as error:  # they go another time
            logger.warning("salon: old steps of session %d were not dropped: %s", resident.sid, error)
