"""Limits: each bound is felt at admission, as a typed error that says how much there is and when to come back."""

import pickle
from collections.abc import Callable
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon import (
    CapacityExceeded,
    DeadlockError,
    MailboxFull,
    PayloadTooLarge,
    RateLimited,
    Refused,
    SalonError,
    SessionBusy,
    SessionParked,
    Settings,
)
from salon.limits import Limits, next_place_s


def nothing() -> int:
    return 0


def limits(
    messages: Callable[[], int] = nothing, bytes_waiting: Callable[[], int] = nothing, **settings: float
) -> Limits:
    return Limits(Settings.model_validate(settings), messages, bytes_waiting)


def test_a_full_mailbox_says_how_much_waits_and_for_how_long() -> None:
    full = limits(mailbox_messages_max=3).mailbox(100, depth=3, waiting_bytes=300, oldest_age_s=6.0)

    assert isinstance(full, MailboxFull)
    assert (3, 300, 6.0, 2.0) == (full.depth, full.waiting_bytes, full.oldest_age_s, full.retry_after_s)
    assert full.retryable
    assert str(full) == "The mailbox is full: 3 messages wait, the oldest for 6.0 s. They have 300 bytes."


def test_the_last_place_of_a_mailbox_is_given_away() -> None:
    assert limits(mailbox_messages_max=3).mailbox(1, depth=2, waiting_bytes=2, oldest_age_s=1.0) is None


def test_a_mailbox_is_bounded_in_bytes() -> None:
    checked = limits(mailbox_bytes_max=1000)

    assert checked.mailbox(400, depth=2, waiting_bytes=600, oldest_age_s=0.0) is None
    assert isinstance(checked.mailbox(401, depth=2, waiting_bytes=600, oldest_age_s=0.0), MailboxFull)


def test_an_empty_mailbox_takes_a_message_that_is_larger_than_its_bound() -> None:
    assert limits(mailbox_bytes_max=1000).mailbox(1001, depth=0, waiting_bytes=0, oldest_age_s=0.0) is None


def test_a_session_that_is_too_far_behind_takes_no_more() -> None:
    checked = limits(mailbox_age_max_s=60)

    assert checked.mailbox(1, depth=1, waiting_bytes=1, oldest_age_s=60.0) is None
    assert isinstance(checked.mailbox(1, depth=1, waiting_bytes=1, oldest_age_s=60.1), MailboxFull)


def test_messages_of_all_sessions_are_bounded() -> None:
    waiting = 9
    checked = limits(lambda: waiting, messages_max=10)
    assert checked.runtime(1) is None

    waiting = 10
    refused = checked.runtime(1)

    assert isinstance(refused, CapacityExceeded)
    assert ("messages_max", 10, 10, 1.0) == (refused.setting, refused.depth, refused.bound, refused.retry_after_s)
    assert str(refused) == "messages_max is 10, and 10 of it are taken."


def test_bytes_of_all_sessions_are_bounded() -> None:
    checked = limits(lambda: 1, lambda: 700, messages_bytes_max=1000)

    assert checked.runtime(300) is None
    assert refused_for("messages_bytes_max", checked.runtime(301))


def test_when_nothing_waits_anywhere_a_message_of_any_size_is_taken() -> None:
    assert limits(messages_bytes_max=1000).runtime(1001) is None


def test_bytes_behind_the_gate_are_bounded_and_given_back() -> None:
    checked = limits(gate_bytes_max=1000)
    checked.held(999)
    assert checked.runtime(1) is None

    checked.held(500)
    assert refused_for("gate_bytes_max", checked.runtime(1))

    checked.released(999)
    assert checked.runtime(1) is None
    assert checked.gate_bytes == 500


def test_more_cannot_leave_the_gate_than_went_there() -> None:
    checked = limits()
    checked.held(1)

    with pytest.raises(AssertionError):
        checked.released(2)


def test_a_message_that_is_refused_for_its_rate_is_told_whose_and_for_how_long() -> None:
    checked = limits(rate_per_user=2, rate_burst=1)
    assert checked.rate(1, "", "u1", now=10.0) is None

    refused = checked.rate(2, "", "u1", now=10.0)

    assert isinstance(refused, RateLimited)
    assert ("user", 0.5, True) == (refused.scope, refused.retry_after_s, refused.retryable)
    assert str(refused) == "Messages of this user come too fast; the next one may come in 0.500 s."


def test_without_a_rate_nothing_is_remembered_of_anybody() -> None:
    checked = limits()

    assert all(checked.rate(sid, "", f"u{sid}", now=1.0) is None for sid in range(1000))
    assert len(checked.rates) == 0


def test_one_session_more_than_the_bound_is_refused() -> None:
    checked = limits(sessions_max=2)

    assert checked.sessions(1) is None
    assert refused_for("sessions_max", checked.sessions(2))


def test_one_record_more_than_the_bound_is_refused_until_the_oldest_is_old_enough() -> None:
    checked = limits(idempotency_records_max=5, idempotency_age_s=100)
    assert checked.records(4, oldest_age_s=40.0) is None

    refused = checked.records(5, oldest_age_s=40.0)

    assert isinstance(refused, CapacityExceeded)
    assert ("idempotency_records_max", 60.0, 40.0) == (refused.setting, refused.retry_after_s, refused.oldest_age_s)


def test_who_asks_again_after_the_time_of_the_error_finds_a_place_in_a_steady_queue() -> None:
    """One message comes and one goes each second: the oldest of ten has waited ten seconds."""
    assert next_place_s(10, 10.0) == 1.0


def test_the_time_to_come_back_is_never_at_once_and_never_far() -> None:
    assert (next_place_s(64, 0.0), next_place_s(1, 100_000.0)) == (0.05, 60.0)


@given(st.integers(1, 10), st.integers(1, 1000), st.lists(st.tuples(st.booleans(), st.integers(1, 1200)), max_size=60))
def test_a_mailbox_never_holds_more_than_its_bounds_and_takes_what_fits(
    messages_max: int, bytes_max: int, steps: list[tuple[bool, int]]
) -> None:
    checked = limits(mailbox_messages_max=messages_max, mailbox_bytes_max=bytes_max)
    waiting: list[int] = []

    for leaves, size_bytes in steps:
        if leaves:
            del waiting[:1]
            continue
        fits = len(waiting) < messages_max and sum(waiting) + size_bytes <= bytes_max
        refused = checked.mailbox(size_bytes, len(waiting), sum(waiting), oldest_age_s=0.0)
        assert (refused is None) == (fits or not waiting)
        if refused is None:
            waiting.append(size_bytes)
        assert len(waiting) <= messages_max
        assert sum(waiting) <= bytes_max or len(waiting) == 1


def copied(error: SalonError) -> SalonError:
    return copy(error)


def pickled(error: SalonError) -> SalonError:
    made = pickle.loads(pickle.dumps(error))
    assert isinstance(made, SalonError)
    return made


REFUSALS: tuple[SalonError, ...] = (
    MailboxFull(3, 300, 6.0, 2.0),
    SessionBusy(2, 1.5),
    SessionParked(4.0, 7, 1.5),
    CapacityExceeded("messages_max", 10, 10, None, 1.0),
    RateLimited("user", 0.5),
    DeadlockError("t1-81", "Chat.say", (1, 2, 1)),
    PayloadTooLarge("Say", 11, 10),
    Refused("no", {"why": ["because"]}),
)


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("remake", [copied, pickled])
def test_an_error_that_is_copied_or_pickled_says_the_same(
    error: SalonError, remake: Callable[[SalonError], SalonError]
) -> None:
    made = remake(error)

    assert type(made) is type(error)
    assert made is not error
    assert (str(made), vars(made), made.retryable) == (str(error), vars(error), error.retryable)


def test_the_errors_of_limits_speak_in_whole_sentences() -> None:
    assert [str(error) for error in REFUSALS[1:3]] == [
        "The session is busy: 2 messages wait, the oldest for 1.5 s.",
        "The session has failed too often and is parked for 4.0 s more; 7 messages wait.",
    ]
    assert "parked until it is resumed" in str(SessionParked())


def refused_for(setting: str, refused: SalonError | None) -> bool:
    return isinstance(refused, CapacityExceeded) and refused.setting == setting
