"""Seeded chance: it repeats itself, it is spread evenly, and its choice starves nobody."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salon.testing import SeededChance, SeededReady
from salon.testing.chance import FAIR_EVERY

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be shared."""


class Ready(Protocol):
    """What a scheduler asks of the choice among ready actors; a deque is one."""

    def append(self, item: str, /) -> None: ...
    def popleft(self) -> str: ...
    def __len__(self) -> int: ...


def test_the_seeded_choice_takes_the_place_of_a_deque() -> None:
    for ready in (deque[str](), SeededReady[str](1)):
        choice: Ready = ready
        choice.append("a")
        assert (len(choice), bool(choice)) == (1, True)
        assert (choice.popleft(), len(choice), bool(choice)) == ("a", 0, False)
        with pytest.raises(IndexError):
            choice.popleft()


def test_the_sequence_of_a_seed_is_the_published_one() -> None:
    """First outputs of SplitMix64 for the seed 1234567, as in the tables of Rosetta Code."""
    chance = SeededChance(1234567)

    words = [int.from_bytes(chance.random_bytes(8), "little") for _ in range(3)]

    assert words == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@unhurried
@given(st.integers(), st.lists(st.integers(0, 40), max_size=8))
def test_one_seed_gives_the_same_chance_twice(seed: int, sizes: list[int]) -> None:
    first, second = SeededChance(seed), SeededChance(seed)
    for size in sizes:
        data = first.random_bytes(size)
        assert (size, data) == (len(data), second.random_bytes(size))
        assert first.uniform() == second.uniform()


def test_other_seeds_give_other_bytes_and_ids_do_not_collide() -> None:
    first = [SeededChance(seed).random_bytes(16) for seed in range(1000)]
    chance = SeededChance(1000)

    assert len({*first, *(chance.random_bytes(16) for _ in range(1000))}) == 2000


def test_numbers_are_spread_evenly_between_nothing_and_one() -> None:
    chance = SeededChance(42)
    numbers = [chance.uniform() for _ in range(10_000)]
    tenths = Counter(int(number * 10) for number in numbers)

    assert set(range(10)) == set(tenths)
    assert 0 <= min(numbers) < max(numbers) < 1
    assert all(900 < count < 1100 for count in tenths.values())


def drain(seed: int, items: Sequence[int]) -> list[int]:
    ready = SeededReady[int](seed)
    for item in items:
        ready.append(item)
    return [ready.popleft() for _ in items]


@unhurried
@given(st.integers(), st.integers(0, 60))
def test_each_item_is_chosen_exactly_once(seed: int, n: int) -> None:
    assert list(range(n)) == sorted(drain(seed, range(n)))


def test_a_seed_makes_the_same_choices_again_and_another_seed_makes_others() -> None:
    orders = [tuple(drain(seed, range(12))) for seed in range(50)]

    assert orders == [tuple(drain(seed, range(12))) for seed in range(50)]
    assert len(set(orders)) == len(orders)


@unhurried
@given(st.integers(), st.integers(0, 20))
def test_nobody_starves_among_items_that_come_back_at_once(seed: int, others: int) -> None:
    ready = SeededReady[int](seed)
    for item in range(others):
        ready.append(item)
    ready.append(-1)

    picks = 0
    while (item := ready.popleft()) != -1:
        ready.append(item)
        picks += 1

    assert picks < FAIR_EVERY * (others + 1)


def test_nobody_starves_even_if_chance_always_picks_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    def newest(chance: SeededChance, n: int) -> int:
        return n - 1

    monkeypatch.setattr(SeededChance, "below", newest)
    ready = SeededReady[str](1)
    for item in ("patient", "other", "pushing"):
        ready.append(item)

    picked = list[str]()
    for _ in range(FAIR_EVERY):
        picked.append(ready.popleft())
        ready.append(picked[-1])

    assert picked == ["pushing"] * (FAIR_EVERY - 1) + ["patient"]
