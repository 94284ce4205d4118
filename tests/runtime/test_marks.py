"""The end of a message that does not end by its handler: whatever else ends meanwhile, and however long that takes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from salon import Message, Runtime, Session, SessionHandle, Settings, TurnStopped, TurnTimeout, receive
from salon.conversation import Conversation
from tests.runtime.places import Place
from tests.runtime.waiting import until


class Say(Message[str], name="say"):
    text: str


class Ran:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.may_end = anyio.Event()


class Chat(Session[Conversation, Ran], name="chat"):
    @receive
    async def say(self, message: Say) -> str:
        self.deps.texts.append(message.text)
        self.state.add("user", message.text)
        await self.turn.emit("so ")
        await self.turn.emit("far")
        await self.deps.may_end.wait()
        return message.text


@asynccontextmanager
async def life(place: Place, ran: Ran, turn_timeout_s: float = 300) -> AsyncGenerator[SessionHandle[Conversation]]:
    settings = Settings(turn_timeout_s=turn_timeout_s, tick_s=0.002, drain_deadline_s=1)
    async with Runtime(Chat, store=place.store(), deps=ran, settings=settings) as runtime:
        yield await runtime.get_or_create(Chat, name="alice")


async def lines(chat: SessionHandle[Conversation]) -> list[tuple[str, bool]]:
    return [(line.content, line.complete) for line in (await chat.peek()).state.messages.tail(9)]


@pytest.mark.parametrize("other", ["stopped", "expired"])
async def test_what_a_stopped_turn_has_kept_survives_the_end_of_a_message_behind_it(place: Place, other: str) -> None:
    ran = Ran()
    async with life(place, ran) as chat:
        running = await chat.tell(Say(text="my words"))
        await until(lambda: ran.texts)
        behind = await chat.tell(Say(text="behind"), timeout_s=0.01 if other == "expired" else 60)
        if other == "stopped":
            await chat.stop(behind.turn)
        else:
            await anyio.sleep(0.03)
        await chat.stop(running.turn)
        with pytest.raises(TurnStopped):
            await running.wait()

        assert await lines(chat) == [("my words", True), ("so far", False)]
        with pytest.raises(TurnStopped if other == "stopped" else TurnTimeout):
            await behind.wait(5)


async def test_a_message_that_was_stopped_behind_a_long_turn_never_runs(place: Place) -> None:
    ran = Ran()
    async with life(place, ran, turn_timeout_s=0.05) as chat:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: chat.ask(Say(text="long"), timeout_s=60))
            await until(lambda: ran.texts)
            behind = await chat.tell(Say(text="behind"), key="b")
            await chat.stop(behind.turn)
            await anyio.sleep(0.15)  # longer than a turn that is marked may take
            ran.may_end.set()
        with pytest.raises(TurnStopped):
            await behind.wait(5)
        with pytest.raises(TurnStopped):
            await chat.ask(Say(text="behind"), key="b", timeout_s=5)
    async with life(place, ran) as chat:
        assert await chat.ask(Say(text="next")) == "next"

    assert ran.texts == ["long", "next"]
