"""A message that ends behind a turn that runs: its callers do not wait for that turn."""

from contextlib import suppress

import anyio
import pytest

from salon import NotApplied, StoreUnavailable, TurnStopped, TurnTimeout
from salon.testing import FaultPoint, VirtualClock
from tests.runtime.places import Place
from tests.runtime.scripts import Cues, Other, Say, Scene, scene
from tests.runtime.waiting import until


def busy() -> Cues:
    """The handler of `a` runs until it is let go."""
    cues = Cues()
    cues.closed = {"a"}
    return cues


async def passed(clock: VirtualClock, it: Scene, text: str) -> str:
    """What the caller got after a few seconds of the clock, while the turn of `a` still runs."""
    for _ in range(2000):
        if text in it.seen:
            break
        await clock.advance(0.05)
        await anyio.sleep(0.001)
    assert "a" not in it.seen
    return str(it.seen[text])


async def works_again(clock: VirtualClock, it: Scene) -> None:
    """The store is found to work, and the session does."""
    while True:
        with suppress(StoreUnavailable):
            await it.chat.ask(Other(text="x"))
            return
        await clock.advance(0.05)
        await anyio.sleep(0.001)


async def test_who_has_told_a_message_hears_of_its_deadline_behind_a_turn_of_minutes(place: Place) -> None:
    clock, cues = VirtualClock(), busy()
    async with scene(place, cues, clock=clock) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: cues.began)
        await it.send(Say(text="b"), told=True, timeout_s=1, key="b")

        assert await passed(clock, it, "b") == "TurnTimeout"
        assert [("say", "expired")] == await it.letters()
        receipt = await it.chat.receipt(key="b")
        assert await receipt.status() == "dead_lettered"
        with pytest.raises(TurnTimeout):  # who joins it, too
            await it.chat.ask(Say(text="b"), key="b")
        cues.closed.clear()
        assert {"a": "re a"} == await it.saw("a")
        await it.chat.ask(Other(text="x"))  # comes after the mark
        assert [("say", "expired")] == await it.letters()
        with pytest.raises(TurnTimeout):
            await it.chat.ask(Say(text="b"), key="b")
    async with scene(place, cues) as it:
        assert await (await it.chat.receipt(key="b")).status() == "dead_lettered"
        assert ["a", "x"] == cues.began


async def test_a_message_that_was_stopped_behind_a_turn_is_told_at_once_and_never_runs(place: Place) -> None:
    cues = busy()
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: cues.began)
        receipt = await it.tell(Say(text="b"), key="b")
        await it.chat.stop(receipt.turn)

        with anyio.fail_after(5), pytest.raises(TurnStopped):
            await receipt.wait()
        assert "a" not in it.seen
        it.kill()
    cues.closed.clear()
    async with scene(place, cues) as it:
        await it.chat.ask(Other(text="x"))
        assert "b" not in cues.began


async def test_a_notice_that_the_store_refuses_is_given_again(place: Place) -> None:
    clock, cues = VirtualClock(), busy()
    points = [FaultPoint("commit", 5, "instead", "refuse", times=2)]  # a, its checkpoint and b are 2 to 4
    async with scene(place, cues, *points, clock=clock) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: it.store.calls("commit") >= 3)
        await it.send(Say(text="b"), told=True, timeout_s=1)

        assert await passed(clock, it, "b") == "TurnTimeout"
        assert it.store.fired
        assert [("say", "expired")] == await it.letters()


async def test_a_message_that_was_never_accepted_has_no_dead_letter(place: Place) -> None:
    clock, cues = VirtualClock(), busy()
    points = [FaultPoint("commit", 4, "before", "stall"), FaultPoint("commit", 4, "instead", "refuse")]
    async with scene(place, cues, *points, clock=clock) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: it.store.calls("commit") >= 3)
        await it.send(Say(text="b"), told=True, timeout_s=1, stalled=True, key="b")
        await it.store.wait_until_stalled()
        await clock.advance(2)
        it.store.release()

        assert {"b": NotApplied.__name__} == await it.saw("b")
        cues.closed.clear()
        await it.saw("a")
        await works_again(clock, it)
        assert [] == await it.letters()
        assert await it.chat.ask(Say(text="b"), key="b") == "re b"  # nothing is recorded under its key
