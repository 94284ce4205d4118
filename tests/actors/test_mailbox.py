"""The mailbox of one actor: order, lanes, expiry, and nothing allocated before it is needed."""

import tracemalloc
from collections import deque
from math import inf
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from salon_actors import Actor, Envelope
from salon_actors.mailbox import Mailbox


def envelope(name: object, deadline: float = inf) -> Envelope:
    return Envelope(name, cast(Any, None), deadline)


def drain(mailbox: Mailbox[Envelope]) -> list[object]:
    names = list[object]()
    while (taken := mailbox.take()) is not None:
        names.append(taken.message)
    return names


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
    mailbox.put_control(envelope("control 1"))
    mailbox.put_control(envelope("control 2"))

    assert (1, 3) == (mailbox.depth, len(mailbox))
    assert ["control 1", "control 2", "user"] == drain(mailbox)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.floats(0, 10)),
        st.tuples(st.just("control"), st.floats(0, 10)),
        st.tuples(st.just("take"), st.just(0.0)),
        st.tuples(st.just("expire"), st.floats(0, 10)),
    )
)


@given(operations)
def test_a_mailbox_agrees_with_two_lists(steps: list[tuple[str, float]]) -> None:
    mailbox = Mailbox[Envelope]()
    control, users = list[Envelope](), list[Envelope]()
    for number, (what, time) in enumerate(steps):
        one = envelope(number, time)
        if what == "put":
            mailbox.put(one)
            users.append(one)
        elif what == "control":
            mailbox.put_control(one)
            control.append(one)
        elif what == "take":
            expected = control.pop(0) if control else users.pop(0) if users else None
            assert expected is mailbox.take()
        else:
            late = [each for each in control + users if each.deadline <= time]
            assert late == mailbox.take_expired(time)
            control = [each for each in control if each.deadline > time]
            users = [each for each in users if each.deadline > time]
            assert min((each.deadline for each in control + users), default=inf) == mailbox.earliest

        assert control + users == list(mailbox)
        assert len(users) == mailbox.depth
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
