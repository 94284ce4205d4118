"""The end of a message that does not end by its handler: whatever else ends meanwhile, and however long that takes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from salon import (
    InterruptedTurn,
    Merge,
    Message,
    Outgoing,
    Runtime,
    SalonError,
    Session,
    SessionHandle,
    Settings,
    TurnStopped,
    TurnTimeout,
    deliver,
    receive,
)
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
            await (await chat.receipt(key="b")).wait(5)
        with pytest.raises(TurnStopped):
            await chat.ask(Say(text="behind"), key="b", timeout_s=5)
    async with life(place, ran) as chat:
        assert await chat.ask(Say(text="next")) == "next"

    assert ran.texts == ["long", "next"]


class Note(Outgoing, name="note"):
    text: str


class Posts(Session[Conversation, Ran], name="posts"):
    @receive
    async def say(self, message: Say) -> str:
        self.deps.texts.append(message.text)
        await self.deps.may_end.wait()
        return message.text

    async def on_interrupted(self, turn: InterruptedTurn) -> None:
        self.turn.post(Note(text=f"{turn.reason} {turn.attempt}"))

    @deliver
    async def carry(self, out: Note) -> None:
        self.deps.texts.append(out.text)


async def test_what_on_interrupted_posts_for_an_ask_leaves_though_nothing_else_is_kept(place: Place) -> None:
    ran = Ran()
    async with Runtime(Posts, store=place.store(), deps=ran) as runtime:
        session = await runtime.create(Posts)
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                with pytest.raises(TurnStopped):
                    await session.ask(Say(text="long"))

            group.start_soon(ask)
            await until(lambda: ran.texts)
            await session.stop()
        await until(lambda: len(ran.texts) > 1)

    assert ran.texts == ["long", "stop 1"]


class Fails(Session[Conversation], name="fails"):
    @receive(overlap=Merge(window_s=0.01, wait_max_s=0.05))
    async def say(self, messages: list[Say]) -> str:
        raise RuntimeError(len(messages))


async def test_each_sender_of_a_merged_turn_that_fails_gets_its_own_message_back(place: Place) -> None:
    back = dict[str, object]()
    async with Runtime(Fails, store=place.store()) as runtime:
        session = await runtime.create(Fails)

        async def ask(text: str) -> None:
            with pytest.raises(SalonError) as failed:
                await session.ask(Say(text=text))
            back[text] = failed.value.message

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "alice")
            group.start_soon(ask, "bob")
        receipt = await session.tell(Say(text="carol"))
        await session.tell(Say(text="dave"))
        with pytest.raises(SalonError) as failed:
            await receipt.wait(5)

    assert back == {"alice": Say(text="alice"), "bob": Say(text="bob")}
    assert failed.value.message in (None, Say(text="carol"))
