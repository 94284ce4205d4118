"""Marking: the control turn in which a message ends that was cut, or that cannot run.

It runs ahead of what waits: the checkpoint is promoted, `on_interrupted` says what else is kept, and all of it
becomes durable together with how the message ended. Only then do its callers hear of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any, cast

from salon import errors
from salon.checkpoint import Checkpoint
from salon.cutting import STOP
from salon.held import Held
from salon.mark import InterruptedTurn, Mark, Reason
from salon.notices import is_refused
from salon.resident import Resident
from salon.turn_envelope import TurnEnvelope
from salon_actors import Ending, HostLoop, Raised, Returned, SchedulerClosed
from salon_persistence.records import DeadLetterRow

if TYPE_CHECKING:
    from salon.activation import Residents
    from salon.draft import Changes, Draft
    from salon.frame import Frame
    from salon.gate import Gate
    from salon.notices import Notices
    from salon.receive import Handler
    from salon.session import Session
    from salon.settings import Settings
    from salon.staging import Staged
    from salon.wall import Wall
    from salon_actors import Clock, Scheduler

logger = logging.getLogger("salon")


class MarkHandler:
    """What runs in a marking turn, in the place of a message's handler."""

    timeout_s: float | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    async def function(self, session: Session[Any, Any], mark: Mark) -> None:
        frame = session._salon_frame  # pyright: ignore[reportPrivateUsage]
        _resume(frame.draft, frame.resident, mark.checkpoint)
        if mark.interrupted is not None:
            await session.on_interrupted(mark.interrupted)


class Marking:
    """Submits marks, and ends them at the gate."""

    def __init__(
        self,
        host: HostLoop,
        scheduler: Scheduler[Resident, TurnEnvelope],
        gate: Gate,
        residents: Residents,
        clock: Clock,
        wall: Wall,
        notices: Notices,
        settings: Settings,
    ) -> None:
        self._host = host
        self._notices = notices
        self._scheduler = scheduler
        self._gate = gate
        self._residents = residents
        self._sleep = clock.sleep
        self._monotonic = clock.monotonic
        self._probe_interval_s = settings.probe_interval_s
        self._wall = wall
        self._turn_timeout_s = settings.turn_timeout_s
        self._state_bytes_max = settings.state_bytes_max

    def now_us(self) -> int:
        return self._wall.now_us(self._monotonic())

    def cut(self, resident: Resident, envelope: TurnEnvelope, frame: Frame | None, reason: str) -> None:
        """The turn that has just been cancelled for somebody's sake ends in a turn of its own, next of all."""
        sending = envelope.sending
        message = envelope.sent
        interrupted = None
        checkpoint = None
        if frame is not None:
            attempt = 1 if sending is None else sending.attempt
            interrupted = InterruptedTurn(message, frame.emitted or (), cast(Reason, reason), attempt)
            checkpoint = frame.checkpoint
        outcome, error = _outcome(reason)
        if not (checkpoint or envelope.is_recorded or _listens(resident)):
            self._tell(envelope, error())
            return
        self.submit(resident, Mark(envelope, outcome, error, interrupted, checkpoint))

    def withdrawn(self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError, outcome: str) -> None:
        """A message that waited was taken out: it ends without having begun."""
        if not envelope.is_recorded:
            self._tell(envelope, error)
        else:
            self._submit_soon(resident, Mark(envelope, outcome, lambda: error))

    def too_late(
        self, resident: Resident, envelope: TurnEnvelope, letters: Sequence[DeadLetterRow], error: errors.SalonError
    ) -> None:
        """As `dead`, of one that was taken out before it began."""
        self._submit_soon(resident, Mark(envelope, "dead_lettered", lambda: error, letters=letters))

    def _submit_soon(self, resident: Resident, mark: Mark) -> None:
        """Its callers do not wait for the turn that runs."""
        if self._notices.are_needed(resident):
            mark = replace(mark, noted=self._notices.give(resident, mark))
        self.submit(resident, mark)

    def dead(
        self,
        resident: Resident,
        envelope: TurnEnvelope,
        letters: Sequence[DeadLetterRow],
        error: errors.SalonError,
        *,
        outcome: str = "dead_lettered",
        interrupted: InterruptedTurn | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """It becomes a dead letter."""
        self.submit(resident, Mark(envelope, outcome, lambda: error, interrupted, checkpoint, letters))

    def submit(self, resident: Resident, mark: Mark) -> None:
        """It waits without a deadline, for the message has no other end.

        Of a turn that had begun it goes first: what it has put into a checkpoint stands over the present version.
        """
        envelope = TurnEnvelope(mark, self._host.promise(), deadline=inf)
        envelope.handler = cast("Handler", MarkHandler(f"{resident.cls.__name__}.on_interrupted"))
        envelope.carried = ()
        envelope.number = mark.envelope.number
        envelope.frame = envelope.sending = envelope.doom = None
        envelope.mark = mark
        try:
            self._scheduler.submit_control(resident, envelope, first=mark.interrupted is not None or mark.is_refused)
        except SchedulerClosed:  # its row is still in the inbox: the next life marks it
            self.abandoned(mark)

    def submit_again(self, resident: Resident, mark: Mark) -> None:
        """The store has refused its commit: once more, a moment later, and nothing else of the session before."""
        self.submit(resident, replace(mark, is_refused=True))

    async def ready(self, resident: Resident, envelope: TurnEnvelope, mark: Mark) -> None:
        """Return when the session stands where the store says. The turn waits for that here, ahead of all others.

        What `on_interrupted` may take is bounded from then on.

        Raises:
            SalonError: It cannot be read back.
        """
        if mark.is_refused:
            await self._sleep(self._probe_interval_s)
        if mark.noted is not None and await mark.noted:
            envelope.mark = replace(mark, letters=())
        elif await is_refused(mark.envelope):
            envelope.mark = replace(mark, is_void=True)
        while resident.is_stale or resident.is_short:
            try:
                await self._residents.refresh(resident)
            except errors.StoreUnavailable as error:
                if not error.retryable:
                    raise
                await self._sleep(self._probe_interval_s)
        envelope.deadline = self._monotonic() + self._turn_timeout_s

    def abandoned(self, mark: Mark, cause: Ending | None = None) -> None:
        """The runtime closes, or the session cannot be read back: the next life makes the mark."""
        error: errors.SalonError = errors.Draining("The runtime closed before the end of the turn was durable.")
        if isinstance(cause, Raised) and isinstance(cause.error, errors.SalonError):
            error = copy(cause.error)
        error.message = mark.envelope.sent
        mark.envelope.despair(error)

    def finish(self, resident: Resident, envelope: TurnEnvelope, frame: Frame | None, ending: Ending) -> bool:
        """The marking turn has run. True: the session is free at once."""
        mark = envelope.mark
        assert mark is not None
        if mark.is_void:
            return True
        if frame is None:  # the session could not be read back, or the runtime closes
            self.abandoned(mark, ending)
            return True
        draft, changes, staged = self._kept(resident, mark, frame, ending)
        error = mark.error()
        error.message = mark.envelope.sent
        if changes is None and staged is None and not mark.letters and not mark.envelope.is_recorded:
            mark.envelope.fail(error)
            return True
        held = Held(resident, mark.envelope, draft, changes, None)
        held.mark, held.error, held.outcome, held.letters = mark, error, mark.outcome, mark.letters
        held.status = mark.status
        held.staged = staged
        self._gate.hold(held, self.now_us())
        return False

    def _kept(
        self, resident: Resident, mark: Mark, frame: Frame, ending: Ending
    ) -> tuple[Draft | None, Changes | None, Staged | None]:
        """What the marking commits: the checkpoint and what the hook added; if that failed, the checkpoint alone."""
        attempts: list[Callable[[], tuple[Draft, Staged | None]]] = [
            lambda: (_resumed(resident, mark.checkpoint), None)
        ]
        if isinstance(ending, Returned):
            attempts.insert(0, lambda: (frame.draft, frame.staged))
        else:
            error = getattr(ending, "error", None)
            logger.error("salon: %s failed (%s)", frame.envelope.handler.name, type(error).__name__)
        for attempt in attempts:
            try:
                draft, staged = attempt()
                return draft, draft.changes(self._state_bytes_max), staged
            except Exception as error:  # noqa: BLE001  # a validator of the bot's own may raise anything
                said = str(error) if isinstance(error, errors.StateInvalid) else type(error).__name__
                logger.error("salon: what %s left was not kept: %s", frame.envelope.handler.name, said)
        return None, None, None

    def _tell(self, envelope: TurnEnvelope, error: errors.SalonError) -> None:
        error.message = envelope.sent
        envelope.fail(error)


def letter_of(
    envelope: TurnEnvelope, reason: str, now_us: int, *, cause: str = "", state_version: int = 0
) -> DeadLetterRow:
    """What remains of a message that will not run: its bytes, and why."""
    sending = envelope.sending
    row = sending.row if sending is not None else None
    name = envelope.handler.message.salon_name
    return DeadLetterRow(
        id=envelope.turn_id,
        kind="message",
        reason=reason,
        message=row.message if row is not None else name.name,
        schema_version=row.schema_version if row is not None else name.schema_version,
        body=row.body if row is not None else envelope.handler.codec.encode(envelope.sent),
        at_us=now_us,
        attempts=sending.begun if sending is not None else 1,
        cause=cause,
        state_version=state_version,
        key=sending.key if sending is not None else None,
        priority=envelope.priority,
    )


def _resumed(resident: Resident, checkpoint: Checkpoint | None) -> Draft:
    draft = resident.begin()
    _resume(draft, resident, checkpoint)
    return draft


def _resume(draft: Draft, resident: Resident, checkpoint: Checkpoint | None) -> None:
    """Raises StateInvalid when it cannot be kept: over another version it would undo what was committed since."""
    if checkpoint is None:
        return
    if checkpoint.version != resident.image.version:
        raise errors.StateInvalid(f"A checkpoint over version {checkpoint.version}, not {resident.image.version}.")
    draft.resume(checkpoint)


def _listens(resident: Resident) -> bool:
    """Whether the session's class has something to say about turns that are cut."""
    return resident.cls.salon_type.listens


def _outcome(reason: str) -> tuple[str, Callable[[], errors.SalonError]]:
    if reason == STOP:
        return "stopped", lambda: errors.TurnStopped("The turn was stopped; what it put into a checkpoint is kept.")
    return "interrupted", lambda: errors.TurnInterrupted(
        "The turn was interrupted; what it put into a checkpoint is kept."
    )
