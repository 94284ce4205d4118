"""The chatbot: remembers what it has heard, and answers from nothing else."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2s
from typing import Literal

from pydantic import BaseModel

from salon import Log, Message, Session, receive

NAMED = re.compile(r"\b(?i:my name is|i am|i'm|call me)\s+([A-ZÀ-ÖØ-Þ]\w+)")


class Line(BaseModel, frozen=True):
    role: Literal["user", "assistant"]
    content: str
    mark: str = ""
    """The sender's own name for the message; the answer bears it too. A checker knows lines by it."""


class Memory(BaseModel):
    lines: Log[Line] = Log()
    first: str = ""
    previous: str = ""
    user_name: str = ""
    heard: int = 0
    digest: str = ""
    """Of everything heard so far, in order."""


class Say(Message[str], name="say"):
    text: str
    mark: str = ""


@dataclass(frozen=True)
class Deps:
    think: Callable[[Say], Awaitable[None]]
    """Where a real bot calls its model; here it takes time and says nothing."""


class Bot(Session[Memory, Deps], name="demo-bot"):
    @receive
    async def say(self, message: Say) -> str:
        memory = self.state
        memory.lines.append(Line(role="user", content=message.text, mark=message.mark))
        memory.heard += 1
        memory.digest = next_digest(memory.digest, message.text)
        await self.deps.think(message)
        reply = f"{answer(memory, message.text)} [{memory.heard} {memory.digest}]"
        memory.lines.append(Line(role="assistant", content=reply, mark=message.mark))
        memory.first = memory.first or message.text
        memory.previous = message.text
        return reply


def next_digest(digest: str, text: str) -> str:
    return blake2s(f"{digest}\n{text}".encode(), digest_size=4).hexdigest()


def answer(memory: Memory, text: str) -> str:
    """What the bot says to `text`; it learns a name on the way."""
    asked = text.lower()
    if named := NAMED.search(text):
        memory.user_name = named[1]
        return f"I'll remember you, {memory.user_name}."
    if "who am i" in asked or "my name" in asked:
        return f"You are {memory.user_name}." if memory.user_name else "You have not told me your name."
    if not memory.previous:
        return "Nice to meet you. I remember all that you tell me."
    if "first" in asked:
        return f"The first thing you told me was “{memory.first}”."
    return f"Before that you told me “{memory.previous}”."
