"""What a turn emits: by value, bounded, durable before it is shown, and the same for everybody."""

import random
from typing import Any, cast

import anyio
import pytest
from pydantic import BaseModel, JsonValue

from salon import PayloadTooLarge, Runtime, SessionHandle, Settings, TurnInterrupted, TurnStopped
from salon.errors import ReplayIncomplete
from salon.events import Chunk, Done
from salon.testing import FaultPoint
from tests.runtime.places import Place
from tests.runtime.scripts import Again, Chat, Cues, Say, Scene, State, scene
from tests.runtime.waiting import until


class Reading:
    """One reader of a turn, in a task of its own."""

    def __init__(self) -> None:
        self.data: list[JsonValue] = []
        self.kinds: list[str] = []

    async def read(self, it: Scene, turn: str) -> None:
        async for event in it.chat.attach(turn):
            self.kinds.append(event.kind)
            if isinstance(event, Chunk):
                self.data.append(event.data)


async def test_a_chunk_of_a_told_message_is_seen_when_it_is_durable(place: Place) -> None:
    cues, reading = Cues(), Reading()
    cues.closed = {"a"}

    async def two(chat: Chat, text: str) -> str:
        await chat.turn.emit("x")
        await chat.turn.emit("y")
        await chat.deps.pause(text)
        return "z"

    cues.scripts["a"] = two
    async with scene(place, cues, FaultPoint("commit", 3, "before", "stall")) as it:
        receipt = await it.tell(Say(text="a"))
        async with anyio.create_task_group() as group:
            group.start_soon(reading.read, it, receipt.turn)
            await it.store.wait_until_stalled()
            await anyio.sleep(0.005)
            assert (["accepted"], []) == (reading.kinds, reading.data)
            it.store.release()
            await until(lambda: reading.data == ["x", "y"])
            cues.closed.clear()

        assert ["accepted", "chunk", "chunk", "done"] == reading.kinds


async def test_a_chunk_of_an_asked_message_is_seen_at_once(place: Place) -> None:
    cues, reading = Cues(), Reading()
    cues.closed = {"a"}
    turns: list[str] = []

    async def one(chat: Chat, text: str) -> str:
        turns.append(chat.turn.id)
        await anyio.sleep(0.002)
        await chat.turn.emit("x")
        await chat.deps.pause(text)
        return "z"

    cues.scripts["a"] = one
    async with scene(place, cues) as it:
        await it.send(Say(text="a"))
        await until(lambda: turns)
        async with anyio.create_task_group() as group:
            group.start_soon(reading.read, it, turns[0])
            await until(lambda: reading.data == ["x"])
            assert 1 == it.store.calls("commit")  # its creation
            cues.closed.clear()
        assert "done" == reading.kinds[-1]


@pytest.mark.parametrize("effect", ["refuse", "unknown"])
async def test_chunks_that_the_store_did_not_take_go_along_with_the_next(place: Place, effect: str) -> None:
    """And whoever has seen them finds them after a crash."""
    cues, reading = Cues(), Reading()
    cues.closed = {"a"}

    async def three(chat: Chat, text: str) -> str:
        await chat.turn.emit("x")
        await until(lambda: it.store.fired)
        await anyio.sleep(0.005)
        await chat.turn.emit("y")
        await chat.turn.emit("z")
        await chat.deps.pause(text)
        return ""

    cues.scripts["a"] = three
    async with scene(place, cues, FaultPoint("commit", 3, "instead", cast(Any, effect))) as it:
        receipt = await it.tell(Say(text="a"))
        with anyio.move_on_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(reading.read, it, receipt.turn)
                await until(lambda: len(reading.data) == 3)
                group.cancel_scope.cancel()
        it.kill()
    cues.closed = set()
    async with scene(place, cues) as it:
        with pytest.raises(TurnInterrupted):
            await (await it.chat.receipt(turn=receipt.turn)).wait()
        assert ["x", "y", "z"] == reading.data
        assert ["cut a, crash 1: xyz"] == await it.lines()


@pytest.mark.parametrize("cut", ["stop", "interrupt"])
async def test_readers_of_a_cut_turn_have_seen_exactly_what_is_kept(place: Place, cut: str) -> None:
    """Also if the store has not written the last of it when the turn is cut."""
    cues, reading = Cues(), Reading()

    async def many(chat: Chat, text: str) -> str:
        for number in range(5):
            await chat.turn.emit(f"{number}")
        await anyio.sleep_forever()
        raise AssertionError

    cues.scripts["a"] = many
    async with scene(place, cues, FaultPoint("commit", 3, "before", "stall")) as it:
        receipt = await it.tell(Say(text="a"))
        async with anyio.create_task_group() as group:
            group.start_soon(reading.read, it, receipt.turn)
            await it.store.wait_until_stalled()
            if cut == "stop":
                await it.chat.stop()
            else:
                await it.send(Say(text="b"), overlap="interrupt")
            await anyio.sleep(0.005)
            it.store.release()

        assert [*"01234"] == reading.data
        assert f"cut a, {cut} 1: 01234" == (await it.lines())[0]
        assert cut in reading.kinds[-1]


async def test_chunks_are_kept_by_value(place: Place) -> None:
    class Piece(BaseModel):
        n: int

    cues = Cues()
    numbers: list[JsonValue] = [1]
    data: dict[str, JsonValue] = {"list": numbers}

    async def change(chat: Chat, text: str) -> str:
        piece = Piece(n=1)
        await chat.turn.emit(data)
        await chat.turn.emit(piece)
        numbers.append(2)
        piece.n = 2
        return ""

    cues.scripts["a"] = change
    async with scene(place, cues) as it:
        receipt = await it.tell(Say(text="a"))
        await receipt.wait()
        first = [event.data async for event in receipt.events() if isinstance(event, Chunk)]
        assert [{"list": [1]}, {"n": 1}] == first
        cast(Any, first[0])["list"].append(3)

        assert [{"list": [1]}, {"n": 1}] == [e.data async for e in receipt.events() if isinstance(e, Chunk)]


@pytest.mark.parametrize(
    "bad", [object(), {1: 2}, {"a": object()}, "\ud800"], ids=["object", "number", "nested", "half"]
)
async def test_what_json_cannot_hold_is_no_chunk(place: Place, bad: Any) -> None:
    cues = Cues()

    async def emit(chat: Chat, text: str) -> str:
        with pytest.raises(ValueError):
            await chat.turn.emit(bad)
        await chat.turn.emit("good")
        return "done"

    cues.scripts["a"] = emit
    async with scene(place, cues) as it:
        receipt = await it.tell(Say(text="a"))
        assert "done" == await receipt.wait()

        assert ["good"] == [e.data async for e in receipt.events() if isinstance(e, Chunk)]


async def test_chunks_are_bounded_one_by_one_and_together(place: Place) -> None:
    cues, said = Cues(), list[str]()

    async def emit(chat: Chat, text: str) -> str:
        for data in ("x" * 101, "y" * 100, "y" * 100, "y" * 100):
            try:
                await chat.turn.emit(data)
            except PayloadTooLarge as error:
                said.append(str(error))
        return ""

    cues.scripts["a"] = emit
    async with scene(place, cues, message_bytes_max=100, state_bytes_max=250) as it:
        receipt = await it.tell(Say(text="a"))
        await receipt.wait()

        assert [True, False] == [text.startswith("A chunk") for text in said]
        assert ["y" * 100] * 2 == [e.data async for e in receipt.events() if isinstance(e, Chunk)]


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_handler_that_only_emits_lets_others_run(place: Place, told: bool) -> None:
    cues, steps = Cues(), list[int]()
    emitted = [0]

    async def loop(chat: Chat, text: str) -> str:
        for number in range(2000):
            await chat.turn.emit("x")
            emitted[0] = number
        return "done"

    cues.scripts["a"] = loop
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=told)
        while "a" not in it.seen:
            steps.append(emitted[0])
            await anyio.lowlevel.checkpoint()

        assert {"a": "done"} == await it.saw("a")
        assert len({step for step in steps if 0 < step < 1999}) >= 10


async def test_a_stop_reaches_a_handler_that_only_emits(place: Place) -> None:
    cues = Cues()

    async def for_ever(chat: Chat, text: str) -> str:
        while True:
            await chat.turn.emit("x")

    cues.scripts["a"] = for_ever
    async with scene(place, cues) as it:
        await it.send(Say(text="a"))
        await until(lambda: cues.began)
        await it.chat.stop()

        assert {"a": "TurnStopped"} == await it.saw("a")


async def test_another_attempt_begins_with_no_chunk(place: Place) -> None:
    cues, reading = Cues(), Reading()

    async def flaky(chat: Chat, text: str) -> str:
        await chat.turn.emit(f"attempt {chat.turn.attempt}")
        if chat.turn.attempt == 1:
            await until(lambda: reading.data)
            raise KeyError(text)
        await anyio.sleep_forever()
        raise AssertionError

    cues.scripts["a"] = flaky
    async with scene(place, cues) as it:
        receipt = await it.tell(Again(text="a"))
        async with anyio.create_task_group() as group:
            group.start_soon(reading.read, it, receipt.turn)
            await until(lambda: len(reading.data) == 2)
            await it.chat.stop()

        assert ["accepted", "chunk", "restarted", "chunk", "stopped"] == reading.kinds
        assert ["cut a, stop 2: attempt 2"] == await it.lines()


COUNT = 10_000


async def test_ten_thousand_chunks_and_five_readers_who_come_and_go(place: Place) -> None:
    """Told; one of the readers stalls from the first chunk to the end. Each sees the same, and all of it once."""
    cues, chance = Cues(), random.Random(7)
    seen: list[list[JsonValue]] = [[] for _ in range(5)]
    leaves, backlog = [0], [0]

    async def stream(chat: Chat, text: str) -> str:
        ticket = chat._salon_frame.envelope.sending  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
        assert ticket is not None
        for number in range(COUNT):
            await chat.turn.emit(f"chunk {number}")
            backlog[0] = max(backlog[0], ticket.ticket.backlog)
        return "done"

    async def reader(it: Scene, turn: str, place: int) -> None:
        after: str | None = None
        while True:
            async with it.chat.attach(turn, after=after) as events:
                quota = chance.randrange(1, 800)
                async for event in events:
                    if isinstance(event, Done):
                        return
                    if isinstance(event, Chunk):
                        seen[place].append(event.data)
                        after = event.id
                        quota -= 1
                    if quota == 0:
                        leaves[0] += 1
                        break
            await anyio.sleep(chance.random() * 0.003)

    async def stalled(it: Scene, turn: str) -> None:
        async with it.chat.attach(turn) as events:
            async for event in events:
                if isinstance(event, Chunk):
                    seen[4].append(event.data)
                    if len(seen[4]) == 1:
                        await until(lambda: all(len(each) == COUNT for each in seen[:4]))

    cues.scripts["a"] = stream
    async with scene(place, cues, replay_bytes_max=1_000_000) as it:
        receipt = await it.tell(Say(text="a"))
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(reader, it, receipt.turn, number)
            group.start_soon(stalled, it, receipt.turn)

        assert [[f"chunk {number}" for number in range(COUNT)]] * 5 == seen
        assert leaves[0] > 20
        assert 0 < backlog[0] <= 320


async def test_a_reader_who_is_too_far_behind_learns_that_and_the_outcome(place: Place) -> None:
    cues = Cues()

    async def stream(chat: Chat, text: str) -> str:
        for number in range(1000):
            await chat.turn.emit(number)
        return "done"

    cues.scripts["a"] = stream
    async with scene(place, cues, replay_events_max=100) as it:
        receipt = await it.tell(Say(text="a"))
        await receipt.wait()
        with pytest.raises(ReplayIncomplete) as incomplete:
            [event async for event in receipt.events()]

        assert isinstance(incomplete.value.outcome, Done)
        assert "done" == await receipt.events().reply()


async def test_a_stopped_stream_is_kept_though_its_replay_is_not(place: Place) -> None:
    """What the hook gets does not depend on what is kept for readers."""
    cues = Cues()

    async def stream(chat: Chat, text: str) -> str:
        for _ in range(300):
            await chat.turn.emit("x")
        await anyio.sleep_forever()
        raise AssertionError

    cues.scripts["a"] = stream
    settings = Settings(replay_events_max=10, tick_s=0.001)
    async with Runtime(Chat, store=place.store(), deps=cues, settings=settings) as runtime:
        chat: SessionHandle[State] = await runtime.create(Chat)
        receipt = await chat.tell(Say(text="a"))
        await until(lambda: cues.began)
        await anyio.sleep(0.05)
        await chat.stop()
        with pytest.raises(TurnStopped):
            await receipt.wait()

        assert [f"cut a, stop 1: {'x' * 300}"] == (await chat.peek()).state.lines.tail(1)
