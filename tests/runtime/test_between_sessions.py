"""Turns that ask, tell and create other sessions: no deadlock, exactly once with the commit, nothing without it."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from salon import (
    ConfigurationError,
    DeadlockError,
    Log,
    Message,
    NotApplied,
    Receipt,
    Runtime,
    SalonError,
    Session,
    SessionHandle,
    Settings,
    TurnFailed,
    TurnTimeout,
    receive,
)
from salon.resident import Resident
from salon.staging import Staged
from salon.testing import FaultPoint, FaultyStore, SeededChance, VirtualClock
from salon.transfer import Transfers
from salon_persistence.store import Applied
from tests.runtime.acts import passing
from tests.runtime.places import Place
from tests.runtime.waiting import until

NOWHERE = "s_" + "A" * 22
SOON_S = 5.0


@dataclass
class Post:
    """What handlers tell and ask of the test."""

    deadlocks: list[DeadlockError] = field(default_factory=list[DeadlockError])
    heard: list[str] = field(default_factory=list[str])
    opened: anyio.Event = field(default_factory=anyio.Event)
    """What `Wait` waits for."""
    receipt: Receipt[Any] | None = None
    left_s: list[float] = field(default_factory=list[float])


class Pad(BaseModel):
    lines: Log[str] = Log()
    child: str = ""


class Walk(Message[int], name="walk"):
    """Ask along the path; the reply is how far it came."""

    path: list[str] = []
    key: str | None = None
    wait: bool = False
    at_once: bool = False


class Note(Message[int], name="note"):
    text: str


class Send(Message[int], name="send"):
    """Tell each of them, then fail if that is asked for."""

    to: list[str]
    text: str
    fails: bool = False
    times: int = 1


class Bear(Message[str], name="bear"):
    name: str | None = None
    text: str = ""
    fails: bool = False


class WaitFor(Message[int], name="wait_for"):
    """Wait for the receipt that the test has left."""

    by_events: bool = False


class Hold(Message[int], name="hold"):
    pass


class Foreign(Message[int], name="foreign"):
    text: str = ""


class Peer(Session[Pad, Post], name="peer"):
    @receive
    async def walk(self, message: Walk) -> int:
        self.deps.left_s.append((self.turn.deadline - self.info.created_at).total_seconds())
        if message.wait:
            await self.deps.opened.wait()
        if not message.path:
            return 0
        onward = Walk(path=message.path[1:], key=message.key, wait=message.wait and not message.at_once)
        try:
            return 1 + await self.turn.ask(message.path[0], onward, key=message.key)
        except DeadlockError as error:
            self.deps.deadlocks.append(error)
            return 0

    @receive
    async def note(self, message: Note) -> int:
        self.deps.heard.append(message.text)
        self.state.lines.append(message.text)
        return len(self.state.lines)

    @receive
    async def send(self, message: Send) -> int:
        for to in message.to:
            for _ in range(message.times):
                self.turn.tell(to, Note(text=message.text))
        self.state.lines.append("sent")
        if message.fails:
            raise ValueError
        return len(self.state.lines)

    @receive
    async def bear(self, message: Bear) -> str:
        child = await self.turn.create(Peer, name=message.name)
        self.state.child = child.session_id
        if message.text:
            self.turn.tell(child, Note(text=message.text))
        if message.fails:
            raise ValueError
        return child.session_id

    @receive
    async def wait_for(self, message: WaitFor) -> int:
        assert self.deps.receipt is not None
        try:
            if message.by_events:
                return int(await self.deps.receipt.events().reply())
            return int(await self.deps.receipt.wait())
        except DeadlockError as error:
            self.deps.deadlocks.append(error)
            return -1

    @receive
    async def hold(self, message: Hold) -> int:
        await self.deps.opened.wait()
        return 0


class Stranger(Session[Pad], name="stranger"):
    @receive
    async def foreign(self, message: Foreign) -> int:
        self.state.lines.append(message.text)
        return len(self.state.lines)


class Mediator(Session[Pad, Post], name="mediator"):
    @receive
    async def send(self, message: Send) -> int:
        for to in message.to:
            self.turn.tell(to, Foreign(text=message.text))
        self.state.lines.append("sent")
        return len(self.state.lines)


@asynccontextmanager
async def open_post(place: Place, post: Post, **settings: Any) -> AsyncGenerator[Runtime]:
    given = Settings.model_validate({"probe_interval_s": 0.001, **settings})
    async with Runtime(Peer, Stranger, Mediator, store=place.store(), deps=post, settings=given) as runtime:
        yield runtime


async def peers(runtime: Runtime, count: int) -> list[SessionHandle[Pad]]:
    return [await runtime.create(Peer) for _ in range(count)]


async def lines(handle: SessionHandle[Pad]) -> list[str]:
    return list((await handle.peek()).state.lines.tail(100))


async def letters(runtime: Runtime) -> list[tuple[str, str]]:
    return [(letter.message, letter.reason) for letter in (await runtime.dead_letters().list()).items]


# Asking


async def test_a_turn_that_asks_its_own_session_is_told_at_once_what_to_do(place: Place) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        (a,) = await peers(runtime, 1)
        with anyio.fail_after(SOON_S):
            assert 0 == await a.ask(Walk(path=[a.session_id]))

    (error,) = post.deadlocks
    assert re.fullmatch(
        r"Turn t1-\d+a? \(Peer\.walk\) asks its own session s1, which waits for it: s1 → s1\. "
        r"Change self\.state, or `self\.turn\.tell\(\.\.\.\)` for afterwards\.",
        str(error),
    )
    assert Walk() == error.message
    assert not error.retryable


@pytest.mark.parametrize("length", [2, 3, 7])
async def test_a_circle_of_sessions_is_found_by_the_ask_that_would_close_it(place: Place, length: int) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        circle = await peers(runtime, length)
        path = [each.session_id for each in (*circle[1:], circle[0])]
        with anyio.fail_after(SOON_S):
            assert length - 1 == await circle[0].ask(Walk(path=path))
        (error,) = post.deadlocks
        assert (length, *range(1, length + 1)) == error.path

        post.deadlocks.clear()
        assert length - 1 == await circle[0].ask(Walk(path=path[:-1]))  # nothing is left of it
        assert [] == post.deadlocks


async def test_a_circle_that_two_asks_close_at_once_is_found_and_one_of_them_goes_through(place: Place) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        a, b = await peers(runtime, 2)
        replies: list[int] = []

        async def ask(one: SessionHandle[Pad], other: SessionHandle[Pad]) -> None:
            replies.append(await one.ask(Walk(path=[other.session_id], wait=True, at_once=True)))

        with anyio.fail_after(SOON_S):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, a, b)
                group.start_soon(ask, b, a)
                await until(lambda: runtime.stats()["turns_running"] == 2)
                post.opened.set()
        assert 1 == len(post.deadlocks)
        assert [0, 1] == sorted(replies)


async def test_an_ask_that_joins_a_turn_by_its_key_can_deadlock_too_and_is_told(place: Place) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        a, b = await peers(runtime, 2)
        replies: dict[str, int] = {}

        async def ask(name: str, one: SessionHandle[Pad], message: Walk, key: str | None) -> None:
            replies[name] = await one.ask(message, key=key)

        with anyio.fail_after(SOON_S):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, "b", b, Walk(path=[a.session_id], wait=True, at_once=True), "k")
                await until(lambda: runtime.stats()["turns_running"] == 1)
                group.start_soon(ask, "a", a, Walk(path=[b.session_id], key="k2"), None)
                await until(lambda: runtime.stats()["turns_running"] == 2)
                post.opened.set()
        assert 1 == len(post.deadlocks)
        assert {"a": 1, "b": 0} == replies


@pytest.mark.parametrize("by_events", [False, True], ids=["receipt", "stream"])
async def test_a_turn_that_waits_for_a_receipt_waits_as_one_that_asks(place: Place, by_events: bool) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        a, b = await peers(runtime, 2)
        post.receipt = await b.tell(Walk(path=[a.session_id], wait=True, at_once=True))
        replies: list[int] = []

        async def wait() -> None:
            replies.append(await a.ask(WaitFor(by_events=by_events)))

        with anyio.fail_after(SOON_S):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await until(lambda: runtime.stats()["turns_running"] == 2)
                post.opened.set()
        assert 1 == len(post.deadlocks)
        assert (2, 1, 2) == post.deadlocks[0].path
        assert [0] == replies


async def test_a_turn_that_waits_for_a_message_to_its_own_session_is_told(place: Place) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        (a,) = await peers(runtime, 1)
        holding = await a.tell(Hold())
        await until(lambda: runtime.stats()["turns_running"])
        waiting = await a.tell(WaitFor())
        post.receipt = await a.tell(Note(text="later"))
        post.opened.set()
        with anyio.fail_after(SOON_S):
            assert [0, -1, 1] == [await each.wait() for each in (holding, waiting, post.receipt)]
        assert [(1, 1)] == [error.path for error in post.deadlocks]


async def test_asks_in_a_row_end_with_one_slot_for_all_sessions(place: Place) -> None:
    async with open_post(place, Post(), concurrent_turns_max=1) as runtime:
        row = await peers(runtime, 6)
        replies: list[int] = []

        async def ask(path: list[SessionHandle[Pad]]) -> None:
            replies.append(await path[0].ask(Walk(path=[each.session_id for each in path[1:]])))

        with anyio.fail_after(SOON_S):
            async with anyio.create_task_group() as group:
                for start in range(5):
                    group.start_soon(ask, row[start:])
        assert [1, 2, 3, 4, 5] == sorted(replies)
        assert 0 == runtime.stats()["slots_taken"]


async def test_what_is_asked_in_a_turn_has_what_is_left_of_its_time(place: Place) -> None:
    clock, post = VirtualClock(), Post()
    async with Runtime(Peer, store=place.store(), deps=post, clock=clock, chance=SeededChance(1)) as runtime:
        a, b = await peers(runtime, 2)
        errors: list[SalonError] = []

        async def ask() -> None:
            try:
                await a.ask(Walk(path=[b.session_id], wait=True), timeout_s=7)
            except SalonError as error:
                errors.append(error)

        waited_s = 0.0
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await passing(clock, lambda: post.left_s)
            await clock.advance(2)
            post.opened, opened = anyio.Event(), post.opened
            opened.set()
            await passing(clock, lambda: len(post.left_s) == 2)
            assert post.left_s[1] <= post.left_s[0] + 0.001
            waited_s = await passing(clock, lambda: errors)

        assert [TurnTimeout] == [type(error) for error in errors]
        assert 4.5 <= waited_s <= 5.2
        await passing(clock, lambda: not runtime.stats()["turns_running"])
        assert 0 == await b.ask(Walk())  # its session is free


async def test_a_nested_effect_stays_when_the_asking_turn_fails(place: Place) -> None:
    class Twice(Message[int], name="twice"):
        to: str

    class Careless(Session[Pad, Post], name="careless"):
        @receive
        async def twice(self, message: Twice) -> int:
            await self.turn.ask(message.to, Note(text="kept"))
            raise ValueError

    async with Runtime(Careless, Peer, store=place.store(), deps=Post()) as runtime:
        careless, peer = await runtime.create(Careless), await runtime.create(Peer)
        with pytest.raises(TurnFailed):
            await careless.ask(Twice(to=peer.session_id))

        assert ["kept"] == await lines(peer)


# Telling


async def test_what_a_turn_tells_arrives_once_if_it_commits_and_not_at_all_if_it_fails(place: Place) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        a, b = await peers(runtime, 2)
        with pytest.raises(TurnFailed):
            await a.ask(Send(to=[b.session_id], text="never", fails=True))
        assert 1 == await a.ask(Send(to=[b.session_id], text="once"))
        await until(lambda: post.heard)
        assert 2 == await b.ask(Note(text="after"))

        assert ["once", "after"] == post.heard == await lines(b)
        assert [] == await letters(runtime)


async def test_a_message_to_its_own_session_runs_after_the_turn(place: Place) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        (a,) = await peers(runtime, 1)
        await a.ask(Send(to=[a.session_id], text="to myself"))
        await until(lambda: post.heard)
        await a.ask(Note(text="end"))

        assert ["sent", "to myself", "end"] == await lines(a)


async def test_what_was_told_stays_told_when_the_process_dies_before_it_runs(place: Place) -> None:
    post = Post()
    store = FaultyStore(place.store())
    settings = Settings(drain_deadline_s=0.01)
    async with Runtime(Peer, store=store, deps=post, settings=settings) as runtime:
        a, b = await peers(runtime, 2)
        await b.tell(Hold())
        await until(lambda: runtime.stats()["turns_running"])
        await a.ask(Send(to=[b.session_id], text="durable"))
        store.die()
    assert [] == post.heard
    async with open_post(place, post) as runtime:
        await until(lambda: post.heard)
        b = await runtime.get(Peer, b.session_id)
        await b.ask(Note(text="end"))
        assert ["durable", "end"] == await lines(b)
        assert ["sent"] == await lines(await runtime.get(Peer, a.session_id))


@pytest.mark.parametrize("effect", ["refuse", "unknown"])
async def test_a_tell_whose_commit_fails_arrives_exactly_if_its_turn_was_applied(place: Place, effect: Any) -> None:
    post = Post()
    when: Any = "instead" if effect == "refuse" else "after"
    store = FaultyStore(place.store(), [FaultPoint("commit", 3, when, effect)])
    async with Runtime(Peer, store=store, deps=post, settings=Settings(probe_interval_s=0.001)) as runtime:
        a, b = await peers(runtime, 2)
        with pytest.raises(SalonError):
            await a.ask(Send(to=[b.session_id], text="perhaps"))
        assert 1 == len(store.fired)
    async with open_post(place, post) as runtime:
        a, b = await runtime.get(Peer, a.session_id), await runtime.get(Peer, b.session_id)
        applied = ["sent"] == await lines(a)
        await b.ask(Note(text="end"))

        assert applied is (effect == "unknown")
        assert (["perhaps", "end"] if applied else ["end"]) == await lines(b)


async def test_a_receiver_that_is_not_in_memory_is_brought_there(place: Place) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        ids = [each.session_id for each in await peers(runtime, 2)]
    async with open_post(place, post) as runtime:
        a = await runtime.get(Peer, ids[0])
        assert 1 == runtime.stats()["sessions_resident"]
        await a.ask(Send(to=[ids[1]], text="wake up"))
        await until(lambda: post.heard)

    assert ["wake up"] == post.heard


async def test_what_the_store_could_not_deliver_is_not_handed_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = Transfers.committed

    def undelivered(transfers: Transfers, staged: Staged, sender: Resident, applied: Applied) -> None:
        committed(transfers, staged, sender, replace(applied, undelivered=[row.number for row in staged.rows]))

    monkeypatch.setattr(Transfers, "committed", undelivered)
    post = Post()
    async with open_post(place, post) as runtime:
        a, b = await peers(runtime, 2)
        await a.ask(Send(to=[b.session_id], text="its receiver is gone"))
        await b.ask(Note(text="end"))
    assert ["end"] == post.heard


async def test_a_receiver_that_is_missing_or_cannot_handle_it_makes_a_dead_letter_of_the_sender(place: Place) -> None:
    async with open_post(place, Post()) as runtime:
        (a,) = await peers(runtime, 1)
        stranger = await runtime.create(Stranger)
        assert 1 == await a.ask(Send(to=[NOWHERE, stranger.session_id], text="lost"))

        assert [("note", "receiver_gone"), ("note", "receiver_without_handler")] == await letters(runtime)
        page = await runtime.dead_letters().list()
        assert {a.session_id} == {letter.session_id for letter in page.items}
        assert ["sent"] == await lines(a)
        assert 2 == runtime.stats()["dead_lettered"]


async def test_a_receiver_of_a_type_that_this_runtime_does_not_know_makes_a_dead_letter(place: Place) -> None:
    async with open_post(place, Post()) as runtime:
        stranger = (await runtime.create(Stranger)).session_id
    async with Runtime(Peer, store=place.store(), deps=Post()) as runtime:
        (a,) = await peers(runtime, 1)
        assert 1 == await a.ask(Send(to=[stranger], text="lost"))

        assert [("note", "receiver_unusable: ConfigurationError")] == await letters(runtime)


async def test_a_session_of_another_type_is_told_as_any_other(place: Place) -> None:
    async with open_post(place, Post()) as runtime:
        mediator, stranger = await runtime.create(Mediator), await runtime.create(Stranger)
        await mediator.ask(Send(to=[stranger.session_id], text="hello"))
        await until(lambda: runtime.stats()["turns_done"] == 2)
        assert 2 == await stranger.ask(Foreign(text="end"))
        assert ["hello", "end"] == await lines(stranger)


async def test_a_full_receiver_makes_dead_letters_of_what_it_cannot_take(place: Place) -> None:
    post = Post()
    async with open_post(place, post, mailbox_messages_max=2) as runtime:
        a, b = await peers(runtime, 2)
        await b.tell(Hold())
        await until(lambda: runtime.stats()["turns_running"])
        assert 1 == await a.ask(Send(to=[b.session_id], text="many", times=5))
        assert [("note", "receiver_full")] * 3 == await letters(runtime)

        post.opened.set()
        await until(lambda: len(post.heard) == 2)
        letter = (await runtime.dead_letters().list()).items[0]
        assert a.session_id == letter.session_id


async def test_inside_a_turn_a_handle_says_that_the_turn_tells(place: Place) -> None:
    said: list[str] = []

    class Wrong(Message[None], name="wrong"):
        pass

    class Hasty(Session[Pad, list[Any]], name="hasty"):
        @receive
        async def wrong(self, message: Wrong) -> None:
            try:
                await self.deps[0].tell(Foreign())
            except ConfigurationError as error:
                said.append(str(error))

    deps: list[Any] = []
    async with Runtime(Hasty, Stranger, store=place.store(), deps=deps) as runtime:
        deps.append(await runtime.create(Stranger))
        await (await runtime.create(Hasty)).ask(Wrong())

    assert ["Inside a turn, stage it with `self.turn.tell(session, message)`."] == said


# Creating


async def test_a_child_comes_to_be_with_the_commit_and_hears_what_it_was_told(place: Place) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        (a,) = await peers(runtime, 1)
        child = await runtime.get(Peer, await a.ask(Bear(text="welcome")))
        await until(lambda: post.heard)
        assert 2 == await child.ask(Note(text="end"))
        ids = a.session_id, child.session_id
    async with open_post(place, post) as runtime:
        assert ["welcome", "end"] == await lines(await runtime.get(Peer, ids[1]))
        assert ids[1] == (await (await runtime.get(Peer, ids[0])).peek()).state.child


async def test_a_turn_that_fails_has_no_child(place: Place) -> None:
    async with open_post(place, Post()) as runtime:
        (a,) = await peers(runtime, 1)
        with pytest.raises(TurnFailed):
            await a.ask(Bear(name="nobody", text="hello", fails=True))

        assert 1 == len((await runtime.find()).items)
        assert [] == await letters(runtime)


async def test_a_child_whose_name_is_taken_fails_the_turn_and_nothing_of_it_is_applied(place: Place) -> None:
    post = Post()
    async with open_post(place, post) as runtime:
        (a,) = await peers(runtime, 1)
        await runtime.create(Peer, name="taken")
        with pytest.raises(NotApplied) as failed:
            await a.ask(Bear(name="taken", text="hello"))

        assert not failed.value.retryable
        assert 2 == len((await runtime.find()).items)
        assert "" == (await a.peek()).state.child
        assert await a.ask(Bear(name="free"))  # the session goes on
    assert [] == post.heard


async def test_a_child_of_a_told_message_is_there_once_after_a_crash_before_its_answer(place: Place) -> None:
    post = Post()
    store = FaultyStore(place.store(), [FaultPoint("commit", 3, "after", "die")])
    async with Runtime(Peer, store=store, deps=post, settings=Settings(drain_deadline_s=0.01)) as runtime:
        (a,) = await peers(runtime, 1)
        await a.tell(Bear(name="child", text="hello"))
        await until(lambda: store.is_dead)
    async with open_post(place, post) as runtime:
        await until(lambda: post.heard)
        assert 2 == len((await runtime.find()).items)
        child = await runtime.get_or_create(Peer, name="child")
        assert child.session_id == (await (await runtime.get(Peer, a.session_id)).peek()).state.child
        await child.ask(Note(text="end"))
        assert ["hello", "end"] == await lines(child)
