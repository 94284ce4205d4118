# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What is read of a turn has the types that its message promises, without a cast. Checked, and never run."""

from typing import Any, assert_type

from pydantic import JsonValue

from salon.events import Accepted, Chunk, Done, ErrorInfo, Failed, Outcome, TurnEvent, TurnStatus
from salon.receipt import Receipt
from salon.stream import TurnStream


async def stream(events: TurnStream[str]) -> None:
    async with events as entered:
        assert_type(entered, TurnStream[str])
        async for event in events:
            look(event)
        async for chunk in events.chunks():
            assert_type(chunk, JsonValue)
        assert_type(await events.reply(), str)


def look(event: TurnEvent[str]) -> None:
    match event:
        case Accepted():
            assert_type(event.position, int)
            assert_type(event.merged_into, str | None)
        case Chunk():
            assert_type(event.data, JsonValue)
        case Done():
            assert_type(event.reply, str)
        case Failed():
            assert_type(event.error, ErrorInfo)
        case _:
            assert_type(event.id, str)
    if event.kind == "chunk":
        assert_type(event.seq, int)
    if event.kind == "done":
        assert_type(event.reply, str)


async def receipt(kept: Receipt[int]) -> None:
    assert_type(kept.turn, str)
    assert_type(await kept.status(), TurnStatus)
    assert_type(await kept.wait(timeout_s=3), int)
    assert_type(kept.events(after=None), TurnStream[int])


def widened(
    events: TurnStream[bool], kept: Receipt[bool], outcome: Outcome[bool]
) -> tuple[TurnStream[int], Receipt[object], TurnEvent[int], Outcome[Any]]:
    return events, kept, outcome, outcome
