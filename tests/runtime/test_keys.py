"""One key is one effect: joined while it moves, answered from the record afterwards, run again when it was undone."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

import anyio
import pytest
from pydantic import Field

from salon import (
    CapacityExceeded,
    IdempotencyConflict,
    Merge,
    NotApplied,
    OutcomeUnknown,
    Refused,
    SalonError,
    Session,
    SessionHandle,
    TurnFailed,
    TurnInterrupted,
    TurnStopped,
    TurnSuperseded,
    receive,
)
from salon.message import Message
from salon.testing import FaultPoint, VirtualClock
from tests.runtime.lives import CALM, Clerk, Desk, Life, Note, Sheet, Stubborn, life, lines_of
from tests.runtime.places import Place
from tests.runtime.waiting import until


class Jot(Message[int], name="jot"):
    text: str
    tags: list[str] = Field(default_factory=list)
    notes: dict[str, Any] = Field(default_factory=dict)


class Quarantined(Message[int], name="quarantined"):
    text: str


class KeyClerk(Clerk, name="clerk"):
    @receive(overlap=Merge(window_s=0.002, wait_max_s=0.01, messages_max=10))
    async def jot(self, messages: list[Jot]) -> int:
        for message in messages:
            await self.deps.hear(message.text, self.turn.attempt)
            self.state.lines.append(message.text)
        return len(self.state.lines)

    @receive(on_error="quarantine")
    async def quarantined(self, message: Quarantined) -> int:
        return await self._write(message.text)


async def outcome_of(call: Callable[[], Any]) -> object:
    """The reply, or the class of the error."""
    try:
        return cast(object, await call())
    except SalonError as error:
        return type(error)


async def again(it: Life, message: Message[Any], key: str) -> list[object]:
    """What asking and telling under the key brings now, and what a receipt says."""
    clerk = await it.clerk()
    asked = await outcome_of(lambda: clerk.ask(message, key=key))
    receipt = await clerk.tell(message, key=key)
    told = await outcome_of(receipt.wait)
    read = await outcome_of((await clerk.receipt(key=key)).wait)
    return [asked, told, read]


# Recorded


@pytest.mark.parametrize("told", [False, True])
async def test_every_kind_of_outcome_is_recorded_and_answered_without_a_second_run(place: Place, told: bool) -> None:
    desk = Desk(refused={"refused"}, closed={"stopped", "interrupted", "superseded"})
    desk.failing["dead"] = 9
    types = (KeyClerk,)
    expected: dict[str, object] = {
        "done": 1,
        "refused": Refused,
        "stopped": TurnStopped,
        "interrupted": TurnInterrupted,
        "superseded": TurnSuperseded,
        "dead": TurnFailed,
    }
    async with life(place, desk, types=types) as it:
        clerk = await it.runtime.get_or_create(KeyClerk, name="clerk")
        found: dict[str, object] = {}

        async def send(text: str) -> None:
            message = Quarantined(text=text) if text == "dead" else Note(text=text)
            if told:
                receipt = await clerk.tell(message, key=text)
                found[text] = await outcome_of(receipt.wait)
            else:
                found[text] = await outcome_of(lambda: clerk.ask(message, key=text))

        async with anyio.create_task_group() as group:
            for text in expected:
                group.start_soon(send, text)
                await until(partial(desk.has_heard, text))
                if text == "stopped":
                    await clerk.stop()
                if text in ("interrupted", "superseded"):
                    overlap = "interrupt" if text == "interrupted" else "rollback"
                    await clerk.ask(Note(text=f"after {text}"), overlap=cast(Any, overlap))
                await until(partial(found.__contains__, text))

        assert expected == found
        began = list(desk.began)
        for text, outcome in expected.items():
            message = Quarantined(text=text) if text == "dead" else Note(text=text)
            assert [outcome] * 3 == await again_of(clerk, message, text)
    async with life(place, desk, types=types) as it:
        clerk = await it.runtime.get_or_create(KeyClerk, name="clerk")
        for text, outcome in expected.items():
            message = Quarantined(text=text) if text == "dead" else Note(text=text)
            assert [outcome] * 3 == await again_of(clerk, message, text)
        with pytest.raises(Refused) as refused:
            await clerk.ask(Note(text="refused"), key="refused")
        assert ("no", "refused") == (refused.value.code, refused.value.detail)
        assert began == desk.began
        assert 13 == it.stat("keys_recalled")


async def again_of(clerk: SessionHandle[Sheet], message: Message[Any], key: str) -> list[object]:
    asked = await outcome_of(lambda: clerk.ask(message, key=key))
    receipt = await clerk.tell(message, key=key)
    return [asked, await outcome_of(receipt.wait), await outcome_of((await clerk.receipt(key=key)).wait)]


async def test_a_message_that_was_cut_by_a_death_has_a_recorded_outcome(place: Place) -> None:
    desk = Desk(closed={"a"})
    async with life(place, desk) as it:
        await (await it.clerk()).tell(Note(text="a"), key="k")
        await until(lambda: desk.began)
        it.kill()
    for _ in range(2):
        async with life(place, desk) as it:
            assert [TurnInterrupted] * 3 == await again(it, Note(text="a"), "k")
            assert (["a"], [("note", "interrupted", 1)]) == (desk.began, await it.letters())


async def test_every_key_of_a_merged_turn_is_recorded(place: Place) -> None:
    desk, types = Desk(), (KeyClerk,)
    async with life(place, desk, types=types) as it:
        clerk = await it.runtime.get_or_create(KeyClerk, name="clerk")
        replies: list[int] = []

        async def ask(number: int) -> None:
            replies.append(await clerk.ask(Jot(text=str(number)), key=str(number)))

        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(ask, number)
        assert [4] * 4 == replies
    async with life(place, desk, types=types) as it:
        clerk = await it.runtime.get_or_create(KeyClerk, name="clerk")
        assert [4] * 4 == [await clerk.ask(Jot(text=str(n)), key=str(n)) for n in range(4)]
        assert sorted(desk.began) == ["0", "1", "2", "3"]


async def test_a_map_in_another_order_is_no_other_content(place: Place) -> None:
    """Who sends again may have built the message anew: in another language, or in another release."""
    notes: dict[str, Any] = {"a": 1, "b": [{"x": 1, "y": (1, {"p": 0, "q": 1})}], "c": {"d": None, "e": 2}}
    desk, types = Desk(), (KeyClerk,)
    async with life(place, desk, types=types) as it:
        clerk = await it.runtime.get_or_create(KeyClerk, name="clerk")
        assert 1 == await clerk.ask(Jot(text="a", notes=notes), key="k")
    async with life(place, desk, types=types) as it:
        clerk = await it.runtime.get_or_create(KeyClerk, name="clerk")
        assert 1 == await clerk.ask(Jot(text="a", notes=_backwards(notes)), key="k")
        with pytest.raises(IdempotencyConflict):
            await clerk.ask(Jot(text="a", notes={**notes, "a": 2}), key="k")
        with pytest.raises(IdempotencyConflict):
            await clerk.ask(Jot(text="a", notes={**notes, "b": notes["b"] * 2}), key="k")
    assert ["a"] == desk.began


def _backwards(value: object) -> Any:
    if isinstance(value, dict):
        items = cast(dict[str, object], value).items()
        return {key: _backwards(item) for key, item in reversed(list(items))}
    if isinstance(value, list):
        return [_backwards(item) for item in cast(list[object], value)]
    if isinstance(value, tuple):
        return tuple(_backwards(item) for item in cast(tuple[object, ...], value))
    return value


# Not recorded


async def test_a_failure_that_was_rolled_back_runs_again_under_its_key(place: Place) -> None:
    desk = Desk()
    desk.failing["a"] = 2
    async with life(place, desk) as it:
        clerk = await it.clerk()
        with pytest.raises(TurnFailed):
            await clerk.ask(Note(text="a"), key="k")
        with pytest.raises(NotApplied):
            await clerk.receipt(key="k")
        with pytest.raises(TurnFailed):
            await (await clerk.tell(Note(text="a"), key="k")).wait(5)
    async with life(place, desk) as it:
        assert [1, 1, 1] == await again(it, Note(text="a"), "k")
        assert (["a"] * 3, ["a"]) == (desk.began, await lines_of(await it.clerk()))


async def test_a_commit_that_was_refused_runs_again_under_its_key(place: Place) -> None:
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 2, "instead", "refuse")) as it:
        clerk = await it.clerk()
        with pytest.raises(NotApplied):
            await clerk.ask(Note(text="a"), key="k")
        await until(lambda: it.runtime.stats()["store_is_well"])
        assert 1 == await clerk.ask(Note(text="a"), key="k")


@pytest.mark.parametrize("when", ["instead", "after"])
async def test_a_commit_of_which_nobody_knows_and_then_the_same_key_are_one_effect(place: Place, when: Any) -> None:
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 2, when, "unknown")) as it:
        clerk = await it.clerk()
        with pytest.raises(OutcomeUnknown) as caught:
            await clerk.ask(Note(text="a"), key="k")
        assert caught.value.retryable
        assert [1, 1, 1] == await again(it, Note(text="a"), "k")
        assert ["a"] == await lines_of(clerk)
        assert (["a"] if when == "after" else ["a", "a"]) == desk.began


async def test_an_unknown_outcome_without_a_key_is_not_to_be_retried(place: Place) -> None:
    async with life(place, Desk(), FaultPoint("commit", 2, "after", "unknown")) as it:
        with pytest.raises(OutcomeUnknown) as caught:
            await (await it.clerk()).ask(Note(text="a"))
        assert not caught.value.retryable


# Joined


async def test_the_same_key_joins_what_waits_and_what_runs(place: Place) -> None:
    desk = Desk(closed={"running"})
    async with life(place, desk) as it:
        clerk = await it.clerk()
        replies: dict[str, list[int]] = {"running": [], "waiting": []}

        async def ask(text: str) -> None:
            replies[text].append(await clerk.ask(Note(text=text), key=text))

        async with anyio.create_task_group() as group:
            for text in ("running", "waiting"):
                for _ in range(3):
                    group.start_soon(ask, text)
                await until(lambda: desk.began)
            await until(lambda: it.stat("keys_joined") == 4)
            desk.open()
        assert ({"running": [1] * 3, "waiting": [2] * 3}, ["running", "waiting"]) == (replies, desk.began)


async def test_a_caller_that_is_cancelled_leaves_those_who_joined(place: Place) -> None:
    desk = Desk(closed={"a"})
    async with life(place, desk) as it:
        clerk = await it.clerk()
        replies: list[int] = []

        async def ask() -> None:
            replies.append(await clerk.ask(Note(text="a"), key="k"))

        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0.005):
                await ask()
            group.start_soon(ask)
            await until(lambda: it.stat("keys_joined"))
            desk.open()
        assert ([1], ["a"]) == (replies, desk.began)


@pytest.mark.parametrize("first", ["ask", "tell"])
@pytest.mark.parametrize("waits", [False, True])
async def test_the_later_deadline_counts(place: Place, first: str, waits: bool) -> None:
    clock, desk = VirtualClock(), Desk(closed={"a", "before"})
    async with life(place, desk, clock=clock, tick_s=0.5, turn_timeout_s=1000) as it:
        clerk = await it.clerk()
        found: list[object] = []

        async def send(verb: str, timeout_s: float) -> None:
            if verb == "ask":
                found.append(await outcome_of(lambda: clerk.ask(Note(text="a"), key="k", timeout_s=timeout_s)))
            else:
                receipt = await clerk.tell(Note(text="a"), key="k", timeout_s=timeout_s)
                found.append(await outcome_of(receipt.wait))

        async with anyio.create_task_group() as group:
            if waits:
                await clerk.tell(Note(text="before"))
                await until(lambda: desk.began)
            group.start_soon(send, first, 5)
            await until(lambda: "a" in desk.began or waits)
            await clock.advance(1)
            group.start_soon(send, "ask", 60)
            await until(lambda: it.stat("keys_joined"))
            await clock.advance(30)
            assert [] == found
            desk.open()
        assert [2, 2] == found if waits else [1, 1] == found


async def test_those_who_joined_a_message_that_was_refused_share_no_error(place: Place) -> None:
    desk, caught = Desk(), list[NotApplied]()
    points = FaultPoint("commit", 2, "before", "stall"), FaultPoint("commit", 2, "instead", "refuse")
    async with life(place, desk, *points) as it:
        clerk = await it.clerk()

        async def tell() -> None:
            with pytest.raises(NotApplied) as told:
                await clerk.tell(Note(text="a"), key="k")
            caught.append(told.value)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(tell)
            await it.store.wait_until_stalled()
            await until(lambda: it.stat("keys_joined") == 2)
            it.store.release()
        assert (3, 3, []) == (len(caught), len({*map(id, caught)}), desk.began)
        await until(lambda: it.runtime.stats()["store_is_well"])
        assert [1, 1, 1] == await again(it, Note(text="a"), "k")


async def test_other_content_under_the_same_key_is_a_conflict(place: Place) -> None:
    desk = Desk(closed={"a"})
    async with life(place, desk) as it:
        clerk = await it.clerk()
        receipt = await clerk.tell(Note(text="a"), key="k")
        for other in (Note(text="b"), Stubborn(text="a")):
            with pytest.raises(IdempotencyConflict) as caught:
                await clerk.ask(other, key="k")
            assert other == caught.value.message
        desk.open()
        await receipt.wait(5)
        for other in (Note(text="b"), Stubborn(text="a")):
            with pytest.raises(IdempotencyConflict):
                await clerk.tell(other, key="k")
    async with life(place, desk) as it:
        with pytest.raises(IdempotencyConflict):
            await (await it.clerk()).ask(Note(text="b"), key="k")
        assert ["a"] == desk.began


class WiderNote(Message[int], name="note", schema_version=2):
    text: str
    tone: str = "plain"


class WiderClerk(Session[Sheet, Desk], name="clerk"):
    @receive
    async def note(self, message: WiderNote) -> int:
        await self.deps.hear(message.text, self.turn.attempt)
        self.state.lines.append(message.text)
        return len(self.state.lines)


async def test_content_is_not_compared_across_schemas(place: Place) -> None:
    """Of what is recorded, of what waits, and of what had waited when it was recorded."""
    desk = Desk(closed={"first"})
    async with life(place, desk) as it:
        clerk = await it.clerk()
        await clerk.ask(Note(text="recorded"), key="r")
        await clerk.tell(Note(text="first"))
        await clerk.tell(Note(text="waits"), key="w")
        await until(lambda: "first" in desk.began)
        it.kill()
    desk.closed.add("waits")
    async with life(place, desk, types=(WiderClerk,)) as it:
        later = await it.runtime.get_or_create(WiderClerk, name="clerk")
        assert 1 == await later.ask(WiderNote(text="recorded", tone="loud"), key="r")
        receipt = await later.tell(WiderNote(text="waits", tone="loud"), key="w")
        desk.open()
        assert 2 == await receipt.wait(5)
        assert 2 == await later.ask(WiderNote(text="waits", tone="soft"), key="w")
        assert 1 == desk.began.count("waits")


# Told after asked


@pytest.mark.parametrize("moment", ["waits", "runs"])
async def test_what_was_asked_and_is_told_under_the_same_key_survives_a_death(place: Place, moment: str) -> None:
    desk, turns = Desk(closed={"before"} if moment == "waits" else {"a"}), list[str]()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        if moment == "waits":
            await clerk.tell(Stubborn(text="before"))
            await until(lambda: desk.began)

        async def ask() -> None:
            with suppress(SalonError):
                await clerk.ask(Stubborn(text="a"), key="k")

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await until(lambda: clerk_waits(it, desk, moment))
            turns.append((await clerk.tell(Stubborn(text="a"), key="k")).turn)
            it.kill()
            group.cancel_scope.cancel()
    desk.began.clear()
    desk.attempts.clear()
    desk.closed.clear()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        assert (2 if moment == "waits" else 1) == await (await clerk.receipt(turn=turns[0])).wait(5)
        assert (1 if moment == "waits" else 2) == desk.attempts[-1]
        assert 1 == (await lines_of(clerk)).count("a")


def clerk_waits(it: Life, desk: Desk, moment: str) -> bool:
    return it.stat("turns_running") == 1 and ("a" in desk.began) == (moment == "runs")


async def test_what_is_told_while_the_end_of_what_was_asked_is_on_its_way_runs_once(place: Place) -> None:
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 2, "before", "stall")) as it:
        clerk = await it.clerk()
        replies: list[int] = []

        async def ask() -> None:
            replies.append(await clerk.ask(Note(text="a"), key="k"))

        async def tell() -> None:
            replies.append(await (await clerk.tell(Note(text="a"), key="k")).wait())

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await it.store.wait_until_stalled()
            group.start_soon(tell)
            await anyio.wait_all_tasks_blocked()
            it.store.release()
        assert [1, 1] == replies
    async with life(place, desk) as it:
        await anyio.sleep(0.005)
        assert (["a"], ["a"]) == (desk.began, await lines_of(await it.clerk()))


@pytest.mark.parametrize("effect", ["refuse", "unknown"])
async def test_a_tell_that_the_store_did_not_take_leaves_the_ask_as_it_was(place: Place, effect: Any) -> None:
    desk = Desk(closed={"a"})
    async with life(place, desk, FaultPoint("commit", 2, "after" if effect == "unknown" else "instead", effect)) as it:
        clerk = await it.clerk()
        replies: list[int] = []

        async def ask() -> None:
            replies.append(await clerk.ask(Note(text="a"), key="k"))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await until(lambda: desk.began)
            with pytest.raises(NotApplied if effect == "refuse" else OutcomeUnknown):
                await clerk.tell(Note(text="a"), key="k")
            await anyio.sleep(0.005)
            desk.open()
        assert [1] == replies
    async with life(place, desk) as it:
        assert [1, 1, 1] == await again(it, Note(text="a"), "k")
        assert ["a"] == desk.began == await lines_of(await it.clerk())


# Kept


async def test_records_outlive_snapshots_reloads_and_restarts(place: Place) -> None:
    desk = Desk()
    async with life(place, desk) as it:
        clerk = await it.clerk()
        for number in range(200):
            assert number + 1 == await clerk.ask(Note(text=str(number)), key=f"k{number}")
        assert it.stat("snapshots") >= 2
        assert [n + 1 for n in range(200)] == [await clerk.ask(Note(text=str(n)), key=f"k{n}") for n in range(200)]
    async with life(place, desk, FaultPoint("commit", 1, "after", "unknown")) as it:
        clerk = await it.clerk()
        with pytest.raises(OutcomeUnknown):
            await clerk.ask(Note(text="200"), key="k200")
        assert [n + 1 for n in range(201)] == [await clerk.ask(Note(text=str(n)), key=f"k{n}") for n in range(201)]
        assert it.stat("reloads")
    assert [str(number) for number in range(201)] == desk.began


async def test_young_records_are_never_given_up_and_old_ones_go(place: Place) -> None:
    desk, clock = Desk(), VirtualClock()
    settings: dict[str, Any] = {"idempotency_records_max": 5, "idempotency_age_s": 100, "tick_s": 10}
    async with life(place, desk, clock=clock, **settings) as it:
        clerk = await it.clerk()
        for number in range(5):
            await clerk.ask(Note(text=str(number)), key=f"k{number}")
            await clock.advance(10)
        for _ in range(2):
            with pytest.raises(CapacityExceeded) as caught:
                await clerk.ask(Note(text="more"), key="more")
            assert ("idempotency_records_max", 5, True) == (
                caught.value.setting,
                caught.value.depth,
                caught.value.retryable,
            )
            assert caught.value.retry_after_s == pytest.approx(50, abs=1)
        assert 1 == await clerk.ask(Note(text="0"), key="k0")
        assert 6 == await clerk.ask(Note(text="plain"))
        await clock.advance(61)
        assert 7 == await clerk.ask(Note(text="more"), key="more")
        assert 8 == await clerk.ask(Note(text="0 again"), key="k0")
        assert 3 == await clerk.ask(Note(text="2"), key="k2")


async def test_old_records_go_with_a_snapshot_though_nobody_sends_a_key_any_more(place: Place) -> None:
    desk, clock = Desk(), VirtualClock()
    async with life(place, desk, clock=clock, idempotency_age_s=100, tick_s=10) as it:
        clerk = await it.clerk()
        receipt = await clerk.tell(Note(text="a"), key="k")
        await receipt.wait()
        await clock.advance(400)
        for number in range(130):
            await clerk.ask(Note(text=str(number)))
        assert it.stat("snapshots")
        with pytest.raises(OutcomeUnknown):
            await clerk.receipt(turn=receipt.turn)
        with pytest.raises(OutcomeUnknown):
            await clerk.receipt(key="k")
    async with life(place, desk, clock=clock, idempotency_age_s=100) as it:
        clerk = await it.clerk()
        with pytest.raises(OutcomeUnknown):
            await clerk.receipt(turn=receipt.turn)


async def test_told_messages_without_keys_do_not_fill_the_records(place: Place) -> None:
    async with life(place, Desk(), idempotency_records_max=5) as it:
        clerk = await it.clerk()
        for number in range(20):
            await (await clerk.tell(Note(text=str(number)))).wait(5)
        for number in range(5):
            await clerk.ask(Note(text=f"keyed {number}"), key=str(number))
        with pytest.raises(CapacityExceeded):
            await clerk.ask(Note(text="more"), key="more")
        assert await (await clerk.tell(Note(text="more"))).wait(5)


async def test_one_young_key_keeps_no_room_from_what_is_told_behind_it(place: Place) -> None:
    desk = Desk()
    async with life(place, desk, idempotency_records_max=5) as it:
        clerk = await it.clerk()
        first = await clerk.tell(Note(text="keyed"), key="k")
        assert 1 == await first.wait(5)
        told = [await clerk.tell(Note(text=str(number))) for number in range(5)]
        for number in range(200):
            told.append(await clerk.tell(Note(text=f"more {number}")))
            await told[-1].wait(5)
        assert it.stat("snapshots")
        assert [1, 1] == [await clerk.ask(Note(text="keyed"), key="k"), await (await clerk.receipt(key="k")).wait(5)]
    async with life(place, desk, idempotency_records_max=5, replay_age_s=0) as it:
        clerk = await it.clerk()
        assert 1 == await clerk.ask(Note(text="keyed"), key="k")
        assert 1 == await (await clerk.receipt(turn=first.turn)).wait(5)
        assert 206 == await (await clerk.receipt(turn=told[-1].turn)).wait(5)
        with pytest.raises(OutcomeUnknown):
            await clerk.receipt(turn=told[0].turn)
    assert 206 == len(desk.began)


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_key_that_comes_again_right_after_an_early_reply_runs_no_second_time(place: Place, told: bool) -> None:
    desk = Desk()
    async with life(place, desk, FaultPoint("commit", 3 if told else 2, "before", "stall"), durability="memory") as it:
        clerk = await it.clerk()
        for _ in range(2):
            assert [1, 1] == await _twice(clerk, Note(text="a"), "k", told=told)
        await it.store.wait_until_stalled()
        with anyio.fail_after(1):
            assert 1 == await (await clerk.receipt(key="k")).wait()
        it.store.release()
        assert 2 == await clerk.ask(Note(text="b"))
        assert [1, 1] == await _twice(clerk, Note(text="a"), "k", told=told)
    assert ["a", "b"] == desk.began


async def _twice(clerk: SessionHandle[Sheet], note: Note, key: str, *, told: bool) -> list[int]:
    """Asked and told under the key, the one that `told` says first."""
    replies: list[int] = []
    for is_told in (told, not told):
        with anyio.fail_after(2):
            replies.append(
                await (await clerk.tell(note, key=key)).wait() if is_told else await clerk.ask(note, key=key)
            )
    return replies


async def test_an_early_failure_lets_its_key_run_again_at_once(place: Place) -> None:
    desk = Desk(failing=Counter({"a": 1}))
    async with life(place, desk, durability="memory") as it:
        clerk = await it.clerk()
        with pytest.raises(TurnFailed):
            await clerk.ask(Note(text="a"), key="k")
        assert [1, 1] == await _twice(clerk, Note(text="a"), "k", told=False)
    assert ["a", "a"] == desk.began


# Many at once, and deaths between


@pytest.mark.parametrize("told", [False, True])
async def test_fifty_callers_with_one_key_have_one_effect_whatever_dies_between(place: Place, told: bool) -> None:
    desk, replies = Desk(), list[int]()

    async def call(clerk: SessionHandle[Sheet]) -> None:
        with suppress(SalonError):
            if told:
                replies.append(await (await clerk.tell(Stubborn(text="a"), key="k")).wait(5))
            else:
                replies.append(await clerk.ask(Stubborn(text="a"), key="k"))

    for number in (2, 3, 4, None):
        for when in ("before", "after") if number is not None else ("",):
            points = [] if number is None else [FaultPoint("write", number, cast(Any, when), "die")]
            async with life(place, desk, *points, **CALM) as it:
                with suppress(SalonError):
                    clerk = await it.clerk()
                    async with anyio.create_task_group() as group:
                        for _ in range(50):
                            group.start_soon(call, clerk)
    async with life(place, desk) as it:
        clerk = await it.clerk()
        assert ["a"] == await lines_of(clerk)
        assert 1 == await clerk.ask(Stubborn(text="a"), key="k")
    assert {1} == set(replies)
    assert len(replies) >= 50
