"""The output gate: a turn's reply leaves when the turn is durable, and the session waits for it.

turn ends -> record -> bridge (group commit) -> outcome -> reply or error -> the session's next turn
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from salon import errors
from salon.closing import FAILED, NO_ROWS, entries, forget_steps, settled
from salon.events import ErrorInfo
from salon.health import Health
from salon.held import Held
from salon.metrics import Counters
from salon.resident import Resident
from salon.settings import Settings
from salon.snapshots import Snapshots
from salon_actors import Clock, HostLoop
from salon_persistence import codec
from salon_persistence.bridge import Bridge
from salon_persistence.errors import StoreFailed, StoreUnavailable
from salon_persistence.image import weight
from salon_persistence.records import TurnRecord
from salon_persistence.store import Applied, Fenced, Outcome, Refused, Unknown

if TYPE_CHECKING:
    from salon.limits import Limits
    from salon.transfer import Transfers

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
        self._held: dict[Held, None] = {}
        """In the order in which the store got them."""
        self._is_watching = False
        self._bridge = bridge
        self._host = host
        self._snapshots = Snapshots(bridge, host, counters)
        self._health = health
        self._counters = counters
        self._activity_lag_us = int(settings.activity_lag_s * 1_000_000)
        self._opens_early = settings.durability == "memory"

    def wire(
        self,
        release: Callable[[Resident], None],
        unsettled: Callable[[Held, errors.SalonError, Outcome], None],
        transfers: Transfers,
        limits: Limits,
        forget: Callable[[Resident], None],
    ) -> None:
        """Those that need the gate themselves.

        Args:
            release: Lets the session take its next message; the scheduler's.
            unsettled: What becomes of a message in the inbox whose end the store did not take.
            transfers: Where staged messages go.
            limits: Hears of what is behind the gate.
            forget: Lets records go that nobody may rely on any more, before they are written into a snapshot.
        """
        self._release = release
        self._unsettled = unsettled
        self.transfers = transfers
        self._limits = limits
        self._forget = forget

    def hold(self, held: Held, now_us: int) -> None:
        """The session is held until the store has answered for this turn."""
        record = held.record = self._record(held, now_us)
        envelope = held.envelope
        if envelope.sending is not None or held.staged is not None or held.letters:
            self._add_delivery(held, record)
        if self._opens_early and not envelope.promise.done():
            held.tell_early()
        self._held[held] = None
        if not self._is_watching:
            self._is_watching = True
            self._host.spawn(self._watch)
        held.size_bytes = weight(record)
        self._limits.held(held.size_bytes)
        self._bridge.commit(record, partial(self._answered, held))

    def _add_delivery(self, held: Held, record: TurnRecord) -> None:
        """How the message ended, for whoever asks later; and what goes in and out with its turn."""
        envelope, error = held.envelope, held.error
        for member in envelope.members:
            if member.sending is not None:
                member.sending.is_ending = True
        if error is None:
            reply = envelope.handler.encode_reply(held.reply)
            held.reply_bytes = len(reply)
        else:
            reply = _told(held, error)
        # A failure that was rolled back is not recorded, so that the same key runs again.
        if held.outcome != FAILED:
            record.ledger = entries(envelope, held.outcome, reply, record.at_us)
        parts = NO_ROWS if held.staged is None else self.transfers.rows(held.staged, held.resident, record)
        record.mail = settled(held, parts)
        record.children = parts.children

    async def _watch(self) -> None:
        """A deadline cancels nothing that the store has; but its caller need not wait for a store that hangs."""
        while self._held:
            await self._clock.sleep(WATCH_S)
            now = self._clock.monotonic()
            for held in self._held:
                was_late = isinstance(held.error, errors.TurnTimeout)  # not applied, whatever the store says
                if held.is_old and not was_late and held.envelope.deadline <= now:
                    self._unanswered(held)
                held.is_old = True  # and not one that was handed over a moment ago
        self._is_watching = False

    def abandon(self) -> None:
        """The store was left without its answers: nobody knows what became of the turns that it has."""
        for held in self._held:
            self._unanswered(held)

    def _unanswered(self, held: Held) -> None:
        if not held.envelope.promise.done():
            self._counters.outcome_unknown += 1
            error = errors.OutcomeUnknown("The store has not answered for the turn in time.")
            error.message = held.envelope.sent
            error.retryable = held.envelope.is_keyed
            held.envelope.despair(error)

    def _record(self, held: Held, now_us: int) -> TurnRecord:
        resident, changes = held.resident, held.changes
        known = resident.cls.salon_type.schema_version
        image = resident.image
        lagging = now_us - resident.stored_activity_us >= self._activity_lag_us
        resident.activity_us = now_us
        if changes is None:
            return TurnRecord(
                sid=resident.sid,
                version=image.version + 1,
                generation=resident.generation,
                schema_version=image.schema_version,
                turn=held.envelope.turn_id,
                at_us=now_us,
                activity_us=now_us if lagging else None,
            )
        # The first commit under a new schema writes every field, so that a chain never mixes versions.
        whole = changes.whole or image.schema_version != known
        return TurnRecord(
            sid=resident.sid,
            version=image.version + 1,
            generation=resident.generation,
            schema_version=known,
            turn=held.envelope.turn_id,
            at_us=now_us,
            whole=whole,
            state=changes.fields if whole else changes.changed,
            logs=changes.logs,
            activity_us=now_us if lagging else None,
        )

    def _answered(self, held: Held, outcome: Outcome) -> None:
        del self._held[held]
        self._limits.released(held.size_bytes)
        try:
            if isinstance(outcome, Applied):
                self._applied(held, outcome)
                held.tell()
            else:
                self._not_applied(held, outcome)
        except Exception:
            logger.exception("salon turn %s was answered, but memory could not follow", held.record.turn)
            held.resident.doubt()
            self._unanswered(held)
        finally:
            self._release(held.resident)

    def _not_applied(self, held: Held, outcome: Fenced | Refused | Unknown) -> None:
        error = self.refusal(held.resident, outcome)
        error.message = held.envelope.sent
        if isinstance(error, errors.OutcomeUnknown):
            error.retryable = held.envelope.is_keyed
        if held.envelope.sending is not None:
            self._unsettled(held, error, outcome)
        elif not held.envelope.promise.done():
            held.envelope.promise.set_exception(error)
        if self._opens_early:
            logger.error("salon lost turn %s after its reply: %s", held.record.turn, type(error).__name__)

    def _applied(self, held: Held, outcome: Applied) -> None:
        resident, record = held.resident, held.record
        resident.image.apply(record)
        resident.image.lsn = outcome.lsn
        if record.logs and any(delta.cuts for delta in record.logs):
            resident.is_short = True
        if held.draft is not None and held.changes is not None:
            resident.committed(held.draft, held.changes.restored)
        if record.activity_us is not None:
            resident.stored_activity_us = record.activity_us
        self._counters.commits += 1
        if held.staged is not None:
            self.transfers.committed(held.staged, held.resident, outcome)
        if record.mail is not None and record.mail.steps_dropped:
            forget_steps(resident, record.mail.steps_dropped)
        if resident.image.wants_snapshot and not resident.is_snapshotting:
            self._forget(resident)
            self._snapshots.take(resident)

    def refusal(self, resident: Resident | None, outcome: Fenced | Refused | Unknown) -> errors.SalonError:
        """The error that a caller gets for a turn that the store did not apply."""
        if isinstance(outcome, Fenced):
            self._counters.fenced += 1
            if outcome.whole_store:
                self._health.fenced()
            elif resident is not None:
                resident.doubt()
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
            resident.doubt()
        return _caused(errors.OutcomeUnknown("The store cannot say whether the turn was applied."), outcome.error)


def _told(held: Held, error: errors.SalonError) -> bytes:
    """What the record must say of the error beside its outcome, so that who asks later hears the same."""
    if isinstance(error, errors.Refused):
        return codec.pack([error.code, error.detail])
    return codec.pack(ErrorInfo.of(error).model_dump()) if held.status == "dead_lettered" else b""


def _caused(error: errors.SalonError, cause: Exception) -> errors.SalonError:
    error.__cause__ = cause
    return error
