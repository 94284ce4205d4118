"""The bot: a turn records the update and posts the answer, and both are committed together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel

from salon import Log, Message, Outgoing, Retry, Session, deliver, receive


class Heard(BaseModel, frozen=True):
    update: int
    text: str


class Transcript(BaseModel):
    heard: Log[Heard] = Log()


class Say(Message[None], name="say"):
    update: int
    text: str


class Text(Outgoing, name="text"):
    update: int
    text: str


@dataclass(frozen=True)
class Deps:
    think: Callable[[Say], Awaitable[None]]
    """Where a real bot calls its model; here it takes time and says nothing."""
    send: Callable[[Text, str], Awaitable[None]]
    """Calls the platform, with a key that it knows repetitions by."""
    uses_outbox: bool = True
    """False: answers leave from the handler, to show what becomes of that."""


class Chat(Session[Transcript, Deps], name="webhook-chat"):
    # It does nothing but change its state and post, so that running it again after a crash is safe.
    @receive(on_crash=Retry(attempts_max=5, backoff_s=0.05))
    async def say(self, message: Say) -> None:
        self.state.heard.append(Heard(update=message.update, text=message.text))
        await self.deps.think(message)
        answer = Text(update=message.update, text=f"That was number {len(self.state.heard)}: {message.text}")
        if self.deps.uses_outbox:
            self.turn.post(answer)
        else:
            await self.deps.send(answer, self.turn.id)

    @deliver
    async def send(self, out: Text) -> None:
        await self.deps.send(out, self.delivery.key)
