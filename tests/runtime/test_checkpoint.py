"""A checkpoint is a durable draft: nobody sees it, and it outlives only what cuts a turn."""

from typing import Any, Literal, cast

import anyio
import pytest

from salon import NotApplied, OutcomeUnknown, TurnInterrupted, TurnStopped
from salon.testing import FaultPoint, VirtualClock
from tests.runtime.places import Place
from tests.runtime.scripts import Again, Chat, Cues, Say, Scene, scene
from tests.runtime.waiting import until


async def twice(chat: Chat, text: str) -> str:
    """What comes after the last checkpoint is not kept."""
    chat.state.lines.append(f"user {text}")
    chat.state.count = 1
    await chat.turn.checkpoint()
    chat.state.lines.append(f"tool {text}")
    chat.state.count = 2
    await chat.turn.checkpoint()
    chat.state.lines.append("not kept")
    chat.state.count = 3
    await chat.deps.pause(text)
    return f"re {text}"


KEPT = ["user a", "tool a"]


async def to_its_pause(it: Scene, cues: Cues, *, told: bool) -> None:
    await until(lambda: cues.began)
    await until(lambda: not told or it.store.calls("commit") >= 4)  # it was created, accepted, and two checkpoints
    await anyio.sleep(0.005)


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_nobody_sees_a_checkpoint_before_its_turn_is_cut(place: Place, told: bool) -> None:
    cues = Cues()
    cues.closed, cues.scripts["a"] = {"a"}, twice
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=told)
        await to_its_pause(it, cues, told=told)
        view = await it.chat.peek()
        assert ([], 0) == (view.state.lines.tail(9), view.state.count)
        assert () == tuple((await it.chat.history(lambda state: state.lines)).items)
        cues.closed.clear()

        assert {"a": "re a"} == await it.saw("a")
        view = await it.chat.peek()
        assert ([*KEPT, "not kept"], 3) == (view.state.lines.tail(9), view.state.count)


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
@pytest.mark.parametrize("cut", ["stop", "interrupt"])
async def test_a_cut_keeps_the_last_one(place: Place, cut: str, told: bool) -> None:
    cues = Cues()
    cues.closed, cues.scripts["a"] = {"a"}, twice
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=told)
        await to_its_pause(it, cues, told=told)
        if cut == "stop":
            await it.chat.stop()
        else:
            await it.send(Say(text="b"), overlap="interrupt")
            await it.saw("b")
        await it.saw("a")

        view = await it.chat.peek()
        assert [*KEPT, f"cut a, {cut} 1: "] == view.state.lines.tail(9)[:3]
        assert view.state.count == (2 if cut == "stop" else 3)
    async with scene(place, cues) as it:
        assert [*KEPT, f"cut a, {cut} 1: "] == (await it.lines())[:3]


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
@pytest.mark.parametrize("end", ["fails", "is late", "is rolled back"])
async def test_nothing_is_kept_of_a_turn_that_ends_otherwise(place: Place, end: str, told: bool) -> None:
    clock, cues = VirtualClock(), Cues()

    async def play(chat: Chat, text: str) -> str:
        await twice(chat, text)
        if end == "fails":
            raise KeyError(text)
        await anyio.sleep_forever()
        raise AssertionError

    cues.scripts["a"] = play
    async with scene(place, cues, clock=clock) as it:
        await it.send(Say(text="a"), told=told, timeout_s=1)
        await to_its_pause(it, cues, told=told)
        if end == "is late":
            await clock.advance(1.1)
        if end == "is rolled back":
            await it.send(Say(text="b"), overlap="rollback")
        name = {"fails": "TurnFailed", "is late": "TurnTimeout", "is rolled back": "TurnSuperseded"}[end]
        assert {"a": name} == await it.saw("a")
        await it.chat.ask(Say(text="c"))
        lines = await it.lines()
        assert (["user c", "bot c"], "a" in cues.began) == (lines[-2:], True)
    async with scene(place, cues) as it:
        assert lines == await it.lines()
        assert not [line for line in lines if line.endswith(" a") or line == "not kept"]
        assert [] == await it.letters()


async def test_after_a_crash_a_message_that_fails_keeps_it(place: Place) -> None:
    cues = Cues()
    cues.closed, cues.scripts["a"] = {"a"}, twice
    async with scene(place, cues) as it:
        receipt = await it.tell(Say(text="a"))
        await to_its_pause(it, cues, told=True)
        it.kill()
    cues.closed = set()
    async with scene(place, cues) as it:
        again = await it.chat.receipt(turn=receipt.turn)
        with pytest.raises(TurnInterrupted):
            await again.wait()
        view = await it.chat.peek()

        assert ([*KEPT, "cut a, crash 1: "], 2) == (view.state.lines.tail(9), view.state.count)
        assert ("interrupted", ["a"]) == (await again.status(), cues.began)


async def test_after_a_crash_a_message_that_is_tried_again_drops_it(place: Place) -> None:
    cues = Cues()
    cues.closed, cues.scripts["a"] = {"a"}, twice
    async with scene(place, cues) as it:
        receipt = await it.tell(Again(text="a"))
        await to_its_pause(it, cues, told=True)
        it.kill()
    cues.closed = set()
    async with scene(place, cues) as it:
        assert "re a" == await (await it.chat.receipt(turn=receipt.turn)).wait()
        assert [*KEPT, "not kept"] == await it.lines()
        assert ["a", "a"] == cues.began


async def test_a_failed_attempt_leaves_none_for_a_crash_before_the_next(place: Place) -> None:
    """Exception first, crash afterwards: what the failed attempt had kept is gone, and its message runs again."""
    clock, cues = VirtualClock(), Cues()

    async def fail(chat: Chat, text: str) -> str:
        await twice(chat, text)
        raise KeyError(text)

    cues.scripts["a"] = fail
    async with scene(place, cues, clock=clock) as it:
        receipt = await it.tell(Again(text="a"))
        await until(lambda: it.stat("turns_retried"))
        await until(lambda: it.store.calls("commit") >= 5)  # the attempt is put off
        await anyio.sleep(0.01)
        it.kill()
    cues.scripts["a"] = twice
    clock = VirtualClock()
    async with scene(place, cues, clock=clock) as it:
        await until(lambda: it.stat("messages_restored"))
        await clock.advance(1)
        assert "re a" == await (await it.chat.receipt(turn=receipt.turn)).wait()
        assert [*KEPT, "not kept"] == await it.lines()
        assert [] == await it.letters()


@pytest.mark.parametrize("effect", ["refuse", "unknown"])
async def test_a_checkpoint_that_the_store_does_not_take_says_so(place: Place, effect: str) -> None:
    cues = Cues()
    said: list[type[Exception]] = []

    async def careful(chat: Chat, text: str) -> str:
        chat.state.lines.append("user")
        try:
            await chat.turn.checkpoint()
        except (NotApplied, OutcomeUnknown) as error:
            said.append(type(error))
        await anyio.sleep_forever()
        raise AssertionError

    cues.scripts["a"] = careful
    point = FaultPoint("commit", 3, "instead", cast(Any, effect))
    async with scene(place, cues, point) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: said)
        await it.chat.stop()

        assert {"a": "TurnStopped"} == await it.saw("a")
        assert {"refuse": [NotApplied], "unknown": [OutcomeUnknown]}[effect] == said
        assert ["cut a, stop 1: "] == await it.lines()


async def test_a_turn_is_cut_also_when_its_checkpoint_is_refused(place: Place) -> None:
    cues = Cues()
    release = anyio.Event()

    async def careless(chat: Chat, text: str) -> str:
        try:
            await chat.turn.checkpoint()
        except NotApplied:
            release.set()
        await anyio.sleep_forever()
        raise AssertionError

    cues.scripts["a"] = careless
    points = FaultPoint("commit", 3, "before", "stall"), FaultPoint("commit", 3, "instead", "refuse")
    async with scene(place, cues, *points) as it:
        await it.send(Say(text="a"), told=True)
        await it.store.wait_until_stalled()
        await it.chat.stop()
        it.store.release()

        assert {"a": "TurnStopped"} == await it.saw("a")


@pytest.mark.parametrize("effect", ["refuse", "unknown", "die"])
@pytest.mark.parametrize("when", ["instead", "after"])
async def test_whatever_the_store_says_of_the_mark_the_words_are_kept_once(
    place: Place, when: Literal["instead", "after"], effect: str
) -> None:
    """The fifth write marks the turn: refused, unknown, or the last one of this process."""
    if (effect, when) in (("die", "instead"), ("refuse", "after")):
        when = {"die": "after", "refuse": "instead"}[effect]  # type: ignore[assignment]  # pyright: ignore
    cues = Cues()
    cues.closed, cues.scripts["a"] = {"a"}, twice
    async with scene(place, cues, FaultPoint("commit", 5, when, cast(Any, effect))) as it:
        receipt = await it.tell(Say(text="a"))
        await to_its_pause(it, cues, told=True)
        await it.chat.stop()
        await until(lambda: it.store.fired)
        if effect == "refuse":
            with pytest.raises(TurnStopped):
                await receipt.wait()
        await anyio.sleep(0.01)
    cues.closed = set()
    async with scene(place, cues) as it:
        again = await it.chat.receipt(turn=receipt.turn)
        with pytest.raises((TurnStopped, TurnInterrupted)):
            await again.wait()

        assert KEPT == (await it.lines())[:2]
        assert 3 == len(await it.lines())
        assert await again.status() in ("stopped", "interrupted")
        assert ["a"] == cues.began


async def test_a_refused_mark_is_made_before_anything_else_of_the_session(place: Place) -> None:
    cues = Cues()
    cues.closed, cues.scripts["a"] = {"a"}, twice
    async with scene(place, cues, FaultPoint("commit", 5, "instead", "refuse", times=3)) as it:
        receipt = await it.tell(Say(text="a"))
        await to_its_pause(it, cues, told=True)
        await it.send(Say(text="b"))
        await it.chat.stop()

        assert {"b": "re b"} == await it.saw("b")
        assert [*KEPT, "cut a, stop 1: ", "user b", "bot b"] == await it.lines()
        assert "stopped" == await receipt.status()
