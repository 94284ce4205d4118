"""Restoring: what the inbox of a session held when the last process ended, and what becomes of it now.

| Its row | Now |
| --- | --- |
| never begun | waits again, in the old order |
| its attempt has failed, attempts left | waits again, until its back-off is over |
| begun, `on_crash=Retry(…)`, attempts left | waits again, after its back-off; its checkpoint and chunks are dropped |
| begun, otherwise | a dead letter; its checkpoint is kept, and `on_interrupted` runs |
| too old | a dead letter |
| of a name or schema that this code does not know, or undecodable | a dead letter with its bytes |
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from salon import errors
from salon.backoff import Backoff
from salon.checkpoint import Checkpoint
from salon.mark import InterruptedTurn
from salon.marking import MarkHandler, letter_of
from salon.message import Message
from salon.mishap import BACKOFF_S_MAX
from salon.overlap import Merge
from salon.receive import Handler
from salon.turn_envelope import TurnEnvelope
from salon.turn_id import COUNT_BITS, turn_id
from salon_persistence import codec
from salon_persistence import errors as store_errors
from salon_persistence.records import CHECKPOINT, CHUNKS, InboxRow, ProgressRow, StoredSession

if TYPE_CHECKING:
    from salon.chance import Chance
    from salon.intake import Intake
    from salon.marking import Marking
    from salon.merging import Merging
    from salon.metrics import Counters
    from salon.mishap import Mishaps
    from salon.resident import Resident
    from salon.steps import Steps
    from salon_actors import Clock, HostLoop, Scheduler

logger = logging.getLogger("salon")


class Lost(Message[Any], name="salon.lost"):
    """Stands for a message that cannot be read."""


class LostHandler(MarkHandler):
    """Stands for the handler of such a message, which never runs."""

    message = Lost
    max_age_s = None


class Restoring:
    """Runs once for each session that comes into memory, and again when one is read back."""

    def __init__(
        self,
        host: HostLoop,
        scheduler: Scheduler[Resident, TurnEnvelope],
        intake: Intake,
        marking: Marking,
        mishaps: Mishaps,
        merging: Merging,
        steps: Steps,
        clock: Clock,
        chance: Chance,
        counters: Counters,
        epoch: int,
    ) -> None:
        self._host = host
        self._scheduler = scheduler
        self._intake = intake
        self._marking = marking
        self._mishaps = mishaps
        self._merging = merging
        self._steps = steps
        self._clock = clock
        self._chance = chance
        self._counters = counters
        self._epoch = epoch
        """Of this life of the process."""

    def restore(self, resident: Resident, stored: StoredSession) -> None:
        """Everything in its inbox that this process does not know of yet waits again, or ends."""
        known = resident.inbox.by_number if resident.inbox is not None else {}
        progress = _by_number(stored.progress)
        others_wait = resident.depth > 0  # it is read back, and what comes back may have come before them
        rows = [row for row in stored.inbox if row.number not in known]
        followers = self._followers(resident, rows, progress)
        for row in rows:
            is_led = row.number in followers
            self._restore(resident, row, progress.get(row.number, ()), is_led=is_led)
        if rows and others_wait:
            self._put_in_order(resident)
        if stored.steps:
            self._steps.restore(resident, stored.steps)

    def _put_in_order(self, resident: Resident) -> None:
        """As its messages were admitted."""
        waiting = [envelope for envelope in self._scheduler.waiting(resident) if envelope.mark is None]
        for envelope in waiting:
            self._scheduler.withdraw(resident, envelope)
        for envelope in sorted(waiting, key=lambda envelope: envelope.order):
            self._intake.submit_accepted(resident, envelope)

    def _followers(
        self, resident: Resident, rows: Sequence[InboxRow], progress: Mapping[int, Sequence[ProgressRow]]
    ) -> set[int]:
        """Of messages whose turn was one, all but the one that led it: `on_interrupted` runs once, for that one.

        Progress is kept under the number of the one that led; if there is none, the first will do.
        """
        merged: dict[str, list[int]] = {}
        for row in rows:
            handler = _handler_of(resident, row)
            if handler is not None and handler.is_list and self._intake.has_begun(row):
                merged.setdefault(handler.name, []).append(row.number)
        leaders = {next((n for n in numbers if n in progress), numbers[0]) for numbers in merged.values()}
        return {number for numbers in merged.values() for number in numbers} - leaders

    def arrived(self, resident: Resident, row: InboxRow) -> None:
        """Another session's turn has put it into the inbox."""
        if resident.inbox is None or row.number not in resident.inbox.by_number:
            self._restore(resident, row, ())

    def _restore(
        self,
        resident: Resident,
        row: InboxRow,
        progress: Sequence[ProgressRow],
        *,
        is_led: bool = False,
    ) -> None:
        handler = _handler_of(resident, row)
        try:
            if handler is None:
                raise errors.NoHandler(f"{resident.cls.__name__} handles no message that is stored as {row.message!r}.")
            message = handler.codec.decode(row.body, row.schema_version)
        except Exception as error:  # noqa: BLE001  # a validator of the bot's own may raise anything
            self._unreadable(resident, row, error)
            return
        if self._intake.has_begun(row):
            envelope = self._envelope(resident, row, message, handler)
            self._crashed(resident, envelope, row, progress, is_led=is_led)
            return
        if row.due_us is None:
            row = replace(row, attempts=0)
        envelope = self._envelope(resident, row, message, handler)
        if row.due_us is not None:
            self._rest_until(resident, row.due_us, envelope)
        self._wait(resident, envelope, row)

    def _rest_until(self, resident: Resident, due_us: int, envelope: TurnEnvelope) -> None:
        """It waits for another attempt; a wall clock that was set back must not let it wait for ever."""
        left_s = (due_us - self._marking.now_us()) / 1_000_000
        if left_s > 0:
            self._mishaps.rest(resident, min(left_s, BACKOFF_S_MAX), envelope)

    def _envelope(self, resident: Resident, row: InboxRow, message: Message[Any], handler: Handler) -> TurnEnvelope:
        envelope = TurnEnvelope(
            message, self._host.promise(), inf, len(row.body), row.priority, self._clock.monotonic()
        )
        envelope.handler = handler
        envelope.carried = ()
        envelope.number = row.number
        envelope.frame = envelope.sending = envelope.doom = envelope.mark = None
        sending = self._intake.follow(resident, envelope, row.key, row.fingerprint)
        sending.row = row
        sending.marked = row.attempts
        sending.attempt = row.attempts + 1
        sending.ticket.durable = True
        self._intake.time(envelope, row)
        envelope.deadline = self._intake.queue_deadline(envelope)
        return envelope

    def _wait(self, resident: Resident, envelope: TurnEnvelope, row: InboxRow) -> None:
        self._counters.messages_restored += 1
        if envelope.deadline <= self._clock.monotonic():
            error = errors.TurnTimeout("Its deadline passed before it began; nothing was applied.")
            self._mishaps.expired(resident, envelope, error)
        elif isinstance(envelope.handler.overlap, Merge) and not row.overlap:
            self._merging.add(resident, envelope, envelope.handler.overlap)
        else:
            self._merging.alone(envelope)
            self._intake.submit_accepted(resident, envelope)

    def _crashed(
        self,
        resident: Resident,
        envelope: TurnEnvelope,
        row: InboxRow,
        progress: Sequence[ProgressRow],
        *,
        is_led: bool,
    ) -> None:
        """The process ended while its handler ran, or was about to; or nobody knew whether its turn was applied."""
        if row.number >> COUNT_BITS != self._epoch and not is_led:
            self._mishaps.crashed(resident)
        policy, sending = envelope.handler.on_crash, envelope.sending
        assert sending is not None
        if policy is not None and row.attempts < policy.attempts_max:
            self._counters.turns_retried += 1
            backoff = Backoff(policy.backoff_s, max(policy.backoff_s, BACKOFF_S_MAX))
            self._mishaps.rest(resident, backoff.equal_s(row.attempts, self._chance), envelope)
            self._wait(resident, envelope, row)
            return
        sending.attempt = row.attempts
        chunks = _chunks_in(progress)
        sending.ticket.restore(row.attempts, chunks)
        self._counters.turns_interrupted += 1
        self._counters.dead_lettered += 1
        letter = letter_of(
            envelope,
            "crashed" if policy is not None else "interrupted",
            self._marking.now_us(),
            state_version=resident.image.version,
        )
        self._marking.dead(
            resident,
            envelope,
            (letter,),
            errors.TurnInterrupted("The process ended in the middle of the turn; what it had kept is kept."),
            outcome="interrupted",
            interrupted=None if is_led else InterruptedTurn(envelope.message, chunks, "crash", row.attempts),
            checkpoint=_checkpoint_in(resident, progress),
        )

    def _unreadable(self, resident: Resident, row: InboxRow, error: Exception) -> None:
        why = (
            error if isinstance(error, errors.SalonError) else type(error).__name__
        )  # a bot's own may quote the message
        logger.error("salon: message %s of session %d is a dead letter: %s", row.message, resident.sid, why)
        self._counters.dead_lettered += 1
        handler: Any = LostHandler(f"{resident.cls.__name__}'s inbox")
        envelope = self._envelope(resident, row, Lost(), handler)
        letter = letter_of(
            envelope,
            "unreadable",
            self._marking.now_us(),
            cause=type(error).__name__,
            state_version=resident.image.version,
        )
        told = error if isinstance(error, errors.SalonError) else errors.Corrupt("The message does not decode.")
        self._marking.dead(resident, envelope, (letter,), told)


def _handler_of(resident: Resident, row: InboxRow) -> Handler | None:
    handlers = resident.cls.salon_type.handlers.values()
    return next((handler for handler in handlers if row.message in handler.message.salon_name.all), None)


def _by_number(progress: Sequence[ProgressRow]) -> Mapping[int, Sequence[ProgressRow]]:
    found: dict[int, list[ProgressRow]] = {}
    for row in progress:
        found.setdefault(row.number, []).append(row)
    return found


def _chunks_in(progress: Sequence[ProgressRow]) -> list[Any]:
    rows = sorted((row for row in progress if row.kind == CHUNKS), key=lambda row: row.ordinal)
    try:
        return [chunk for row in rows for chunk in codec.unpack(row.body)]
    except (ValueError, TypeError, store_errors.StoreError) as error:
        logger.error("salon: chunks of turn %s do not decode: %s", turn_id(rows[0].number), type(error).__name__)
        return []


def _checkpoint_in(resident: Resident, progress: Sequence[ProgressRow]) -> Checkpoint | None:
    for row in progress:
        if row.kind == CHECKPOINT:
            try:
                return Checkpoint.decode(row.body, resident.sid, resident.image.version)
            except store_errors.StoreError as error:
                logger.error("salon: a checkpoint of session %d was not kept: %s", resident.sid, error)
    return None
