"""The checker of histories, at the table: one small history for each thing that must not be, and for what may be."""

from collections.abc import Callable

import pytest

from salon.testing import History, Kind, check


def kinds(history: History) -> list[Kind]:
    return [violation.kind for violation in check(history)]


def appended(history: History, element: str, index: int | None = None, *, session: str = "s") -> None:
    history.append(session, element).acknowledged(index)


def was_read(history: History, *elements: str) -> None:
    history.read("s").returned(elements)


def duplicate(history: History) -> None:
    appended(history, "a")
    history.final("s", ["a", "a"])


def duplicate_after_a_retry(history: History) -> None:
    history.append("s", "a").unknown()
    appended(history, "a")
    history.final("s", ["a", "a"])


def duplicate_of_one_that_keeps_its_place(history: History) -> None:
    appended(history, "a", 0)
    appended(history, "b", 1)
    history.final("s", ["a", "b", "a"])


def lost(history: History) -> None:
    appended(history, "a", 0)
    appended(history, "b", 1)
    history.final("s", ["a"])


def misplaced(history: History) -> None:
    first, second = history.append("s", "a"), history.append("s", "b")
    first.acknowledged(0)
    second.acknowledged(0)
    history.final("s", ["a", "b"])


def order(history: History) -> None:
    appended(history, "a")
    appended(history, "b")
    history.final("s", ["b", "a"])


def order_over_an_unknown_one(history: History) -> None:
    appended(history, "a")
    history.append("s", "b").unknown()
    history.final("s", ["b", "a"])


def order_of_one_that_is_acknowledged_twice(history: History) -> None:
    appended(history, "a")
    again = history.append("s", "a")
    appended(history, "b")
    again.acknowledged()
    history.final("s", ["b", "a"])


def order_of_one_that_was_refused_before(history: History) -> None:
    history.append("s", "a").not_applied()
    appended(history, "b")
    appended(history, "a")
    history.final("s", ["a", "b"])


def foreign(history: History) -> None:
    appended(history, "a")
    appended(history, "x", session="t")
    history.final("s", ["a", "x"])
    history.final("t", ["x"])


def foreign_from_nowhere(history: History) -> None:
    appended(history, "a")
    history.final("s", ["a", "ghost"])


def not_applied(history: History) -> None:
    appended(history, "a")
    history.append("s", "b").not_applied()
    history.final("s", ["a", "b"])


def prefix(history: History) -> None:
    append = history.append("s", "b")
    was_read(history, "b")
    append.unknown()
    appended(history, "a")
    history.final("s", ["a"])


def prefix_with_a_hole(history: History) -> None:
    first, second = history.append("s", "a"), history.append("s", "b")
    was_read(history, "b")
    first.acknowledged(0)
    second.acknowledged(1)
    history.final("s", ["a", "b"])


def stale(history: History) -> None:
    appended(history, "a")
    was_read(history)
    history.final("s", ["a"])


def early(history: History) -> None:
    appended(history, "a")
    was_read(history, "a", "b")
    appended(history, "b")
    history.final("s", ["a", "b"])


def backward(history: History) -> None:
    append = history.append("s", "a")
    was_read(history, "a")
    was_read(history)
    append.acknowledged(0)
    history.final("s", ["a"])


def abandoned_append(history: History) -> None:
    appended(history, "a")
    history.append("s", "b")
    history.final("s", ["a"])


def abandoned_read(history: History) -> None:
    appended(history, "a")
    history.read("s")
    history.final("s", ["a"])


def no_progress(history: History) -> None:
    history.append("s", "a").not_applied()
    history.append("s", "b").unknown()
    history.final("s", [])


WRONG: list[tuple[Callable[[History], None], Kind]] = [
    (duplicate, "duplicate"),
    (duplicate_after_a_retry, "duplicate"),
    (duplicate_of_one_that_keeps_its_place, "duplicate"),
    (lost, "lost"),
    (misplaced, "misplaced"),
    (order, "order"),
    (order_over_an_unknown_one, "order"),
    (order_of_one_that_is_acknowledged_twice, "order"),
    (order_of_one_that_was_refused_before, "order"),
    (foreign, "foreign"),
    (foreign_from_nowhere, "foreign"),
    (not_applied, "not_applied"),
    (prefix, "prefix"),
    (prefix_with_a_hole, "prefix"),
    (stale, "stale"),
    (early, "early"),
    (backward, "backward"),
    (abandoned_append, "abandoned"),
    (abandoned_read, "abandoned"),
    (no_progress, "no_progress"),
]


@pytest.mark.parametrize(("write", "kind"), WRONG)
def test_what_must_not_be_is_found_under_its_own_name_and_nothing_else(
    write: Callable[[History], None], kind: Kind
) -> None:
    history = History()
    write(history)

    assert kinds(history) == [kind]


def test_a_stranger_and_a_double_that_only_a_reader_saw_are_named_besides_the_broken_prefix() -> None:
    history = History()
    appended(history, "a")
    appended(history, "x", session="t")
    was_read(history, "a", "x", "a")
    history.final("s", ["a"])
    history.final("t", ["x"])

    assert kinds(history) == ["duplicate", "foreign", "prefix"]


def an_unknown_one_appears(history: History) -> None:
    history.append("s", "a").unknown()
    appended(history, "b", 1)
    history.final("s", ["a", "b"])


def an_unknown_one_appears_late(history: History) -> None:
    history.append("s", "a").unknown()
    appended(history, "b", 0)
    was_read(history, "b")
    history.final("s", ["b", "a"])


def an_unknown_one_never_appears(history: History) -> None:
    history.append("s", "a").unknown()
    appended(history, "b", 0)
    history.final("s", ["b"])


def a_refused_one_is_tried_again(history: History) -> None:
    history.append("s", "a").not_applied()
    appended(history, "b", 0)
    appended(history, "a", 1)
    history.final("s", ["b", "a"])


def a_retry_hears_the_place_of_the_first_attempt(history: History) -> None:
    history.append("s", "a").unknown()
    appended(history, "b", 1)
    appended(history, "a", 0)
    history.final("s", ["a", "b"])


def those_at_once_stand_in_any_order(history: History) -> None:
    first, second = history.append("s", "a"), history.append("s", "b")
    first.acknowledged()
    second.acknowledged()
    history.final("s", ["b", "a"])


def a_read_sees_what_is_not_acknowledged_yet(history: History) -> None:
    append = history.append("s", "a")
    was_read(history, "a")
    append.acknowledged(0)
    history.final("s", ["a"])


def reads_at_once_see_different_lengths(history: History) -> None:
    append = history.append("s", "a")
    longer, shorter = history.read("s"), history.read("s")
    longer.returned(["a"])
    shorter.returned([])
    append.acknowledged(0)
    history.final("s", ["a"])


def a_read_fails(history: History) -> None:
    appended(history, "a")
    history.read("s").failed()
    history.final("s", ["a"])


def the_process_dies(history: History) -> None:
    appended(history, "a", 0)
    history.append("s", "b")
    history.append("s", "c")
    history.read("s")
    history.process_died()
    was_read(history, "a", "c")
    history.final("s", ["a", "c"])


def sessions_have_places_of_their_own(history: History) -> None:
    appended(history, "a", 0)
    appended(history, "x", 0, session="t")
    history.final("s", ["a"])
    history.final("t", ["x"])
    history.final("empty", [])


RIGHT: list[Callable[[History], None]] = [
    an_unknown_one_appears,
    an_unknown_one_appears_late,
    an_unknown_one_never_appears,
    a_refused_one_is_tried_again,
    a_retry_hears_the_place_of_the_first_attempt,
    those_at_once_stand_in_any_order,
    a_read_sees_what_is_not_acknowledged_yet,
    reads_at_once_see_different_lengths,
    a_read_fails,
    the_process_dies,
    sessions_have_places_of_their_own,
]


@pytest.mark.parametrize("write", RIGHT)
def test_what_may_be_is_let_pass(write: Callable[[History], None]) -> None:
    history = History()
    write(history)

    assert check(history) == []


def test_a_violation_reads_as_a_sentence_that_names_session_and_elements() -> None:
    history = History()
    lost(history)
    [violation] = check(history)

    assert (violation.session, violation.elements) == ("s", ("b",))
    assert str(violation) == "lost in session 's': 'b' was acknowledged and is not there"


def test_how_much_progress_is_expected_is_the_tests_to_say() -> None:
    history = History()
    appended(history, "a")
    history.final("s", ["a"])

    assert check(history, acknowledged_min=1) == []
    assert [violation.kind for violation in check(history, acknowledged_min=2)] == ["no_progress"]
    assert check(History(), acknowledged_min=0) == []


def test_a_session_without_its_final_elements_cannot_be_checked() -> None:
    history = History()
    appended(history, "a")

    with pytest.raises(ValueError, match="final elements of 1 sessions"):
        check(history)


def test_an_element_belongs_to_one_session() -> None:
    history = History()
    history.append("s", "a")

    with pytest.raises(ValueError, match="belongs to session 's'"):
        history.append("t", "a")


def test_an_operation_ends_once_and_the_end_is_told_once() -> None:
    history = History()
    append, read = history.append("s", "a"), history.read("s")
    append.acknowledged()
    read.returned(["a"])
    history.final("s", ["a"])

    ends: list[Callable[[], None]] = [append.unknown, read.failed, lambda: history.final("s", [])]
    for end in ends:
        with pytest.raises(ValueError):
            end()
    assert check(history) == []
