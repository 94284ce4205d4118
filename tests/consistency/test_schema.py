"""The first turn under a new schema writes the whole state, so that no chain of turns mixes two of them."""

import pytest
from pydantic import BaseModel

from salon import Log, Message, Runtime, SchemaTooNew, Session, receive
from tests.consistency.recorder import Recorder
from tests.runtime.conftest import place as place
from tests.runtime.places import Place


class Say(Message[int], name="say"):
    text: str


class Before(BaseModel):
    count: int = 0
    last: str = ""
    lines: Log[str] = Log()


class After(BaseModel):
    """The same fields; one of them means something else now."""

    count: int = 0
    last: str = "nothing"
    lines: Log[str] = Log()


class ChatBefore(Session[Before], name="chat"):
    @receive
    async def say(self, message: Say) -> int:
        self.state.count += 1
        self.state.lines.append(message.text)
        return self.state.count


class ChatAfter(Session[After], name="chat", schema_version=2):
    @receive
    async def say(self, message: Say) -> int:
        self.state.count += 1
        self.state.lines.append(message.text)
        return self.state.count


async def test_the_first_turn_under_a_new_schema_writes_every_field(place: Place) -> None:
    async with Runtime(ChatBefore, store=place.store()) as runtime:
        chat = await runtime.create(ChatBefore)
        await chat.ask(Say(text="old"))
    store = Recorder(place.store())
    async with Runtime(ChatAfter, store=store) as runtime:
        again = await runtime.get(ChatAfter, chat.session_id)
        assert await again.ask(Say(text="new")) == 2
        assert await again.ask(Say(text="newer")) == 3

    first, second = store.records
    assert (True, 2, {"count", "last"}) == (first.whole, first.schema_version, set(first.state))
    assert (False, 2, {"count"}) == (second.whole, second.schema_version, set(second.state))
    async with Runtime(ChatAfter, store=place.store()) as runtime:
        state = (await (await runtime.get(ChatAfter, chat.session_id)).peek()).state
        assert (3, "", ["old", "new", "newer"]) == (state.count, state.last, state.lines.tail(5))


async def test_what_newer_code_has_written_is_refused_and_left_as_it_is(place: Place) -> None:
    async with Runtime(ChatAfter, store=place.store()) as runtime:
        chat = await runtime.create(ChatAfter)
        await chat.ask(Say(text="new"))
    async with Runtime(ChatBefore, store=place.store()) as runtime:
        with pytest.raises(SchemaTooNew):
            await runtime.get(ChatBefore, chat.session_id)
    async with Runtime(ChatAfter, store=place.store()) as runtime:
        assert await (await runtime.get(ChatAfter, chat.session_id)).ask(Say(text="newer")) == 2
