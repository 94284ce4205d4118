"""Messages, replies and views cross by value, and a read waits for nobody."""

import anyio
import pytest
from pydantic import BaseModel

from salon import Message, Runtime, Session, receive
from salon.testing import FaultPoint, FaultyStore
from tests.consistency.notebook import Append, Desk, Notebook, read
from tests.runtime.conftest import place as place
from tests.runtime.places import Place


class State(BaseModel):
    turns: int = 0


class Words(Message[list[str]], name="words"):
    words: list[str]


class Keeper(Session[State], name="keeper"):
    """Changes what it was sent, keeps what it has returned, and shows whether somebody else has touched that."""

    _kept: list[str]

    @receive
    async def words(self, message: Words) -> list[str]:
        self.state.turns += 1
        kept = [*getattr(self, "_kept", []), *message.words]
        message.words.append("of the handler")
        self._kept = kept
        return kept


async def test_what_a_handler_does_to_its_message_never_reaches_the_sender(place: Place) -> None:
    async with Runtime(Keeper, store=place.store()) as runtime:
        keeper = await runtime.create(Keeper)
        sent = Words(words=["one"])
        await keeper.ask(sent)

        assert ["one"] == sent.words


async def test_what_a_caller_does_to_a_reply_never_reaches_the_session(place: Place) -> None:
    async with Runtime(Keeper, store=place.store()) as runtime:
        keeper = await runtime.create(Keeper)
        reply = await keeper.ask(Words(words=["one"]))
        reply.append("of the caller")

        assert ["one", "two"] == await keeper.ask(Words(words=["two"]))


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_read_returns_beside_a_turn_and_beside_its_commit_and_shows_neither(place: Place, when: str) -> None:
    point = FaultPoint("commit", 3, when, "stall")  # type: ignore[arg-type]  # pyright: ignore
    store, ran, go_on = FaultyStore(place.store(), [point]), anyio.Event(), anyio.Event()

    async def sleep(seconds: float) -> None:
        ran.set()
        await go_on.wait()

    async with Runtime(Notebook, store=store, deps=Desk(sleep)) as runtime:
        notebook = await runtime.create(Notebook)
        await notebook.ask(Append(element="first"))
        seen: list[list[str] | None] = []

        async def look() -> None:
            with anyio.move_on_after(1):
                seen.append(await read(await notebook.peek()))
                seen.append(list((await notebook.history(lambda state: state.lines)).items))

        async with anyio.create_task_group() as group:
            group.start_soon(notebook.ask, Append(element="second", takes_s=1))
            await ran.wait()
            await look()
            go_on.set()
            await store.wait_until_stalled()
            await look()
            store.release()

        assert [["first"]] * 4 == seen
        assert ["first", "second"] == await read(await notebook.peek())
