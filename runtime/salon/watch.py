"""Watching: the events of all turns of one session, for several devices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakSet

from anyio.lowlevel import checkpoint

from salon.bell import Bell
from salon.errors import ReplayIncomplete, SalonError
from salon.events import Accepted, TurnEvent, own_error
from salon.reader import TicketReader
from salon.ticket import Ticket
from salon_actors import HostLoop

_REST_AFTER = 64
"""Events that a watcher may take without letting others run."""


class Broadcast:
    """The turns of one session: those that move, and the newest of those that have ended.

    As long as there is one, every turn of its session has a ticket that is admitted here.
    To be touched on the host loop only.
    """

    __slots__ = (
        "__weakref__", "_bytes_max", "_first_missed", "_next", "_tickets", "_turns_max", "_watches", "bell", "floor",
        "loss",
    )  # fmt: skip

    def __init__(self, host: HostLoop, version: int, *, turns_max: int = 100, bytes_max: int = 1_000_000) -> None:
        """Empty.

        Args:
            version: Of the session now: what was committed before is not known here.
            turns_max: Turns that have ended and are kept; the oldest go first.
            bytes_max: As above, for their replies.
        """
        self.bell = Bell(host)
        self.floor = version
        """Outcomes of turns that were committed later than this version are all here."""
        self.loss: SalonError | None = None
        """Why nothing more will be heard here."""
        self._turns_max = turns_max
        self._bytes_max = bytes_max
        self._tickets: dict[int, Ticket] = {}
        self._next = 0
        self._first_missed = 0
        """Who has not come to this place has missed a turn."""
        self._watches: WeakSet[SessionWatch] = WeakSet()

    @property
    def is_watched(self) -> bool:
        """Somebody would miss it."""
        return len(self._watches) > 0

    @property
    def kept(self) -> int:
        """Tickets that are here."""
        return len(self._tickets)

    def admit(self, ticket: Ticket) -> None:
        """A message was accepted."""
        ticket.watchers = self.bell
        self._trim()
        self._tickets[self._next] = ticket
        self._next += 1
        self.bell.ring()

    def close(self, error: SalonError) -> None:
        """Nothing more will be heard here; who watches gets `error` when he has read what there is."""
        self.loss = error
        self.bell.ring()

    def _trim(self) -> None:
        ended = [(place, ticket) for place, ticket in self._tickets.items() if _is_over(ticket)]
        turns, size = len(ended), sum(ticket.kept_bytes for _, ticket in ended)
        for place, ticket in ended:
            if turns <= self._turns_max and size <= self._bytes_max:
                return
            turns, size = turns - 1, size - ticket.kept_bytes
            self._drop(place, ticket)

    def _drop(self, place: int, ticket: Ticket) -> None:
        del self._tickets[place]
        self._first_missed = max(self._first_missed, place + 1)
        if ticket.ending is not None and ticket.ending.version is not None:
            self.floor = max(self.floor, ticket.ending.version)

    def join(self, watch: SessionWatch) -> int:
        """The place behind all that is here."""
        self._watches.add(watch)
        return self._next

    def committed(self, version: int) -> list[TurnEvent[Any]]:
        """Outcomes of the turns that were committed later than this version, in their order.

        Raises:
            ReplayIncomplete: Not all of them are here; its outcome is None.
        """
        if version < self.floor:
            raise ReplayIncomplete(None)
        endings = [ticket.ending for ticket in self._tickets.values() if ticket.ending is not None]
        later = [(ending.version, ending) for ending in endings if (ending.version or 0) > version]
        return [ending.outcome for _, ending in sorted(later, key=lambda pair: pair[0] or 0)]

    def moving(self) -> list[Ticket]:
        """Tickets that have not ended, in the order of their admission."""
        return [ticket for ticket in self._tickets.values() if not _is_over(ticket)]

    def admitted(self, place: int) -> tuple[int, list[Ticket]]:
        """The tickets from this place on, and the place behind them.

        Raises:
            ReplayIncomplete: One of them is not here any more; its outcome is None.
        """
        if place < self._first_missed:
            raise ReplayIncomplete(None)
        return self._next, [self._tickets[number] for number in range(place, self._next)]


def _is_over(ticket: Ticket) -> bool:
    return ticket.ending is not None or ticket.merged_into is not None


class SessionWatch:
    """One watcher: outcomes that were committed behind a version, then what moves and what comes.

    It begins with its first event. A turn that runs then is told from its start, as far as it is kept.
    Of a message that was merged it tells the acceptance; the rest is told of the turn that answers for it.
    """

    __slots__ = ("__weakref__", "_after", "_broadcast", "_opening", "_past", "_place", "_readers", "_taken")

    def __init__(self, opening: Callable[[], Awaitable[Broadcast]], after: int | None = None) -> None:
        """`after` is a version of the session, as `peek` tells it; without it nothing of the past is told."""
        self._opening = opening
        self._after = after
        self._broadcast: Broadcast | None = None
        self._place = 0
        self._past: list[TurnEvent[Any]] = []
        self._readers: list[TicketReader] = []
        self._taken = 0

    def __aiter__(self) -> SessionWatch:
        return self

    async def __anext__(self) -> TurnEvent[Any]:
        """The next event; it never ends by itself.

        Raises:
            ReplayIncomplete: Something was missed: chunks of the turn in `outcome`, or more than that if it is None,
                and then `peek` shows where the session stands. The watch itself goes on with what is there.
            SalonError: Nothing more will be heard, such as Draining.

        Cancellation: the event that did not come yet comes next time.
        """
        broadcast = self._broadcast or await self._open()
        self._taken += 1
        if self._taken % _REST_AFTER == 0:
            await checkpoint()
        while (event := self._take(broadcast)) is None:
            if broadcast.loss is not None:
                raise own_error(broadcast.loss)
            await broadcast.bell.heard()
        return event

    async def _open(self) -> Broadcast:
        broadcast = await self._opening()
        self._broadcast = broadcast
        self._begin(broadcast)
        if self._after is not None:
            self._past = broadcast.committed(self._after)[::-1]
        return broadcast

    def _begin(self, broadcast: Broadcast) -> None:
        self._place = broadcast.join(self)
        self._readers = [ticket.read() for ticket in broadcast.moving()]

    def _take(self, broadcast: Broadcast) -> TurnEvent[Any] | None:
        if self._past:
            return self._past.pop()
        self._meet(broadcast)
        for reader in tuple(self._readers):
            if (event := self._take_from(reader)) is not None:
                return event
        return None

    def _meet(self, broadcast: Broadcast) -> None:
        try:
            self._place, tickets = broadcast.admitted(self._place)
        except ReplayIncomplete:
            self._begin(broadcast)
            raise
        self._readers += [ticket.read() for ticket in tickets]

    def _take_from(self, reader: TicketReader) -> TurnEvent[Any] | None:
        try:
            event = reader.take()
        except StopAsyncIteration:
            event = None
        except SalonError:
            self._readers.remove(reader)
            raise
        if reader.is_over or (isinstance(event, Accepted) and event.merged_into is not None):
            self._readers.remove(reader)
        return event
