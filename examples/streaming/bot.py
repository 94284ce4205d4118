"""The bot: shows each token as it comes. What is kept of an answer that is stopped, `Conversation` knows by itself."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from salon import Conversation, Message, Session, receive


class Say(Message[str], name="say"):
    text: str


@dataclass(frozen=True)
class Deps:
    model: Callable[[str], AsyncIterator[str]]


class Chat(Session[Conversation, Deps], name="streaming-chat"):
    @receive
    async def say(self, message: Say) -> str:
        self.state.add("user", message.text)
        reply = ""
        async for token in self.deps.model(message.text):
            await self.turn.emit(token)
            reply += token
        self.state.add("assistant", reply)
        return reply
