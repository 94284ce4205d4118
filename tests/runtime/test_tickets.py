"""The live side of a message: what readers see of it, and when."""

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import JsonValue

from salon.ended import Ended
from salon.errors import Draining, ReplayIncomplete, SalonError, TurnFailed, TurnStopped
from salon.events import Ending
from salon.replay import ReplayBounds
from salon.testing import VirtualClock
from salon.ticket import Ticket
from salon.turn_id import number_of
from salon_actors import current_host_loop
from tests.runtime.reading import labels, read_all


def ticket(count: int = 1, *, durable: bool = False, events_max: int = 100, bytes_max: int = 10_000) -> Ticket:
    bounds = ReplayBounds(events_max=events_max, bytes_max=bytes_max)
    return Ticket(current_host_loop(), number_of(1, count), position=3, bounds=bounds, durable=durable)


def emit(it: Ticket, *chunks: JsonValue) -> None:
    for chunk in chunks:
        it.emit(chunk)


def done(it: Ticket, reply: object = "so") -> Ending:
    return Ending.done(it.turn, reply)


async def test_a_reader_gets_everything_in_order_whenever_it_comes() -> None:
    it = ticket()
    found: list[list[str]] = []

    async def read() -> None:
        found.append(await labels(it.read()))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        it.begin(1)
        emit(it, "a", "b")
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        emit(it, "c")
        it.end(done(it))
    await read()

    assert [["accepted 3", "a", "b", "c", "done so"]] * 3 == found


async def test_every_event_is_a_cursor_behind_which_the_rest_follows() -> None:
    it = ticket()
    it.begin(1)
    emit(it, "a", {"b": [1]}, 3, None)
    it.end(done(it))
    events = await read_all(it.read())

    assert 6 == len(events)
    for place, event in enumerate(events):
        assert events[place + 1 :] == await read_all(it.read(event.id))


async def test_another_attempt_makes_readers_forget() -> None:
    it = ticket()
    it.begin(1)
    emit(it, "a", "b")
    reader = it.read()
    before = [await anext(reader) for _ in range(3)]
    it.put_back()
    assert "queued" == it.status
    it.begin(2)
    emit(it, "A")
    it.end(done(it))

    assert ["restarted 2", "A", "done so"] == await labels(reader)
    assert ["restarted 2", "A", "done so"] == await labels(it.read(before[-1].id))
    assert ["accepted 3", "A", "done so"] == await labels(it.read())


async def test_chunks_are_shown_when_they_are_durable() -> None:
    it = ticket(durable=True)
    it.begin(1)
    emit(it, "a", "b")
    reader = it.read()
    assert "accepted" == (await anext(reader)).kind
    assert reader.take() is None
    assert ["a", "b"] == it.unshown()
    emit(it, "c")
    assert ["c"] == it.unshown()
    assert [] == it.unshown()
    it.shown(2)

    assert ["a", "b"] == [event.data for event in (reader.take(), reader.take()) if event and event.kind == "chunk"]
    assert reader.take() is None
    assert ["a", "b", "c"] == it.emitted()
    it.end(Ending.failed(it.turn, TurnStopped()))
    assert ["stopped"] == await labels(reader)


async def test_of_a_turn_that_is_done_every_chunk_is_shown() -> None:
    it = ticket(durable=True)
    it.begin(1)
    emit(it, "a", "b")
    it.end(done(it))

    assert ["accepted 3", "a", "b", "done so"] == await labels(it.read())


async def test_the_first_end_stands() -> None:
    it = ticket()
    it.begin(1)

    assert it.end(Ending.failed(it.turn, TurnFailed("Chat.say", "KeyError")))
    assert not it.end(done(it))
    assert "failed" == it.status
    with pytest.raises(TurnFailed):
        await it.wait()


async def test_readers_of_a_merged_message_follow_the_one_that_answers() -> None:
    it, leader = ticket(1), ticket(2)
    found: list[list[str]] = []
    replies: list[object] = []

    async def read() -> None:
        found.append(await labels(it.read()))

    async def wait() -> None:
        replies.append(await it.wait())

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        it.merge_into(leader)
        await anyio.wait_all_tasks_blocked()
        leader.begin(1)
        assert "running" == it.status
        emit(leader, "a")
        leader.end(done(leader))

    assert [["accepted 3", "accepted 3 into t1-2", "a", "done so"]] == found
    assert ["so"] == replies
    assert ["accepted 3 into t1-2", "a", "done so"] == await labels(it.read())
    assert ["done so"] == await labels(it.read("t1-2.1.1"))
    with pytest.raises(ValueError):
        leader.read("t1-1.0.0")
    with pytest.raises(ValueError):
        leader.merge_into(it)


async def test_a_reader_whose_chunks_are_gone_learns_the_outcome() -> None:
    it = ticket(events_max=2)
    it.begin(1)
    emit(it, "a", "b", "c")
    reader = it.read()
    assert "accepted" == (await anext(reader)).kind
    assert reader.take() is None
    it.end(done(it))

    with pytest.raises(ReplayIncomplete) as incomplete:
        await anext(reader)
    assert done(it).outcome == incomplete.value.outcome
    with pytest.raises(StopAsyncIteration):
        await anext(reader)
    assert ["b", "c", "done so"] == await labels(it.read("t1-1.1.1"))


async def test_all_who_wait_hear_that_the_process_gives_up() -> None:
    it, follower = ticket(), ticket(2)
    follower.merge_into(it)
    errors: list[SalonError] = []

    async def read() -> None:
        with pytest.raises(Draining) as lost:
            await read_all(it.read())
        errors.append(lost.value)

    async def wait() -> None:
        with pytest.raises(Draining) as lost:
            await follower.wait()
        errors.append(lost.value)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        it.lose(Draining("later"))

    assert 2 == len({id(error) for error in errors})


@pytest.mark.parametrize("data", [{1, 2}, b"x", object(), {"a": {1: 2}}, "\ud800", ["\ud800"]])
async def test_what_json_cannot_hold_is_no_chunk(data: JsonValue) -> None:
    it = ticket()
    it.begin(1)

    with pytest.raises(ValueError):
        it.emit(data)
    assert 0 == it.seq


async def test_a_chunk_is_everybodys_own() -> None:
    it = ticket()
    it.begin(1)
    data: list[JsonValue] = ["a"]
    it.emit(data)
    data.append("later")
    one = (await read_some(it, 2))[1]
    one.append("mine")

    assert ["a"] == (await read_some(it, 2))[1]


async def read_some(it: Ticket, n: int) -> list[list[JsonValue]]:
    reader = it.read()
    events = [await anext(reader) for _ in range(n)]
    return [event.data if event.kind == "chunk" and isinstance(event.data, list) else [] for event in events]


async def test_a_cancelled_reader_loses_nothing() -> None:
    it = ticket()
    it.begin(1)
    reader = it.read()
    taken: list[str] = []
    for round_ in range(6):
        with anyio.CancelScope() as scope:
            scope.cancel()
            taken.append((await anext(reader)).kind)
            await checkpoint()
        emit(it, round_)
    it.end(done(it))

    assert 0 == it.listeners
    assert ["0", "1", "2", "3", "4", "5", "done so"] == (await labels(it.read("t1-1.0.0")))
    assert 8 == len(taken) + len(await labels(reader))


async def test_ended_tickets_are_forgotten_by_time_alone() -> None:
    clock, host = VirtualClock(), current_host_loop()
    ended = Ended(host, clock, age_s=30)
    first, second = ticket(1), ticket(2)
    for it in (first, second):
        it.begin(1)
        emit(it, "a" * 100)
        it.end(done(it))
    ended.keep(first)
    await clock.advance(10)
    ended.keep(second)
    await clock.advance(19.9)
    assert (first, second) == (ended.find(first.number), ended.find(second.number))
    await clock.advance(0.2)
    assert (None, second) == (ended.find(first.number), ended.find(second.number))
    await clock.advance(10)

    assert (0, 0, 0) == (len(ended), ended.bytes, clock.sleeping)
    with pytest.raises(ReplayIncomplete):
        await read_all(first.read())
    await host.close()
