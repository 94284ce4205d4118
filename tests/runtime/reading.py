"""Reading what a turn tells, in words that are short to compare."""

from collections.abc import AsyncIterator
from typing import Any

from salon.events import Accepted, Chunk, Done, Restarted, TurnEvent


async def read_all(reader: AsyncIterator[TurnEvent[Any]]) -> list[TurnEvent[Any]]:
    return [event async for event in reader]


async def labels(reader: AsyncIterator[TurnEvent[Any]]) -> list[str]:
    return [label(event) async for event in reader]


def label(event: TurnEvent[Any]) -> str:
    if isinstance(event, Accepted):
        return f"accepted {event.position}" + (f" into {event.merged_into}" if event.merged_into else "")
    if isinstance(event, Chunk):
        return str(event.data)
    if isinstance(event, Restarted):
        return f"restarted {event.attempt}"
    return f"done {event.reply}" if isinstance(event, Done) else event.kind
