"""The webhook's counting finds each kind of damage, counts it exactly, and finds nothing where nothing is wrong."""

from collections.abc import Sequence

import pytest

from examples.demo.report import coloured
from examples.webhook.books import Books, Sent, Shown
from examples.webhook.bot import Heard
from examples.webhook.count import Tally, deviations, judge

EXACT = Tally(effects=3, answers=3)


def sent(update: int, began: int | None = None) -> Sent:
    """Accepted before the next one was sent, unless the moments say something else."""
    began = 2 * update if began is None else began
    return Sent(update, "a", f"words {update}", began=began, accepted=2 * update + 1)


def heard(*updates: int) -> list[Heard]:
    return [Heard(update=update, text=f"words {update}") for update in updates]


def shown(update: int, number: int) -> Shown:
    return Shown(update, f"That was number {number}: words {update}")


def judged(kept: Sequence[Heard], *screen: Shown, sents: Sequence[Sent] = ()) -> Tally:
    return judge(sents or [sent(1), sent(2), sent(3)], kept, screen)


ANSWERS = shown(1, 1), shown(2, 2), shown(3, 3)


def test_one_effect_and_one_answer_each_is_exact() -> None:
    tally = judged(heard(1, 2, 3), *ANSWERS)

    assert tally == EXACT
    assert tally.is_exact(3)
    assert not tally.is_exact(4)
    assert set(deviations(tally).values()) == {0}


@pytest.mark.parametrize(
    ("tally", "expected"),
    [
        (judged(heard(1, 3), shown(1, 1), shown(3, 2)), Tally(effects=2, answers=2, lost=1, unanswered=1)),
        (judged(heard(1, 2, 3, 3), *ANSWERS), Tally(effects=4, answers=3, doubled=1)),
        (judged(heard(1, 2, 3), *ANSWERS[:2]), Tally(effects=3, answers=2, unanswered=1)),
        (judged(heard(1, 2, 3), *ANSWERS, ANSWERS[2]), Tally(effects=3, answers=4, answered_twice=1)),
        (judged(heard(1, 2, 3), *ANSWERS[:2], shown(3, 4)), Tally(effects=3, answers=3, untrue=1)),
        (judged(heard(1, 2), *ANSWERS), Tally(effects=2, answers=3, lost=1, untrue=1)),
        (judged(heard(1, 2, 3), ANSWERS[0], ANSWERS[2], ANSWERS[1]), Tally(effects=3, answers=3, disordered=1)),
        (judged(heard(2, 1, 3), shown(2, 1), shown(1, 2), shown(3, 3)), Tally(effects=3, answers=3, disordered=1)),
    ],
    ids=["lost", "doubled", "unanswered", "answered-twice", "untrue", "answered-but-lost", "swapped", "overtaken"],
)
def test_each_deviation_is_counted(tally: Tally, expected: Tally) -> None:
    assert tally == expected
    assert not tally.is_exact(3)


def test_what_was_under_way_at_the_same_time_may_come_in_either_order() -> None:
    sents = [sent(1), sent(2, began=2), sent(3)]

    assert judged(heard(2, 1, 3), shown(2, 1), shown(1, 2), shown(3, 3), sents=sents) == EXACT


def test_an_update_that_was_not_accepted_is_owed_nothing() -> None:
    sents = [sent(1), sent(2), Sent(3, "a", "words 3", began=6)]

    assert judged(heard(1, 2), *ANSWERS[:2], sents=sents) == Tally(effects=2, answers=2)


def test_a_text_is_shown_once_for_each_key() -> None:
    books = Books(updates={1: sent(1)})
    for key in ("k", "k", "l"):
        books.shows(key, 1, "words")

    assert [len(books.screens["a"]), books.calls_repeated, books.updates[1].answers] == [2, 1, 2]
    assert (books.answered, books.waiting) == (1, 0)


def test_only_zeros_are_green() -> None:
    assert ["green" in coloured(0), "green" in coloured(1)] == [True, False]
