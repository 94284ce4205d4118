"""A session is watched through its handle, from a version on or from now on, until the runtime closes."""

from collections.abc import AsyncIterator

import anyio
import pytest

from salon import (
    Conversation,
    Done,
    Draining,
    Message,
    ReplayIncomplete,
    Runtime,
    Session,
    SessionHandle,
    TurnEvent,
    receive,
)
from tests.runtime.places import Place
from tests.runtime.waiting import until


class Say(Message[str], name="say"):
    text: str
    is_shown: bool = False


class Chat(Session, name="chat"):
    @receive
    async def say(self, message: Say) -> str:
        self.state.add("user", message.text)
        if message.is_shown:
            await self.turn.emit(message.text)
        return message.text


async def test_a_watch_tells_what_is_asked_and_told_until_the_runtime_closes(place: Place) -> None:
    seen: list[TurnEvent[str]] = []
    losses: list[str] = []

    async def watch(chat: SessionHandle[Conversation]) -> None:
        try:
            async for event in chat.watch():
                seen.append(event)  # noqa: PERF401  # it never ends well
        except Draining as error:
            losses.append(type(error).__name__)

    async with anyio.create_task_group() as tasks, Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat)
        tasks.start_soon(watch, chat)
        await anyio.lowlevel.checkpoint()
        told = await chat.tell(Say(text="one", is_shown=True))
        await told.wait()
        await chat.ask(Say(text="two"))
        await until(lambda: len(seen) == 5)

        assert {told.turn} == {event.turn for event in seen[:3]}
    assert ["accepted", "chunk", "done", "accepted", "done"] == [event.kind for event in seen]
    assert ["Draining"] == losses


async def test_a_second_device_is_told_what_was_committed_behind_its_version(place: Place) -> None:
    async with anyio.create_task_group() as tasks, Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat)
        await chat.ask(Say(text="before anybody has watched"))
        first, version = chat.watch(), (await chat.peek()).version
        tasks.start_soon(_take, first)
        await anyio.lowlevel.checkpoint()
        await chat.ask(Say(text="two"))
        second = await anext(chat.watch(after=version))

        assert isinstance(second, Done)
        assert "two" == second.reply
        with pytest.raises(ReplayIncomplete):
            await anext(chat.watch(after=version - 1))


async def _take(watch: AsyncIterator[TurnEvent[str]]) -> None:
    await anext(watch)
