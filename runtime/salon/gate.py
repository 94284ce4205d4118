"""The output gate: a turn's reply leaves when the turn is durable, and the session waits for it.

turn ends -> record -> bridge (group commit) -> outcome -> reply or error -> the session's next turn
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from salon import errors
from salon.draft import Changes
from salon.health import Health
from salon.metrics import Counters
from salon.resident import Resident
from salon.settings import Settings
from salon.snapshots import Snapshots
from salon_actors import Clock, HostLoop
from salon_persistence.bridge import Bridge
from salon_persistence.errors import StoreFailed, StoreUnavailable
from salon_persistence.records import TurnRecord
from salon_persistence.store import Applied, Fenced, Outcome, Refused, Unknown

if TYPE_CHECKING:
    from salon.frame import Frame

logger = logging.getLogger("salon")

WATCH_S = 0.25
"""Seconds between looks at the deadlines of turns that the store has: none of them is near in a store that works."""


class Gate:
    """Hands records to the store and lets replies out. One turn per session is behind it at a time."""

    def __init__(
        self,
        bridge: Bridge,
        host: HostLoop,
        clock: Clock,
        health: Health,
        counters: Counters,
        settings: Settings,
    ) -> None:
        self._clock = clock
        self._held: dict[Frame, None] = {}
        """In the order in which the store got them."""
        self._is_watching = False
        self._bridge = bridge
        self._host = host
        self._snapshots = Snapshots(bridge, host, counters)
        self._health = health
        self._counters = counters
        self._activity_lag_us = int(settings.activity_lag_s * 1_000_000)
        self._opens_early = settings.durability == "memory"
        self.release: Callable[[Resident], None] = _nobody_waits
        """Lets the session take its next message; the scheduler's."""

    def hold(self, frame: Frame, changes: Changes, reply: Any, now_us: int) -> None:
        """The session is held until the store has answered for this turn."""
        record = self._record(frame, changes, now_us)
        if self._opens_early and not frame.envelope.promise.done():
            frame.envelope.promise.set_result(reply)
        self._held[frame] = None
        if not self._is_watching:
            self._is_watching = True
            self._host.spawn(self._watch)
        self._bridge.commit(record, partial(self._answered, frame, changes, record, reply))

    async def _watch(self) -> None:
        """A deadline cancels nothing that the store has; but its caller need not wait for a store that hangs."""
        while self._held:
            await self._clock.sleep(WATCH_S)
            now = self._clock.monotonic()
            for frame in self._held:
                if frame.envelope.deadline <= now:
                    self._unanswered(frame)
        self._is_watching = False

    def abandon(self) -> None:
        """The store was left without its answers: nobody knows what became of the turns that it has."""
        for frame in self._held:
            self._unanswered(frame)

    def _unanswered(self, frame: Frame) -> None:
        if not frame.envelope.promise.done():
            self._counters.outcome_unknown += 1
            error = errors.OutcomeUnknown("The store has not answered for the turn in time.")
            error.message = frame.envelope.message
            frame.envelope.promise.set_exception(error)

    def _record(self, frame: Frame, changes: Changes, now_us: int) -> TurnRecord:
        resident, known = frame.resident, frame.resident.cls.salon_type.schema_version
        image = resident.image
        # The first commit under a new schema writes every field, so that a chain never mixes versions.
        whole = changes.whole or image.schema_version != known
        lagging = now_us - resident.stored_activity_us >= self._activity_lag_us
        resident.activity_us = now_us
        return TurnRecord(
            sid=resident.sid,
            version=image.version + 1,
            generation=resident.generation,
            schema_version=known,
            turn=frame.envelope.turn_id,
            at_us=now_us,
            whole=whole,
            state=changes.fields if whole else changes.changed,
            logs=changes.logs,
            activity_us=now_us if lagging else None,
        )

    def _answered(self, frame: Frame, changes: Changes, record: TurnRecord, reply: Any, outcome: Outcome) -> None:
        del self._held[frame]
        resident, promise = frame.resident, frame.envelope.promise
        try:
            if isinstance(outcome, Applied):
                self._applied(frame, changes, record, outcome)
                if not promise.done():
                    promise.set_result(reply)
            else:
                self._not_applied(frame, record, outcome)
        except Exception:
            logger.exception("salon turn %s was answered, but memory could not follow", record.turn)
            resident.is_stale = True
            self._unanswered(frame)
        finally:
            self.release(resident)

    def _not_applied(self, frame: Frame, record: TurnRecord, outcome: Fenced | Refused | Unknown) -> None:
        error = self.refusal(frame.resident, outcome)
        error.message = frame.envelope.message
        if not frame.envelope.promise.done():
            frame.envelope.promise.set_exception(error)
        if self._opens_early:
            logger.error("salon lost turn %s after its reply: %s", record.turn, type(error).__name__)

    def _applied(self, frame: Frame, changes: Changes, record: TurnRecord, outcome: Applied) -> None:
        resident = frame.resident
        resident.image.apply(record)
        resident.image.lsn = outcome.lsn
        if any(delta.cuts for delta in record.logs):
            resident.is_short = True
        resident.committed(frame.draft, changes.restored)
        if record.activity_us is not None:
            resident.stored_activity_us = record.activity_us
        self._counters.commits += 1
        if resident.image.wants_snapshot and not resident.is_snapshotting:
            self._snapshots.take(resident)

    def refusal(self, resident: Resident | None, outcome: Fenced | Refused | Unknown) -> errors.SalonError:
        """The error that a caller gets for a turn that the store did not apply."""
        if isinstance(outcome, Fenced):
            self._counters.fenced += 1
            if outcome.whole_store:
                self._health.fenced()
            elif resident is not None:
                resident.is_stale = True
            return errors.Fenced("Another runtime has written this session; nothing was applied.")
        if isinstance(outcome, Refused):
            self._health.note(outcome.error)
            self._counters.not_applied += 1
            refused = errors.NotApplied("The store did not take the turn; nothing was applied.")
            refused.retryable = isinstance(outcome.error, StoreUnavailable)
            return _caused(refused, outcome.error)
        if isinstance(outcome.error, StoreFailed):
            self._health.note(outcome.error)
        self._counters.outcome_unknown += 1
        if resident is not None:
            resident.is_stale = True
        return _caused(errors.OutcomeUnknown("The store cannot say whether the turn was applied."), outcome.error)


def _nobody_waits(resident: Resident) -> None:
    """Before the gate is wired to a scheduler."""


def _caused(error: errors.SalonError, cause: Exception) -> errors.SalonError:
    error.__cause__ = cause
    return error
