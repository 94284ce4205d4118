"""The number of a turn, and its id: `epoch << 40 | count` is `t<epoch>-<count>`."""

COUNT_BITS = 40


def id_of(number: int) -> str:
    return f"t{number >> COUNT_BITS}-{number & (1 << COUNT_BITS) - 1}"


def number_of(turn: str) -> int:
    """The number of the turn with this id; 0 when the text is no such id."""
    epoch, _, count = turn.removeprefix("t").partition("-")
    if not (epoch.isdecimal() and count.isdecimal()):
        return 0
    return int(epoch) << COUNT_BITS | int(count)
