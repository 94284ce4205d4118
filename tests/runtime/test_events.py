"""Events cross the border as data and come back; cursors are checked; endings give everybody his own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from salon import errors
from salon.cursor import Cursor, cursor, end_cursor, parse_cursor
from salon.events import (
    Accepted,
    Chunk,
    Done,
    Ending,
    ErrorInfo,
    Failed,
    Interrupted,
    Outcome,
    Restarted,
    Stopped,
    Superseded,
    TurnEvent,
)

EVENTS: TypeAdapter[TurnEvent[Any]] = TypeAdapter(TurnEvent[Any])
TURN = "t3-17"


class Answer(BaseModel):
    words: list[str]


class Odd(errors.Refused):
    """A bot's own kind of refusal."""


def every_event() -> list[TurnEvent[Any]]:
    error = ErrorInfo.of(errors.TurnTimeout("too late"))
    return [
        Accepted(id="t3-17.0.0", turn=TURN, position=2, merged_into="t3-18"),
        Chunk(id="t3-17.1.1", turn=TURN, attempt=1, seq=1, data={"a": [1, None, "ä"]}),
        Restarted(id="t3-17.2.0", turn=TURN, attempt=2),
        Done(id="t3-17.end", turn=TURN, reply="so"),
        Stopped(id="t3-17.end", turn=TURN),
        Interrupted(id="t3-17.end", turn=TURN),
        Superseded(id="t3-17.end", turn=TURN),
        Failed(id="t3-17.end", turn=TURN, error=error),
    ]


@pytest.mark.parametrize("event", every_event(), ids=lambda event: event.kind)
def test_an_event_comes_back_from_json(event: TurnEvent[Any]) -> None:
    assert event == EVENTS.validate_json(event.model_dump_json())


@pytest.mark.parametrize("event", every_event(), ids=lambda event: event.kind)
def test_an_event_cannot_be_changed(event: TurnEvent[Any]) -> None:
    with pytest.raises(ValidationError):
        event.turn = "t1-1"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_an_outcome_is_parsed_with_the_type_of_its_reply() -> None:
    outcomes: TypeAdapter[Outcome[Answer]] = TypeAdapter(Outcome[Answer])
    found = outcomes.validate_python({"kind": "done", "id": "t1-1.end", "turn": "t1-1", "reply": {"words": ["a"]}})

    assert isinstance(found, Done)
    assert Answer(words=["a"]) == found.reply
    with pytest.raises(ValidationError):
        outcomes.validate_python({"kind": "chunk", "id": "x", "turn": "t1-1", "attempt": 1, "seq": 1, "data": None})


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (errors.TurnTimeout("late"), "TurnTimeout"),
        (errors.MailboxFull(64), "MailboxFull"),
        (errors.SessionNotFound(), "SessionNotFound"),
        (errors.TurnFailed("Chat.say", "KeyError"), "TurnFailed"),
        (errors.Refused("no", {"left": 3}), "Refused"),
        (Odd("odd"), "Refused"),
        (errors.SalonError("some"), "SalonError"),
    ],
)
def test_an_error_comes_back_from_its_data(error: errors.SalonError, name: str) -> None:
    info = ErrorInfo.of(error)
    again = ErrorInfo.model_validate_json(info.model_dump_json()).error()

    assert (name, str(error), error.retryable) == (info.name, info.message, info.retryable)
    assert (name, str(error), error.retryable) == (type(again).__name__, str(again), again.retryable)
    if isinstance(error, errors.Refused):
        assert isinstance(again, errors.Refused)
        assert (error.code, error.detail) == (again.code, again.detail)


@pytest.mark.parametrize("name", ["Gone", "annotations", "codec", "Any", "Exception", "Refused"])
def test_an_error_of_an_unknown_name_is_a_salon_error(name: str) -> None:
    again = ErrorInfo(name=name, message="what?", retryable=True, retry_after_s=2.5).error()

    assert (errors.SalonError, "what?", True, 2.5) == (type(again), str(again), again.retryable, again.retry_after_s)


def test_the_data_of_an_error_shares_nothing_with_it() -> None:
    detail: dict[str, JsonValue] = {"words": ["mine"]}
    refused = errors.Refused("no", detail)
    info = ErrorInfo.of(refused)
    assert isinstance(info.detail, dict)
    info.detail["words"] = "yours"

    assert {"words": ["mine"]} == refused.detail


@given(epoch=st.integers(0, 9_999_999), count=st.integers(0, 2**39 - 1), attempt=st.integers(0, 99), seq=st.integers(0))
def test_a_cursor_is_taken_apart_as_it_was_made(epoch: int, count: int, attempt: int, seq: int) -> None:
    turn, seq = f"t{epoch}-{count}", seq % 10**15

    assert Cursor(turn, attempt, seq, is_end=False) == parse_cursor(cursor(turn, attempt, seq), "t0-x", turn)
    assert Cursor(turn, 0, 0, is_end=True) == parse_cursor(end_cursor(turn), turn)


@pytest.mark.parametrize(
    "text",
    [
        *["", "t3-17", "t3-17.", "t3-17.1", "t3-17.1.", "t3-17.1.2.3", "t3-17.1.-2", "t3-17.1.2\n", " t3-17.1.2"],
        *["t3-17.end.1", "t3-17.END", "t3-17.1.٣", "t3-17.1." + "9" * 5000, "17", "null"],
    ],
)
def test_what_was_never_a_cursor_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cursor(text, TURN)


@given(st.text())
def test_no_text_does_anything_but_be_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cursor(text, TURN)


@pytest.mark.parametrize("text", ["t3-16.1.2", "t4-17.1.2", "t3-16.end", "t03-17.1.2"])
def test_a_cursor_of_another_turn_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cursor(text, TURN, "t3-18")


@pytest.mark.parametrize(
    ("error", "status", "event"),
    [
        (errors.TurnStopped(), "stopped", Stopped),
        (errors.TurnInterrupted(), "interrupted", Interrupted),
        (errors.TurnSuperseded(), "superseded", Superseded),
        (errors.Refused("no"), "refused", Failed),
        (Odd("no"), "refused", Failed),
        (errors.TurnTimeout(), "failed", Failed),
    ],
)
def test_an_ending_knows_its_status_and_its_event(error: errors.SalonError, status: str, event: type) -> None:
    ending = Ending.failed(TURN, error)

    assert (status, event) == (ending.status, type(ending.outcome))
    assert "t3-17.end" == ending.outcome.id
    with pytest.raises(type(error)):
        ending.result()


def test_a_dead_letter_says_so_in_its_status_and_the_reason_in_its_event() -> None:
    ending = Ending.failed(TURN, errors.TurnInterrupted("crashed"), status="dead_lettered")

    assert ("dead_lettered", Interrupted) == (ending.status, type(ending.outcome))


def test_nobody_gets_the_reply_of_another_one() -> None:
    ending = Ending.done(TURN, Answer(words=["a"]), by_value=lambda reply: reply.model_copy(deep=True))
    ending.result().words.append("mine")
    outcome = ending.outcome
    assert isinstance(outcome, Done)
    outcome.reply.words.append("yours")

    assert Answer(words=["a"]) == ending.result()


def test_nobody_gets_the_error_of_another_one() -> None:
    cause = KeyError("x")
    error = errors.MailboxFull(7)
    error.__cause__ = cause
    ending = Ending.failed(TURN, error)
    caught: list[errors.MailboxFull] = []
    for _ in range(2):
        with pytest.raises(errors.MailboxFull) as raised:
            ending.result()
        caught.append(raised.value)

    assert caught[0] is not caught[1]
    assert [(str(error), 7, cause)] * 2 == [(str(one), one.depth, one.__cause__) for one in caught]
    assert error.__traceback__ is None
