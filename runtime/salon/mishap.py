"""Mishaps: what becomes of a message whose handler failed, and of a session that fails too often."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from salon import errors
from salon.backoff import Backoff
from salon.closing import FAILED
from salon.forgetting import Forgetting
from salon.marking import letter_of
from salon.parking import Parking, is_crash
from salon.resident import Resident
from salon.retry import Retry
from salon.turn_envelope import TurnEnvelope
from salon_actors import HostLoop
from salon_persistence.records import DeadLetterRow

if TYPE_CHECKING:
    from salon.chance import Chance
    from salon.marking import Marking
    from salon.metrics import Counters
    from salon.sending import Sending
    from salon.settings import Settings
    from salon.turns import Turns
    from salon_actors import Clock, Scheduler

logger = logging.getLogger("salon")

BACKOFF_S_MAX = 60.0


class Mishaps:
    """Fail, try again, put aside, park."""

    def __init__(
        self,
        host: HostLoop,
        scheduler: Scheduler[Resident, TurnEnvelope],
        turns: Turns,
        marking: Marking,
        clock: Clock,
        chance: Chance,
        counters: Counters,
        settings: Settings,
    ) -> None:
        self._host = host
        self._scheduler = scheduler
        self._turns = turns
        self._marking = marking
        self._clock = clock
        self._chance = chance
        self._counters = counters
        rests = Backoff(settings.parked_first_s, settings.parked_max_s)
        self.parking = Parking(settings.crash_budget, settings.crash_window_s, rests, chance)
        self._forgetting = Forgetting(host, clock, self.parking, settings.crash_window_s + settings.parked_max_s)
        self._asleep: dict[Resident, float] = {}
        """Who is suspended, and until when."""
        self._awaited: dict[Resident, TurnEnvelope] = {}
        """For whose next attempt it rests."""
        self._held = set[Resident]()
        """Who is suspended until it is let go."""

    def none(self, resident: Resident) -> None:
        """A turn of the session ended well."""
        if self.parking:
            self.parking.succeeded(resident.sid, self._clock.monotonic())

    def failed(self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError, *, has_begun: bool) -> bool:
        """Nothing was applied. True: the session is free at once."""
        if isinstance(error, errors.Draining):
            left = self._turns.intake.cut_off if has_begun else self._turns.intake.abandoned
            left(resident, envelope, error)
            return True
        if envelope.sending is not None and not has_begun:
            return self._not_begun(resident, envelope, envelope.sending, error)
        policy = envelope.handler.on_error if isinstance(error, errors.TurnFailed | errors.StateInvalid) else "fail"
        self._count(resident, error)
        if isinstance(policy, Retry) and self._again(resident, envelope, policy):
            return True
        if policy != "fail":
            self._counters.dead_lettered += 1
            cause = type(error.__cause__ or error).__name__
            self._marking.dead(resident, envelope, self._letters(resident, envelope, "failed", cause), error)
            return True
        return self._turns.close(resident, envelope, error, outcome=FAILED)

    def _not_begun(
        self, resident: Resident, envelope: TurnEnvelope, sending: Sending, error: errors.SalonError
    ) -> bool:
        if not isinstance(error, errors.TurnTimeout):
            return self._turns.intake.not_begun(resident, envelope, error)
        if sending.row is not None:
            self.expired(resident, envelope, error)
        else:
            envelope.fail(error)
        return True

    def _again(self, resident: Resident, envelope: TurnEnvelope, policy: Retry) -> bool:
        """Whether it gets another attempt: it waits at the head of its session, which rests meanwhile."""
        sending = self._turns.intake.followed(resident, envelope)
        if sending.attempt >= policy.attempts_max:
            return False
        wait_s = Backoff(policy.backoff_s, max(policy.backoff_s, BACKOFF_S_MAX)).equal_s(sending.attempt, self._chance)
        now = self._clock.monotonic()
        if envelope.deadline <= now + wait_s and not envelope.is_told:
            return False  # whoever asked would not live to see it
        self._counters.turns_retried += 1
        for member in envelope.members:
            if member.sending is not None:
                member.sending.attempt += 1
                member.sending.ticket.put_back()
        self._turns.intake.put_off(resident, envelope, wait_s)
        if sending.row is not None:
            envelope.deadline = self._turns.intake.queue_deadline(envelope)
        self._scheduler.put_back(resident, envelope)
        self.rest(resident, wait_s, envelope)
        return True

    def _count(self, resident: Resident, error: errors.SalonError | None) -> None:
        if error is not None and not is_crash(error):
            return
        rest_s = self.parking.failed(resident.sid, self._clock.monotonic())
        self._forgetting.remember()
        if rest_s is not None:
            self._counters.sessions_parked += 1
            logger.warning("salon parks session %d for %.1f s: it has crashed too often", resident.sid, rest_s)
            self.rest(resident, rest_s)

    def rest_s(self, resident: Resident) -> float | None:
        """Seconds for which nothing of its users begins, parked or waiting for another attempt; None: it is awake."""
        until = self._asleep.get(resident)
        return None if until is None else max(0.0, until - self._clock.monotonic())

    def check(self, resident: Resident) -> None:
        """Raises SessionParked while the session rests for its crashes."""
        if self.parking:
            now = self._clock.monotonic()
            rest_s = self.parking.rest_s(resident.sid, now)
            if rest_s is not None:
                age_s = self._scheduler.oldest_age(resident, now) if resident.depth else None
                raise errors.SessionParked(rest_s, resident.depth, age_s)

    def resume(self, resident: Resident) -> None:
        """The cause was mended: go on at once."""
        self.parking.resume(resident.sid, self._clock.monotonic())
        self._wake_up(resident)

    def hold(self, resident: Resident) -> None:
        """Let nothing of its users begin until `let_go`."""
        self._held.add(resident)
        self._scheduler.suspend(resident)

    def let_go(self, resident: Resident) -> None:
        """It goes on, unless it rests."""
        self._held.discard(resident)
        self._rouse(resident)

    def _rouse(self, resident: Resident) -> None:
        if resident not in self._asleep and resident not in self._held:
            self._scheduler.resume(resident)

    def withdrawn(self, resident: Resident, envelope: TurnEnvelope) -> None:
        """A message waits no longer: if the session rests for its next attempt, the others need not."""
        if self._awaited.get(resident) is not envelope:
            return
        now = self._clock.monotonic()
        parked_s = self.parking.rest_s(resident.sid, now) if self.parking else None
        if parked_s is None:
            self._wake_up(resident)
        else:
            del self._asleep[resident], self._awaited[resident]
            self.rest(resident, parked_s)

    def _wake_up(self, resident: Resident) -> None:
        self._awaited.pop(resident, None)
        if self._asleep.pop(resident, None) is not None:
            self._rouse(resident)

    def rest(self, resident: Resident, seconds: float, awaited: TurnEnvelope | None = None) -> None:
        """Let nothing of its users begin for so long; `awaited`: for the sake of this message, as long as it waits."""
        if awaited is not None:
            self._awaited[resident] = awaited
        until = self._clock.monotonic() + seconds
        is_asleep = resident in self._asleep
        self._asleep[resident] = max(until, self._asleep.get(resident, until))
        if not is_asleep:
            self._scheduler.suspend(resident)
            self._host.spawn(self._wake, resident)

    async def _wake(self, resident: Resident) -> None:
        while (until := self._asleep.get(resident)) is not None:
            now = self._clock.monotonic()
            if until <= now:
                self._wake_up(resident)
                return
            await self._clock.sleep(until - now)

    def expired(self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError) -> None:
        """A told message was too old before it began: a dead letter."""
        self.put_aside(resident, envelope, "expired", error)

    def put_aside(self, resident: Resident, envelope: TurnEnvelope, reason: str, error: errors.SalonError) -> None:
        """A message that will not begin becomes a dead letter, if it was told; an ask is only answered."""
        error.message = envelope.sent
        self.withdrawn(resident, envelope)
        if not envelope.is_told:  # not recorded either: an ask that never ran may be asked again under its key
            envelope.fail(error)
            return
        told = [m for m in envelope.members if m.sending is not None and m.sending.row is not None]
        self._counters.dead_lettered += len(told)
        letters = [self._letter(resident, member, reason, "") for member in told]
        self._marking.too_late(resident, envelope, letters, error)

    def crashed(self, resident: Resident) -> None:
        """The process died in a turn of the session."""
        self._count(resident, None)

    def _letters(self, resident: Resident, envelope: TurnEnvelope, reason: str, cause: str) -> Sequence[DeadLetterRow]:
        return [self._letter(resident, member, reason, cause) for member in envelope.members]

    def _letter(self, resident: Resident, envelope: TurnEnvelope, reason: str, cause: str) -> DeadLetterRow:
        now_us, version = self._marking.now_us(), resident.image.version
        return letter_of(envelope, reason, now_us, cause=cause, state_version=version)
