"""Back-off: how long to wait before the next try, growing with the tries and never the same for two of them.

After M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: of the ways to add chance, full jitter
needs the fewest calls in all, and equal jitter keeps a least wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

DOUBLINGS_MAX = 64
"""More would change nothing within any bound that makes sense, and a float ends at 1,023."""


class Uniform(Protocol):
    """The part of `Chance` that a back-off needs."""

    def uniform(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds, > 0: `first_s` at most before the second try, then twice as long each time, never above `max_s`."""

    first_s: float
    max_s: float

    def __post_init__(self) -> None:
        assert 0 < self.first_s < float("inf") and 0 < self.max_s < float("inf")  # noqa: PT018

    def ceiling_s(self, tries: int) -> float:
        """The longest wait after so many tries that failed, 1 or more; never above `max_s`, not even the first one."""
        return min(self.max_s, self.first_s * 2.0 ** min(tries - 1, DOUBLINGS_MAX))

    def full_s(self, tries: int, chance: Uniform) -> float:
        """Anything from 0 to the ceiling: spreads best what many would do at once, such as deliveries."""
        return chance.uniform() * self.ceiling_s(tries)

    def equal_s(self, tries: int, chance: Uniform) -> float:
        """From half the ceiling to all of it: for rests that must be rests, such as a parked session's."""
        return (0.5 + 0.5 * chance.uniform()) * self.ceiling_s(tries)
