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


async def test_one_task_sleeps_while_something_is_kept_and_none_otherwise() -> None:
    clock, host = VirtualClock(), current_host_loop()
    ended = Ended(host, clock, age_s=30)
    tickets = [ticket(number) for number in range(100)]
    for round_ in range(3):
        for it in tickets:
            if round_ == 0:
                it.end(done(it))
            ended.keep(it)
            ended.keep(it)
        await clock.advance(0)
        assert (100, 1) == (len(ended), clock.sleeping)
        await clock.advance(30)
        assert (0, 0, 0) == (len(ended), ended.bytes, clock.sleeping)
    await host.close()


async def test_what_is_kept_for_late_readers_is_bounded_in_the_whole_process() -> None:
    clock, host = VirtualClock(), current_host_loop()
    ended = Ended(host, clock, age_s=1e6, tickets_max=50, bytes_max=40_000)
    for count in range(1000):
        it = ticket(count, bytes_max=10_000)
        it.begin(1)
        emit(it, *["a" * 90] * 10 * (count % 3))
        it.end(done(it))
        ended.keep(it)
        assert it is ended.find(it.number)
        assert len(ended) <= 50
        assert ended.bytes <= 40_000
    assert 20 < len(ended)
    ended.clear()

    assert (0, 0) == (len(ended), ended.bytes)
    await host.close()


async def test_a_reader_that_never_comes_back_holds_no_chunks() -> None:
    clock, host = VirtualClock(), current_host_loop()
    ended = Ended(host, clock, age_s=30)
    it = ticket()
    it.begin(1)
    emit(it, *["a" * 90] * 10)
    stalled = it.read()
    assert "accepted" == (await anext(stalled)).kind
    it.end(done(it))
    ended.keep(it)
    assert 900 == it.kept_bytes
    await clock.advance(30)

    assert 0 == it.kept_bytes
    with pytest.raises(ReplayIncomplete) as incomplete:
        await anext(stalled)
    assert done(it).outcome == incomplete.value.outcome
    await host.close()


async def test_a_ticket_goes_on_where_an_earlier_life_of_the_process_was() -> None:
    it = ticket(durable=True)
    it.restore(1, ["a", "b"])
    assert ("queued", 1, [], 0) == (it.status, it.attempt, it.unshown(), it.backlog)
    reader, late = it.read("t1-1.1.1"), it.read("t1-1.1.2")
    assert reader.take() is not None
    assert (None, None) == (reader.take(), late.take())
    it.begin(2)
    emit(it, "A")
    it.end(done(it))

    assert ["restarted 2", "A", "done so"] == await labels(reader)
    assert ["restarted 2", "A", "done so"] == await labels(late)
    assert ["accepted 3", "A", "done so"] == await labels(it.read())


async def test_a_cursor_from_the_future_waits_and_is_never_told_what_it_claims_to_have_seen() -> None:
    it = ticket()
    it.begin(1)
    emit(it, "a")
    ahead, beyond = it.read("t1-1.1.2"), it.read("t1-1.9.9")
    assert ahead.take() is None
    emit(it, "b", "c")
    it.end(done(it))

    assert ["c", "done so"] == await labels(ahead)
    assert ["restarted 1", "a", "b", "c", "done so"] == await labels(beyond)


async def test_a_thousand_who_gave_up_are_not_remembered() -> None:
    it = ticket()
    it.begin(1)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            for _ in range(500):
                group.start_soon(labels, it.read("t1-1.0.0"))
                group.start_soon(it.wait)
            await anyio.wait_all_tasks_blocked()
            assert 500 == it.listeners
            scope.cancel()
    assert 0 == it.listeners
    emit(it, "a")
    it.end(done(it))

    assert "so" == await it.wait()


async def test_the_last_of_many_readers_is_woken_too() -> None:
    it = ticket()
    found: list[list[str]] = []

    async def read() -> None:
        found.append(await labels(it.read()))

    async with anyio.create_task_group() as group:
        for _ in range(300):
            group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        it.begin(1)
        emit(it, "a")
        await anyio.wait_all_tasks_blocked()
        emit(it, "b")
        it.end(done(it))

    assert [["accepted 3", "a", "b", "done so"]] * 300 == found


async def test_the_newest_chunk_is_kept_however_large_it_is() -> None:
    it = ticket(bytes_max=100)
    it.begin(1)
    emit(it, "a", "ä" * 1000)

    event = it.read("t1-1.1.1").take()
    assert event is not None
    assert ("chunk", 2000) == (event.kind, it.kept_bytes)
    emit(it, "b")
    assert 1 == it.kept_bytes
