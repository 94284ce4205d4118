"""The breaker: activations of a type that all fail are stopped, and tried again one at a time."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from salon import errors
from salon.breaker import Breaker, is_of_its_type


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(failures_max=3, window_s=30, open_s=10)
    for _ in range(3):
        assert breaker.enter("chat", at) is None
        breaker.failed("chat", at)
    return breaker


def test_a_type_whose_activations_all_fail_is_tried_no_more_for_a_while() -> None:
    breaker = opened()

    assert [breaker.enter("chat", now) for now in (0.0, 4.0, 9.5)] == [10.0, 6.0, 0.5]
    assert breaker.open_types(4.0) == {"chat": 6.0}


def test_other_types_go_on() -> None:
    breaker = opened()

    assert breaker.enter("desk", 1.0) is None
    breaker.succeeded("desk")
    assert breaker.enter("chat", 1.0) == 9.0


def test_each_success_begins_the_count_anew() -> None:
    breaker = Breaker(failures_max=3, window_s=30, open_s=10)
    for now in range(50):
        assert breaker.enter("chat", float(now)) is None
        if now % 3 == 2:
            breaker.succeeded("chat")
        else:
            breaker.failed("chat", float(now))

    assert breaker.open_types(50.0) == {}


def test_failures_that_lie_further_apart_than_the_window_open_nothing() -> None:
    breaker = Breaker(failures_max=3, window_s=30, open_s=10)
    for now in (0.0, 16.0, 32.0, 48.0):
        assert breaker.enter("chat", now) is None
        breaker.failed("chat", now)

    assert breaker.enter("chat", 49.0) is None
    breaker.failed("chat", 50.0)
    assert breaker.enter("chat", 50.0) == 10.0


def test_half_open_it_lets_one_through_at_a_time() -> None:
    breaker = opened()

    assert breaker.enter("chat", 10.0) is None
    assert [breaker.enter("chat", now) for now in (10.0, 12.0)] == [10.0, 8.0]


def test_a_trial_that_succeeds_closes_it() -> None:
    breaker = opened()
    assert breaker.enter("chat", 10.0) is None

    breaker.succeeded("chat")

    assert [breaker.enter("chat", 10.0) for _ in range(5)] == [None] * 5
    assert len(breaker) == 0


def test_a_trial_that_fails_opens_it_again() -> None:
    breaker = opened()
    assert breaker.enter("chat", 15.0) is None

    breaker.failed("chat", 17.0)

    assert breaker.enter("chat", 20.0) == 7.0
    assert breaker.enter("chat", 27.0) is None


def test_a_trial_of_which_nothing_is_heard_does_not_keep_it_open_for_ever() -> None:
    breaker = opened()
    assert breaker.enter("chat", 10.0) is None

    assert breaker.enter("chat", 19.9) is not None
    assert breaker.enter("chat", 20.0) is None


def test_an_activation_that_began_before_it_opened_may_close_it() -> None:
    breaker = opened()

    breaker.succeeded("chat")

    assert breaker.enter("chat", 1.0) is None


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (errors.StateInvalid("no"), True),
        (errors.SchemaTooNew("no"), True),
        (errors.Corrupt("no"), True),
        (errors.TurnFailed("Chat.on_activate", "ValueError"), True),
        (errors.SessionNotFound(), False),
        (errors.StoreUnavailable("no"), False),
        (errors.Fenced("no"), False),
        (errors.Draining("no"), False),
    ],
)
def test_only_what_is_wrong_with_the_type_counts(error: errors.SalonError, counts: bool) -> None:
    assert is_of_its_type(error) == counts


class BreakerModel(RuleBasedStateMachine):
    """Any order of activations: while it is open nothing passes, and then at most one each `open_s`."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(failures_max=2, window_s=5, open_s=3)
        self.now = 0.0
        self.failures: list[float] = []
        self.blocked_until: float | None = None
        self.under_way = 0

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def one_begins(self) -> None:
        wait_s = self.breaker.enter("chat", self.now)
        if self.blocked_until is not None and self.now < self.blocked_until:
            assert wait_s == self.blocked_until - self.now
            return
        assert wait_s is None
        self.under_way += 1
        if self.blocked_until is not None:
            self.blocked_until = self.now + 3

    @rule()
    def one_fails(self) -> None:
        if not self.under_way:
            return
        self.under_way -= 1
        self.breaker.failed("chat", self.now)
        self.failures.append(self.now)
        if self.blocked_until is not None or len([at for at in self.failures if self.now - at <= 5]) >= 2:
            self.blocked_until = self.now + 3

    @rule()
    def one_succeeds(self) -> None:
        if self.under_way:
            self.under_way -= 1
            self.breaker.succeeded("chat")
            self.failures, self.blocked_until = [], None


TestBreakerModel = BreakerModel.TestCase
