"""Cutting: a turn that is stopped or interrupted ends early; what it put into a checkpoint is not lost.

A turn is never cut while its checkpoint is on its way to the store: it is cut at the end of that.
One that has not begun and is to be interrupted begins first, so that its message can be put into a checkpoint:
it is cut at the end of that, or where it suspends for anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.resident import Resident
from salon.turn_envelope import TurnEnvelope

if TYPE_CHECKING:
    from salon_actors import HostLoop, Scheduler

STOP, INTERRUPT, ROLLBACK = "stop", "interrupt", "rollback"
REASONS = frozenset({STOP, INTERRUPT, ROLLBACK})


class Cutting:
    """Cancels turns for the sake of others."""

    def __init__(self, host: HostLoop, scheduler: Scheduler[Resident, TurnEnvelope]) -> None:
        self._host = host
        self._scheduler = scheduler

    def cut(self, resident: Resident, envelope: TurnEnvelope, reason: str) -> None:
        """Cut the turn that runs; the first reason stands."""
        frame = envelope.frame
        envelope.doom = envelope.doom or reason
        is_ready = envelope.doom != INTERRUPT if frame is None else not frame.is_checkpointing
        if is_ready:
            self._scheduler.cancel(resident, envelope.doom)

    def doom(self, envelope: TurnEnvelope, reason: str) -> None:
        """Cut it as soon as it has begun."""
        envelope.doom = envelope.doom or reason

    def begun(self, resident: Resident, envelope: TurnEnvelope) -> None:
        """A doomed turn begins: where it first suspends, it ends."""
        self._host.post(self._cut_if_running, resident, envelope)

    def checkpointed(self, resident: Resident, envelope: TurnEnvelope) -> None:
        """A checkpoint has ended: if the turn is to be cut, now is the time."""
        if envelope.doom is not None:
            self._cut_if_running(resident, envelope)

    def _cut_if_running(self, resident: Resident, envelope: TurnEnvelope) -> None:
        worker = resident.worker
        if worker is not None and worker.envelope is envelope and envelope.doom is not None:
            self.cut(resident, envelope, envelope.doom)
