"""The demo's checker finds each kind of damage, counts it exactly, and finds nothing where nothing is wrong."""

from collections.abc import Sequence

from examples.demo.bot import Line
from examples.demo.checker import Verdict, judge
from examples.demo.play import Acknowledged


def told(number: int) -> Acknowledged:
    text, reply = f"words {number}", f"answer {number}"
    return Acknowledged(session_id="s", mark=f"a#{number}", text=text, reply=reply, seconds=0.1)


def kept(mark: str, number: int) -> list[Line]:
    user = Line(role="user", content=f"words {number}", mark=mark)
    return [user, Line(role="assistant", content=f"answer {number}", mark=mark)]


def judged(lines: Sequence[Line]) -> tuple[int, int, int]:
    verdict = judge([told(0), told(1), told(2)], lines)
    assert verdict.turns == 3
    return verdict.lost, verdict.doubled, verdict.foreign


FIRST, SECOND, THIRD = kept("a#0", 0), kept("a#1", 1), kept("a#2", 2)


def test_a_whole_history_is_clean() -> None:
    assert judged([*FIRST, *SECOND, *THIRD]) == (0, 0, 0)


def test_a_missing_turn_is_lost_and_those_after_it_are_not() -> None:
    assert judged([*FIRST, *THIRD]) == (1, 0, 0)


def test_an_empty_history_has_lost_everything() -> None:
    assert judged([]) == (3, 0, 0)


def test_half_a_turn_is_lost() -> None:
    assert judged([*FIRST, SECOND[0], *THIRD]) == (1, 0, 0)


def test_a_turn_with_another_answer_is_lost() -> None:
    assert judged([*FIRST, *kept("a#1", 7), *THIRD]) == (1, 0, 0)


def test_turns_that_changed_places_are_lost() -> None:
    assert judged([*SECOND, *FIRST, *THIRD]) == (2, 0, 0)


def test_a_turn_kept_twice_is_doubled() -> None:
    assert judged([*FIRST, *SECOND, *SECOND, *THIRD]) == (0, 1, 0)


def test_a_turn_of_another_conversation_is_foreign() -> None:
    assert judged([*FIRST, *kept("b#0", 0), *SECOND, *THIRD]) == (0, 0, 1)


def test_verdicts_of_conversations_add_up() -> None:
    verdict = Verdict(turns=1)
    verdict.add(Verdict(turns=2, lost=1, findings=["lost: a#0"]))

    assert verdict == Verdict(turns=3, lost=1, findings=["lost: a#0"])
    assert not verdict.is_clean
