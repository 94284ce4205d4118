"""Cursors: where in the events of a turn a reader stands, as an opaque text.

`t3-17.0.0` stands behind Accepted, `t3-17.2.0` behind the Restarted of attempt 2, `t3-17.2.5` behind its fifth chunk,
`t3-17.end` behind the outcome.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from salon.turn_id import TURN_FORM

_FORM = re.compile(rf"({TURN_FORM})\.(?:([0-9]{{1,9}})\.([0-9]{{1,15}})|end)")


class Cursor(NamedTuple):
    """A cursor, taken apart."""

    turn: str
    attempt: int
    """From 1; 0 before the first."""
    seq: int
    """Of the last chunk that was seen of this attempt, from 1; 0 before the first."""
    is_end: bool
    """The outcome was seen: nothing follows."""


def cursor(turn: str, attempt: int, seq: int) -> str:
    return f"{turn}.{attempt}.{seq}"


def end_cursor(turn: str) -> str:
    return f"{turn}.end"


def parse_cursor(after: str, *turns: str) -> Cursor:
    """The cursor that this text is.

    Raises:
        ValueError: It was never a cursor, or it is one of a turn that is not among `turns`.
    """
    form = _FORM.fullmatch(after)
    if form is None:
        raise ValueError("This is not a cursor: pass the `id` of an event of this turn.")
    if form[1] not in turns:
        raise ValueError(f"This is a cursor of turn {form[1]}, not of {turns[0]}.")
    return Cursor(form[1], int(form[2] or 0), int(form[3] or 0), form[2] is None)
