"""Rates: token buckets that take no more memory than there are buckets that are not full."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.rates import Buckets, Rates


def came(buckets: Buckets[str], now: float, key: str = "a") -> bool:
    if buckets.wait_s(key, now):
        return False
    buckets.take(key, now)
    return True


def test_a_burst_may_come_at_once_and_the_next_one_has_to_wait() -> None:
    buckets = Buckets[str](rate=2, burst=3)

    assert [came(buckets, 100.0) for _ in range(4)] == [True, True, True, False]
    assert buckets.wait_s("a", 100.0) == pytest.approx(0.5)


def test_who_comes_when_he_was_told_to_finds_his_token() -> None:
    buckets = Buckets[str](rate=7, burst=3)
    now = 123_456.789
    for _ in range(1003):
        assert came(buckets, now)
        now += buckets.wait_s("a", now)

    assert now == pytest.approx(123_456.789 + 1001 / 7, abs=1e-3)


def test_rounding_refuses_nobody_who_comes_when_he_was_told_to() -> None:
    for now in (0.35478279695459514, 0.242350880596635, 0.5945238215245736):
        buckets = Buckets[str](rate=0.3, burst=2)
        assert came(buckets, now)
        assert came(buckets, now)
        assert came(buckets, now + buckets.wait_s("a", now))


def test_a_bucket_at_rest_fills_to_its_burst_and_no_further() -> None:
    buckets = Buckets[str](rate=1, burst=2)
    assert came(buckets, 0.0)

    assert [came(buckets, 1_000_000.0) for _ in range(3)] == [True, True, False]


def test_a_bucket_that_is_full_behind_another_that_is_not_holds_no_more_than_its_burst() -> None:
    buckets = Buckets[str](rate=1, burst=5)
    assert all(came(buckets, 0.0, "b") for _ in range(5))
    assert came(buckets, 0.0, "a")

    assert [came(buckets, 4.9, "a") for _ in range(6)] == [True] * 5 + [False]


def test_somebody_who_never_stops_keeps_nobody_else_in_memory() -> None:
    buckets = Buckets[str](rate=1, burst=3)
    assert came(buckets, 0.0, "busy")
    for second in range(100):
        assert came(buckets, float(second), "busy")
        assert came(buckets, float(second), f"once-{second}")

    assert len(buckets) <= 5


def test_keys_have_buckets_of_their_own() -> None:
    buckets = Buckets[str](rate=1, burst=1)

    assert [came(buckets, 5.0, key) for key in "aabb"] == [True, False, True, False]


def test_asking_takes_nothing() -> None:
    buckets = Buckets[str](rate=1, burst=1)

    assert [buckets.wait_s("a", 5.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert len(buckets) == 0


@given(
    st.floats(0.01, 100), st.integers(1, 20), st.lists(st.floats(0, 10), min_size=1, max_size=100), st.floats(0, 1e6)
)
def test_in_any_stretch_of_time_no_more_pass_than_burst_and_rate_allow_and_none_is_refused_without_need(
    rate: float, burst: int, pauses: list[float], start: float
) -> None:
    buckets, now, tokens = Buckets[str](rate, burst), start, float(burst)
    passed: list[float] = []

    for pause_s in pauses:
        now, tokens = now + pause_s, min(float(burst), tokens + pause_s * rate)
        if abs(tokens - 1) < 1e-3:
            continue  # which of the two it is depends on rounding
        assert came(buckets, now) == (tokens > 1)
        if tokens > 1:
            tokens -= 1
            passed.append(now)

    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - begin) * rate + 1e-3


def test_of_a_hundred_thousand_users_none_is_remembered_for_longer_than_a_refill() -> None:
    buckets, refill_s = Buckets[tuple[str, str]](rate=10, burst=5), 0.5
    most = 0
    for number in range(100_000):
        now = number / 10_000
        buckets.take(("", f"u{number}"), now)
        most = max(most, len(buckets))

    assert most <= 10_000 * refill_s + 1
    assert len(buckets) > 500
    buckets.forget(10.0 + refill_s)
    assert len(buckets) == 0


def test_a_crowd_that_came_at_once_is_cleared_away_by_few_at_each_message() -> None:
    buckets = Buckets[int](rate=10, burst=5)
    for number in range(10_000):
        buckets.take(number, 0.0)
    assert len(buckets) == 10_000

    sizes = list[int]()
    for _ in range(1500):
        buckets.take(-1, 1000.0)
        sizes.append(len(buckets))

    assert max(before - after for before, after in pairwise(sizes)) <= 8
    assert sizes[-1] == 1


def test_a_bucket_that_is_not_full_is_not_forgotten() -> None:
    buckets = Buckets[str](rate=1, burst=1)
    assert came(buckets, 0.0)

    buckets.forget(0.5)

    assert not came(buckets, 0.5)


def test_a_token_of_the_user_is_taken_only_if_the_session_has_one_too() -> None:
    rates = Rates(per_session=1, per_user=1, burst=2)
    assert rates.check(1, "", "u", 0.0) is None
    assert rates.check(1, "", None, 0.0) is None

    for _ in range(5):
        excess = rates.check(1, "", "u", 0.0)
        assert excess is not None
        assert ("session", 1.0) == excess

    assert rates.check(2, "", "u", 0.0) is None
    assert rates.check(3, "", "u", 0.0) == ("user", 1.0)
    assert [rates.check(3, "", "v", 0.0), rates.check(3, "", "w", 0.0)] == [None, None]


def test_users_of_different_tenants_are_different_users() -> None:
    rates = Rates(per_session=None, per_user=1, burst=1)

    assert [rates.check(1, tenant, "u", 0.0) is None for tenant in ("a", "b", "a")] == [True, True, False]


def test_a_session_without_a_user_has_only_a_rate_of_its_own() -> None:
    rates = Rates(per_session=None, per_user=1, burst=1)

    assert [rates.check(1, "", None, 0.0) for _ in range(3)] == [None, None, None]
    assert len(rates) == 0


def test_an_idle_runtime_forgets_everybody_by_a_timer() -> None:
    rates = Rates(per_session=1, per_user=1, burst=3)
    for sid in range(100):
        assert rates.check(sid, "", f"u{sid}", 0.0) is None
    assert len(rates) == 200

    rates.forget(1.0)

    assert len(rates) == 0
