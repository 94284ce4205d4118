"""The checker against histories by construction, against planted faults, and against a search that tries everything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from math import inf
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from salon.testing import Append, History, Kind, Read, check

T = TypeVar("T")

SESSION = "s"

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be shared."""


@dataclass
class Run:
    """A right session and its clients, driven step by step by numbers that Hypothesis draws.

    An append takes effect at one step and is answered at a later one, so that operations overlap as they please.
    """

    history: History = field(default_factory=History)
    there: list[str] = field(default_factory=list[str])
    begun: dict[int, Append | Read] = field(default_factory=dict[int, Append | Read])
    seen: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    doubtful: list[str] = field(default_factory=list[str])
    """Elements whose senders heard that nobody can say; they may still arrive, and may be tried again."""

    def step(self, client: int, choice: int) -> None:
        operation = self.begun.get(client)
        if operation is None:
            self._begin(client, choice)
        elif isinstance(operation, Read):
            self._read(client, operation)
        else:
            self._append(client, operation, choice)

    def _begin(self, client: int, choice: int) -> None:
        if choice == 0 and self.doubtful:
            self._place(self.doubtful[0])
        elif choice == 1 and self.doubtful:
            self.begun[client] = self.history.append(SESSION, self.doubtful.pop())
        elif choice <= 3:
            self.begun[client] = self.history.append(SESSION, f"e{len(self.history.appends)}")
        else:
            self.begun[client] = self.history.read(SESSION)

    def _read(self, client: int, read: Read) -> None:
        if client not in self.seen:
            self.seen[client] = list(self.there)
        else:
            read.returned(self.seen.pop(client))
            del self.begun[client]

    def _append(self, client: int, append: Append, choice: int) -> None:
        if choice > 1 and append.element not in self.there:
            self._place(append.element)
            return
        if append.element in self.there and choice > 0:
            append.acknowledged(self.there.index(append.element))
        elif append.element in self.there or choice == 1:
            append.unknown()
            self.doubtful.append(append.element)
        else:
            append.not_applied()
        del self.begun[client]

    def _place(self, element: str) -> None:
        if element not in self.there:
            self.there.append(element)

    def end(self) -> "Run":
        """What is under way when all is over is cut off by the death of the process."""
        self.history.process_died()
        return self

    def acknowledged(self) -> list[Append]:
        return [append for append in self.history.appends if append.fate == "acknowledged"]

    def returned(self) -> list[Read]:
        return [read for read in self.history.reads if read.fate == "returned"]

    def attempts(self, element: str) -> list[Append]:
        return [append for append in self.history.appends if append.element == element]

    def began(self, element: str) -> int:
        return min(append.began for append in self.attempts(element) if append.fate != "not_applied")


def driven(steps: list[tuple[int, int]]) -> Run:
    run = Run()
    for client, choice in steps:
        run.step(client, choice)
    return run.end()


def runs(*, clients: int, steps_min: int = 0, steps_max: int) -> st.SearchStrategy[Run]:
    step = st.tuples(st.integers(0, clients - 1), st.integers(0, 5))
    return st.lists(step, min_size=steps_min, max_size=steps_max).map(driven)


@unhurried
@given(runs(clients=4, steps_max=80))
def test_whatever_a_right_session_does_is_let_pass(run: Run) -> None:
    run.history.final(SESSION, run.there)

    assert check(run.history, acknowledged_min=0) == []


Plant = Callable[[Run, list[str], int], None]
"""Changes what a right run left behind: the final list, or what was seen on the way; the number chooses where."""


def pick(items: Sequence[T], choice: int) -> T:
    assume(items)
    return items[choice % len(items)]


def put_twice(run: Run, final: list[str], choice: int) -> None:
    final.append(pick(final, choice))


def take_away(run: Run, final: list[str], choice: int) -> None:
    final.remove(pick(run.acknowledged(), choice).element)


def say_another_place(run: Run, final: list[str], choice: int) -> None:
    append = pick(run.acknowledged(), choice)
    append.index = (append.index or 0) + 1


def swap(run: Run, final: list[str], choice: int) -> None:
    """Two of which one was acknowledged before the other began."""
    pairs = combinations(run.acknowledged(), 2)
    first, second = pick([(a, b) for a, b in pairs if a.ended < run.began(b.element)], choice)
    i, j = final.index(first.element), final.index(second.element)
    final[i], final[j] = final[j], final[i]


def let_a_stranger_in(run: Run, final: list[str], choice: int) -> None:
    run.history.append("t", "stranger").acknowledged()
    run.history.final("t", ["stranger"])
    final.insert(choice % (len(final) + 1), "stranger")


def apply_what_was_refused(run: Run, final: list[str], choice: int) -> None:
    elements = [append.element for append in run.history.appends]
    final.append(pick([e for e in elements if {a.fate for a in run.attempts(e)} == {"not_applied"}], choice))


def show_what_is_rolled_back(run: Run, final: list[str], choice: int) -> None:
    read = pick(run.returned(), choice)
    run.history.append(SESSION, "rolled back").unknown()
    read.elements = (*read.elements, "rolled back")


def show_too_little(run: Run, final: list[str], choice: int) -> None:
    pairs = [(read, append) for read in run.returned() for append in run.acknowledged() if append.ended < read.began]
    read, append = pick(pairs, choice)
    read.elements = tuple(final[: final.index(append.element)])


def show_the_future(run: Run, final: list[str], choice: int) -> None:
    places = enumerate(final, 1)
    pairs = [(read, n) for n, element in places for read in run.returned() if run.began(element) > read.ended]
    read, length = pick(pairs, choice)
    read.elements = tuple(final[:length])


def show_less_than_before(run: Run, final: list[str], choice: int) -> None:
    reads = run.returned()
    first, second = pick([(a, b) for a in reads for b in reads if a.ended < b.began and a.elements], choice)
    second.elements = first.elements[:-1]


def leave_one_hanging(run: Run, final: list[str], choice: int) -> None:
    run.history.append(SESSION, "hanging")


PLANTS: list[tuple[Plant, Kind]] = [
    (put_twice, "duplicate"),
    (take_away, "lost"),
    (say_another_place, "misplaced"),
    (swap, "order"),
    (let_a_stranger_in, "foreign"),
    (apply_what_was_refused, "not_applied"),
    (show_what_is_rolled_back, "prefix"),
    (show_too_little, "stale"),
    (show_the_future, "early"),
    (show_less_than_before, "backward"),
    (leave_one_hanging, "abandoned"),
]


@pytest.mark.parametrize(("plant", "kind"), PLANTS)
def test_a_planted_fault_is_found(plant: Plant, kind: Kind) -> None:
    @unhurried
    @given(runs(clients=4, steps_min=30, steps_max=90), st.integers(0, 1000))
    def find(run: Run, choice: int) -> None:
        final = list(run.there)
        plant(run, final, choice)
        run.history.final(SESSION, final)

        assert kind in {violation.kind for violation in check(run.history, acknowledged_min=0)}

    find()


@dataclass(frozen=True)
class Step:
    """One operation for the search: an element and the place it was promised, or what a read saw."""

    began: float
    ended: float
    element: str = ""
    index: int | None = None
    seen: tuple[str, ...] | None = None

    def applied_to(self, there: tuple[str, ...]) -> tuple[str, ...] | None:
        """The list after it; None when it cannot happen to this list."""
        if self.seen is not None:
            return there if self.seen == there else None
        return (*there, self.element) if self.index in (None, len(there)) else None


def is_possible(steps: frozenset[Step], there: tuple[str, ...], final: tuple[str, ...]) -> bool:
    """Whether some order of all steps, one that keeps to what was over before what, leads to the final list."""
    if not steps:
        return there == final
    soonest_end = min(step.ended for step in steps)
    first = [step for step in steps if step.began < soonest_end]
    tried = ((step, step.applied_to(there)) for step in first)
    return any(after is not None and is_possible(steps - {step}, after, final) for step, after in tried)


def is_linearizable(run: Run, final: tuple[str, ...]) -> bool:
    """By trying everything: each order of the operations, with and without each that nobody can say of."""
    sure = {Step(r.began, r.ended, seen=r.elements) for r in run.returned()}
    sure |= {Step(run.began(a.element), a.ended, a.element, a.index) for a in run.acknowledged()}
    assume(len({step.element for step in sure if step.element}) == len(run.acknowledged()))
    told = {append.element for append in run.acknowledged()}
    unknown = {a.element for a in run.history.appends if a.fate == "unknown"} - told
    open_ended = [Step(run.began(element), inf, element) for element in sorted(unknown)]
    subsets = chain.from_iterable(combinations(open_ended, n) for n in range(len(open_ended) + 1))
    return any(is_possible(frozenset(sure) | set(subset), (), final) for subset in subsets)


@settings(unhurried, max_examples=300)
@given(runs(clients=3, steps_min=8, steps_max=16), st.data())
def test_it_agrees_with_a_search_that_tries_every_order(run: Run, data: st.DataObject) -> None:
    elements = sorted({append.element for append in run.history.appends})
    final = list(run.there)
    if data.draw(st.booleans()):
        final = data.draw(st.permutations(final)) if data.draw(st.booleans()) else data.draw(anything_of(elements))
    for read in run.returned():
        if data.draw(st.integers(0, 3)) == 0:
            beginning = st.integers(0, 4).map(lambda length: final[:length])
            read.elements = tuple(data.draw(beginning | anything_of(elements)))
    for append in run.acknowledged():
        append.index = data.draw(st.sampled_from([append.index, append.index, None, 0, 1]))
    run.history.final(SESSION, final)

    expected = is_linearizable(run, tuple(final))
    event(f"possible: {expected}")

    violations = check(run.history, acknowledged_min=0)
    assert (violations == []) == expected, violations


def anything_of(elements: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(elements), max_size=4) if elements else st.just([])
