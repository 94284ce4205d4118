"""Streams: what callers read the events of one turn through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum, auto
from types import TracebackType
from typing import Any, Generic, Self, cast

from pydantic import JsonValue
from typing_extensions import TypeVar

from salon.errors import ReplayIncomplete
from salon.events import Chunk, Ending, Restarted, TurnEvent, own_error
from salon.reader import Reader

R_co = TypeVar("R_co", covariant=True, default=None)


class _Phase(Enum):
    NEW = auto()
    """Nothing was sent or looked up."""
    OPENING = auto()
    """It is being done, or has failed; it is not tried again, because it may have been done."""
    OPEN = auto()
    LEFT = auto()
    """Its block was left."""


class TurnStream(Generic[R_co]):
    """One reader of one turn; leaving it stops the reading, never the turn.

    Opened by `async with`, or by its first use: then the message is sent, or the turn is looked up.
    It holds no cancel scope and no task, so that yielding inside it is safe.
    For one task: what one iterator has taken, another one of the same stream does not see.

    Raises (everywhere):
        RuntimeError: The stream was left, or could not be opened before.
    """

    __slots__ = ("_opening", "_phase", "_reader")

    def __init__(self, opening: Callable[[], Awaitable[Reader]]) -> None:
        self._opening = opening
        self._phase = _Phase.NEW
        self._reader: Reader

    async def __aenter__(self) -> Self:
        """Raises what sending the message or finding the turn raises."""
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._phase = _Phase.LEFT

    def __aiter__(self) -> AsyncIterator[TurnEvent[R_co]]:
        """The events from where this stream stands; the last one says how the turn ended, which is never raised.

        Raises:
            ReplayIncomplete: Chunks that this reader has not seen are gone; raised when the outcome is known.

        Cancellation: the event that did not come yet comes first when the stream is read on.
        """
        return _Events(self._next)

    def chunks(self) -> AsyncIterator[JsonValue]:
        """The data of the chunks; raises what `ask` raises, when there are no more.

        Raises:
            ReplayIncomplete: As above, and when another attempt began after some of them; raised when the turn is done.
        """
        return _Chunks(self._next, self._ended)

    async def reply(self) -> R_co:
        """The reply; raises what `ask` raises. Takes no event."""
        return cast(R_co, (await self._ended()).result())

    async def _next(self) -> TurnEvent[R_co]:
        if self._phase is not _Phase.OPEN:
            await self._open()
        return await self._reader.__anext__()

    async def _ended(self) -> Ending:
        if self._phase is not _Phase.OPEN:
            await self._open()
        return await self._reader.ended()

    async def _open(self) -> None:
        if self._phase is _Phase.LEFT:
            raise RuntimeError("This stream was left; attach to its turn to read on.")
        if self._phase is not _Phase.NEW:
            raise RuntimeError("This stream is open already, is being opened by another task, or could not be opened.")
        self._phase = _Phase.OPENING
        self._reader = await self._opening()
        self._phase = _Phase.OPEN


class _Events(Generic[R_co]):
    __slots__ = ("_take",)

    def __init__(self, take: Callable[[], Awaitable[TurnEvent[R_co]]]) -> None:
        self._take = take

    def __aiter__(self) -> _Events[R_co]:
        return self

    async def __anext__(self) -> TurnEvent[R_co]:
        return await self._take()


class _Chunks:
    __slots__ = ("_ended", "_events", "_has_given")

    def __init__(self, take: Callable[[], Awaitable[TurnEvent[Any]]], ended: Callable[[], Awaitable[Ending]]) -> None:
        self._events = _Events(take)
        self._ended = ended
        self._has_given = False

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> JsonValue:
        async for event in self._events:
            if isinstance(event, Chunk):
                self._has_given = True
                return event.data
            if isinstance(event, Restarted) and self._has_given:
                await self._raise_error()
                raise ReplayIncomplete((await self._ended()).outcome)
        await self._raise_error()
        raise StopAsyncIteration

    async def _raise_error(self) -> None:
        if (error := (await self._ended()).error) is not None:
            raise own_error(error)
