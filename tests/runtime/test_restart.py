"""A restart finds every conversation as its last answer left it, and reads none before it is asked."""

import logging

import pytest
from pydantic import BaseModel

from salon import Log, Message, NameTaken, Runtime, Session, SessionNotFound, Settings, receive
from tests.runtime.places import Place


class State(BaseModel):
    total: int = 0
    notes: dict[str, int] = {}
    lines: Log[str] = Log(resident=10)


class Say(Message[int], name="say"):
    text: str


class Chat(Session[State], name="chat"):
    @receive
    async def say(self, message: Say) -> int:
        self.state.total += 1
        self.state.notes[message.text] = self.state.total
        self.state.lines.append(message.text)
        return len(self.state.lines)


async def test_a_session_is_there_again_after_a_restart(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat, name="alice")
        assert await chat.ask(Say(text="one")) == 1
    async with Runtime(Chat, store=place.store()) as runtime:
        again = await runtime.get(Chat, chat.session_id)

        assert await again.ask(Say(text="two")) == 2
        view = await again.peek()
        assert (view.state.total, view.state.lines.tail(5)) == (2, ["one", "two"])
        assert view.state.notes == {"one": 1, "two": 2}


async def test_opening_reads_no_session(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat, name="alice")
    async with Runtime(Chat, store=place.store()) as runtime:
        assert runtime.stats()["activations"] == 0
        await (await runtime.get(Chat, chat.session_id)).ask(Say(text="hi"))
        assert runtime.stats()["activations"] == 1


@pytest.mark.parametrize("turns", [63, 64, 65, 300])
async def test_a_long_session_is_restored_from_snapshot_tail_and_pages(place: Place, turns: int) -> None:
    said = [f"line {number}" for number in range(turns)]
    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat)
        for text in said:
            await chat.ask(Say(text=text))
    async with Runtime(Chat, store=place.store()) as runtime:
        again = await runtime.get(Chat, chat.session_id)
        view = await again.peek()

        assert (view.state.total, len(view.state.lines)) == (turns, turns)
        assert view.state.lines.tail(10) == said[-10:]
        assert [line async for line in view.state.lines.scan()] == said
        page = await again.history(lambda state: state.lines, limit=25)
        read = list(page.items)
        while page.next is not None:
            page = await again.history(lambda state: state.lines, before=page.next, limit=25)
            read[:0] = page.items
        assert read == said
        assert await again.ask(Say(text="next")) == turns + 1


async def test_a_session_of_another_type_is_not_found(place: Place) -> None:
    class Other(Session[State], name="other"):
        pass

    async with Runtime(Chat, Other, store=place.store()) as runtime:
        chat = await runtime.create(Chat)
        with pytest.raises(SessionNotFound):
            await runtime.get(Other, chat.session_id)


async def test_one_record_in_the_log_tells_what_was_opened(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="salon")
    async with Runtime(Chat, store=place.store(), settings=Settings(turn_timeout_s=17)):
        records = [record.getMessage() for record in caplog.records if "salon open" in record.getMessage()]

    assert len(records) == 1
    for part in ("format 2", "durability", "epoch", "'turn_timeout_s': 17"):
        assert part in records[0]


async def test_a_renamed_type_and_a_renamed_log_find_what_they_were(place: Place) -> None:
    class Later(BaseModel):
        total: int = 0
        notes: dict[str, int] = {}
        texts: Log[str] = Log(resident=10, former_names=("lines",))

    class Talk(Session[Later], name="talk", former_names=("chat",)):
        @receive
        async def say(self, message: Say) -> int:
            self.state.texts.append(message.text)
            return len(self.state.texts)

    said = [f"line {number}" for number in range(150)]
    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat, name="alice")
        for text in said:
            await chat.ask(Say(text=text))
    for turn in range(2):
        async with Runtime(Talk, store=place.store()) as runtime:
            with pytest.raises(NameTaken):
                await runtime.create(Talk, name="alice")
            talk = await runtime.get_or_create(Talk, name="alice")
            assert talk.session_id == chat.session_id
            for _ in range(100):
                await talk.ask(Say(text=f"later {turn}"))
            texts = (await talk.peek()).state.texts
            assert len(texts) == 150 + 100 * (turn + 1)
            assert [line async for line in texts.scan()][:150] == said


class Cut(Message[list[str]], name="cut"):
    to: int


class Cutting(Chat, name="cutting"):
    @receive
    async def cut(self, message: Cut) -> list[str]:
        self.state.lines.rewind(message.to)
        self.state.lines.append("new")
        return []

    @receive
    async def say(self, message: Say) -> int:
        self.state.total = len(self.state.lines.tail(10))
        return await super().say(message)


async def test_a_rewind_behind_the_window_leaves_the_next_turns_a_whole_tail(place: Place) -> None:
    async with Runtime(Cutting, store=place.store()) as runtime:
        session = await runtime.create(Cutting)
        for number in range(300):
            await session.ask(Say(text=f"line {number}"))
        await session.ask(Cut(to=20))
        expected = [*(f"line {number}" for number in range(12, 21)), "new"]

        assert (await session.peek()).state.lines.tail(10) == expected
        assert await session.ask(Say(text="later")) == 23
        assert (await session.peek()).state.lines.tail(10) == [*expected[1:], "later"]
