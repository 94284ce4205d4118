"""What becomes of a message whose session has something to do already: three at once, under each policy.

| policy | what the first, second and third caller see | the transcript |
| --- | --- | --- |
| queue | three replies | three dialogues |
| reject | a reply, SessionBusy, SessionBusy | the first dialogue |
| interrupt | TurnInterrupted, TurnInterrupted, a reply | the users' words, what was emitted, the third dialogue |
| rollback | TurnSuperseded, TurnSuperseded, a reply | the third dialogue |
| Merge | one reply, three times | one dialogue about all three |
"""

from contextlib import suppress

import anyio
import pytest

from salon import ConfigurationError, Message, NotApplied, Runtime, Session, SessionBusy, TurnSuperseded, receive
from salon.overlap import Overlap
from salon.testing import FaultPoint, VirtualClock
from tests.runtime.places import Place
from tests.runtime.scripts import Chat, Cues, Other, Quick, Say, State, scene
from tests.runtime.waiting import until

ABC = ("a", "b", "c")
QUEUE = ["user a", "bot a", "user b", "bot b", "user c", "bot c"]
INTERRUPT = ["user a", "cut a, interrupt 1: ", "user b", "cut b, interrupt 1: ", "user c", "bot c"]
TABLE: list[tuple[Overlap, tuple[str, str, str], list[str]]] = [
    ("queue", ("re a", "re b", "re c"), QUEUE),
    ("reject", ("re a", "SessionBusy", "SessionBusy"), ["user a", "bot a"]),
    ("interrupt", ("TurnInterrupted", "TurnInterrupted", "re c"), INTERRUPT),
    ("rollback", ("TurnSuperseded", "TurnSuperseded", "re c"), ["user c", "bot c"]),
]


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
@pytest.mark.parametrize(("policy", "seen", "lines"), TABLE, ids=[str(row[0]) for row in TABLE])
async def test_three_messages_at_once(
    place: Place, policy: Overlap, seen: tuple[str, str, str], lines: list[str], told: bool
) -> None:
    cues = Cues()
    cues.closed = {"a", "b"}
    async with scene(place, cues) as it:
        for text in ABC:
            await it.send(Say(text=text), told=told, overlap=policy)
        cues.closed.clear()

        assert dict(zip(ABC, seen, strict=True)) == await it.saw(*ABC)
        assert lines == await it.lines()
    async with scene(place, cues) as it:
        assert lines == await it.lines()


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_three_messages_at_once_are_one_turn_when_they_are_merged(place: Place, told: bool) -> None:
    clock, cues = VirtualClock(), Cues()
    async with scene(place, cues, clock=clock) as it:
        for text in ABC:
            await it.send(Quick(text=text), told=told)
        await clock.advance(1)

        assert dict.fromkeys(ABC, "re a+b+c") == await it.saw(*ABC)
        assert ["user a+b+c", "bot a+b+c"] == await it.lines()
        assert ["a+b+c"] == cues.began


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_handler_says_what_its_messages_do(place: Place, told: bool) -> None:
    class Cut(Message[str], name="cut"):
        pass

    class Bot(Session[State], name="bot"):
        @receive(overlap="reject")
        async def say(self, message: Say) -> str:
            gate.set()
            await anyio.sleep_forever()
            raise AssertionError

        @receive(overlap="rollback")
        async def cut(self, message: Cut) -> str:
            return "cut"

    gate = anyio.Event()
    async with Runtime(Bot, store=place.store()) as runtime:
        bot = await runtime.create(Bot)
        receipt = await bot.tell(Say(text="a"))
        await gate.wait()
        with pytest.raises(SessionBusy):
            await (bot.tell(Say(text="b")) if told else bot.ask(Say(text="b")))
        assert "cut" == await ((await bot.tell(Cut())).wait() if told else bot.ask(Cut()))
        with pytest.raises(TurnSuperseded):
            await receipt.wait()


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
@pytest.mark.parametrize("policy", ["interrupt", "rollback"])
async def test_a_queue_of_other_messages_is_not_touched(place: Place, policy: Overlap, told: bool) -> None:
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=told)
        await until(lambda: cues.began)
        for text in ("x", "y"):
            await it.send(Other(text=text), told=told)
        await it.send(Say(text="b"), told=told, overlap=policy)

        assert {"x": "re x", "y": "re y", "b": "re b"} == await it.saw("x", "y", "b")
        assert ["a", "x", "y", "b"] == cues.began


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_message_of_another_kind_cuts_what_runs_too(place: Place, told: bool) -> None:
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=told)
        await until(lambda: cues.began)
        await it.send(Other(text="b"), told=told, overlap="interrupt")

        assert {"a": "TurnInterrupted", "b": "re b"} == await it.saw("a", "b")


@pytest.mark.parametrize("policy", ["interrupt", "rollback"])
async def test_nothing_is_cut_for_a_message_that_the_store_refuses(place: Place, policy: Overlap) -> None:
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues, FaultPoint("commit", 4, "instead", "refuse")) as it:
        await it.send(Say(text="a"), told=True)
        await until(lambda: it.store.calls("commit") == 3)  # the third is its checkpoint
        with pytest.raises(NotApplied):
            await it.tell(Say(text="b"), overlap=policy)
        cues.closed.clear()

        assert {"a": "re a"} == await it.saw("a")
        assert ["user a", "bot a"] == await it.lines()
        assert ["a"] == cues.began


@pytest.mark.parametrize("policy", ["interrupt", "rollback"])
async def test_behind_the_gate_it_is_too_late_to_be_cut(place: Place, policy: Overlap) -> None:
    cues = Cues()
    async with scene(place, cues, FaultPoint("commit", 2, "before", "stall")) as it:
        await it.send(Say(text="a"))
        await it.store.wait_until_stalled()
        await it.send(Say(text="b"), overlap=policy)
        it.store.release()

        assert {"a": "re a", "b": "re b"} == await it.saw("a", "b")
        assert ["user a", "bot a", "user b", "bot b"] == await it.lines()


async def test_a_turn_is_not_cut_while_its_checkpoint_is_on_its_way(place: Place) -> None:
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues, FaultPoint("commit", 3, "before", "stall")) as it:
        await it.send(Say(text="a"), told=True, stalled=True)
        await it.store.wait_until_stalled()
        await it.send(Say(text="b"), overlap="interrupt")
        assert {} == it.seen
        it.store.release()

        assert {"a": "TurnInterrupted", "b": "re b"} == await it.saw("a", "b")
        assert ["user a", "cut a, interrupt 1: ", "user b", "bot b"] == await it.lines()


async def test_an_interrupted_message_whose_mark_is_on_its_way_begins_first(place: Place) -> None:
    """Its user has said something: that is kept, as that of one which waits is."""
    cues = Cues()
    cues.closed = {"a"}
    async with scene(place, cues, FaultPoint("commit", 2, "before", "stall")) as it:
        await it.send(Say(text="a"), told=True, stalled=True)
        await it.store.wait_until_stalled()
        await it.send(Say(text="b"), overlap="interrupt")
        it.store.release()

        assert {"a": "TurnInterrupted", "b": "re b"} == await it.saw("a", "b")
        assert ["user a", "cut a, interrupt 1: ", "user b", "bot b"] == await it.lines()


async def test_a_message_that_is_taken_the_place_of_before_it_began_never_begins(place: Place) -> None:
    cues = Cues()
    async with scene(place, cues, FaultPoint("commit", 2, "before", "stall")) as it:
        await it.send(Say(text="a"), told=True, stalled=True)
        await it.store.wait_until_stalled()
        await it.send(Say(text="b"), overlap="rollback")
        it.store.release()

        assert {"a": "TurnSuperseded", "b": "re b"} == await it.saw("a", "b")
        assert ["b"] == cues.began
        assert ["user b", "bot b"] == await it.lines()


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_turn_finishes_in_its_grace_what_it_cannot_leave_half_done(place: Place, told: bool) -> None:
    cues = Cues()

    async def careful(chat: Chat, text: str) -> str:
        try:
            await anyio.sleep_forever()
        finally:
            with chat.turn.grace():
                await anyio.sleep(0.001)
                chat.state.lines.append(f"saved {text}")
                await chat.turn.checkpoint()
        raise AssertionError

    cues.scripts["a"] = careful
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=told)
        await until(lambda: cues.began)
        await it.send(Say(text="b"), told=told, overlap="interrupt")

        assert {"a": "TurnInterrupted", "b": "re b"} == await it.saw("a", "b")
        assert ["saved a", "cut a, interrupt 1: ", "user b", "bot b"] == await it.lines()


async def test_grace_shields_a_cut_turn_for_so_long_and_no_longer(place: Place) -> None:
    clock, cues, ended = VirtualClock(), Cues(), list[float]()

    async def slow(chat: Chat, text: str) -> str:
        with chat.turn.grace():
            try:
                await chat.deps.pause(text)
            finally:
                ended.append(clock.monotonic())
        raise AssertionError

    cues.closed, cues.scripts["a"] = {"a"}, slow
    async with scene(place, cues, clock=clock, interrupt_grace_s=2) as it:
        began = clock.monotonic()
        await it.send(Say(text="a"))
        await until(lambda: cues.began)
        await it.send(Say(text="b"), overlap="interrupt")
        await clock.advance(1.9)
        assert [] == ended
        await clock.advance(0.2)
        assert [began + 2] == ended

        assert {"a": "TurnInterrupted", "b": "re b"} == await it.saw("a", "b")


async def test_grace_bounds_no_turn_that_nobody_cuts(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()

    async def slow(chat: Chat, text: str) -> str:
        with chat.turn.grace() as scope:
            await clock.sleep(5)
        return f"cancelled {scope.cancelled_caught}"

    cues.scripts["a"] = slow
    async with scene(place, cues, clock=clock, interrupt_grace_s=2) as it:
        await it.send(Say(text="a"))
        await until(lambda: cues.began)
        await clock.advance(6)

        assert {"a": "cancelled False"} == await it.saw("a")


@pytest.mark.parametrize("policy", ["interrupt", "rollback"])
async def test_a_turn_that_swallows_its_cancellation_is_cut_all_the_same(place: Place, policy: Overlap) -> None:
    cues = Cues()

    async def stubborn(chat: Chat, text: str) -> str:
        chat.state.lines.append("kept")
        await chat.turn.checkpoint()
        chat.state.lines.append("dropped")
        with suppress(BaseException):  # what must not be done
            await anyio.sleep_forever()
        return "late"

    cues.scripts["a"] = stubborn
    async with scene(place, cues) as it:
        await it.send(Say(text="a"))
        await until(lambda: cues.began)
        await it.send(Say(text="b"), overlap=policy)

        cut = {"interrupt": "TurnInterrupted", "rollback": "TurnSuperseded"}[str(policy)]
        kept = {"interrupt": ["kept", "cut a, interrupt 1: "], "rollback": []}[str(policy)]
        assert {"a": cut, "b": "re b"} == await it.saw("a", "b")
        assert [*kept, "user b", "bot b"] == await it.lines()


async def test_a_shielded_turn_holds_only_its_own_session(place: Place) -> None:
    cues = Cues()

    async def shielded(chat: Chat, text: str) -> str:
        with anyio.CancelScope(shield=True):
            await chat.deps.pause(text)
        return "late"

    cues.closed, cues.scripts["a"] = {"a"}, shielded
    async with scene(place, cues) as it:
        await it.send(Say(text="a"))
        await until(lambda: cues.began)
        await it.send(Say(text="b"), overlap="interrupt")
        other = await it.runtime.create(Chat)
        assert "re c" == await other.ask(Say(text="c"))
        assert {} == it.seen
        cues.closed.clear()

        assert {"a": "TurnInterrupted", "b": "re b"} == await it.saw("a", "b")
        assert ["cut a, interrupt 1: ", "user b", "bot b"] == await it.lines()


async def test_the_caller_of_a_shielded_turn_that_was_cut_is_told_at_the_deadline(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()

    async def shielded(chat: Chat, text: str) -> str:
        chat.state.lines.append("kept?")
        await chat.turn.checkpoint()
        with anyio.CancelScope(shield=True):
            await chat.deps.pause(text)
        return "late"

    cues.closed, cues.scripts["a"] = {"a"}, shielded
    async with scene(place, cues, clock=clock) as it:
        await it.send(Say(text="a"), timeout_s=5)
        await until(lambda: cues.began)
        await it.send(Say(text="b"), overlap="interrupt")
        await clock.advance(6)
        assert {"a": "TurnTimeout"} == await it.saw("a")
        cues.closed.clear()

        assert {"b": "re b"} == await it.saw("b")
        assert ["user b", "bot b"] == await it.lines()


async def test_a_doomed_message_that_never_suspends_is_done(place: Place) -> None:
    cues = Cues()

    async def at_once(chat: Chat, text: str) -> str:
        chat.state.lines.append(text)
        return f"done {text}"

    cues.closed, cues.scripts["b"] = {"a"}, at_once
    async with scene(place, cues, FaultPoint("commit", 2, "before", "stall")) as it:
        for text in ABC:
            await it.send(Say(text=text), told=True, stalled=True, overlap="interrupt")
        await it.store.wait_until_stalled()
        it.store.release()

        assert {"a": "TurnInterrupted", "b": "done b", "c": "re c"} == await it.saw(*ABC)


async def test_a_policy_that_is_none_is_refused_with_a_sentence(place: Place) -> None:
    async with scene(place, Cues()) as it:
        with pytest.raises(ConfigurationError, match="one of 'queue', 'reject', 'interrupt', 'rollback', or a Merge"):
            await it.chat.ask(Say(text="a"), overlap="now")  # type: ignore[arg-type]  # pyright: ignore
        assert [] == await it.lines()
