"""What callers hear of their messages when the runtime closes, and what they may do with what they were given."""

import logging

import anyio
import pytest

from salon import Done, Draining, Message, Runtime, Session, SessionHandle, Settings, receive
from salon.conversation import Conversation
from salon.message_codec import MessageCodec
from salon.testing import FaultPoint, FaultyStore
from tests.runtime.places import Place
from tests.runtime.waiting import until


class Say(Message[list[str]], name="say"):
    text: str


class Desk:
    def __init__(self) -> None:
        self.began: list[str] = []
        self.may_end = anyio.Event()


class Chat(Session[Conversation, Desk], name="chat"):
    @receive
    async def say(self, message: Say) -> list[str]:
        self.deps.began.append(message.text)
        self.state.add("user", message.text)
        if message.text == "wait":
            await self.deps.may_end.wait()
        return [message.text]


async def test_an_asker_whose_turn_the_store_has_hears_its_answer_though_the_runtime_closes(place: Place) -> None:
    store = FaultyStore(place.store(), [FaultPoint("commit", 2, "before", "stall")])
    desk = Desk()
    replies: list[list[str]] = []
    runtime = await Runtime(Chat, store=store, deps=desk, settings=Settings(drain_deadline_s=0.05)).open()
    chat = await runtime.create(Chat)
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            replies.append(await chat.ask(Say(text="pay"), key="k"))

        group.start_soon(ask)
        await store.wait_until_stalled()
        group.start_soon(runtime.close)
        await anyio.sleep(0.08)
        store.release()

    assert replies == [["pay"]]


async def test_who_waits_for_a_told_message_hears_at_close_that_it_is_kept(place: Place) -> None:
    desk = Desk()
    async with Runtime(Chat, store=place.store(), deps=desk, settings=Settings(drain_deadline_s=0.02)) as runtime:
        chat = await runtime.get_or_create(Chat, name="alice")
        await chat.tell(Say(text="wait"))
        await until(lambda: desk.began)
        receipt = await chat.tell(Say(text="next"))
        heard: list[Draining] = []
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                with pytest.raises(Draining, match="in the inbox") as closing:
                    await receipt.wait()
                heard.append(closing.value)

            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await runtime.close()
    assert [(error.retryable, error.message) for error in heard] == [(False, Say(text="next"))]
    async with Runtime(Chat, store=place.store(), deps=desk) as runtime:
        chat = await runtime.get_or_create(Chat, name="alice")
        assert await (await chat.receipt(turn=receipt.turn)).wait(5) == ["next"]


async def test_the_reply_of_one_caller_is_not_the_reply_of_another(place: Place) -> None:
    desk = Desk()
    turns: list[str] = []
    async with Runtime(Chat, store=place.store(), deps=desk) as runtime:
        chat = await runtime.create(Chat)
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                (await chat.ask(Say(text="wait"))).append("mine")

            group.start_soon(ask)
            await until(lambda: desk.began)
            turns.append(await followed(chat))
            desk.may_end.set()
        outcome = await chat.outcome(turns[0])

    assert isinstance(outcome, Done)
    assert outcome.reply == ["wait"]


async def followed(chat: SessionHandle[Conversation]) -> str:
    """The turn that runs, which has readers from now on."""
    async for event in chat.watch():
        return event.turn
    raise AssertionError("nothing moves")


class Picky(Message[str], name="picky"):
    text: str


class Old(Session[Conversation], name="old"):
    @receive
    async def picky(self, message: Picky) -> str:
        await anyio.sleep_forever()
        return ""


async def test_what_somebody_said_is_not_logged_when_it_cannot_be_read_any_more(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Runtime(Old, store=place.store(), settings=Settings(drain_deadline_s=0.02)) as runtime:
        session = await runtime.get_or_create(Old, name="alice")
        await session.tell(Picky(text="my card is 4242"))

    def decode(codec: object, data: bytes, schema_version: int) -> None:
        raise RuntimeError(f"unexpected {data!r}")

    monkeypatch.setattr(MessageCodec, "decode", decode)
    with caplog.at_level(logging.DEBUG):
        async with Runtime(Old, store=place.store()) as runtime:
            await runtime.get_or_create(Old, name="alice")
            await until(lambda: runtime.stats()["dead_lettered"])

    assert "RuntimeError" in caplog.text
    assert "4242" not in caplog.text
