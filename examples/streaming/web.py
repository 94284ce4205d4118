"""What the routes of a web framework would do; events are server-sent, as text."""

from collections.abc import AsyncGenerator

from examples.streaming.bot import Chat, Say
from salon import Conversation, Runtime, SessionHandle, TurnEvent

CONNECTED = ": connected\n\n"
"""A comment, which browsers pass over."""


def to_sse(event: TurnEvent[str]) -> str:
    """One server-sent event: its id is the cursor that the browser sends back as Last-Event-ID."""
    return f"id: {event.id}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n"


class Web:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def chat(self, name: str) -> SessionHandle[Conversation]:
        return await self._runtime.get_or_create(Chat, name=name)

    async def say(self, chat: str, text: str, idempotency_key: str) -> str:
        """POST /chats/{chat}/messages: the turn's id, as soon as its message is kept."""
        return (await (await self.chat(chat)).tell(Say(text=text), key=idempotency_key)).turn

    async def events(self, chat: str, turn: str, last_event_id: str | None = None) -> AsyncGenerator[str, None]:
        """GET /chats/{chat}/turns/{turn}: until the turn has ended, or the client is gone."""
        async with (await self.chat(chat)).attach(turn, after=last_event_id) as events:
            async for event in events:
                yield to_sse(event)

    async def watch(self, chat: str) -> AsyncGenerator[str, None]:
        """GET /chats/{chat}/events: everything that goes on from now on, for as long as the client is there."""
        events = (await self.chat(chat)).watch()
        yield CONNECTED
        async for event in events:
            yield to_sse(event)

    async def stop(self, chat: str, turn: str) -> None:
        """POST /chats/{chat}/turns/{turn}/stop."""
        await (await self.chat(chat)).stop(turn)
