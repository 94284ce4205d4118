"""Several devices see all turns of one session."""

import gc
from typing import Any

import anyio
import pytest

from salon.errors import Draining, Refused, ReplayIncomplete
from salon.events import Ending, TurnEvent
from salon.replay import ReplayBounds
from salon.ticket import Ticket
from salon.turn_id import number_of
from salon.watch import Broadcast, SessionWatch
from salon_actors import current_host_loop
from tests.runtime.reading import label


class Room:
    """One session at version 10."""

    def __init__(self, *, turns_max: int = 100, bytes_max: int = 1_000_000, events_max: int = 100) -> None:
        self.host = current_host_loop()
        self.broadcast = Broadcast(self.host, 10, turns_max=turns_max, bytes_max=bytes_max)
        self.bounds = ReplayBounds(events_max=events_max)
        self.version = 10
        self.admitted = 0

    def send(self) -> Ticket:
        self.admitted += 1
        ticket = Ticket(self.host, number_of(1, self.admitted), bounds=self.bounds)
        self.broadcast.admit(ticket)
        return ticket

    def commit(self, ticket: Ticket, reply_bytes: int = 0) -> None:
        self.version += 1
        reply = f"v{self.version}"
        ticket.end(Ending.done(ticket.turn, reply, version=self.version, reply_bytes=reply_bytes))

    def turn(self, *chunks: str) -> Ticket:
        ticket = self.send()
        ticket.begin(1)
        for chunk in chunks:
            ticket.emit(chunk)
        self.commit(ticket)
        return ticket

    def watch(self, after: int | None = None) -> SessionWatch:
        async def opening() -> Broadcast:
            await anyio.lowlevel.checkpoint()
            return self.broadcast

        return SessionWatch(opening, after)


def named(event: TurnEvent[Any]) -> str:
    return f"{event.turn} {label(event)}"


async def take(watch: SessionWatch, n: int) -> list[str]:
    with anyio.fail_after(5):
        return [named(await anext(watch)) for _ in range(n)]


async def is_quiet(watch: SessionWatch) -> bool:
    """Nothing more comes unless something happens."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(anext, watch)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    return scope.cancelled_caught


async def test_every_device_sees_every_turn_in_order() -> None:
    room = Room()
    watches = [room.watch(), room.watch()]
    seen: list[list[str]] = [[], []]

    async def read(place: int) -> None:
        async for event in watches[place]:
            seen[place].append(named(event))

    async with anyio.create_task_group() as group:
        group.start_soon(read, 0)
        group.start_soon(read, 1)
        await anyio.wait_all_tasks_blocked()
        room.turn("a", "b")
        waiting, running = room.send(), room.send()
        running.begin(1)
        running.emit("c")
        await anyio.wait_all_tasks_blocked()
        room.commit(running)
        waiting.end(Ending.failed(waiting.turn, Refused("no")))
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    first = ["t1-1 accepted 0", "t1-1 a", "t1-1 b", "t1-1 done v11"]
    second = ["t1-2 accepted 0", "t1-3 accepted 0", "t1-3 c", "t1-2 failed", "t1-3 done v12"]
    assert [first + second] * 2 == seen


async def test_a_watch_begins_behind_a_version() -> None:
    room = Room()
    early, late = room.send(), room.send()
    late.begin(1)
    room.commit(late)
    early.begin(1)
    early.emit("a")
    room.commit(early)
    room.turn("b")
    room.send().begin(1)

    everything = ["t1-2 done v11", "t1-1 done v12", "t1-3 done v13", "t1-4 accepted 0"]
    for place, version in enumerate((10, 11, 12, 13)):
        watch = room.watch(after=version)
        assert everything[place:] == await take(watch, 4 - place)
        assert await is_quiet(watch)
    assert ["t1-4 accepted 0"] == await take(room.watch(), 1)


async def test_a_device_that_comes_in_the_middle_sees_the_running_turn_from_its_start() -> None:
    room = Room()
    ticket = room.send()
    ticket.begin(1)
    ticket.emit("a")
    watch = room.watch()
    assert ["t1-1 accepted 0", "t1-1 a"] == await take(watch, 2)
    ticket.begin(2)
    ticket.emit("A")
    room.commit(ticket)

    assert ["t1-1 restarted 2", "t1-1 A", "t1-1 done v11"] == await take(watch, 3)


async def test_what_is_too_old_is_told_and_the_watch_goes_on() -> None:
    room = Room(turns_max=2)
    for _ in range(4):
        room.turn()
    with pytest.raises(ReplayIncomplete):
        await anext(room.watch(after=9))
    watch = room.watch(after=10)
    with pytest.raises(ReplayIncomplete) as incomplete:
        await anext(watch)
    assert incomplete.value.outcome is None
    room.turn("a")

    assert ["t1-5 accepted 0", "t1-5 a", "t1-5 done v15"] == await take(watch, 3)
    assert ["t1-4 done v14", "t1-5 done v15"] == await take(room.watch(after=13), 2)


async def test_a_stalled_watcher_costs_nothing_and_learns_that_it_has_missed_something() -> None:
    room = Room(turns_max=5)
    watch = room.watch()
    room.turn("a")
    stalled = room.send()
    assert ["t1-2 accepted 0"] == await take(watch, 1)
    for _ in range(1000):
        room.turn("b")
    assert room.broadcast.kept <= 7
    with pytest.raises(ReplayIncomplete):
        await anext(watch)
    stalled.begin(1)
    room.commit(stalled)

    assert ["t1-2 accepted 0", "t1-2 done v1012"] == await take(watch, 2)


async def test_replies_are_bounded_in_bytes() -> None:
    room = Room(bytes_max=1000)
    for _ in range(10):
        room.commit(room.send(), reply_bytes=400)

    assert room.broadcast.kept <= 3
    assert 17 == room.broadcast.floor


async def test_chunks_that_are_gone_are_told_once() -> None:
    room = Room(events_max=1)
    watch = room.watch()
    ticket = room.send()
    assert ["t1-1 accepted 0"] == await take(watch, 1)
    ticket.begin(1)
    ticket.emit("a")
    ticket.emit("b")
    room.commit(ticket)
    with pytest.raises(ReplayIncomplete) as incomplete:
        await anext(watch)
    assert ticket.ending is not None
    assert ticket.ending.outcome == incomplete.value.outcome
    room.turn()

    assert ["t1-2 accepted 0", "t1-2 done v12"] == await take(watch, 2)


async def test_a_merged_message_is_told_as_accepted_and_its_answer_once() -> None:
    room = Room()
    watch = room.watch()
    leader, follower = room.send(), room.send()
    assert ["t1-1 accepted 0", "t1-2 accepted 0"] == await take(watch, 2)
    follower.merge_into(leader)
    room.send().merge_into(leader)
    leader.begin(1)
    leader.emit("a")
    room.commit(leader)

    assert [
        "t1-1 a",
        "t1-1 done v11",
        "t1-2 accepted 0 into t1-1",
        "t1-3 accepted 0 into t1-1",
    ] == await take(watch, 4)
    assert await is_quiet(watch)


async def test_who_watches_hears_that_the_process_gives_up() -> None:
    room = Room()
    watch = room.watch()
    room.turn()
    async with anyio.create_task_group() as group:

        async def read() -> None:
            with pytest.raises(Draining):
                await anext(watch)

        assert not room.broadcast.is_watched
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        assert room.broadcast.is_watched
        room.broadcast.close(Draining("later"))


async def test_a_watch_that_was_dropped_is_not_remembered() -> None:
    room = Room()
    watch = room.watch()
    room.send()
    assert ["t1-1 accepted 0"] == await take(watch, 1)
    assert room.broadcast.is_watched
    del watch
    gc.collect()

    assert not room.broadcast.is_watched
    assert 0 == room.broadcast.bell.listeners


async def test_a_cancelled_watcher_misses_nothing() -> None:
    room = Room()
    watch = room.watch()
    assert await is_quiet(watch)
    ticket = room.send()
    ticket.begin(1)
    seen: list[str] = []
    for number in range(10):
        ticket.emit(str(number))
        with anyio.CancelScope() as scope:
            scope.cancel()
            seen.append(named(await anext(watch)))
            await anyio.lowlevel.checkpoint()

    assert ["t1-1 accepted 0", *(f"t1-1 {number}" for number in range(10))] == seen + await take(watch, 11 - len(seen))
