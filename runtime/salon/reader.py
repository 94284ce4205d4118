"""Readers: each walks along the events of one turn at a pace of his own, and costs the turn nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Protocol

from anyio.lowlevel import checkpoint

from salon.cursor import Cursor, cursor
from salon.errors import ReplayIncomplete
from salon.events import Ending, Restarted, TurnEvent, own_error

if TYPE_CHECKING:
    from salon.ticket import Ticket

_REST_AFTER = 64
"""Events that a reader may take without letting others run."""


class Reader(Protocol):
    """What a stream reads from. An event is taken when `__anext__` returns: cancelled before, it comes next time."""

    def __aiter__(self) -> AsyncIterator[TurnEvent[Any]]: ...

    async def __anext__(self) -> TurnEvent[Any]:
        """The next event.

        Raises:
            ReplayIncomplete: Chunks behind the cursor are gone; raised when the outcome is known.
            SalonError: This process hears no more of the turn.
        """
        ...

    async def ended(self) -> Ending:
        """Wait for the end, however it is; takes no event."""
        ...


class TicketReader:
    """A reader of one ticket, and of the one that it is merged into."""

    __slots__ = ("_attempt", "_followed", "_is_welcome", "_own", "_seq", "_taken", "is_over")

    def __init__(self, ticket: Ticket, place: Cursor | None) -> None:
        self._own = ticket
        self._is_welcome = place is not None
        """It has heard of the acceptance."""
        self._followed = ticket if place is None or place.turn == ticket.turn else ticket.leader
        self._attempt = ticket.leader.attempt if place is None else place.attempt
        self._seq = 0 if place is None else place.seq
        self.is_over = place is not None and place.is_end
        """The outcome was taken."""
        self._taken = 0

    def __aiter__(self) -> TicketReader:
        return self

    async def __anext__(self) -> TurnEvent[Any]:
        self._taken += 1
        if self._taken % _REST_AFTER == 0:
            await checkpoint()
        while (event := self.take()) is None:
            await self._followed.heard()
        return event

    async def ended(self) -> Ending:
        return await self._own.ended()

    def take(self) -> TurnEvent[Any] | None:
        """The next event; None when it has not come yet.

        Raises:
            StopAsyncIteration: The outcome was taken before.
            ReplayIncomplete, SalonError: As `Reader.__anext__`.
        """
        if self.is_over:
            raise StopAsyncIteration
        if not self._is_welcome:
            self._is_welcome = True
            self._followed = self._own.leader
            return self._own.accepted()
        ticket = self._followed
        if ticket is not self._own.leader:
            self._followed = self._own.leader
            return self._own.accepted()
        if (event := self._restarted(ticket)) is not None:
            return event
        if self._seq < ticket.shown_seq and ticket.first_seq <= self._seq + 1:
            self._seq += 1
            return ticket.chunk(self._seq)
        return self._ended(ticket)

    def _restarted(self, ticket: Ticket) -> Restarted | None:
        if self._attempt == ticket.attempt or ticket.attempt == 0:
            return None
        is_first = self._attempt == 0 and ticket.attempt == 1
        self._attempt, self._seq = ticket.attempt, 0
        if is_first:
            return None
        place = cursor(ticket.turn, ticket.attempt, 0)
        return Restarted(id=place, turn=ticket.turn, attempt=ticket.attempt)

    def _ended(self, ticket: Ticket) -> TurnEvent[Any] | None:
        if ticket.ending is None:
            if ticket.loss is not None:
                raise own_error(ticket.loss)
            return None
        self.is_over = True
        if self._seq < ticket.shown_seq:
            raise ReplayIncomplete(ticket.ending.outcome)
        return ticket.ending.outcome
