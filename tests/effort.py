"""How much work a long proof does: all of it, unless a short form is asked for."""

import os


def effort(short: int, long: int) -> int:
    """`long`, or `short` when SALON_EFFORT says so, as `make slow SHORT=1` does.

    Raises:
        ValueError: SALON_EFFORT is neither `short` nor `long`.
    """
    wanted = os.environ.get("SALON_EFFORT", "long")
    if wanted not in {"short", "long"}:
        raise ValueError(f"SALON_EFFORT={wanted}: it is short or long.")
    return short if wanted == "short" else long
