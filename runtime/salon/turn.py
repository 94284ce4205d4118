"""Turn: what a handler may ask about the turn it runs in."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from salon.frame import Frame


class Turn:
    """The running turn; raises TurnOver when it is used afterwards."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @property
    def id(self) -> str:
        """Unique in its store; the same on every attempt."""
        self._frame.check("self.turn")
        return self._frame.envelope.turn_id

    @property
    def attempt(self) -> int:
        """1 the first time."""
        self._frame.check("self.turn")
        return 1

    @property
    def deadline(self) -> datetime:
        """When the turn is cancelled and rolled back, in UTC, as the clocks stand now."""
        return self._frame.deadline()

    def __repr__(self) -> str:
        return f"<Turn {self._frame.envelope.turn_id}{' (over)' if self._frame.over else ''}>"
