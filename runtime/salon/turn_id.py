"""The id of a turn: an epoch and a number within it. Nobody else in this store has it, before or after.

It tells whether the end of the turn is recorded: `t3-17` is, `t3-18a` is of an ask without a key, and is not.
"""

import re

COUNT_BITS = 40
"""Turns that one epoch may number: a million a second for twelve days; epochs are what restarts count."""

UNRECORDED = 1 << COUNT_BITS - 1
"""A bit of the numbers of turns whose end is not recorded."""

_FORM = re.compile(r"t(\d{1,7})-(\d{1,12})(a?)")


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
    form = _FORM.fullmatch(turn)
    if form is None or int(form[2]) >= UNRECORDED:
        raise ValueError("This is not the id of a turn.")
    number = number_of(int(form[1]), int(form[2]))
    return number | UNRECORDED if form[3] else number
