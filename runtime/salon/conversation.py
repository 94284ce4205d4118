"""Conversation: the ready-made state of a `Session` without a state of its own."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, JsonValue

from salon.log import Log

Role: TypeAlias = Literal["user", "assistant", "system", "tool"]


class ChatLine(BaseModel, frozen=True):
    """One thing that was said."""

    role: Role
    content: str
    complete: bool = True
    """False for the emitted part of an interrupted answer."""


class Conversation(BaseModel):
    """What most chatbots keep."""

    messages: Log[ChatLine] = Log()
    """What was said, oldest first."""
    message_count: int = 0
    """All lines ever added; never falls."""
    language: str = ""
    """Such as `en`; empty while nobody knows."""
    context: dict[str, JsonValue] = {}
    """Whatever the bot needs to remember from turn to turn."""
    entities: dict[str, JsonValue] = {}
    """What was understood: names, dates, places."""
    dialogue_state: str = "greeting"
    """Where the dialogue stands; not the life cycle of the session."""
    escalated: bool = False
    """A human has taken over."""
    metadata: dict[str, JsonValue] = {}
    """The bot's own notes."""

    @property
    def history(self) -> Log[ChatLine]:
        """Another name of `messages`, to read."""
        return self.messages

    def add(self, role: Role, content: str) -> None:
        """Appends a line and counts it."""
        self.messages.append(ChatLine(role=role, content=content))
        self.message_count += 1
