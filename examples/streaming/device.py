"""Devices: they know server-sent events and nothing of salon."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import anyio

ENDS = ("done", "stopped", "interrupted", "superseded", "failed")


@dataclass
class Answer:
    """What a device shows of one turn."""

    turn: str
    tokens: list[str] = field(default_factory=list[str])
    numbers: list[int] = field(default_factory=list[int])
    """Of the tokens, as they came."""
    cursor: str | None = None
    """Id of the last event."""
    end: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    def take(self, event: dict[str, Any], cursor: str) -> None:
        self.cursor = cursor
        if event["kind"] == "chunk":
            self.tokens.append(event["data"])
            self.numbers.append(event["seq"])
        elif event["kind"] == "restarted":
            self.tokens.clear()
            self.numbers.clear()
        elif event["kind"] in ENDS:
            self.end = event["kind"]


def parse_sse(frame: str) -> tuple[str, dict[str, Any]]:
    """Id and data of one event."""
    fields = dict(line.split(": ", 1) for line in frame.strip().splitlines())
    return fields["id"], json.loads(fields["data"])


async def read_answer(
    frames: AsyncGenerator[str, None], answer: Answer, *, tokens_max: int | None = None, show: Callable[[str], None]
) -> None:
    """Until the turn has ended, or the connection is lost after so many tokens."""
    taken = 0
    async with aclosing(frames):
        async for frame in frames:
            cursor, event = parse_sse(frame)
            answer.take(event, cursor)
            if event["kind"] == "chunk":
                taken += 1
                show(event["data"])
                if taken == tokens_max:
                    return


async def read_all(frames: AsyncGenerator[str, None], answers: dict[str, Answer], connected: anyio.Event) -> None:
    """As a second device does, of all turns; until it is cancelled."""
    async with aclosing(frames):
        async for frame in frames:
            if frame.startswith(":"):
                connected.set()
                continue
            cursor, event = parse_sse(frame)
            answers.setdefault(event["turn"], Answer(event["turn"])).take(event, cursor)
