"""Ended: tickets kept a while for readers that come late, cleaned by time and not by the next turn."""

from __future__ import annotations

from collections import OrderedDict

from salon.ticket import Ticket
from salon.tracebacks import Tracebacks
from salon_actors import Clock, HostLoop

_TICKET_BYTES = 1_000
"""About as much as one takes without its chunks and its reply."""


class Ended:
    """All tickets of a Runtime that have ended, the oldest ending first; to be touched on the host loop only.

    A task sleeps while something is kept, and there is none otherwise.
    """

    __slots__ = (
        "_age_s",
        "_bytes",
        "_bytes_max",
        "_clock",
        "_host",
        "_is_armed",
        "_kept",
        "_tickets_max",
        "_tracebacks",
    )

    def __init__(
        self,
        host: HostLoop,
        clock: Clock,
        *,
        age_s: float,
        tickets_max: int = 100_000,
        bytes_max: int = 64_000_000,
    ) -> None:
        """Empty.

        Args:
            age_s: Seconds from the end of a turn until its ticket is forgotten.
            tickets_max: More are not kept in the process; the oldest go first.
            bytes_max: As above, for all that they keep.
        """
        self._host = host
        self._clock = clock
        self._age_s = age_s
        self._tickets_max = tickets_max
        self._bytes_max = bytes_max
        self._kept: OrderedDict[int, tuple[Ticket, float, int]] = OrderedDict()
        self._bytes = 0
        self._is_armed = False
        self._tracebacks = Tracebacks()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """About as much memory as all of them take."""
        return self._bytes

    def find(self, number: int) -> Ticket | None:
        kept = self._kept.get(number)
        return None if kept is None else kept[0]

    def keep(self, ticket: Ticket) -> None:
        """Takes a ticket that has just ended, or whose leader has."""
        if ticket.number in self._kept:
            return
        size = _TICKET_BYTES + ticket.kept_bytes
        self._kept[ticket.number] = ticket, self._clock.monotonic() + self._age_s, size
        self._bytes += size
        if ticket.ending is not None and ticket.ending.error is not None:
            self._tracebacks.keep(ticket.ending.error)
        while len(self._kept) > self._tickets_max or self._bytes > self._bytes_max:
            self._drop_oldest()
        if self._kept and not self._is_armed:
            self._is_armed = True
            self._host.spawn(self._clean)

    def clear(self) -> None:
        """Forgets all of them, as when the runtime closes."""
        self._tracebacks.clear()
        while self._kept:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (ticket, _, size) = self._kept.popitem(last=False)
        self._bytes -= size
        ticket.forget_chunks()  # or a reader that never comes back would hold them

    async def _clean(self) -> None:
        try:
            while self._kept:
                _, due, _ = next(iter(self._kept.values()))
                if (left_s := due - self._clock.monotonic()) > 0:
                    await self._clock.sleep(left_s)
                else:
                    self._drop_oldest()
        finally:
            self._is_armed = False
