"""Many readers of one turn, at random: everybody gets the same, and nothing is told that is not so."""

from collections.abc import Callable
from random import Random
from typing import Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from salon.errors import Refused, ReplayIncomplete
from salon.events import Ending, TurnEvent
from salon.reader import TicketReader
from salon.replay import ReplayBounds
from salon.stream import TurnStream
from salon.ticket import Ticket
from salon.turn_id import number_of
from salon_actors import HostLoop, current_host_loop
from tests.runtime.reading import label, labels

CHUNKS = 10_000


def ticket(bounds: ReplayBounds) -> Ticket:
    return Ticket(current_host_loop(), number_of(1, 1), bounds=bounds)


async def come_and_go(it: Ticket, chance: Random) -> list[str]:
    """Read the turn to its end in many streams, each from where the last one was left."""
    seen: list[str] = []
    after: str | None = None
    while True:

        async def opening(after: str | None = after) -> TicketReader:
            return it.read(after)

        async with TurnStream[str](opening) as events:
            left = chance.randrange(1, 400)
            async for event in events:
                seen.append(label(event))
                after = event.id
                left -= 1
                if left == 0:
                    break
            else:
                return seen
        for _ in range(chance.randrange(4)):
            await checkpoint()


async def emit_all(it: Ticket, chance: Random, look: Callable[[], None]) -> None:
    it.begin(1)
    for number in range(CHUNKS):
        it.emit(str(number))
        look()
        if chance.random() < 0.1:
            await checkpoint()
    it.end(Ending.done(it.turn, "so"))


@pytest.mark.parametrize("seed", range(2))
async def test_readers_who_come_and_go_all_get_the_same(seed: int) -> None:
    it, chance = ticket(ReplayBounds(events_max=CHUNKS)), Random(seed)
    found: list[list[str]] = []
    stalled = it.read()
    assert "accepted" == (await anext(stalled)).kind

    async def read(number: int) -> None:
        found.append(await come_and_go(it, Random(seed * 10 + number)))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(read, number)
        await emit_all(it, chance, lambda: None)
    found.append(["accepted 0", *(await labels(stalled))])

    everything = ["accepted 0", *map(str, range(CHUNKS)), "done so"]
    assert [everything] * 5 == found


async def test_a_stalled_reader_neither_slows_nor_grows_anything() -> None:
    bounds = ReplayBounds(events_max=500, bytes_max=1500)
    it, chance = ticket(bounds), Random(7)
    found: list[list[str]] = []
    sizes: list[int] = []
    stalled = it.read()
    assert "accepted" == (await anext(stalled)).kind

    async def read() -> None:
        found.append(await labels(it.read()))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await emit_all(it, chance, lambda: sizes.append(it.kept_bytes))

    assert [["accepted 0", *map(str, range(CHUNKS)), "done so"]] * 4 == found
    assert 1000 < max(sizes) <= bounds.bytes_max
    with pytest.raises(ReplayIncomplete) as incomplete:
        await anext(stalled)
    assert incomplete.value.outcome is not None
    assert "done so" == label(incomplete.value.outcome)


async def test_a_reader_may_be_cancelled_at_each_step_of_the_loop() -> None:
    steps = 40
    for step in range(steps):
        it = ticket(ReplayBounds())
        reader, other = it.read(), it.read()
        seen: list[str] = []
        others: list[str] = []
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def read(
                scope: anyio.CancelScope = scope, reader: TicketReader = reader, seen: list[str] = seen
            ) -> None:
                with scope:
                    async for event in reader:
                        seen.append(label(event))  # noqa: PERF401  # a comprehension would lose what came

            async def read_on(reader: TicketReader = other, seen: list[str] = others) -> None:
                seen.extend(await labels(reader))

            async def write(it: Ticket = it) -> None:
                it.begin(1)
                for number in range(steps // 2):
                    it.emit(str(number))
                    await checkpoint()
                    await checkpoint()
                it.end(Ending.done(it.turn, "so"))

            group.start_soon(read)
            group.start_soon(read_on)
            group.start_soon(write)
            for _ in range(step):
                await checkpoint()
            scope.cancel()
        assert 0 == it.listeners
        everything = ["accepted 0", *map(str, range(steps // 2)), "done so"]
        assert everything == seen + await labels(reader)
        assert everything == others


class NoHost:
    """A host that nobody asks: in the machine below nobody waits."""


def taken(reader: TicketReader) -> TurnEvent[Any] | ReplayIncomplete | None:
    try:
        return reader.take()
    except ReplayIncomplete as incomplete:
        return incomplete


class Walk:
    """A reader, and what it may be told next."""

    def __init__(self, reader: TicketReader, *, attempt: int, seq: int, is_welcome: bool) -> None:
        self.reader = reader
        self.attempt = attempt
        self.seq = seq
        self.is_welcome = is_welcome
        self.is_over = False


class TicketMachine(RuleBasedStateMachine):
    """A ticket with few places, against what was emitted and shown."""

    cursors: Bundle[str] = Bundle("cursors")
    walks: Bundle[Walk] = Bundle("walks")

    @initialize(events_max=st.integers(1, 4), durable=st.booleans())
    def start(self, events_max: int, durable: bool) -> None:
        self.bounds = ReplayBounds(events_max=events_max)
        self.it = Ticket(cast(HostLoop, NoHost()), number_of(1, 1), position=0, bounds=self.bounds, durable=durable)
        self.emitted: dict[int, list[Any]] = {0: []}
        self.attempt = 0
        self.shown = 0
        self.handed = 0
        self.ending: Ending | None = None

    @property
    def is_running(self) -> bool:
        return self.ending is None and self.it.status == "running"

    @precondition(lambda self: self.ending is None)
    @rule()
    def begin(self) -> None:
        self.it.put_back()
        self.attempt += 1
        self.emitted[self.attempt] = []
        self.shown = self.handed = 0
        self.it.begin(self.attempt)

    @precondition(lambda self: self.is_running)
    @rule(data=st.sampled_from(["a", "ä", 1, None, [1, "x"], {"y": None}]))
    def emit(self, data: Any) -> None:
        chunks = self.emitted[self.attempt]
        chunks.append(data)

        assert len(chunks) == self.it.emit(data)
        if not self.it.durable:
            self.shown = self.handed = len(chunks)

    @precondition(lambda self: self.is_running and self.it.durable)
    @rule()
    def hand_over(self) -> None:
        assert self.emitted[self.attempt][self.handed :] == self.it.unshown()
        self.handed = len(self.emitted[self.attempt])

    @precondition(lambda self: self.is_running and self.it.durable and self.handed > self.shown)
    @rule(chance=st.randoms(use_true_random=False))
    def show(self, chance: Random) -> None:
        self.shown = chance.randint(self.shown, self.handed)
        self.it.shown(self.shown)

    @precondition(lambda self: self.ending is None)
    @rule(is_done=st.booleans())
    def end(self, is_done: bool) -> None:
        self.ending = Ending.done(self.it.turn, "so") if is_done else Ending.failed(self.it.turn, Refused("no"))
        if is_done:
            self.shown = len(self.emitted[self.attempt])

        assert self.it.end(self.ending)

    @rule(target=walks)
    def come(self) -> Walk:
        return Walk(self.it.read(), attempt=self.attempt, seq=0, is_welcome=False)

    @rule(target=walks, after=cursors)
    def come_back(self, after: str) -> Walk:
        walk = Walk(self.it.read(after), attempt=0, seq=0, is_welcome=True)
        if after.endswith(".end"):
            walk.is_over = True
        else:
            walk.attempt, walk.seq = map(int, after.split(".")[1:])
        return walk

    @precondition(lambda self: self.ending is not None)
    @rule()
    def forget(self) -> None:
        self.it.forget_chunks()

    @rule(target=cursors, walk=walks)
    def read(self, walk: Walk) -> str:
        """One event, which must be the one that follows."""
        if walk.is_over:
            with pytest.raises(StopAsyncIteration):
                walk.reader.take()
            return "t1-1.end"
        place = f"t1-1.{walk.attempt}.{walk.seq}"
        event = taken(walk.reader)
        if isinstance(event, ReplayIncomplete):
            self.check_that_it_had_to_be_told(walk, event)
            return place
        if event is None:
            self.check_that_nothing_can_be_told(walk)
            return place
        if event.kind == "accepted":
            assert not walk.is_welcome
            walk.is_welcome = True
        elif event.kind == "restarted":
            assert (event.attempt, True) == (self.attempt, walk.attempt < self.attempt)
            walk.attempt, walk.seq = self.attempt, 0
        elif event.kind == "chunk":
            if walk.attempt == 0 and self.attempt == 1:
                walk.attempt = 1
            assert (walk.attempt, walk.seq + 1) == (event.attempt, event.seq)
            assert walk.attempt == self.attempt
            assert event.seq <= self.shown
            assert self.emitted[self.attempt][walk.seq] == event.data
            walk.seq += 1
        else:
            assert self.ending is not None
            assert self.ending.outcome == event
            assert (walk.attempt, walk.seq) == (self.attempt, self.shown) or (walk.attempt, self.attempt) == (0, 1)
            walk.is_over = True
        return event.id

    def check_that_it_had_to_be_told(self, walk: Walk, incomplete: ReplayIncomplete) -> None:
        assert self.ending is not None
        assert self.ending.outcome == incomplete.outcome
        assert walk.seq + 1 < self.it.first_seq
        assert walk.seq < self.shown
        walk.is_over = True

    def check_that_nothing_can_be_told(self, walk: Walk) -> None:
        assert self.ending is None
        assert walk.is_welcome
        assert walk.attempt == self.attempt or (walk.attempt, self.attempt) == (0, 1)
        assert walk.seq == self.shown or walk.seq + 1 < self.it.first_seq

    @invariant()
    def what_is_kept_is_bounded_and_newest(self) -> None:
        if hasattr(self, "it"):
            emitted = self.it.emitted()
            assert emitted is None or self.emitted[self.attempt] == emitted
            assert self.it.first_seq <= max(self.shown, 1) or self.ending is not None
            kept_shown = self.shown + 1 - self.it.first_seq
            assert kept_shown <= self.bounds.events_max


TicketMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTicketMachine = TicketMachine.TestCase
