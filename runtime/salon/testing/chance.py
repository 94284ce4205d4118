"""Chance that repeats itself: from one seed the same bytes, the same numbers and the same choices, on every Python.

The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014),
written out because Python promises the same sequence across releases for only a part of `random`.
"""

from typing import Final, Generic, TypeVar

T = TypeVar("T")

MASK: Final = (1 << 64) - 1
FAIR_EVERY: Final = 8
"""Each time that so many picks have been made, the next one is the item that waits longest."""


class SeededChance:
    """Random bytes and numbers for a test: never for production, where ids must not be guessed."""

    def __init__(self, seed: int) -> None:
        """Begin the sequence of this seed, any integer; those that differ by a multiple of 2**64 are the same."""
        self._state = seed & MASK

    def random_bytes(self, n: int) -> bytes:
        """`n` bytes, 0 or more."""
        words = (self._word().to_bytes(8, "little") for _ in range(-(-n // 8)))
        return b"".join(words)[:n]

    def uniform(self) -> float:
        """A number from 0, included, to 1, excluded."""
        return (self._word() >> 11) * 2.0**-53

    def below(self, n: int) -> int:
        """An integer from 0, included, to `n`, excluded; `n` at least 1."""
        return self._word() * n >> 64

    def _word(self) -> int:
        self._state = (self._state + 0x9E3779B97F4A7C15) & MASK
        word = self._state
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        return word ^ (word >> 31)


class SeededReady(Generic[T]):
    """The choice among ready actors, made by a seed: takes the place of the scheduler's deque.

    Nobody starves: an item that finds `k` others waiting is taken after at most `8 * (k + 1)` picks.
    """

    def __init__(self, seed: int) -> None:
        self._chance = SeededChance(seed)
        self._waiting: list[T] = []
        """Longest waiting first."""
        self._picks = 0

    def append(self, item: T, /) -> None:
        """Let `item` wait for its turn."""
        self._waiting.append(item)

    def popleft(self) -> T:
        """Take one of those that wait, whichever the seed says.

        Raises:
            IndexError: Nobody waits.
        """
        if not self._waiting:
            raise IndexError("pop from an empty SeededReady")
        self._picks += 1
        is_fair = self._picks % FAIR_EVERY == 0
        return self._waiting.pop(0 if is_fair else self._chance.below(len(self._waiting)))

    def __len__(self) -> int:
        return len(self._waiting)
