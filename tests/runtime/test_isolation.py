"""Nothing is shared between sessions, and nobody else's context reaches a turn."""

import contextvars
from functools import cached_property
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest
from pydantic import BaseModel, Field

from salon import (
    ConfigurationError,
    Log,
    MailboxFull,
    Message,
    Refused,
    Runtime,
    Session,
    Settings,
    StateInvalid,
    receive,
)
from tests.runtime.places import Place

CARRIED = contextvars.ContextVar("carried", default="default")
PRIVATE = contextvars.ContextVar("private", default="default")


class State(BaseModel):
    words: list[str] = []
    notes: dict[str, Any] = {}
    lines: Log[str] = Log()


class Say(Message[list[str]], name="say"):
    words: list[str]


class Number(Message[int], name="number"):
    at: int


class Seen(Message[tuple[str, str]], name="seen"):
    pass


class Chat(Session[State], name="chat"):
    @receive
    async def say(self, message: Say) -> list[str]:
        self.state.words = message.words
        self.state.lines.extend(message.words)
        self.state.notes["last"] = message.words[-1]
        await anyio.lowlevel.checkpoint()
        return self.state.words

    @receive
    async def number(self, message: Number) -> int:
        before = len(self.state.lines)
        await anyio.lowlevel.checkpoint()
        self.state.lines.append(str(message.at))
        return before

    @receive
    async def seen(self, message: Seen) -> tuple[str, str]:
        seen = CARRIED.get(), PRIVATE.get()
        CARRIED.set("of a turn")
        PRIVATE.set("of a turn")
        return seen


async def test_messages_and_replies_cross_by_value(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat)
        sent = ["one"]
        reply = await chat.ask(Say(words=sent))
        sent.append("changed by the sender")
        reply.append("changed by the receiver")

        assert (await chat.peek()).state.words == ["one"]


async def test_a_view_is_a_private_copy(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat)
        await chat.ask(Say(words=["one"]))
        view = await chat.peek()
        view.state.words.append("mine")
        view.state.lines.append("mine")
        view.state.notes["mine"] = 1

        state = (await chat.peek()).state
        assert (state.words, state.lines.tail(5), state.notes) == (["one"], ["one"], {"last": "one"})


async def test_a_view_stays_as_it_was_taken(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat)
        await chat.ask(Say(words=["one"]))
        view = await chat.peek()
        for _ in range(100):
            await chat.ask(Say(words=["later"]))

        assert (view.version, view.state.lines.tail(5), len(view.state.lines)) == (2, ["one"], 1)


class Hide(Message[None], name="hide"):
    at: int


class Hiding(Chat, name="hiding"):
    @receive
    async def hide(self, message: Hide) -> None:
        self.state.lines.redact(message.at, "[gone]")


async def test_a_view_keeps_what_was_redacted_after_it_was_taken(place: Place) -> None:
    async with Runtime(Hiding, store=place.store()) as runtime:
        hiding = await runtime.create(Hiding)
        await hiding.ask(Say(words=["one", "two"]))
        view = await hiding.peek()
        assert view.state.lines.tail(1) == ["two"]
        await hiding.ask(Hide(at=0))
        await hiding.ask(Hide(at=1))

        assert view.state.lines.tail(2) == ["one", "two"]
        assert (await hiding.peek()).state.lines.tail(2) == ["[gone]", "[gone]"]


async def test_a_first_state_is_taken_by_value(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        first = State(words=["one"])
        first.lines.append("one")
        chat, other = await runtime.create(Chat, state=first), await runtime.create(Chat, state=first)
        first.words.append("late")
        first.lines.append("late")
        await other.ask(Say(words=["other"]))

        state = (await chat.peek()).state
        assert (state.words, state.lines.tail(5)) == (["one"], ["one"])


async def test_no_context_variable_reaches_a_turn_but_those_named(place: Place) -> None:
    async with Runtime(Chat, store=place.store(), settings=Settings(context_vars=[CARRIED])) as runtime:
        chat = await runtime.create(Chat)
        CARRIED.set("of the caller")
        PRIVATE.set("of the caller")

        assert await chat.ask(Seen()) == ("of the caller", "default")
        assert await (await runtime.create(Chat)).ask(Seen()) == ("of the caller", "default")
        assert (CARRIED.get(), PRIVATE.get()) == ("of the caller", "of the caller")


@pytest.mark.parametrize("sessions", [1000])
async def test_no_canary_appears_where_it_does_not_belong(place: Place, sessions: int) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        chats = [await runtime.create(Chat, metadata={"canary": f"canary {n}"}) for n in range(sessions)]
        async with anyio.create_task_group() as group:
            for round_ in ("first", "second"):
                for n, chat in enumerate(chats):
                    group.start_soon(chat.ask, Say(words=[f"canary {n} {round_}"]))
        for n, chat in enumerate(chats):
            view, info = await chat.peek(), await chat.info()
            assert info.metadata == {"canary": f"canary {n}"}
            assert sorted(view.state.lines.tail(10)) == [f"canary {n} first", f"canary {n} second"]
            assert view.state.words in ([f"canary {n} first"], [f"canary {n} second"])
            assert view.state.notes["last"].startswith(f"canary {n} ")


async def test_a_thousand_writers_of_one_session_have_a_thousand_effects_in_one_order(place: Place) -> None:
    replies: list[tuple[int, int]] = []

    async def write(at: int) -> None:
        replies.append((await chat.ask(Number(at=at)), at))

    async with Runtime(Chat, store=place.store(), settings=Settings(mailbox_messages_max=1000)) as runtime:
        chat = await runtime.create(Chat)
        async with anyio.create_task_group() as group:
            for at in range(1000):
                group.start_soon(write, at)
        lines = [int(line) async for line in (await chat.peek()).state.lines.scan()]

    assert sorted(lines) == list(range(1000))
    assert [at for _, at in sorted(replies)] == lines
    assert [place for place, _ in sorted(replies)] == list(range(1000))


async def test_with_the_default_bound_every_effect_has_a_reply_and_the_rest_are_told(place: Place) -> None:
    done: list[int] = []
    full: list[int] = []
    told: list[tuple[object, bool]] = []

    async def write(at: int) -> None:
        try:
            await chat.ask(Number(at=at))
        except MailboxFull as error:
            full.append(at)
            told.append((error.message, error.retryable))
        else:
            done.append(at)

    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat)
        async with anyio.create_task_group() as group:
            for at in range(1000):
                group.start_soon(write, at)
        lines = [int(line) async for line in (await chat.peek()).state.lines.scan()]

    assert len(done) >= 64
    assert told == [(Number(at=at), True) for at in full]
    assert full
    assert sorted(lines) == sorted(done)
    assert len(done) + len(full) == 1000


NO = Refused("no", {"because": ["it is"]})


class Deny(Message[None], name="deny"):
    words: str


class Denying(Session[State], name="denying"):
    @receive
    async def deny(self, message: Deny) -> None:
        raise NO


async def test_a_refusal_that_is_raised_twice_carries_nothing_from_one_caller_to_another(place: Place) -> None:
    async with Runtime(Denying, store=place.store()) as runtime:
        caught: list[Refused] = []
        for words in ("alice's", "bob's"):
            with pytest.raises(Refused) as told:
                await (await runtime.create(Denying)).ask(Deny(words=words))
            caught.append(told.value)
        assert isinstance(caught[0].detail, dict)
        caught[0].detail["because"] = "alice"

        assert [error.message for error in caught] == [Deny(words="alice's"), Deny(words="bob's")]
        assert caught[1].detail == {"because": ["it is"]}
        assert (NO.message, NO.detail) == (None, {"because": ["it is"]})


class Hidden(BaseModel):
    scores: dict[str, Annotated[int, Field(gt=0)]] = {}
    frozen: tuple[int, ...] = (1, 2)

    @cached_property
    def total(self) -> int:
        return sum(self.frozen)


class Touch(Message[int], name="touch"):
    key: str

    @cached_property
    def length(self) -> int:
        return len(self.key)


class Touching(Session[Hidden], name="touching"):
    _total: int = 0

    @receive
    async def touch(self, message: Touch) -> int:
        self._total += 1
        self.state.frozen += (message.length,)
        self.state.scores[message.key] = 0 if message.key == "my pin is 1234" else self.state.total
        return self._total


async def test_errors_hold_no_keys_and_a_failed_turn_no_cache(place: Place) -> None:
    async with Runtime(Touching, store=place.store()) as runtime:
        touching = await runtime.create(Touching)
        message = Touch(key="a")
        assert message.length == 1
        assert await touching.ask(message) == 1
        with pytest.raises(StateInvalid, match=r"^Hidden is not valid: scores: greater_than\.$"):
            await touching.ask(Touch(key="my pin is 1234"))

        assert await touching.ask(Touch(key="b")) == 1


def test_a_mutable_attribute_of_a_mixin_is_told() -> None:
    class Mixin:
        seen: list[str] = []

    with pytest.raises(ConfigurationError, match="seen is a list that all sessions would share"):

        class Mixed(Mixin, Session):  # pyright: ignore[reportUnusedClass]
            pass
