"""Quick messages become one turn: each sender gets its one reply, each key is recorded, each may still leave alone."""

from typing import Any

import anyio
import pytest

from salon import NotApplied, TurnFailed, TurnStopped
from salon.events import Accepted, Done
from salon.testing import FaultPoint, VirtualClock
from tests.runtime.places import Place
from tests.runtime.scripts import Chat, Cues, Other, Quick, Say, Scene, scene
from tests.runtime.waiting import until


async def quick(it: Scene, *texts: str, told: bool = True, **how: Any) -> None:
    for text in texts:
        await it.send(Quick(text=text), told=told, **how)


async def test_a_group_begins_after_a_moment_of_silence(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        await quick(it, "a")
        await clock.advance(0.9)
        await quick(it, "b")
        await clock.advance(0.9)
        assert [] == cues.began
        await clock.advance(0.1)

        assert {"a": "re a+b", "b": "re a+b"} == await it.saw("a", "b")


async def test_a_group_waits_for_silence_only_so_long(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        for text in "abcd":
            await quick(it, text, told=False) if text != "d" else None
            await clock.advance(0.9)

        assert dict.fromkeys("abc", "re a+b+c") == await it.saw(*"abc")
    clock = VirtualClock()
    async with scene(place, cues, clock=clock) as it:
        sent = clock.monotonic()
        for text in "efg":
            await quick(it, text)
            await clock.advance(0.95)
        assert "e" not in it.seen
        await clock.advance(3 - (clock.monotonic() - sent))
        assert "re e+f+g" == (await it.saw("e"))["e"]


async def test_a_full_group_begins_at_once_and_one_more_message_begins_the_next(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        await quick(it, *"abcde")
        await it.saw(*"abcd")
        assert ["a+b+c+d"] == cues.began
        await clock.advance(1)

        assert {"d": "re a+b+c+d", "e": "re e"} == await it.saw("d", "e")


async def test_every_key_is_recorded_and_every_sender_hears_of_the_one_turn(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        receipts = [await it.tell(Quick(text=text), key=f"key {text}") for text in "abc"]
        await clock.advance(1)
        assert ["re a+b+c"] * 3 == [await receipt.wait() for receipt in receipts]
        events = [[event async for event in receipt.events()] for receipt in receipts]
        led = {event.merged_into for each in events for event in each if isinstance(event, Accepted)}
        assert {None, receipts[0].turn} == led
        assert [Done, Done, Done] == [type(each[-1]) for each in events]
        assert ["re a+b+c"] * 3 == [await it.chat.ask(Quick(text=text), key=f"key {text}") for text in "abc"]
    async with scene(place, cues) as it:
        assert ["re a+b+c"] * 3 == [await it.chat.ask(Quick(text=text), key=f"key {text}") for text in "abc"]
        assert ["re a+b+c"] * 3 == [await (await it.chat.receipt(turn=r.turn)).wait() for r in receipts]
        assert ["a+b+c"] == cues.began


async def test_the_key_of_an_asked_message_is_recorded_too(place: Place) -> None:
    """Also if the turn changes nothing, and the first of its messages has none."""
    clock, cues = VirtualClock(), Cues()

    async def nothing(chat: Chat, text: str) -> str:
        return f"re {text}"

    cues.scripts["a+b"] = nothing
    async with scene(place, cues, clock=clock) as it:
        await quick(it, "a", told=False)
        await quick(it, "b", told=False, key="b")
        await clock.advance(1)
        assert {"a": "re a+b", "b": "re a+b"} == await it.saw("a", "b")

        assert "re a+b" == await it.chat.ask(Quick(text="b"), key="b")
        assert ["a+b"] == cues.began


@pytest.mark.parametrize("first", ["asked", "told"])
async def test_told_and_asked_messages_are_one_turn(place: Place, first: str) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        await quick(it, "a", told=first == "told")
        await quick(it, "b", told=first != "told")
        await clock.advance(1)

        assert {"a": "re a+b", "b": "re a+b"} == await it.saw("a", "b")
        assert ["user a+b", "bot a+b"] == await it.lines()
    async with scene(place, cues) as it:
        assert 0 == it.stat("messages_restored")
        assert ["a+b"] == cues.began


async def test_what_a_mixed_turn_keeps_is_durable_whoever_came_first(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed = {"a+b"}
    async with scene(place, cues, clock=clock) as it:
        await quick(it, "a", told=False)
        await quick(it, "b", told=True)
        await clock.advance(1)
        await until(lambda: it.store.calls("commit") >= 4)  # the acceptance, the mark, the checkpoint
        it.kill()
    cues.closed = set()
    async with scene(place, cues) as it:
        await until(lambda: it.stat("turns_interrupted"))
        await it.chat.ask(Say(text="later"))

        assert ["user a+b", "cut b, crash 1: ", "user later", "bot later"] == await it.lines()
        assert [("quick", "interrupted")] == await it.letters()


async def test_a_message_is_stopped_alone_before_its_turn_begins(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        receipts = {text: await it.tell(Quick(text=text)) for text in "abc"}
        for text in "ab":  # the first one leads, and so does the next then
            await it.chat.stop(receipts[text].turn)
            with pytest.raises(TurnStopped):
                await receipts[text].wait()
        await clock.advance(1)

        assert "re c" == await receipts["c"].wait()
        assert ["c"] == cues.began
    async with scene(place, cues) as it:
        with pytest.raises(TurnStopped):
            await (await it.chat.receipt(turn=receipts["a"].turn)).wait()
        assert ["c"] == cues.began


@pytest.mark.parametrize("stopped", ["a", "b"])
async def test_a_message_leaves_a_turn_that_waits_and_the_order_stays(place: Place, stopped: str) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed = {"long"}
    async with scene(place, cues, clock=clock) as it:
        await it.send(Say(text="long"))
        await until(lambda: cues.began)
        receipts = {text: await it.tell(Quick(text=text)) for text in "abc"}
        await clock.advance(1)
        await it.send(Say(text="after"))
        await it.chat.stop(receipts[stopped].turn)
        cues.closed.clear()
        await it.saw("long", "after")
        with pytest.raises(TurnStopped):
            await receipts[stopped].wait()

        rest = "+".join(text for text in "abc" if text != stopped)
        assert ["long", rest, "after"] == cues.began
        others = [receipts[text] for text in "abc" if text != stopped]
        assert [f"re {rest}"] * 2 == [await receipt.wait() for receipt in others]


async def test_stopping_one_message_of_a_turn_that_runs_stops_the_turn(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed = {"a+b"}
    async with scene(place, cues, clock=clock) as it:
        receipts = [await it.tell(Quick(text=text)) for text in "ab"]
        await clock.advance(1)
        await until(lambda: cues.began)
        await it.chat.stop(receipts[1].turn)
        for receipt in receipts:
            with pytest.raises(TurnStopped):
                await receipt.wait()

        assert ["user a+b", "cut a, stop 1: "] == await it.lines()


async def test_a_failing_turn_fails_for_every_sender_and_none_comes_back(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()

    async def fail(chat: Chat, text: str) -> str:
        raise KeyError(text)

    cues.scripts["a+b+c"] = fail
    async with scene(place, cues, clock=clock) as it:
        await quick(it, "a", told=False)
        await quick(it, "b", "c")
        await clock.advance(1)
        assert dict.fromkeys("abc", TurnFailed.__name__) == await it.saw(*"abc")
        assert [] == await it.lines()
    async with scene(place, cues) as it:
        assert "re later" == await it.chat.ask(Say(text="later"))
        assert ["a+b+c", "later"] == cues.began


async def test_half_a_group_is_a_group_again_after_a_restart(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        turns = [(await it.tell(Quick(text=text))).turn for text in "ab"]
        it.kill()
    clock = VirtualClock()
    async with scene(place, cues, clock=clock) as it:
        await until(lambda: it.stat("messages_restored") == 2)
        await quick(it, "c")
        assert [] == cues.began
        await clock.advance(1)

        assert ["re a+b+c"] * 2 == [await (await it.chat.receipt(turn=turn)).wait() for turn in turns]
        assert ["a+b+c"] == cues.began


async def test_a_group_that_was_running_when_the_process_died_ends_once(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed = {"a+b"}
    async with scene(place, cues, clock=clock) as it:
        turns = [(await it.tell(Quick(text=text))).turn for text in "ab"]
        await clock.advance(1)
        await until(lambda: it.store.calls("commit") >= 5)
        it.kill()
    cues.closed = set()
    async with scene(place, cues) as it:
        await until(lambda: it.stat("dead_lettered") == 2)
        await it.chat.ask(Say(text="later"))

        assert ["user a+b", "cut a, crash 1: ", "user later", "bot later"] == await it.lines()
        assert [("quick", "interrupted")] * 2 == await it.letters()
        assert ["interrupted"] * 2 == [await (await it.chat.receipt(turn=turn)).status() for turn in turns]


async def test_a_drain_waits_for_no_window(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        receipts = [await it.tell(Quick(text=text)) for text in "ab"]
        await it.runtime.close()
        assert ["a+b"] == cues.began
    async with scene(place, cues) as it:
        assert ["re a+b"] * 2 == [await (await it.chat.receipt(turn=r.turn)).wait() for r in receipts]


async def test_a_message_whose_deadline_passes_in_the_window_leaves_in_time(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        await quick(it, "a", told=False, timeout_s=0.5)
        await quick(it, "b", timeout_s=0.6)
        await quick(it, "c", told=False)
        await clock.advance(0.7)
        assert {"a": "TurnTimeout", "b": "TurnTimeout"} == await it.saw("a", "b")
        await clock.advance(0.4)

        assert {"c": "re c"} == await it.saw("c")
        assert [("quick", "expired")] == await it.letters()


async def test_a_message_that_the_store_refuses_is_in_no_group(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, FaultPoint("commit", 2, "instead", "refuse"), clock=clock) as it:
        with pytest.raises(NotApplied):
            await it.tell(Quick(text="a"), key="a")
        await clock.advance(0.01)
        await until(lambda: it.runtime.stats()["store_is_well"])
        await quick(it, "b")
        await clock.advance(1)

        assert {"b": "re b"} == await it.saw("b")
        with anyio.fail_after(5):
            with pytest.raises(NotApplied):
                await it.chat.receipt(key="a")


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_merged_message_is_told_at_its_own_deadline_while_its_turn_waits(place: Place, told: bool) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed = {"a"}
    async with scene(place, cues, clock=clock) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: cues.began)
        await quick(it, "b", told=told, timeout_s=5)
        await quick(it, "c")
        for _ in range(2000):
            if it.seen:
                break
            await clock.advance(0.05)
            await anyio.sleep(0.001)
        assert {"b": "TurnTimeout"} == it.seen
        cues.closed.clear()

        assert {"c": "re c"} == await it.saw("c")
        assert ["a", "c"] == cues.began


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_message_that_joins_gives_a_merged_one_more_time(place: Place, told: bool) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed = {"a"}
    async with scene(place, cues, clock=clock) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: cues.began)
        await quick(it, "b", told=told, timeout_s=5, key="b")
        await quick(it, "c")
        await quick(it, "b", told=told, timeout_s=60, key="b")
        await clock.advance(10)
        cues.closed.clear()

        assert {"b": "re b+c"} == await it.saw("b")


async def test_messages_in_groups_count_against_the_mailbox(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed = {"a"}
    async with scene(place, cues, clock=clock, mailbox_messages_max=3) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: cues.began)
        await quick(it, "b", "c")
        await clock.advance(2)  # they are one turn that waits
        await quick(it, "d")
        await quick(it, "e")

        assert {"e": "MailboxFull"} == it.seen
        cues.closed.clear()
        assert {"b": "re b+c", "c": "re b+c"} == await it.saw("b", "c")


async def test_messages_in_groups_count_against_the_runtime(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock, messages_max=3) as it:
        await quick(it, "a", "b", "c")
        await quick(it, "d")

        assert {"d": "CapacityExceeded"} == await it.saw("d")
        await clock.advance(2)
        assert dict.fromkeys("abc", "re a+b+c") == await it.saw(*"abc")
        await quick(it, "e")
        assert "e" not in it.seen


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
@pytest.mark.parametrize(
    ("overlap", "seen", "began"),
    [
        ("rollback", ("TurnSuperseded", "re c"), ["c"]),
        ("interrupt", ("TurnInterrupted", "re c"), ["a+b", "c"]),
        ("queue", ("re a+b", "re c"), ["a+b", "c"]),
    ],
)
async def test_a_message_that_is_not_merged_finds_the_group_before_it(
    place: Place, overlap: Any, seen: tuple[str, str], began: list[str], told: bool
) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed = {"x"}
    async with scene(place, cues, clock=clock) as it:
        await it.send(Other(text="x"), told=told)
        await until(lambda: cues.began)
        await quick(it, "a", "b", told=told)
        await quick(it, "c", told=told, overlap=overlap)
        cues.closed.clear()

        assert {"a": seen[0], "b": seen[0], "c": seen[1]} == await it.saw(*"abc")
        assert ["x", *began] == cues.began


async def test_a_message_that_is_stopped_on_its_way_to_a_group_never_runs(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, FaultPoint("commit", 2, "before", "stall"), clock=clock) as it:
        await it.send(Quick(text="a"), told=True, key="a", stalled=True)
        await it.store.wait_until_stalled()
        await it.chat.stop((await it.chat.receipt(key="a")).turn)
        it.store.release()

        assert {"a": "TurnStopped"} == await it.saw("a")
        await clock.advance(5)
        assert [] == cues.began


async def test_an_ask_in_a_merged_turn_that_is_told_meanwhile_does_not_run_again_after_a_kill(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    cues.closed = {"a+b"}
    async with scene(place, cues, clock=clock) as it:
        await quick(it, "a")
        await quick(it, "b", told=False, key="b")
        await clock.advance(2)
        await until(lambda: it.store.calls("commit") >= 4)  # created, accepted, begun, the checkpoint
        await it.chat.tell(Quick(text="b"), key="b")
        it.kill()
    cues.closed.clear()
    async with scene(place, cues) as it:
        await it.chat.ask(Say(text="x"))
        assert ["a+b", "x"] == cues.began
        assert ["user a+b", "cut a, crash 1: ", "user x", "bot x"] == await it.lines()
