"""The mailbox of one actor: order, lanes, expiry, and nothing allocated before it is needed."""

import tracemalloc
from collections import Counter, deque
from math import inf
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon_actors import HIGH, LOW, NORMAL, Actor, Envelope
from salon_actors.envelope import CONTROL
from salon_actors.mailbox import Mailbox


def envelope(name: object, deadline: float = inf, priority: int = NORMAL, accepted_at: float = 0.0) -> Envelope:
    return Envelope(name, cast(Any, None), deadline, priority=priority, accepted_at=accepted_at)


def names(envelopes: list[Envelope]) -> list[object]:
    return [each.message for each in envelopes]


def drain(mailbox: Mailbox[Envelope]) -> list[object]:
    drained = list[object]()
    while (taken := mailbox.take()) is not None:
        drained.append(taken.message)
    return drained


def test_users_leave_in_the_order_in_which_they_came() -> None:
    mailbox = Mailbox[Envelope]()
    for number in range(5):
        mailbox.put(envelope(number))

    assert 5 == mailbox.depth == len(mailbox)
    assert [0, 1, 2, 3, 4] == [each.message for each in mailbox]
    assert [0, 1, 2, 3, 4] == drain(mailbox)
    assert 0 == len(mailbox)


def test_control_leaves_first_and_does_not_count() -> None:
    mailbox = Mailbox[Envelope]()
    mailbox.put(envelope("user"))
    mailbox.put(envelope("urgent", priority=HIGH))
    mailbox.put(envelope("control 1", priority=CONTROL))
    mailbox.put(envelope("control 2", priority=CONTROL))

    assert (2, 4) == (mailbox.depth, len(mailbox))
    assert ["control 1", "control 2", "urgent", "user"] == drain(mailbox)


def test_lanes_that_all_have_something_are_served_four_to_two_to_one() -> None:
    mailbox = Mailbox[Envelope]()
    for number in range(70):
        for priority in (LOW, NORMAL, HIGH):
            mailbox.put(envelope((priority, number), priority=priority))

    taken = cast("list[tuple[int, int]]", drain(mailbox))

    for start in range(0, 70, 7):  # In each round, and not only in the long run.
        assert {HIGH: 4, NORMAL: 2, LOW: 1} == Counter(priority for priority, _ in taken[start : start + 7])
    for priority in (HIGH, NORMAL, LOW):
        assert list(range(70)) == [number for of, number in taken if of == priority]


@pytest.mark.parametrize("refill", [(HIGH,), (NORMAL,), (HIGH, NORMAL)])
def test_a_low_message_is_served_however_often_the_other_lanes_run_dry_and_fill_again(refill: tuple[int, ...]) -> None:
    mailbox = Mailbox[Envelope]()
    mailbox.put(envelope("low", priority=LOW))
    overtaken_by = 0
    while True:
        for priority in refill:
            if not any(each.priority == priority for each in mailbox):
                mailbox.put(envelope("other", priority=priority))
        taken = mailbox.take()
        assert taken is not None
        if taken.message == "low":
            break
        overtaken_by += 1
        assert overtaken_by <= 7

    assert overtaken_by >= 2


def test_what_is_put_back_goes_to_the_head_of_its_own_lane() -> None:
    mailbox = Mailbox[Envelope]()
    for name in ("first", "second"):
        mailbox.put(envelope(name))
    mailbox.put(envelope("low", priority=LOW))
    mailbox.put_back(envelope("again"))
    mailbox.put_back(envelope("urgent", priority=HIGH))

    assert ["urgent", "again", "first", "low", "second"] == drain(mailbox)
    mailbox.put_back(envelope("alone"))
    assert 1 == mailbox.depth
    assert ["alone"] == drain(mailbox)


def test_a_withdrawn_message_never_comes_and_leaves_only_once() -> None:
    mailbox = Mailbox[Envelope]()
    kept, gone = envelope("kept"), envelope("gone")
    mailbox.put(kept)
    mailbox.put(gone)

    assert not mailbox.withdraw(envelope("never there"))
    assert not mailbox.withdraw(envelope("never there", priority=LOW))
    assert mailbox.withdraw(gone)
    assert not mailbox.withdraw(gone)
    assert (1, [kept]) == (mailbox.depth, list(mailbox))
    assert mailbox.withdraw(kept)
    assert (0, False, None) == (mailbox.depth, bool(mailbox), mailbox.take())


def test_the_oldest_is_a_user_and_of_the_same_moment_the_one_that_matters_least() -> None:
    mailbox = Mailbox[Envelope]()
    assert mailbox.oldest() is None
    mailbox.put(envelope("control", priority=CONTROL))
    assert mailbox.oldest() is None
    mailbox.put(envelope("high", priority=HIGH, accepted_at=5))
    mailbox.put(envelope("normal", accepted_at=5))
    mailbox.put(envelope("later", priority=LOW, accepted_at=6))

    assert "normal" == cast(Envelope, mailbox.oldest()).message
    mailbox.put(envelope("earlier", priority=HIGH, accepted_at=1))
    assert "normal" == cast(Envelope, mailbox.oldest()).message, "in a lane the first counts as the oldest"


def test_a_suspended_mailbox_gives_control_only() -> None:
    mailbox = Mailbox[Envelope]()
    mailbox.is_suspended = True
    mailbox.put(envelope("user"))
    assert (None, False) == (mailbox.take(), mailbox.has_next)
    mailbox.put(envelope("control", priority=CONTROL))

    assert mailbox.has_next
    assert ["control"] == drain(mailbox)
    mailbox.is_suspended = False
    assert mailbox.has_next
    assert ["user"] == drain(mailbox)


def test_there_are_three_priorities() -> None:
    with pytest.raises(AssertionError, match="no such priority: 3"):
        Mailbox[Envelope]().put(envelope("?", priority=3))


class Reference:
    """The same in lists: lanes by priority, and the credit of each."""

    def __init__(self) -> None:
        self.lanes: dict[int, list[Envelope]] = {CONTROL: [], HIGH: [], NORMAL: [], LOW: []}
        self.credit = {HIGH: 0, NORMAL: 0, LOW: 0}

    def take(self, *, users: bool = True) -> Envelope | None:
        if self.lanes[CONTROL]:
            return self.lanes[CONTROL].pop(0)
        waiting = [priority for priority in (HIGH, NORMAL, LOW) if self.lanes[priority]]
        if not waiting or not users:
            return None
        weights = {HIGH: 4, NORMAL: 2, LOW: 1}
        for priority in waiting:
            self.credit[priority] += weights[priority]
        best = max(waiting, key=lambda priority: self.credit[priority])
        self.credit[best] -= sum(weights[priority] for priority in waiting)
        taken = self.lanes[best].pop(0)
        self.forget_credit()
        return taken

    def keep(self, kept: list[Envelope]) -> None:
        self.lanes = {priority: [each for each in kept if each.priority == priority] for priority in self.lanes}
        self.forget_credit()

    def forget_credit(self) -> None:
        self.credit = {priority: self.credit[priority] if self.lanes[priority] else 0 for priority in self.credit}

    def everything(self) -> list[Envelope]:
        return [each for lane in self.lanes.values() for each in lane]

    def in_order(self) -> list[Envelope]:
        copy = Reference()
        copy.lanes = {priority: list(lane) for priority, lane in self.lanes.items()}
        copy.credit = dict(self.credit)
        return [cast(Envelope, copy.take()) for _ in self.everything()]


priorities = st.sampled_from([CONTROL, HIGH, NORMAL, LOW])
operations = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "put back", "take", "take", "expire", "withdraw", "suspend"]),
        st.floats(0, 10),
        priorities,
    )
)


@given(operations)
def test_a_mailbox_agrees_with_lists(steps: list[tuple[str, float, int]]) -> None:
    mailbox, reference = Mailbox[Envelope](), Reference()
    for number, (what, time, priority) in enumerate(steps):
        one = envelope(number, time, priority)
        if what == "put":
            mailbox.put(one)
            reference.lanes[priority].append(one)
        elif what == "put back":
            mailbox.put_back(one)
            reference.lanes[priority].insert(0, one)
        elif what == "take":
            assert reference.take(users=not mailbox.is_suspended) is mailbox.take()
        elif what == "withdraw" and (waiting := reference.everything()):
            gone = waiting[int(time) % len(waiting)]
            assert mailbox.withdraw(gone)
            reference.keep([each for each in waiting if each is not gone])
        elif what == "suspend":
            mailbox.is_suspended = not mailbox.is_suspended
        elif what == "expire":
            late = [each for each in reference.everything() if each.deadline <= time]
            assert late == mailbox.take_expired(time)
            reference.keep([each for each in reference.everything() if each.deadline > time])
            assert min((each.deadline for each in reference.everything()), default=inf) == mailbox.earliest

        assert reference.everything() == list(mailbox)
        assert reference.in_order() == mailbox.in_order()
        users = [each for each in reference.everything() if each.priority != CONTROL]
        assert (len(users), len(list(mailbox)), bool(list(mailbox))) == (mailbox.depth, len(mailbox), bool(mailbox))
        assert mailbox.has_next == bool(reference.lanes[CONTROL] or (users and not mailbox.is_suspended))
        assert all(mailbox.earliest <= each.deadline for each in mailbox)


def test_an_idle_actor_and_a_mailbox_of_one_are_small() -> None:
    def size_of(make: Any) -> float:
        kept = [make() for _ in range(10)]
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        kept = [make() for _ in range(1000)]
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return (after - before) / len(kept)

    one = envelope("one")

    def mailbox_of_one() -> Mailbox[Envelope]:
        mailbox = Mailbox[Envelope]()
        mailbox.put(one)
        return mailbox

    assert size_of(Actor[Envelope]) <= 100
    assert size_of(mailbox_of_one) <= 250 < size_of(deque[Envelope])
