"""The id of a turn: an epoch and a number within it. Nobody else in this store has it, before or after.

It tells whether the end of the turn is recorded: `t3-17` is, `t3-18a` is of an ask without a key, and is not.
"""

import re

COUNT_BITS = 40
"""Turns that one epoch may number: a million a second for twelve days; epochs are what restarts count."""

UNRECORDED = 1 << COUNT_BITS - 1
"""A bit of the numbers of turns whose end is not recorded."""

TURN_FORM = r"t(?:0|[1-9][0-9]{0,6})-(?:0|[1-9][0-9]{0,11})a?"
"""An id as a regular expression: one text for each turn."""

_FORM = re.compile(TURN_FORM)


def number_of(epoch: int, count: int) -> int:
    """One integer for both, in the order of admission."""
    return epoch << COUNT_BITS | count


def order_of(number: int) -> int:
    """Of admission: the number without what it says of recording."""
    return number & ~UNRECORDED


def turn_id(number: int) -> str:
    """What is shown and stored of it: `t3-17` is the 17th turn of the third owner of the store."""
    mark = "a" if number & UNRECORDED else ""
    return f"t{number >> COUNT_BITS}-{number & UNRECORDED - 1}{mark}"


def turn_number(turn: str) -> int:
    """Raises ValueError for a text that was never the id of a turn."""
    epoch, _, count = turn.removeprefix("t").removesuffix("a").partition("-")
    if not _FORM.fullmatch(turn) or int(count) >= UNRECORDED:
        raise ValueError("This is not the id of a turn.")
    number = number_of(int(epoch), int(count))
    return number | UNRECORDED if turn.endswith("a") else number
