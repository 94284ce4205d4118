"""Everything is bounded, and who meets a bound is told which, how far over, and when to come back (promise 12)."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from salon import (
    CapacityExceeded,
    MailboxFull,
    Message,
    PayloadTooLarge,
    RateLimited,
    Receipt,
    Runtime,
    SalonError,
    Session,
    SessionBusy,
    SessionHandle,
    Settings,
    StoreUnavailable,
    Wait,
    receive,
)
from salon.testing import FaultPoint, FaultyStore, SeededChance, VirtualClock
from tests.runtime.acts import Act, Page, Push, Say, Script, ended, lines, passing
from tests.runtime.places import Place
from tests.runtime.waiting import until


class Stage:
    """A session whose turn runs until it is let go, over virtual time."""

    def __init__(self, runtime: Runtime, clock: VirtualClock, script: Script, act: SessionHandle[Page]) -> None:
        self.runtime, self.clock, self.script, self.act = runtime, clock, script, act
        self.hold = script.close("hold")

    async def occupy(self) -> Receipt[int]:
        receipt = await self.act.tell(Say(text="hold"))
        await until(lambda: self.script.began)
        return receipt

    @property
    def stats(self) -> Any:
        return self.runtime.stats()


@asynccontextmanager
async def staged(place: Place, **settings: Any) -> AsyncGenerator[Stage]:
    clock, script = VirtualClock(), Script()
    script.now = clock.monotonic
    given = Settings.model_validate({"turn_timeout_s": 10_000, **settings})
    async with Runtime(
        Act, store=place.store(), deps=script, settings=given, clock=clock, chance=SeededChance(1)
    ) as runtime:
        stage = Stage(runtime, clock, script, await runtime.create(Act))
        try:
            yield stage
        finally:
            stage.hold.set()


Send = Callable[[SessionHandle[Page], Message[int]], Awaitable[object]]


async def ask(act: SessionHandle[Page], message: Message[int]) -> object:
    return await act.ask(message)


async def ask_with_key(act: SessionHandle[Page], message: Message[int]) -> object:
    return await act.ask(message, key="k")


async def tell(act: SessionHandle[Page], message: Message[int]) -> object:
    return await act.tell(message)


async def stream(act: SessionHandle[Page], message: Message[int]) -> object:
    async with act.stream(message) as events:
        return await events.reply()


SENDS = pytest.mark.parametrize("send", [ask, ask_with_key, tell, stream])


@SENDS
async def test_a_full_mailbox_says_how_much_waits_how_long_and_when_to_come_back(place: Place, send: Send) -> None:
    async with staged(place, mailbox_messages_max=2) as stage:
        await stage.occupy()
        receipts = [await stage.act.tell(Say(text=text)) for text in ("a", "b")]
        await stage.clock.advance(3)

        with pytest.raises(MailboxFull) as full:
            await send(stage.act, Say(text="c"))
        assert (2, 3.0, 1.5) == (full.value.depth, full.value.oldest_age_s, full.value.retry_after_s)
        assert (True, Say(text="c")) == (full.value.retryable, full.value.message)
        assert 1 == stage.stats["mailbox_full"]

        stage.hold.set()
        assert [2, 3] == [await ended(receipt) for receipt in receipts]
        assert ["hold", "a", "b"] == await lines(stage.act)


@SENDS
async def test_a_mailbox_is_bounded_in_bytes(place: Place, send: Send) -> None:
    async with staged(place, mailbox_bytes_max=1000) as stage:
        await stage.occupy()
        await stage.act.tell(Say(text="a" * 600))
        with pytest.raises(MailboxFull) as full:
            await send(stage.act, Say(text="b" * 600))
        assert full.value.waiting_bytes is not None
        assert 600 <= full.value.waiting_bytes <= 640
        await stage.act.tell(Say(text="c" * 300))
        stage.hold.set()
        await until(lambda: stage.stats["commits"] == 3)

    assert ["hold", "a" * 600, "c" * 300] == stage.script.texts


async def test_a_session_that_is_too_far_behind_takes_no_more(place: Place) -> None:
    async with staged(place, mailbox_age_max_s=60) as stage:
        await stage.occupy()
        await stage.act.tell(Say(text="old"))
        await stage.clock.advance(60)
        await stage.act.tell(Say(text="just in time"))
        await stage.clock.advance(0.1)
        with pytest.raises(MailboxFull) as full:
            await stage.act.tell(Say(text="late"))
        assert 60 < (full.value.oldest_age_s or 0) < 60.2


async def test_a_message_that_is_too_large_is_told_its_size(place: Place) -> None:
    async with staged(place, message_bytes_max=100) as stage:
        for send in (ask, tell):
            with pytest.raises(PayloadTooLarge) as large:
                await send(stage.act, Say(text="x" * 101))
            assert (100, False) == (large.value.bytes_max, large.value.retryable)
            assert Say(text="x" * 101) == large.value.message


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("inf"), float("nan")])
async def test_a_time_that_is_none_is_refused_in_words_that_fit(place: Place, timeout_s: float) -> None:
    async with staged(place) as stage:
        for send in (stage.act.ask, stage.act.tell):
            with pytest.raises(ValueError, match="above 0, and finite"):
                await send(Say(text="a"), timeout_s=timeout_s)
    assert [] == stage.script.texts


@SENDS
async def test_messages_of_all_sessions_together_are_bounded(place: Place, send: Send) -> None:
    async with staged(place, messages_max=2) as stage:
        other = await stage.runtime.create(Act)
        await stage.occupy()
        for text in ("a", "b"):
            await stage.act.tell(Say(text=text))
        with pytest.raises(CapacityExceeded) as full:
            await send(other, Say(text="c"))
        assert ("messages_max", 2, 2) == (full.value.setting, full.value.depth, full.value.bound)
        assert (True, 1.0, Say(text="c")) == (full.value.retryable, full.value.retry_after_s, full.value.message)
        assert 1 == stage.stats["over_capacity"]
        assert 2 == stage.stats["messages_waiting"]

        stage.hold.set()
        await until(lambda: stage.stats["commits"] == 3)
        assert 1 == await other.ask(Say(text="c"))


async def test_bytes_of_all_sessions_together_are_bounded(place: Place) -> None:
    async with staged(place, messages_bytes_max=1000) as stage:
        other = await stage.runtime.create(Act)
        await stage.occupy()
        await stage.act.tell(Say(text="a" * 600))
        with pytest.raises(CapacityExceeded) as full:
            await other.ask(Say(text="b" * 600))
        assert "messages_bytes_max" == full.value.setting


async def test_bytes_behind_the_gate_are_bounded_and_given_back(place: Place) -> None:
    store, script = FaultyStore(place.store(), [FaultPoint("commit", 3, "before", "stall")]), Script()
    settings = Settings(gate_bytes_max=300)
    async with Runtime(Act, store=store, deps=script, settings=settings) as runtime:
        a, b = await runtime.create(Act), await runtime.create(Act)
        replies: list[int] = []

        async def ask() -> None:
            replies.append(await a.ask(Say(text="x" * 400)))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await store.wait_until_stalled()
            with pytest.raises(CapacityExceeded) as full:
                await b.ask(Say(text="y"))
            assert "gate_bytes_max" == full.value.setting
            assert 400 < full.value.depth == runtime.stats()["bytes_behind_the_gate"]
            store.release()
        assert [1] == replies
        assert 1 == await b.ask(Say(text="y"))
        assert 0 == runtime.stats()["bytes_behind_the_gate"]


async def test_a_store_that_does_not_keep_up_refuses_new_messages_with_what_was_sent(place: Place) -> None:
    clock = VirtualClock()
    store = FaultyStore(place.store(), [FaultPoint("commit", 2, "before", "stall")])
    async with Runtime(Act, store=store, deps=Script(), clock=clock, chance=SeededChance(1)) as runtime:
        a = await runtime.create(Act)
        async with anyio.create_task_group() as group:
            group.start_soon(a.ask, Say(text="x"))
            await store.wait_until_stalled()
            await clock.advance(6)
            with pytest.raises(StoreUnavailable) as stalled:
                await a.ask(Say(text="y"))
            assert (True, Say(text="y")) == (stalled.value.retryable, stalled.value.message)
            store.release()


async def test_the_rate_of_a_session_lets_a_burst_through_and_then_says_when(place: Place) -> None:
    async with staged(place, rate_per_session=2, rate_burst=3) as stage:
        other = await stage.runtime.create(Act)
        assert [1, 2, 3] == [await stage.act.ask(Say(text=f"{n}")) for n in range(3)]
        for send in (ask, tell, ask_with_key):
            with pytest.raises(RateLimited) as fast:
                await send(stage.act, Say(text="4"))
            assert ("session", True, Say(text="4")) == (fast.value.scope, fast.value.retryable, fast.value.message)
            assert 0.5 == fast.value.retry_after_s
        assert 1 == await other.ask(Say(text="other"))

        await stage.clock.advance(0.5)
        assert 4 == await stage.act.ask(Say(text="4"))
        with pytest.raises(RateLimited):
            await stage.act.ask(Say(text="5"))
        assert 4 == stage.stats["rate_limited"]


async def test_the_rate_of_a_user_counts_over_all_sessions_of_this_user_in_the_tenant(place: Place) -> None:
    async with staged(place, rate_per_user=1, rate_burst=2) as stage:
        first, second = [await stage.runtime.create(Act, user_id="u1", tenant="t1") for _ in range(2)]
        foreign = await stage.runtime.create(Act, user_id="u1", tenant="t2")
        await first.ask(Say(text="1"))
        await second.ask(Say(text="2"))
        with pytest.raises(RateLimited) as fast:
            await first.ask(Say(text="3"))
        assert "user" == fast.value.scope
        assert 1 == await foreign.ask(Say(text="another tenant"))
        for _ in range(5):
            await stage.act.ask(Say(text="nobody's session has no such rate"))


async def test_a_message_that_is_refused_for_another_reason_takes_no_token(place: Place) -> None:
    async with staged(place, rate_per_session=0.001, rate_burst=3, mailbox_messages_max=1) as stage:
        await stage.occupy()
        await stage.act.tell(Say(text="a"))
        for _ in range(5):
            with pytest.raises(MailboxFull):
                await stage.act.tell(Say(text="full"))
        stage.hold.set()
        await until(lambda: stage.stats["commits"] == 2)
        assert 3 == await stage.act.ask(Say(text="the third token"))
        with pytest.raises(RateLimited):
            await stage.act.ask(Say(text="none is left"))


async def test_a_message_that_is_not_to_wait_is_told_how_much_waits(place: Place) -> None:
    async with staged(place) as stage:
        await stage.occupy()
        with pytest.raises(SessionBusy) as busy:
            await stage.act.ask(Say(text="a"), overlap="reject")
        assert (0, None, None) == (busy.value.depth, busy.value.oldest_age_s, busy.value.retry_after_s)
        await stage.act.tell(Say(text="b"))
        await stage.clock.advance(2)
        with pytest.raises(SessionBusy) as busy:
            await stage.act.tell(Say(text="c"), overlap="reject")
        assert (1, 2.0, 2.0) == (busy.value.depth, busy.value.oldest_age_s, busy.value.retry_after_s)
        assert (True, Say(text="c")) == (busy.value.retryable, busy.value.message)
        assert 2 == stage.stats["turned_away"]


async def test_active_sessions_are_bounded_also_after_a_restart_and_in_turns(place: Place) -> None:
    class Child(Message[str], name="child"):
        pass

    class Parent(Session[Page], name="parent"):
        @receive
        async def child(self, message: Child) -> str:
            try:
                return (await self.turn.create(Parent)).session_id
            except CapacityExceeded as error:
                return error.setting

    settings = Settings(sessions_max=3)
    async with Runtime(Parent, store=place.store(), settings=settings) as runtime:
        parent = await runtime.create(Parent)
        await runtime.get(Parent, await parent.ask(Child()))
    async with Runtime(Parent, store=place.store(), settings=settings) as runtime:
        parent = await runtime.get(Parent, parent.session_id)
        outcomes: list[str] = []

        async def create() -> None:
            try:
                await runtime.create(Parent)
                outcomes.append("created")
            except CapacityExceeded as full:
                outcomes.append(f"{full.setting} {full.depth} of {full.bound}")

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(create)
        assert ["created", *["sessions_max 3 of 3"] * 3] == sorted(outcomes)
        assert "sessions_max" == await parent.ask(Child())
        assert 3 == len((await runtime.find()).items)


# when_full


class Patient(Message[int], name="patient"):
    text: str


class Waiting(Session[Page, Script], name="waiting"):
    @receive(when_full=Wait(5))
    async def patient(self, message: Patient) -> int:
        self.deps.began.append((message.text, 1))
        if message.text in self.deps.closed:
            await self.deps.closed[message.text].wait()
        return 0


@pytest.mark.parametrize("told", [True, False], ids=["told", "asked"])
async def test_a_sender_may_wait_for_room_and_is_refused_when_it_does_not_come_in_time(
    place: Place, told: bool
) -> None:
    clock, script = VirtualClock(), Script()
    settings = Settings(mailbox_messages_max=1, turn_timeout_s=1000)
    hold, outcomes = script.close("hold"), dict[str, object]()
    async with Runtime(
        Waiting, store=place.store(), deps=script, settings=settings, clock=clock, chance=SeededChance(1)
    ) as runtime:
        waiting = await runtime.create(Waiting)

        async def send(text: str) -> None:
            try:
                if told:
                    await waiting.tell(Patient(text=text))
                else:
                    await waiting.ask(Patient(text=text))
                outcomes[text] = "taken"
            except SalonError as error:
                outcomes[text] = error

        async with anyio.create_task_group() as group:
            await waiting.tell(Patient(text="hold"))
            await until(lambda: script.began)
            await waiting.tell(Patient(text="first"))
            group.start_soon(send, "refused")
            refused_s = await passing(clock, lambda: outcomes)
            error = outcomes["refused"]
            assert isinstance(error, MailboxFull)
            assert (1, Patient(text="refused")) == (error.depth, error.message)
            assert 5.0 <= refused_s <= 5.1

            group.start_soon(send, "patient")
            await clock.advance(3)
            assert "patient" not in outcomes
            hold.set()
            await passing(clock, lambda: "patient" in script.texts)
    assert "taken" == outcomes["patient"]
    assert ["hold", "first", "patient"] == script.texts


@pytest.mark.parametrize("told", [True, False], ids=["told", "asked"])
async def test_nobody_waits_for_room_beyond_the_deadline_of_his_message(place: Place, told: bool) -> None:
    clock, script = VirtualClock(), Script()
    hold, refused = script.close("hold"), list[MailboxFull]()
    async with Runtime(
        Waiting, store=place.store(), deps=script, settings=Settings(mailbox_messages_max=1), clock=clock
    ) as runtime:
        waiting = await runtime.create(Waiting)
        waited: list[float] = []

        async def send() -> None:
            try:
                await (waiting.tell if told else waiting.ask)(Patient(text="hurried"), timeout_s=1)
            except MailboxFull as error:
                refused.append(error)

        async with anyio.create_task_group() as group:
            await waiting.tell(Patient(text="hold"))
            await until(lambda: script.began)
            await waiting.tell(Patient(text="first"))
            group.start_soon(send)
            waited.append(await passing(clock, lambda: refused))
        assert 1.0 <= waited[0] <= 1.1
        assert 1 == runtime.stats()["mailbox_full"], "each refusal counts once, however often there was no room"
        hold.set()
        await until(lambda: "first" in script.texts)


async def test_the_oldest_of_a_full_mailbox_makes_room_and_is_told(place: Place) -> None:
    async with staged(place, mailbox_messages_max=2) as stage:
        await stage.occupy()
        told = await stage.act.tell(Push(text="told"))
        outcomes: dict[str, object] = {}

        async def ask(text: str) -> None:
            try:
                outcomes[text] = await stage.act.ask(Push(text=text))
            except SalonError as error:
                outcomes[text] = error

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "asked")
            await until(lambda: stage.stats["messages_waiting"] == 2)
            await stage.clock.advance(4)
            first = await stage.act.tell(Push(text="1"))
            second = await stage.act.tell(Push(text="2"))
            await until(lambda: outcomes)  # an ask is told at once
            error = outcomes["asked"]
            assert isinstance(error, MailboxFull)
            assert (Push(text="asked"), False) == (error.message, error.retryable)
            stage.hold.set()
            with pytest.raises(MailboxFull) as dropped:  # a told one between two turns, when that is durable
                await told.wait()
            assert (2, 4.0, False) == (dropped.value.depth, dropped.value.oldest_age_s, dropped.value.retryable)
            assert Push(text="told") == dropped.value.message
            letters = (await stage.runtime.dead_letters().list()).items
            assert [("push", "dropped", 0)] == [(each.message, each.reason, each.attempts) for each in letters]
            assert [2, 3] == [await ended(first), await ended(second)]
        assert 2 == stage.stats["dropped"]
        assert 1 == stage.stats["dead_lettered"]
        assert ["hold", "1", "2"] == await lines(stage.act)


async def test_as_many_of_the_oldest_go_as_a_large_message_needs(place: Place) -> None:
    async with staged(place, mailbox_bytes_max=1000) as stage:
        await stage.occupy()
        small = [await stage.act.tell(Push(text="s" * 300)) for _ in range(3)]
        large = await stage.act.tell(Push(text="l" * 600))
        stage.hold.set()

        assert [MailboxFull, MailboxFull, 2] == [await ended(receipt) for receipt in small]
        assert 3 == await ended(large)


async def test_an_ask_with_a_key_that_was_dropped_runs_when_it_is_asked_again(place: Place) -> None:
    async with staged(place, mailbox_messages_max=1) as stage:
        await stage.occupy()
        errors: list[SalonError] = []

        async def ask() -> None:
            try:
                await stage.act.ask(Push(text="again"), key="k")
            except SalonError as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await until(lambda: stage.stats["messages_waiting"] == 1)
            newer = await stage.act.tell(Push(text="newer"))
            await until(lambda: errors)
            stage.hold.set()
            assert 2 == await newer.wait()
        assert [MailboxFull] == [type(error) for error in errors]
        assert 3 == await stage.act.ask(Push(text="again"), key="k")
        assert [] == (await stage.runtime.dead_letters().list()).items


async def test_nothing_is_dropped_for_a_message_that_its_rate_refuses(place: Place) -> None:
    async with staged(place, mailbox_messages_max=1, rate_per_session=0.001, rate_burst=2) as stage:
        await stage.occupy()
        kept = await stage.act.tell(Push(text="kept"))
        with pytest.raises(RateLimited):
            await stage.act.tell(Push(text="too fast"))
        stage.hold.set()
        assert 2 == await kept.wait()
        assert 0 == stage.stats["dropped"]


async def test_nothing_is_dropped_for_a_message_that_the_runtime_has_no_room_for(place: Place) -> None:
    async with staged(place, mailbox_messages_max=1, messages_bytes_max=1000, mailbox_bytes_max=2000) as stage:
        await stage.occupy()
        kept = await stage.act.tell(Push(text="kept"))
        other = await stage.runtime.create(Act)
        await other.tell(Say(text="hold"))
        await until(lambda: len(stage.script.began) == 2)
        await other.tell(Say(text="o" * 500))
        with pytest.raises(CapacityExceeded):
            await stage.act.tell(Push(text="l" * 600))
        stage.hold.set()
        assert 2 == await kept.wait()
        assert 0 == stage.stats["dropped"]


async def test_what_makes_room_counts_no_more_against_the_runtime(place: Place) -> None:
    async with staged(place, mailbox_messages_max=2, messages_max=2) as stage:
        await stage.occupy()
        oldest, older = [await stage.act.tell(Push(text=text)) for text in ("oldest", "older")]
        newest = await stage.act.tell(Push(text="newest"))
        stage.hold.set()
        assert [MailboxFull, 2, 3] == [await ended(receipt) for receipt in (oldest, older, newest)]


async def test_only_a_message_whose_own_handler_says_so_makes_room_for_another(place: Place) -> None:
    async with staged(place, mailbox_messages_max=2) as stage:
        await stage.occupy()
        paid, dropped = await stage.act.tell(Say(text="paid")), await stage.act.tell(Push(text="dropped"))
        newer = await stage.act.tell(Push(text="newer"))
        stage.hold.set()
        assert [2, MailboxFull, 3] == [await ended(receipt) for receipt in (paid, dropped, newer)]


@SENDS
async def test_a_message_for_which_nothing_may_be_dropped_is_refused(place: Place, send: Send) -> None:
    async with staged(place, mailbox_messages_max=2, mailbox_bytes_max=1000) as stage:
        await stage.occupy()
        kept = [await stage.act.tell(Say(text="k" * 700)), await stage.act.tell(Push(text="kept"))]
        with pytest.raises(MailboxFull) as full:
            await send(stage.act, Push(text="l" * 600))
        assert (2, True) == (full.value.depth, full.value.retryable)
        assert (0, 1) == (stage.stats["dropped"], stage.stats["mailbox_full"])
        stage.hold.set()
        assert [2, 3] == [await ended(receipt) for receipt in kept]
