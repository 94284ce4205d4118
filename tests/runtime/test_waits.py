"""The wait-for graph: every circle is found at the ask that would close it, and nothing else is refused."""

from collections import Counter
from itertools import pairwise, product

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from salon import DeadlockError
from salon.waits import Ask, Waits

SESSIONS = range(6)


def ask(waits: Waits, asker: int, asked: int) -> Ask:
    return waits.begin(asker, asked, "t1-81", "Chat.say")


def test_a_turn_that_asks_its_own_session_is_told_the_way_around() -> None:
    waits = Waits()

    with pytest.raises(DeadlockError) as told:
        ask(waits, 12, 12)

    assert str(told.value) == (
        "Turn t1-81 (Chat.say) asks its own session s12, which waits for it: s12 → s12."
        " Change self.state, or `self.turn.tell(...)` for afterwards."
    )
    assert told.value.path == (12, 12)
    assert not told.value.retryable
    assert len(waits) == 0


def test_two_sessions_that_ask_each_other_are_told_at_the_second_ask() -> None:
    waits = Waits()
    ask(waits, 2, 1)

    with pytest.raises(DeadlockError, match=r"asks session s2, which waits for it: s1 → s2 → s1\."):
        ask(waits, 1, 2)

    assert len(waits) == 1


def test_a_circle_of_many_is_told_by_its_shortest_path() -> None:
    waits = Waits()
    for asker, asked in ((2, 3), (2, 4), (3, 5), (4, 1), (5, 1)):
        ask(waits, asker, asked)

    with pytest.raises(DeadlockError) as told:
        ask(waits, 1, 2)

    assert told.value.path == (1, 2, 4, 1)


def test_a_chain_of_ten_thousand_sessions_is_followed_to_its_end() -> None:
    waits = Waits()
    for session in range(10_000):
        ask(waits, session, session + 1)

    with pytest.raises(DeadlockError) as told:
        ask(waits, 10_000, 0)

    assert len(told.value.path) == 10_002


def test_sessions_that_wait_for_the_same_one_are_no_circle() -> None:
    waits = Waits()
    for asker, asked in ((1, 2), (1, 3), (2, 4), (3, 4), (5, 4)):
        ask(waits, asker, asked)

    assert len(waits) == 5


def test_an_ask_that_has_ended_forbids_nothing_any_more() -> None:
    waits = Waits()
    ask(waits, 1, 2).end()

    ask(waits, 2, 1)

    assert waits.is_waiting(2)
    assert not waits.is_waiting(1)


def test_an_ask_that_is_ended_twice_ends_no_other() -> None:
    waits = Waits()
    first = ask(waits, 1, 2)
    ask(waits, 1, 2)

    first.end()
    first.end()

    assert len(waits) == 1


def test_what_a_turn_leaves_behind_when_it_is_over_holds_nobody_up() -> None:
    waits = Waits()
    left_behind = ask(waits, 1, 2)

    waits.turn_over(1)

    assert not waits
    ask(waits, 2, 1).end()
    ask(waits, 1, 2)
    left_behind.end()  # of the turn before: the ask of this one goes on
    with pytest.raises(DeadlockError):
        ask(waits, 2, 1)


def test_the_end_of_a_turn_that_asked_nobody_changes_nothing() -> None:
    waits = Waits()
    ask(waits, 1, 2)

    waits.turn_over(2)

    assert len(waits) == 1


def test_of_two_asks_to_one_session_the_one_that_goes_on_still_counts() -> None:
    waits = Waits()
    ask(waits, 1, 2)
    ask(waits, 1, 2).end()

    with pytest.raises(DeadlockError):
        ask(waits, 2, 1)


def test_an_ask_that_raises_leaves_no_edge() -> None:
    waits = Waits()

    def fail() -> None:
        with ask(waits, 1, 2):
            assert waits.is_waiting(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert len(waits) == 0


async def test_an_ask_that_is_cancelled_leaves_no_edge() -> None:
    waits, seen = Waits(), 0
    with anyio.CancelScope() as scope:
        with ask(waits, 1, 2):
            seen = len(waits)
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    assert scope.cancelled_caught
    assert (1, 0) == (seen, len(waits))


def closes_a_circle(edges: Counter[tuple[int, int]], asker: int, asked: int) -> bool:
    """By brute force: the transitive closure of all edges with the new one."""
    reach = {(a, b) for a, b in edges if edges[a, b]} | {(asker, asked)}
    for through, a, b in product(SESSIONS, SESSIONS, SESSIONS):
        if (a, through) in reach and (through, b) in reach:
            reach.add((a, b))
    return any((session, session) in reach for session in SESSIONS)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(SESSIONS), st.sampled_from(SESSIONS)), max_size=60))
def test_exactly_the_asks_that_would_close_a_circle_are_refused(steps: list[tuple[bool, int, int]]) -> None:
    waits, edges = Waits(), Counter[tuple[int, int]]()
    under_way: dict[tuple[int, int], list[Ask]] = {}

    for ends, asker, asked in steps:
        if ends and edges[asker, asked]:
            under_way[asker, asked].pop().end()
            edges[asker, asked] -= 1
        elif closes_a_circle(edges, asker, asked):
            with pytest.raises(DeadlockError) as told:
                ask(waits, asker, asked)
            path = told.value.path
            assert (asker, asked, asker) == (path[0], path[1], path[-1])
            assert all(edges[pair] for pair in pairwise(path[1:]))
        else:
            under_way.setdefault((asker, asked), []).append(ask(waits, asker, asked))
            edges[asker, asked] += 1
        assert edges.total() == len(waits)

    for left in under_way.values():
        for one in left:
            one.end()

    assert not waits
    assert len(waits) == 0
    assert not any(waits.is_waiting(session) for session in SESSIONS)


class Sessions(RuleBasedStateMachine):
    """Turns that ask one another, run only at the head of their session, and end when what they asked has ended.

    Some end before: they were cancelled, or leave a task behind that still waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits = Waits()
        self.queues: dict[int, list[tuple[int, Ask] | None]] = {}
        """What waits or runs in each session, the running one first: who asked for it, None if nobody in a turn did."""
        self.turns: dict[int, int] = dict.fromkeys(SESSIONS, 0)
        """How many turns of the session are over."""
        self.under_way: list[tuple[int, int, Ask]] = []
        """Asker, its turn, and the ask."""

    @rule(session=st.sampled_from(SESSIONS))
    def somebody_outside_asks(self, session: int) -> None:
        self.queues.setdefault(session, []).append(None)

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data(), asked=st.sampled_from(SESSIONS))
    def a_running_turn_asks(self, data: st.DataObject, asked: int) -> None:
        asker = data.draw(st.sampled_from(self.busy()))
        try:
            one = ask(self.waits, asker, asked)
        except DeadlockError:
            return
        self.under_way.append((asker, self.turns[asker], one))
        self.queues.setdefault(asked, []).append((asker, one))

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data())
    def a_turn_that_waits_for_nobody_ends(self, data: st.DataObject) -> None:
        self.end_turn(data.draw(st.sampled_from([one for one in self.busy() if not self.waits.is_waiting(one)])))

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data())
    def a_turn_ends_whatever_it_waits_for(self, data: st.DataObject) -> None:
        self.end_turn(data.draw(st.sampled_from(self.busy())))

    def end_turn(self, session: int) -> None:
        reply_to = self.queues[session].pop(0)
        self.turns[session] += 1
        self.waits.turn_over(session)
        if reply_to is not None:
            reply_to[1].end()
            self.under_way = [each for each in self.under_way if each[2] is not reply_to[1]]

    def busy(self) -> list[int]:
        return [session for session, queue in self.queues.items() if queue]

    @invariant()
    def somebody_can_always_go_on(self) -> None:
        busy = self.busy()

        assert not busy or any(not self.waits.is_waiting(session) for session in busy)

    @invariant()
    def the_graph_holds_the_asks_of_running_turns_and_no_others(self) -> None:
        assert len(self.waits) == len([1 for asker, turn, _ in self.under_way if turn == self.turns[asker]])


TestSessions = Sessions.TestCase
