"""Back-off: it doubles up to its bound, and chance spreads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.backoff import Backoff
from salon.testing import SeededChance


class Fixed:
    """Chance that always gives one number."""

    def __init__(self, number: float) -> None:
        self._number = number

    def uniform(self) -> float:
        return self._number


def test_the_ceiling_doubles_up_to_its_bound() -> None:
    backoff = Backoff(first_s=1, max_s=10)

    assert [backoff.ceiling_s(tries) for tries in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize("tries", [100, 10_000, 10**9])
def test_any_number_of_tries_has_a_wait(tries: int) -> None:
    assert Backoff(first_s=1e-3, max_s=60).ceiling_s(tries) == 60


def test_the_first_wait_is_bounded_too() -> None:
    assert Backoff(first_s=100, max_s=10).ceiling_s(1) == 10


def test_full_jitter_begins_at_nothing_and_equal_jitter_at_half() -> None:
    backoff = Backoff(first_s=8, max_s=100)

    assert (backoff.full_s(2, Fixed(0.0)), backoff.equal_s(2, Fixed(0.0))) == (0, 8)
    assert (backoff.full_s(2, Fixed(0.5)), backoff.equal_s(2, Fixed(0.5))) == (8, 12)


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_waits_stay_below_their_ceiling_and_differ(tries: int, seed: int) -> None:
    backoff, chance = Backoff(first_s=0.5, max_s=30), SeededChance(seed)

    full = [backoff.full_s(tries, chance) for _ in range(20)]
    equal = [backoff.equal_s(tries, chance) for _ in range(20)]

    ceiling_s = backoff.ceiling_s(tries)
    assert all(0 <= wait_s <= ceiling_s for wait_s in full)
    assert all(ceiling_s / 2 <= wait_s <= ceiling_s for wait_s in equal)
    assert len(set(full)) == len(set(equal)) == 20


@pytest.mark.parametrize(("first_s", "max_s"), [(0, 1), (1, 0), (-1, 1), (float("inf"), 1), (1, float("inf"))])
def test_bounds_that_make_no_sense_are_a_programmers_mistake(first_s: float, max_s: float) -> None:
    with pytest.raises(AssertionError):
        Backoff(first_s, max_s)
