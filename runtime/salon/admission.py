"""Admission: where a message becomes an envelope in a mailbox, or is refused."""

from __future__ import annotations

from contextvars import ContextVar
from itertools import count
from typing import Any

from salon import errors
from salon.frame import RUNNING
from salon.health import Health
from salon.message import Message
from salon.metrics import Counters
from salon.receive import Handler
from salon.resident import Resident
from salon.session import Session
from salon.settings import Settings
from salon.turn_envelope import TurnEnvelope
from salon.turn_id import number_of
from salon_actors import Clock, HostLoop, MailboxFull, Scheduler, SchedulerClosed
from salon_persistence.bridge import Bridge


class Admission:
    """Checks every bound at the moment of sending, so that the caller feels it."""

    def __init__(
        self,
        host: HostLoop,
        scheduler: Scheduler[Resident, TurnEnvelope],
        bridge: Bridge,
        health: Health,
        clock: Clock,
        epoch: int,
        counters: Counters,
        settings: Settings,
    ) -> None:
        self._reply = host.reply
        self._scheduler = scheduler
        self._pending_since = bridge.pending_since
        self._health = health
        self._monotonic = clock.monotonic
        self._counters = counters
        self._settings = settings
        self._message_bytes_max = settings.message_bytes_max
        self._context_vars = tuple(settings.context_vars)
        self._numbers = count(number_of(epoch, 1))

    def admit(self, resident: Resident, sent: Message[Any], timeout_s: float | None) -> TurnEnvelope:
        """Puts the message into the session's mailbox; its reply is the envelope's promise.

        Raises:
            NoHandler, PayloadTooLarge, MailboxFull, StoreUnavailable, Fenced, ValueError: The message was not accepted.
        """
        handler = _handler(resident.cls, sent)
        now = self._monotonic()
        self.check_store(now)
        envelope = self._envelope(handler, sent, self._deadline(now, timeout_s))
        try:
            self._scheduler.submit(resident, envelope)
        except MailboxFull as full:
            self._counters.mailbox_full += 1
            error = errors.MailboxFull(full.depth)
            error.message = sent
            raise error from None
        except SchedulerClosed:
            raise errors.Draining("The runtime is closing: nothing more is admitted.") from None
        return envelope

    def check_store(self, now: float) -> None:
        """Raises what new work is refused with while the store is in trouble or does not keep up."""
        self._health.check()
        since = self._pending_since()
        if since is not None and now - since > self._settings.commit_stall_s:
            raise errors.StoreUnavailable(f"The oldest commit has waited for {now - since:.1f} s.")

    def _deadline(self, now: float, timeout_s: float | None) -> float:
        if timeout_s is None:
            timeout_s = self._settings.turn_timeout_s
        elif not 0 < timeout_s < float("inf"):
            raise ValueError(f"timeout_s is {timeout_s}; it must be above 0.")
        frame = RUNNING.get(None)
        if frame is None or frame.over:
            return now + timeout_s
        return min(now + timeout_s, frame.envelope.deadline)  # a nested ask has what is left of its turn's time

    def _envelope(self, handler: Handler, sent: Message[Any], deadline: float) -> TurnEnvelope:
        copy, size = handler.codec.copy(sent)
        if size > self._message_bytes_max:
            error = errors.PayloadTooLarge(type(sent).__name__, size, self._settings.message_bytes_max)
            error.message = sent
            raise error
        envelope = TurnEnvelope(copy, self._reply(), deadline=deadline, size_bytes=size)
        envelope.handler = handler
        envelope.carried = self._carried() if self._context_vars else ()
        envelope.number = next(self._numbers)
        envelope.frame = None
        return envelope

    def _carried(self) -> tuple[tuple[ContextVar[Any], Any], ...]:
        missing = object()
        found = ((variable, variable.get(missing)) for variable in self._context_vars)
        return tuple((variable, value) for variable, value in found if value is not missing)


def _handler(cls: type[Session[Any, Any]], sent: Message[Any]) -> Handler:
    handlers = cls.salon_type.handlers
    handler = handlers.get(type(sent))
    if handler is None:
        known = ", ".join(message.__name__ for message in handlers) or "nothing"
        error = errors.NoHandler(f"{cls.__name__} does not handle {type(sent).__name__}; it handles {known}.")
        error.message = sent
        raise error
    return handler
