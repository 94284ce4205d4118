"""Turns: what the scheduler runs for each message, from the draft to the gate."""

from __future__ import annotations

import logging
from copy import copy
from typing import TYPE_CHECKING, Any

from salon import errors
from salon.closing import FAILED
from salon.cutting import REASONS, ROLLBACK, STOP
from salon.frame import RUNNING, Frame, Tools
from salon.gate import Gate
from salon.held import Held
from salon.metrics import Counters
from salon.resident import Resident
from salon.settings import Settings
from salon.turn_envelope import TurnEnvelope
from salon_actors import CLOSED, DEADLINE, Cancelled, Ending, ForeignCancellation, Returned

if TYPE_CHECKING:
    from salon.activation import Residents
    from salon.intake import Intake
    from salon.marking import Marking
    from salon.mishap import Mishaps
    from salon.wall import Wall
    from salon_actors import Clock

logger = logging.getLogger("salon")


class Turns:
    """The behaviour of every session: run the handler on a draft, then commit or drop what it did."""

    def __init__(
        self,
        residents: Residents,
        gate: Gate,
        clock: Clock,
        wall: Wall,
        counters: Counters,
        settings: Settings,
    ) -> None:
        self._residents = residents
        self._gate = gate
        self._monotonic = clock.monotonic
        self._wall = wall
        self._counters = counters
        self._state_bytes_max = settings.state_bytes_max

    def wire(self, tools: Tools, intake: Intake, marking: Marking, mishaps: Mishaps) -> None:
        """Those that need the scheduler, which needs this."""
        self._tools = tools
        self.intake = intake
        self.marking = marking
        self.mishaps = mishaps
        self._crashed = mishaps.parking.remembered

    async def handle(self, resident: Resident, envelope: TurnEnvelope, /) -> object:
        """Runs in a context of its own; what it raises is the turn's failure."""
        if envelope.mark is not None:
            await self.marking.ready(resident, envelope, envelope.mark)
        elif envelope.sending is not None:
            await self.intake.ready(resident, envelope)
        if resident.is_stale or resident.is_short:
            await self._residents.refresh(resident)
        frame = self._begin(resident, envelope)
        for variable, value in envelope.carried:
            variable.set(value)
        RUNNING.set(frame)
        session = resident.cls.__new__(resident.cls)
        object.__setattr__(session, "_salon_frame", frame)
        if resident.cache is not None:
            object.__setattr__(session, "__dict__", resident.cache)
        try:
            reply = await envelope.handler.function(session, envelope.message)
        finally:
            if session.__dict__:
                resident.cache = session.__dict__
        if frame.staged is not None:
            await self._gate.transfers.resolve(frame.staged, resident)
        return reply

    def _begin(self, resident: Resident, envelope: TurnEnvelope) -> Frame:
        self._counters.turns_started += 1
        frame = envelope.frame = Frame(resident, envelope, resident.begin(), self._tools)
        if envelope.handler.timeout_s is not None:
            frame.run_until = self._monotonic() + envelope.handler.timeout_s
            envelope.deadline = min(envelope.deadline, frame.run_until)
        if envelope.doom is not None:
            self._tools.cutting.begun(resident, envelope)
        return frame

    def finish(self, resident: Resident, envelope: TurnEnvelope, ending: Ending, /) -> bool:
        """The handler is done. True: the session is free at once; False: the gate frees it."""
        frame, envelope.frame = envelope.frame, None  # or each turn would leave a circle to the garbage collector
        self._tools.nesting.over(resident)
        try:
            if envelope.mark is not None:
                return self.marking.finish(resident, envelope, frame, ending)
            if isinstance(ending, Returned):
                assert frame is not None
                return self._end(resident, envelope, frame, ending.value)
            if isinstance(ending, Cancelled):
                if ending.reason in REASONS and not (frame is not None and frame.over):  # or its deadline came first
                    return self._cut(resident, envelope, frame, ending.reason)
                raise _cancelled(ending)
            raise self._raised(envelope, ending.error, has_begun=frame is not None)
        except errors.SalonError as error:
            return self._fail(resident, envelope, error, has_begun=frame is not None)
        except Exception as error:  # noqa: BLE001  # a validator of the bot's own may raise anything
            return self._fail(resident, envelope, self._failed(envelope, error), has_begun=frame is not None)
        finally:
            if frame is not None:
                frame.close()

    def _end(self, resident: Resident, envelope: TurnEnvelope, frame: Frame, value: Any) -> bool:
        reply = self._reply(envelope, value)
        changes = frame.draft.changes(self._state_bytes_max)
        self._counters.turns_done += 1
        if self._crashed:
            self.mishaps.none(resident)
        if changes is None and frame.staged is None and not envelope.is_recorded:
            self._counters.turns_unchanged += 1
            envelope.answer(reply)
            return True
        held = Held(resident, envelope, frame.draft, changes, reply)
        held.staged = frame.staged
        self._gate.hold(held, self._wall.now_us(self._monotonic()))
        return False

    def _reply(self, envelope: TurnEnvelope, value: Any) -> Any:
        try:
            return envelope.handler.copy_reply(value)
        except (TypeError, ValueError) as error:
            failed = errors.TurnFailed(envelope.handler.name, f"{type(error).__name__} about its reply")
            raise failed from None

    def _cut(self, resident: Resident, envelope: TurnEnvelope, frame: Frame | None, reason: str) -> bool:
        """Stopped or interrupted: a marking turn follows at once. Rolled back: as if it had never run."""
        resident.cache = None
        if reason == ROLLBACK:
            self._counters.turns_superseded += 1
            error = errors.TurnSuperseded("A later message took its place; nothing was applied.")
            return self.close(resident, envelope, error, outcome="superseded")
        if reason == STOP:
            self._counters.turns_stopped += 1
        else:
            self._counters.turns_interrupted += 1
        self.marking.cut(resident, envelope, frame, reason)
        return True

    def _raised(self, envelope: TurnEnvelope, error: BaseException, *, has_begun: bool) -> errors.SalonError:
        """What the caller gets for what left the handler."""
        if isinstance(error, errors.Refused):
            return error.own()
        if isinstance(error, errors.TurnTimeout) and envelope.deadline <= self._monotonic():
            self._counters.turns_timed_out += 1
            return _cancelled(Cancelled(DEADLINE))  # of a nested ask, which had what was left of this turn's time
        if isinstance(error, errors.SalonError) and not has_begun:
            return copy(error)  # the session could not be read back; others may have waited for the same
        if isinstance(error, errors.StateInvalid) and error.message is None:
            return error  # with a message it would be another session's, whom this one had asked
        return self._failed(envelope, error)

    def _failed(self, envelope: TurnEnvelope, error: BaseException) -> errors.SalonError:
        kind = "a foreign cancellation" if isinstance(error, ForeignCancellation) else type(error).__name__
        failed = errors.TurnFailed(envelope.handler.name, kind)
        failed.__cause__ = error
        return failed

    def _fail(self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError, *, has_begun: bool) -> bool:
        """Nothing was applied. True: the session is free at once."""
        if isinstance(error, errors.Refused):
            self._counters.turns_refused += 1
        elif not isinstance(error, errors.TurnTimeout):  # counted when the deadline passed
            self._counters.turns_failed += 1
        error.message = envelope.sent
        resident.cache = None  # as the draft, what the turn has cached is dropped
        if isinstance(error, errors.Refused):
            return self.close(resident, envelope, error, outcome="refused")
        return self.mishaps.failed(resident, envelope, error, has_begun=has_begun)

    def close(
        self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError, *, outcome: str = FAILED
    ) -> bool:
        """The message ends with this error and without a trace in the state. True: the session is free at once."""
        if not (envelope.is_told if outcome == FAILED else envelope.is_recorded):
            envelope.fail(error)
            return True
        held = Held(resident, envelope, None, None, None)
        held.error, held.outcome = error, outcome
        self._gate.hold(held, self._wall.now_us(self._monotonic()))
        return False

    def expire(self, resident: Resident, envelope: TurnEnvelope, started: bool, /) -> None:
        """The deadline passed: the caller is told, whatever the handler does with its cancellation.

        Of a told message as soon as it is out of the inbox: a crash would bring back what nobody expects any more.
        """
        if envelope.frame is not None:
            envelope.frame.close()
        if envelope.mark is not None:
            return  # on_interrupted took too long: `finish` keeps the checkpoint without it
        self._counters.turns_timed_out += 1
        where = "while it ran" if started else "before it began"
        error = errors.TurnTimeout(f"The deadline of {envelope.handler.name} passed {where}; nothing was applied.")
        error.message = envelope.sent
        if not envelope.is_told:
            envelope.fail(error)
        elif started:
            self.intake.leftovers.end_later(resident, envelope, error)
        else:
            self.mishaps.expired(resident, envelope, error)

    def abandon(self, resident: Resident, envelope: TurnEnvelope, /) -> None:
        """The runtime closes and this message never began: a told one will, in the next life."""
        error = errors.Draining("The runtime closed before the turn began; nothing was applied.")
        error.message = envelope.sent
        self._counters.turns_failed += 1
        if envelope.mark is not None:
            self.marking.abandoned(envelope.mark)
        else:
            self.intake.abandoned(resident, envelope, error)

    def stuck(self, resident: Resident, envelope: TurnEnvelope, late_s: float, /) -> None:
        """A cancelled handler has not returned: its session waits, and somebody should know."""
        self._counters.turns_stuck += 1
        logger.error(
            "salon turn %s (%s) of session %d is stuck: %.1f s past its deadline it has not returned",
            envelope.turn_id,
            envelope.handler.name,
            resident.sid,
            late_s,
        )


def _cancelled(ending: Cancelled) -> errors.SalonError:
    if ending.reason == CLOSED:
        return errors.Draining("The runtime closed before the turn was done; nothing was applied.")
    return errors.TurnTimeout("The deadline passed; nothing was applied.")
