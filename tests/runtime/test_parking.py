"""Parking: a session that keeps failing rests, for longer each time, and no other session notices."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from salon import errors
from salon.backoff import Backoff
from salon.parking import Parking, is_crash
from salon.testing import SeededChance


class Longest:
    """Chance that always picks the longest rest."""

    def uniform(self) -> float:
        return 1.0


def parking(budget: int = 3, window_s: float = 60, first_s: float = 1, max_s: float = 8) -> Parking:
    return Parking(budget, window_s, Backoff(first_s, max_s), Longest())


def fail(parked: Parking, sid: int, *times: float) -> float | None:
    """What the last failure did."""
    return [parked.failed(sid, now) for now in times][-1]


def test_a_session_that_uses_up_its_budget_is_parked_for_a_while() -> None:
    table = parking(budget=3)

    assert [table.failed(1, now) for now in (10.0, 11.0, 12.0)] == [None, None, 1.0]
    assert [table.rest_s(1, now) for now in (12.0, 12.75, 13.0)] == [1.0, 0.25, None]


def test_failures_that_lie_further_apart_than_the_window_park_nobody() -> None:
    table = parking(budget=3, window_s=60)

    assert [table.failed(1, now) for now in (0.0, 31.0, 62.0, 93.0, 124.0)] == [None] * 5
    assert table.failed(1, 130.0) == 1.0  # and 93, 124, 130 do


def test_a_success_between_does_not_give_the_budget_back() -> None:
    table = parking(budget=3)
    rests = list[float | None]()
    for now in (0.0, 2.0, 4.0):
        rests.append(table.failed(1, now))
        table.succeeded(1, now + 1)

    assert rests == [None, None, 1.0]


def test_a_budget_of_one_parks_at_the_first_failure() -> None:
    assert parking(budget=1).failed(1, 5.0) == 1.0


def test_after_a_rest_one_failure_parks_for_twice_as_long_up_to_the_bound() -> None:
    table, now = parking(budget=3, first_s=1, max_s=8), 2.0
    rests = [fail(table, 1, 0.0, 1.0, now)]
    for _ in range(5):
        now += rests[-1] or 0.0
        rests.append(table.failed(1, now))

    assert rests == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_success_after_a_rest_ends_the_doubling_and_pays_for_what_was() -> None:
    table = parking(budget=2)
    assert fail(table, 1, 0.0, 1.0) == 1.0
    assert table.failed(1, 2.0) == 2.0

    table.succeeded(1, 4.0)

    assert len(table) == 0
    assert fail(table, 1, 5.0, 6.0) == 1.0


def test_what_ends_well_while_the_session_rests_does_not_wake_it() -> None:
    table = parking(budget=1)
    assert table.failed(1, 0.0) == 1.0

    table.succeeded(1, 0.5)

    assert table.rest_s(1, 0.5) == 0.5


def test_what_fails_while_the_session_rests_prolongs_nothing() -> None:
    table = parking(budget=1)
    assert table.failed(1, 0.0) == 1.0

    assert table.failed(1, 0.5) is None
    assert table.rest_s(1, 0.5) == 0.5


def test_a_session_that_is_resumed_has_a_clean_record() -> None:
    table = parking(budget=2)
    assert fail(table, 1, 0.0, 1.0) == 1.0

    assert table.resume(1, 1.5)
    assert table.rest_s(1, 1.5) is None
    assert [table.failed(1, now) for now in (2.0, 3.0)] == [None, 1.0]


def test_resuming_a_session_that_is_not_parked_says_so() -> None:
    table = parking(budget=2)
    assert table.failed(1, 0.0) is None

    assert not table.resume(1, 1.0)
    assert not table.resume(2, 1.0)
    assert len(table) == 0


def test_other_sessions_never_notice() -> None:
    table = parking(budget=1)
    assert table.failed(1, 0.0) == 1.0

    assert table.rest_s(2, 0.0) is None
    assert table.parked(0.5) == {1: 0.5}


def test_nothing_is_kept_of_healthy_sessions() -> None:
    table = parking()
    for sid in range(1000):
        table.succeeded(sid, 1.0)
        assert table.rest_s(sid, 1.0) is None

    assert len(table) == 0


def test_a_hundred_thousand_sessions_that_failed_once_are_forgotten_in_time() -> None:
    table, most = parking(window_s=1, max_s=1), 0
    for sid in range(100_000):
        assert table.failed(sid, sid / 10_000) is None
        most = max(most, len(table))

    assert 10_000 < most <= 20_001
    table.forget(12.0)
    assert len(table) == 0


def test_a_session_that_never_stops_failing_keeps_no_other_in_memory() -> None:
    table = parking(budget=5, window_s=1, max_s=1)
    for second in range(100):
        table.failed(-1, float(second))
        table.failed(second, second + 0.5)

    assert len(table) <= 4


def test_a_session_that_rests_is_never_forgotten() -> None:
    table = parking(budget=1, window_s=0.001, first_s=8, max_s=8)
    assert table.failed(1, 0.0) == 8.0

    table.forget(7.9)

    assert table.rest_s(1, 7.9) is not None


def test_the_record_of_a_failing_session_is_small() -> None:
    table = parking(budget=5)
    for now in range(100):
        table.failed(1, float(now) * 30)
    (record,) = table._records.values()  # pyright: ignore[reportPrivateUsage]

    assert len(record.failures) == 5
    assert sys.getsizeof(record) + sys.getsizeof(record.failures) <= 200


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (errors.TurnFailed("Chat.say", "ValueError"), True),
        (errors.StateInvalid("no"), True),
        (errors.Refused("no"), False),
        (errors.TurnTimeout("late"), False),
        (errors.TurnStopped("stop"), False),
        (errors.TurnInterrupted("stop"), False),
        (errors.TurnSuperseded("stop"), False),
        (errors.NotApplied("no"), False),
        (errors.OutcomeUnknown("no"), False),
        (errors.StoreUnavailable("no"), False),
        (errors.Fenced("no"), False),
        (errors.Draining("no"), False),
    ],
)
def test_only_failures_of_the_sessions_own_count(error: errors.SalonError, counts: bool) -> None:
    assert is_crash(error) == counts


class ParkingModel(RuleBasedStateMachine):
    """Two sessions against all their failures, written down."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Parking(3, 10.0, Backoff(1, 16), SeededChance(1))
        self.now = 100.0
        self.failures: dict[int, list[float]] = {1: [], 2: []}
        self.rest_end: dict[int, float] = {}
        self.parkings = {1: 0, 2: 0}

    @rule(seconds=st.floats(0.01, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(sid=st.sampled_from([1, 2]))
    def fails(self, sid: int) -> None:
        rest_s = self.table.failed(sid, self.now)
        resting = self.rest_end.get(sid, 0.0) > self.now
        if resting:
            assert rest_s is None
            return
        if self.failures[sid] and self.failures[sid][-1] + 26 <= self.now:
            self.clear(sid)  # long enough ago to be forgotten; the other's failures may have done it or not
            if rest_s is not None:
                raise AssertionError("A session that was quiet for so long begins anew.")
        self.failures[sid].append(self.now)
        recent = [at for at in self.failures[sid] if self.now - at <= 10.0]
        assert (rest_s is not None) == (len(recent) >= 3 or sid in self.rest_end)
        if rest_s is not None:
            self.parkings[sid] += 1
            ceiling_s = min(16, 2 ** (self.parkings[sid] - 1))
            assert ceiling_s / 2 <= rest_s <= ceiling_s
            self.rest_end[sid] = self.now + rest_s

    @rule(sid=st.sampled_from([1, 2]))
    def succeeds(self, sid: int) -> None:
        self.table.succeeded(sid, self.now)
        if sid in self.rest_end and self.rest_end[sid] <= self.now:
            self.clear(sid)

    @rule(sid=st.sampled_from([1, 2]))
    def is_resumed(self, sid: int) -> None:
        assert self.table.resume(sid, self.now) == (self.rest_end.get(sid, 0.0) > self.now)
        self.clear(sid)

    def clear(self, sid: int) -> None:
        self.failures[sid], self.parkings[sid] = [], 0
        self.rest_end.pop(sid, None)

    @invariant()
    def rests_are_those_of_the_model(self) -> None:
        for sid in (1, 2):
            left = self.rest_end.get(sid, 0.0) - self.now
            assert self.table.rest_s(sid, self.now) == (left if left > 0 else None)


TestParkingModel = ParkingModel.TestCase


@given(st.floats(0, 1e9), st.integers(1, 10))
def test_a_rest_lies_between_half_its_ceiling_and_all_of_it(now: float, budget: int) -> None:
    table = Parking(budget, 60, Backoff(2, 60), SeededChance(budget))
    rests = [table.failed(1, now) for _ in range(budget)]

    assert rests[:-1] == [None] * (budget - 1)
    assert rests[-1] is not None
    assert 1 <= rests[-1] <= 2
