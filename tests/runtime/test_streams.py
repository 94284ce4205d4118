"""A stream is one reader of one turn: opened once, read to its end, left at any time."""

from collections.abc import AsyncIterator

import anyio
import pytest
from pydantic import JsonValue

from salon.errors import NotApplied, ReplayIncomplete, TurnStopped
from salon.events import Ending
from salon.reader import Reader
from salon.replay import ReplayBounds
from salon.stream import TurnStream
from salon.ticket import Ticket
from salon.turn_id import number_of
from salon_actors import current_host_loop
from tests.runtime.reading import labels


class Sending:
    """What a handle would do: send once, and read."""

    def __init__(self, *, events_max: int = 100) -> None:
        bounds = ReplayBounds(events_max=events_max)
        self.ticket = Ticket(current_host_loop(), number_of(1, 1), bounds=bounds)
        self.sent = 0

    def stream(self, after: str | None = None) -> TurnStream[str]:
        async def opening() -> Reader:
            self.sent += 1
            await anyio.lowlevel.checkpoint()
            return self.ticket.read(after)

        return TurnStream(opening)

    def run(self, *chunks: JsonValue, attempt: int = 1) -> None:
        self.ticket.begin(attempt)
        for chunk in chunks:
            self.ticket.emit(chunk)

    def done(self, reply: str = "so") -> None:
        self.ticket.end(Ending.done(self.ticket.turn, reply))

    def stopped(self) -> None:
        self.ticket.end(Ending.failed(self.ticket.turn, TurnStopped("stop")))


async def collect(chunks: AsyncIterator[JsonValue]) -> list[JsonValue]:
    return [chunk async for chunk in chunks]


async def test_a_stream_opens_with_its_block() -> None:
    it = Sending()
    stream = it.stream()
    assert 0 == it.sent
    async with stream as events:
        assert 1 == it.sent
        it.run("a", "b")
        it.done()

        assert ["accepted 0", "a", "b", "done so"] == await labels(aiter(events))
    assert 1 == it.sent


async def test_a_stream_opens_with_its_first_use() -> None:
    it = Sending()
    it.run("a")
    it.done()

    assert ["a"] == await collect(it.stream().chunks())
    assert "so" == await it.stream().reply()
    assert ["accepted 0", "a", "done so"] == await labels(aiter(it.stream()))
    assert 3 == it.sent


async def test_another_iteration_goes_on_where_the_last_one_was() -> None:
    it = Sending()
    it.run("a", "b", "c")
    it.done()
    async with it.stream() as events:
        async for event in events:
            if event.kind == "chunk":
                break

        assert ["b", "c"] == await collect(events.chunks())
        assert [] == await labels(aiter(events))
        assert "so" == await events.reply()


async def test_iterating_never_raises_for_how_the_turn_ended() -> None:
    it = Sending()
    it.run("a")
    it.stopped()
    async with it.stream() as events:
        assert ["accepted 0", "a", "stopped"] == await labels(aiter(events))
        for _ in range(2):
            with pytest.raises(TurnStopped):
                await collect(events.chunks())
        with pytest.raises(TurnStopped):
            await events.reply()


async def test_a_stream_that_was_left_says_so() -> None:
    it = Sending()
    async with it.stream() as events:
        it.run("a")
    for use in (anext(aiter(events)), anext(aiter(events.chunks())), events.reply(), events.__aenter__()):
        with pytest.raises(RuntimeError, match="attach"):
            await use

    assert 1 == it.sent


async def test_a_message_is_sent_once_even_if_opening_was_cancelled() -> None:
    it = Sending()
    stream = it.stream()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anext(aiter(stream))
    assert scope.cancelled_caught
    with pytest.raises(RuntimeError):
        await anext(aiter(stream))

    assert 1 == it.sent


async def test_a_message_that_cannot_be_sent_says_so_when_the_stream_opens() -> None:
    async def opening() -> Reader:
        raise NotApplied

    stream = TurnStream[None](opening)
    with pytest.raises(NotApplied):
        async with stream:
            pass


async def test_chunks_of_two_attempts_are_never_mixed() -> None:
    it = Sending()
    it.run("a", "b")
    async with it.stream() as events:
        chunks = events.chunks()
        assert "a" == await anext(chunks)
        it.run("A", attempt=2)
        it.done()
        with pytest.raises(ReplayIncomplete) as incomplete:
            await anext(chunks)

    assert Ending.done(it.ticket.turn, "so").outcome == incomplete.value.outcome


async def test_a_reader_that_had_no_chunks_yet_may_read_the_next_attempt() -> None:
    it = Sending()
    it.run("a")
    async with it.stream() as events:
        it.run("A", attempt=2)
        it.done()

        assert ["A"] == await collect(events.chunks())


async def test_chunks_that_are_gone_are_told_by_chunks_and_not_by_the_reply() -> None:
    it = Sending(events_max=1)
    it.run("a", "b")
    it.done()
    async with it.stream() as events:
        with pytest.raises(ReplayIncomplete):
            await collect(events.chunks())

        assert "so" == await events.reply()


async def test_one_may_yield_inside_a_stream() -> None:
    it = Sending()

    async def forward() -> AsyncIterator[str]:
        async with it.stream() as events:
            async for event in events:
                yield event.kind

    relay = forward()
    it.run("a")
    with anyio.CancelScope():
        assert "accepted" == await anext(relay)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
    assert "chunk" == await anext(relay)
    it.done()

    assert ["done"] == [kind async for kind in relay]
