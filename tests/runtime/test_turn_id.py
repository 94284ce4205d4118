"""The id of a turn and its number are one and the same, and so is what a cursor says of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.cursor import cursor, end_cursor, parse_cursor
from salon.turn_id import UNRECORDED, number_of, order_of, turn_id, turn_number


def any_number(epoch: int, count: int, unrecorded: bool) -> int:
    return number_of(epoch, count) | (UNRECORDED if unrecorded else 0)


numbers = st.builds(any_number, st.integers(0, 9_999_999), st.integers(0, UNRECORDED - 1), st.booleans())


@given(numbers)
def test_an_id_is_read_back_as_its_number(number: int) -> None:
    assert turn_number(turn_id(number)) == number
    assert order_of(number) == order_of(number | UNRECORDED)


@given(numbers, st.integers(0, 999), st.integers(0, 10**9))
def test_a_cursor_names_the_turn_of_any_kind(number: int, attempt: int, seq: int) -> None:
    turn = turn_id(number)

    place, end = parse_cursor(cursor(turn, attempt, seq), turn), parse_cursor(end_cursor(turn), turn)

    assert (place.turn, place.attempt, place.seq, place.is_end) == (turn, attempt, seq, False)
    assert (end.turn, end.is_end) == (turn, True)


@pytest.mark.parametrize("text", ["t01-2", "t1-02", "t\u0661-2", "t1-2b", "t1-2aa", "t1-", "t-1", "1-2", "t1-2\n", ""])
def test_there_is_one_text_for_each_turn(text: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        turn_number(text)
