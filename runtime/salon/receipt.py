"""Receipts: proof that a message is in the durable inbox, and the way to what became of it."""

from __future__ import annotations

from typing import Generic, Protocol, cast

import anyio
from typing_extensions import TypeVar

from salon.errors import ReplyTimeout
from salon.events import Ending, TurnStatus
from salon.reader import Reader
from salon.recorded import Recorded
from salon.stream import TurnStream
from salon.ticket import Ticket
from salon_actors import Clock

R_co = TypeVar("R_co", covariant=True, default=None)


class Whereabouts(Protocol):
    """Finds the turns of one session: what moves in this process, and what is recorded."""

    async def find(self, turn: str, /) -> Ticket | Recorded:
        """The ticket while there is one, else the record.

        Raises:
            NotApplied: There is neither, and there will not be: the turn never happened.
            ValueError: The text was never the id of a turn.
        """
        ...


class Receipt(Generic[R_co]):
    """Proof that a message is in the durable inbox; good after a restart too, by its `turn`.

    Raises (in all that waits):
        NotApplied: Nobody knows of the turn any more: nothing was applied, or its record is too old.
    """

    __slots__ = ("_clock", "_position", "_turn", "_whereabouts")

    def __init__(self, turn: str, position: int, whereabouts: Whereabouts, clock: Clock) -> None:
        self._turn = turn
        self._position = position
        self._whereabouts = whereabouts
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Receipt of turn {self._turn}>"

    @property
    def turn(self) -> str:
        """Id of the turn: what `attach`, `stop` and `outcome` take, in this process and the next."""
        return self._turn

    @property
    def position(self) -> int:
        """How many messages were before it when it was accepted."""
        return self._position

    async def status(self) -> TurnStatus:
        """Where it is now."""
        return (await self._whereabouts.find(self._turn)).status

    async def wait(self, timeout_s: float | None = None) -> R_co:
        """The reply; raises what `ask` raises.

        Args:
            timeout_s: Seconds, > 0: how long to wait. It is no deadline of the message. Default: for ever.

        Raises:
            ReplyTimeout: Only the waiting ended; the turn goes on.
            ValueError: `timeout_s` is not positive.

        Cancellation: only the waiting stops.
        """
        if timeout_s is None:
            return cast(R_co, (await self._ended()).result())
        if not timeout_s > 0:
            raise ValueError(f"timeout_s is {timeout_s}; it must be more than 0.")
        return cast(R_co, (await self._ended_within(timeout_s)).result())

    async def _ended(self) -> Ending:
        return await (await self._whereabouts.find(self._turn)).ended()

    async def _ended_within(self, timeout_s: float) -> Ending:
        ending: Ending | None = None
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._cancel_after, timeout_s, group.cancel_scope)
            try:
                ending = await self._ended()
            except Exception as error:  # noqa: BLE001  # raised below, for the group would wrap it
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if ending is None:
            raise ReplyTimeout(self)
        return ending

    async def _cancel_after(self, seconds: float, scope: anyio.CancelScope) -> None:
        await self._clock.sleep(seconds)
        scope.cancel()

    def events(self, *, after: str | None = None) -> TurnStream[R_co]:
        """The events of the turn behind a cursor, or all of them.

        Raises (when it is opened):
            ValueError: `after` is no cursor, or one of another turn.
        """

        async def opening() -> Reader:
            return (await self._whereabouts.find(self._turn)).read(after)

        return TurnStream(opening)
