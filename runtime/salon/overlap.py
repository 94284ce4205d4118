"""Overlap: what becomes of a message whose session has something to do already.

queue       waits for its turn
reject      is refused with SessionBusy
interrupt   cuts the turn that runs; what that had put into a checkpoint, and what it had emitted, is kept
rollback    takes the place of the turn that runs, which is as if it had never begun
Merge       waits for the messages that come after it, and is one turn with them
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from salon.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Quick messages become one turn, whose handler takes a list of them; each sender gets its one reply.

    Args:
        window_s: Seconds of silence after which the turn may begin; > 0.
        wait_max_s: Seconds after the first message at which it may begin in any case; >= window_s.
        messages_max: Messages of one turn, >= 2; one more begins the next.
    """

    window_s: float = 1.5
    wait_max_s: float = 6.0
    messages_max: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.window_s <= self.wait_max_s < float("inf"):
            raise ConfigurationError(f"{self}: 0 < window_s <= wait_max_s must hold.")
        if self.messages_max < 2:
            raise ConfigurationError(f"{self}: messages_max must be at least 2.")


Overlap: TypeAlias = Literal["queue", "reject", "interrupt", "rollback"] | Merge

NAMES = ("queue", "reject", "interrupt", "rollback")


def check_overlap(overlap: object) -> Overlap:
    """The policy; raises ConfigurationError for what is none."""
    if isinstance(overlap, Merge):
        return overlap
    if overlap in NAMES:
        return cast(Overlap, overlap)
    known = ", ".join(map(repr, NAMES))
    raise ConfigurationError(f"overlap={overlap!r}: it is one of {known}, or a Merge(…).")
