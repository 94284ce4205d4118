"""Recorded: how a turn ended, from the session's ledger, when this process has no ticket of it."""

from __future__ import annotations

from typing import Any

from salon.cursor import Cursor, cursor, parse_cursor
from salon.errors import ReplayIncomplete
from salon.events import Ending, Restarted, TurnEvent, TurnStatus


class Recorded:
    """The record of one turn, asked for by the id of this turn or of one that was merged into it."""

    __slots__ = ("attempt", "chunks", "ending", "turn")

    def __init__(self, turn: str, ending: Ending, *, attempt: int = 1, chunks: int = 0) -> None:
        """A turn that has ended.

        Args:
            turn: The id that was asked for; `ending.turn` is the one whose events it had.
            attempt: The last one.
            chunks: How many it had emitted; none of them is kept.
        """
        self.turn = turn
        self.ending = ending
        self.attempt = attempt
        self.chunks = chunks

    @property
    def status(self) -> TurnStatus:
        return self.ending.status

    def read(self, after: str | None = None) -> RecordReader:
        """A reader.

        Raises:
            ValueError: `after` is no cursor, or one of another turn.
        """
        place = None if after is None else parse_cursor(after, self.turn, self.ending.turn)
        return RecordReader(self, place)

    async def ended(self) -> Ending:
        return self.ending


class RecordReader:
    """Tells the outcome, and before it what the reader has to forget or cannot see any more."""

    __slots__ = ("_is_over", "_place", "_recorded")

    def __init__(self, recorded: Recorded, place: Cursor | None) -> None:
        self._recorded = recorded
        self._place = place
        self._is_over = place is not None and place.is_end

    def __aiter__(self) -> RecordReader:
        return self

    async def __anext__(self) -> TurnEvent[Any]:
        if self._is_over:
            raise StopAsyncIteration
        recorded, place = self._recorded, self._place
        if place is not None and 0 < place.attempt < recorded.attempt:
            return self._restarted()
        self._is_over = True
        if (0 if place is None else place.seq) < recorded.chunks:
            raise ReplayIncomplete(recorded.ending.outcome)
        return recorded.ending.outcome

    def _restarted(self) -> Restarted:
        turn, attempt = self._recorded.ending.turn, self._recorded.attempt
        self._place = Cursor(turn, attempt, 0, is_end=False)
        return Restarted(id=cursor(turn, attempt, 0), turn=turn, attempt=attempt)

    async def ended(self) -> Ending:
        return self._recorded.ending
