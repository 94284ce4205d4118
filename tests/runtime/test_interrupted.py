"""After a cut or a kill in mid-answer the words of both sides are there, once, and the model is not asked again."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from salon import ChatLine, Runtime, Session, SessionHandle, Settings, TurnInterrupted, TurnStopped, receive
from salon.conversation import Conversation
from salon.testing import FaultPoint, FaultyStore, VirtualClock
from tests.runtime.places import Place
from tests.runtime.scripts import Chat, Cues, Other, Say, State, scene
from tests.runtime.waiting import until

WORDS = ("It ", "was ", "a ", "dark ", "night")


class Model:
    """Says its words one by one, and hangs before the fourth the first time; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.said = 0
        self.hangs = True

    async def answer(self) -> AsyncGenerator[str]:
        self.asked += 1
        is_first = self.asked == 1
        for number, word in enumerate(WORDS):
            while self.hangs and is_first and number == 3:  # noqa: ASYNC110  # one flag serves several event loops
                await anyio.sleep(0.0005)
            self.said += 1
            yield word


class Bot(Session[Conversation, Model], name="bot"):
    """The ready-made conversation, with nothing said about interruptions."""

    @receive
    async def say(self, message: Say) -> str:
        self.state.add("user", message.text)
        reply = ""
        async with aclosing(self.deps.answer()) as words:
            async for word in words:
                await self.turn.emit(word)
                reply += word
        self.state.add("assistant", reply)
        return reply


@asynccontextmanager
async def bot(
    place: Place, model: Model, *points: FaultPoint
) -> AsyncGenerator[tuple[Runtime, FaultyStore, SessionHandle[Conversation]]]:
    store = FaultyStore(place.store(), points)
    settings = Settings(tick_s=0.001, probe_interval_s=0.001, drain_deadline_s=5)
    runtime = Runtime(Bot, store=store, deps=model, settings=settings)
    with anyio.fail_after(10):
        await runtime.open()
        try:
            yield runtime, store, await runtime.get_or_create(Bot, name="bot")
        finally:
            hangs, model.hangs = model.hangs, False
            await runtime.close()
            model.hangs = hangs


async def said(session: SessionHandle[Conversation]) -> list[tuple[str, str, bool]]:
    view = await session.peek()
    assert view.state.message_count == len(view.state.messages)
    return [(line.role, line.content, line.complete) for line in cast(Sequence[ChatLine], view.state.messages.tail(99))]


CUT = [("user", "hi", True), ("assistant", "It was a ", False)]


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
@pytest.mark.parametrize("cut", ["stop", "interrupt"])
async def test_a_cut_answer_is_kept_as_it_was_shown(place: Place, cut: str, told: bool) -> None:
    model = Model()
    async with bot(place, model) as (_, _, session):
        errors: list[object] = []

        async def ask() -> None:
            with pytest.raises((TurnStopped, TurnInterrupted)) as caught:
                await ((await session.tell(Say(text="hi"))).wait() if told else session.ask(Say(text="hi")))
            errors.append(caught.type)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await until(lambda: model.said == 3)
            await anyio.sleep(0.005)
            if cut == "stop":
                await session.stop()
            else:
                assert "It was a dark night" == await session.ask(Say(text="wait"), overlap="interrupt")

        assert [{"stop": TurnStopped, "interrupt": TurnInterrupted}[cut]] == errors
        after = [("user", "wait", True), ("assistant", "It was a dark night", True)] if cut == "interrupt" else []
        assert [*CUT, *after] == await said(session)
    asked = model.asked
    async with bot(place, model) as (_, _, session):
        assert [*CUT, *after] == await said(session)
        assert asked == model.asked


async def test_a_killed_answer_is_kept_as_it_was_shown(place: Place) -> None:
    model, seen = Model(), list[str]()
    async with bot(place, model) as (_, store, session):
        receipt = await session.tell(Say(text="hi"))
        async for event in receipt.events():
            if event.kind == "chunk":
                seen.append(str(event.data))
            if len(seen) == 3:
                break
        store.die()
    async with bot(place, model) as (runtime, _, session):
        with pytest.raises(TurnInterrupted):
            await (await session.receipt(turn=receipt.turn)).wait()

        assert CUT == await said(session)
        assert ["It ", "was ", "a "] == seen
        assert 1 == model.asked
        assert ["interrupted"] == [letter.reason for letter in (await runtime.dead_letters().list()).items]
    async with bot(place, model) as (_, _, session):
        assert CUT == await said(session)


async def cancel_when_dead(store: FaultyStore, scope: anyio.CancelScope) -> None:
    """Who waits for a dead process waits for ever."""
    await until(lambda: store.is_dead)
    await anyio.sleep(0.01)
    scope.cancel()


@pytest.mark.parametrize(("when", "number"), [("before", 2), *(("after", number) for number in range(2, 9))])
async def test_a_kill_at_every_write_keeps_the_words_once(place: Place, number: int, when: str) -> None:
    """The user's words with what was shown of the answer, or nothing of either; never twice, never half."""
    model, seen = Model(), list[str]()
    async with bot(place, model, FaultPoint("commit", number, cast(Any, when), "die")) as (_, store, session):
        turn: str | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_when_dead, store, group.cancel_scope)
            try:
                receipt = await session.tell(Say(text="hi"))
                turn = receipt.turn
                async for event in receipt.events():
                    if event.kind == "chunk":
                        seen.append(str(event.data))
                    if len(seen) == 3:
                        await session.stop()
            except Exception:  # the process is dead
                assert store.is_dead
            group.cancel_scope.cancel()
    model.hangs = False
    asked = model.asked
    async with bot(place, model) as (_, _, session):
        if turn is not None:
            with pytest.raises((TurnStopped, TurnInterrupted)):
                await (await session.receipt(turn=turn)).wait()
        lines = await said(session)
        shown = "".join(seen)

        assert [] == lines or ("user", "hi", True) == lines[0]
        assert len(lines) <= 2
        if shown:
            assert lines[1][1].startswith(shown)
            assert not lines[1][2]
        assert turn is None or asked == model.asked


async def fail(chat: Chat, text: str) -> str:
    chat.state.lines.append("half")
    chat.turn.tell(await chat.turn.create(Chat), Other(text="not sent"))
    raise KeyError(text)


async def hang(chat: Chat, text: str) -> str:
    chat.state.lines.append("half")
    await anyio.sleep_forever()
    raise AssertionError


async def spoil(chat: Chat, text: str) -> str:
    chat.state.count = cast(Any, "no number")
    return ""


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
@pytest.mark.parametrize("hook", [fail, hang, spoil])
async def test_a_hook_that_fails_loses_nothing_but_what_it_adds(
    place: Place, hook: Any, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed, cues.cut = {"a"}, hook
    async with scene(place, cues, clock=clock, turn_timeout_s=2, tick_s=0.05) as it:
        await it.send(Say(text="a"), told=told)
        await until(lambda: cues.began)
        await until(lambda: not told or it.store.calls("commit") >= 3)
        await it.chat.stop()
        if hook is hang:
            await anyio.sleep(0.01)
            await clock.advance(2.2)

        assert {"a": "TurnStopped"} == await it.saw("a")
        assert ["user a"] == await it.lines()
        assert "re b" == await it.chat.ask(Say(text="b"))
        assert "not sent" not in cues.began
    assert [record for record in caplog.records if record.levelno == logging.ERROR]


async def test_what_a_hook_stages_goes_out_with_the_mark(place: Place) -> None:
    cues = Cues()

    async def send(chat: Chat, text: str) -> str:
        chat.state.lines.append("told somebody")
        chat.turn.tell(await chat.turn.create(Chat, name="child"), Other(text="sent"))
        return ""

    cues.closed, cues.cut = {"a"}, send
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: it.store.calls("commit") >= 3)
        await it.chat.stop()
        assert {"a": "TurnStopped"} == await it.saw("a")
        await until(lambda: "sent" in cues.began)

        assert ["user a", "told somebody"] == await it.lines()


async def test_the_hook_sees_what_was_cut(place: Place) -> None:
    cues, found = Cues(), list[object]()

    class Seen(Session[Conversation, None], name="seen"):
        @receive
        async def say(self, message: Say) -> str:
            for number in range(3):
                await self.turn.emit({"n": number})
            gate.set()
            await anyio.sleep_forever()
            raise AssertionError

        async def on_interrupted(self, turn: Any) -> None:
            found.extend([turn.message, turn.chunks, turn.reason, turn.attempt])
            turn.chunks[0]["n"] = 99
            found.append(self.turn.id)

    gate = anyio.Event()
    async with Runtime(Seen, store=place.store()) as runtime:
        session = await runtime.create(Seen)
        receipt = await session.tell(Say(text="a"))
        await gate.wait()
        await session.stop()
        with pytest.raises(TurnStopped):
            await receipt.wait()
        events = [event async for event in receipt.events()]

        assert [Say(text="a"), "stop", 1, receipt.turn] == [found[0], *found[2:]]
        assert [{"n": 0}, {"n": 1}, {"n": 2}] == [event.data for event in events if event.kind == "chunk"]
    assert [] == cues.began


async def test_a_session_that_listens_to_nothing_is_not_marked_for_an_ask(place: Place) -> None:
    class Deaf(Session[State, None], name="deaf"):
        @receive
        async def say(self, message: Say) -> str:
            gate.set()
            await anyio.sleep_forever()
            raise AssertionError

    gate = anyio.Event()
    async with Runtime(Deaf, store=place.store()) as runtime:
        session = await runtime.create(Deaf)
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                with pytest.raises(TurnStopped):
                    await session.ask(Say(text="a"))

            group.start_soon(ask)
            await gate.wait()
            await session.stop()

        assert 1 == (await session.peek()).version  # its creation
