"""stop: cuts the turn that runs, takes out the one that waits, and leaves alone what has ended."""

import anyio
import pytest

from salon import SalonError, TurnStopped
from salon.testing import FaultPoint, VirtualClock
from tests.runtime.places import Place
from tests.runtime.scripts import Again, Chat, Cues, Other, Say, Scene, scene
from tests.runtime.waiting import until


async def running(it: Scene, cues: Cues, text: str = "a", *, told: bool = True) -> None:
    await it.send(Say(text=text), told=told)
    await until(lambda: text in cues.began)


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_the_turn_that_runs_is_stopped_and_its_checkpoint_is_kept(place: Place, told: bool) -> None:
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues) as it:
        await running(it, cues, told=told)
        await it.send(Other(text="b"))
        await until(lambda: not told or it.store.calls("commit") >= 3)
        await it.chat.stop()

        assert {"a": "TurnStopped", "b": "re b"} == await it.saw("a", "b")
        assert ["user a", "cut a, stop 1: ", "user b", "bot b"] == await it.lines()
        assert 1 == it.stat("turns_stopped")


async def test_stopping_twice_is_stopping_once(place: Place) -> None:
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues) as it:
        receipt = await it.tell(Say(text="a"))
        await until(lambda: it.store.calls("commit") == 3)
        for _ in range(3):
            await it.chat.stop(receipt.turn)
            await it.chat.stop()
        with pytest.raises(TurnStopped):
            await receipt.wait()
        await it.chat.stop(receipt.turn)
        await it.chat.stop()

        assert ["user a", "cut a, stop 1: "] == await it.lines()
        assert (1, "stopped") == (it.stat("turns_stopped"), await receipt.status())
        assert "re b" == await it.chat.ask(Say(text="b"))


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_turn_that_waits_ends_without_having_begun(place: Place, told: bool) -> None:
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues) as it:
        await running(it, cues)
        receipt = await it.tell(Say(text="b"))
        if not told:
            await it.send(Say(text="c"), key="c")
        await it.chat.stop(receipt.turn if told else (await it.chat.receipt(key="c")).turn)
        cues.closed.clear()
        await it.saw("a")

        if told:
            with pytest.raises(TurnStopped, match="before it began"):
                await receipt.wait()
            assert ["a"] == cues.began
        else:
            assert {"c": "TurnStopped"} == await it.saw("c")
            assert "re b" == await receipt.wait()
            assert ["a", "b"] == cues.began
    async with scene(place, cues) as it:
        await it.chat.ask(Say(text="later"))
        assert "b" not in cues.began or not told


async def test_a_turn_behind_the_gate_is_done(place: Place) -> None:
    cues = Cues()
    async with scene(place, cues, FaultPoint("commit", 4, "before", "stall")) as it:
        receipt = await it.tell(Say(text="a"))
        await it.store.wait_until_stalled()  # the acceptance, the checkpoint, the end
        await it.chat.stop(receipt.turn)
        await it.chat.stop()
        it.store.release()

        assert "re a" == await receipt.wait()
        assert ["user a", "bot a"] == await it.lines()


async def test_a_turn_that_has_ended_is_not_touched(place: Place) -> None:
    cues = Cues()
    async with scene(place, cues) as it:
        receipt = await it.tell(Say(text="a"))
        assert "re a" == await receipt.wait()
        await it.chat.stop(receipt.turn)

        assert ("done", "re a") == (await receipt.status(), await receipt.wait())
    async with scene(place, cues) as it:
        await it.chat.stop(receipt.turn)
        assert "done" == await (await it.chat.receipt(turn=receipt.turn)).status()


async def test_a_turn_of_another_session_is_not_reached(place: Place) -> None:
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues) as it:
        receipt = await it.tell(Say(text="a"))
        other = await it.runtime.create(Chat)
        await until(lambda: cues.began)
        await other.stop(receipt.turn)
        await other.stop()
        cues.closed.clear()

        assert "re a" == await receipt.wait()


async def test_a_text_that_was_never_a_turn_is_a_mistake(place: Place) -> None:
    async with scene(place, Cues()) as it:
        with pytest.raises(ValueError, match="not the id of a turn"):
            await it.chat.stop("yesterday")
        await it.chat.stop("t1-12345")


async def test_a_turn_whose_mark_is_on_its_way_is_stopped_without_having_begun(place: Place) -> None:
    cues = Cues()
    async with scene(place, cues, FaultPoint("commit", 2, "before", "stall")) as it:
        await it.send(Say(text="a"), told=True, stalled=True)
        await it.store.wait_until_stalled()
        await it.chat.stop()
        it.store.release()

        assert {"a": "TurnStopped"} == await it.saw("a")
        assert [] == cues.began
    async with scene(place, cues) as it:
        await it.chat.ask(Say(text="later"))
        assert ["later"] == cues.began


async def test_a_turn_that_rests_before_its_next_attempt_is_stopped(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()

    async def fail(chat: Chat, text: str) -> str:
        chat.state.lines.append("dropped")
        await chat.turn.checkpoint()
        raise KeyError(text)

    cues.scripts["a"] = fail
    async with scene(place, cues, clock=clock) as it:
        receipt = await it.tell(Again(text="a"))
        await until(lambda: it.stat("turns_retried"))
        await it.chat.stop(receipt.turn)
        with pytest.raises(TurnStopped):
            await receipt.wait()
        await clock.advance(60)

        assert (["a"], []) == (cues.began, await it.lines())
    async with scene(place, cues) as it:
        await it.chat.ask(Say(text="later"))
        assert ["a", "later"] == cues.began


@pytest.mark.parametrize("steps", [0, 1, 3, 6])
async def test_of_a_stop_and_the_end_of_the_turn_exactly_one_wins(place: Place, steps: int) -> None:
    """A stop at each step that a turn makes: the transcript holds what its caller was told."""
    cues = Cues()

    async def stepwise(chat: Chat, text: str) -> str:
        chat.state.lines.append("user")
        await chat.turn.checkpoint()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        chat.state.lines.append("bot")
        return "done"

    cues.scripts["a"] = stepwise
    told: list[object] = []

    async def ask(it: Scene) -> None:
        try:
            told.append(await it.chat.ask(Say(text="a")))
        except SalonError as error:
            told.append(type(error))

    async with scene(place, cues) as it:
        async with anyio.create_task_group() as group:
            group.start_soon(ask, it)
            await until(lambda: cues.began)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            await it.chat.stop()
        ends: dict[object, list[str]] = {"done": ["user", "bot"], TurnStopped: ["user", "cut a, stop 1: "]}

        assert [told[0]] == told
        assert ends[told[0]] == await it.lines()


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_what_is_stopped_under_a_key_stays_stopped(place: Place, told: bool) -> None:
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=told, key="k")
        await until(lambda: cues.began)
        await it.chat.stop()
        assert {"a": "TurnStopped"} == await it.saw("a")
        with pytest.raises(TurnStopped):
            await it.chat.ask(Say(text="a"), key="k")
    cues.closed = set()
    async with scene(place, cues) as it:
        with pytest.raises(TurnStopped):
            await it.chat.ask(Say(text="a"), key="k")
        assert ["a"] == cues.began
