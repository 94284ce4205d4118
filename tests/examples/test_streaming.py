"""The streaming example: its server-sent events say what the events say, and its comparison finds each difference."""

from dataclasses import replace

import pytest

from examples.streaming.compare import Findings, Played, compare, expected
from examples.streaming.device import Answer, parse_sse
from examples.streaming.model import tokens_of
from examples.streaming.web import to_sse
from salon import Accepted, ChatLine, Chunk, Done, Failed, Interrupted, Restarted, Stopped, Superseded, TurnEvent
from salon.events import ErrorInfo

EVENTS: list[TurnEvent[str]] = [
    Accepted(id="t1-1.0.0", turn="t1-1", position=2),
    Chunk(id="t1-1.1.1", turn="t1-1", attempt=1, seq=1, data="two\nlines: “and” a colon"),
    Restarted(id="t1-1.2.0", turn="t1-1", attempt=2),
    Done(id="t1-1.end", turn="t1-1", reply="two\n\nlines"),
    Stopped(id="t1-1.end", turn="t1-1"),
    Interrupted(id="t1-1.end", turn="t1-1"),
    Superseded(id="t1-1.end", turn="t1-1"),
    Failed(id="t1-1.end", turn="t1-1", error=ErrorInfo(name="TurnTimeout", message="late", retryable=True)),
]


@pytest.mark.parametrize("event", EVENTS, ids=[event.kind for event in EVENTS])
def test_a_server_sent_event_says_what_the_event_says(event: TurnEvent[str]) -> None:
    frame = to_sse(event)
    cursor, data = parse_sse(frame)

    assert frame.endswith("\n\n")
    assert f"event: {event.kind}\n" in frame
    assert cursor == event.id
    assert data == event.model_dump(mode="json")


def answer(end: str = "done") -> Answer:
    return Answer("t1-1", ["Good ", "day"], [1, 2], "t1-1.end", end)


def played(phone: Answer, tablet: Answer | None = None) -> Played:
    return Played("a", [phone], {"t1-1": tablet or answer()}, ["Hello"])


LINES = [ChatLine(role="user", content="Hello"), ChatLine(role="assistant", content="Good day")]


def test_what_agrees_is_clean() -> None:
    assert compare(played(answer()), LINES).is_clean


def test_a_stopped_answer_is_kept_as_it_was_shown_and_marked() -> None:
    cut = played(answer("stopped"), answer("stopped"))

    assert expected(cut)[1] == ChatLine(role="assistant", content="Good day", complete=False)
    assert compare(cut, LINES) == Findings(transcripts_that_differ=1)


@pytest.mark.parametrize(
    ("phone", "tablet", "found"),
    [
        (replace(answer(), numbers=[2]), answer(), Findings(tokens_missing=1)),
        (replace(answer(), numbers=[1, 1, 2]), answer(), Findings(tokens_repeated=1)),
        (answer(), answer("stopped"), Findings(screens_that_differ=1)),
        (answer(), replace(answer(), tokens=["Good "]), Findings(screens_that_differ=1)),
    ],
    ids=["missing", "repeated", "other-end", "other-text"],
)
def test_each_difference_is_found(phone: Answer, tablet: Answer, found: Findings) -> None:
    assert compare(played(phone, tablet), LINES) == found
    assert not found.is_clean


def test_another_attempt_makes_a_device_forget() -> None:
    seen = answer()
    seen.take({"kind": "restarted"}, "t1-1.2.0")

    assert (seen.text, seen.numbers) == ("", [])


def test_tokens_are_the_whole_text() -> None:
    text = "Two loaves, one  roll."

    assert "".join(tokens_of(text)) == text
    assert len(tokens_of(text)) == 4
