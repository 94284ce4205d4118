"""Notes and turns with mail through a bridge, over a store that fails or dies at each write in turn."""

import itertools
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from salon.testing import FaultPoint, FaultyStore, When
from salon.testing.faults import Effect
from salon_actors import HostLoop, current_host_loop
from salon_persistence.bridge import Bridge, bridge_for
from salon_persistence.records import CHECKPOINT, Mail, ProgressRow, Record
from salon_persistence.store import Applied, Fenced, LetterQuery, Outcome, Store
from tests.persistence.mail_conformance import letter, loaded, message, note, outgoing
from tests.persistence.places import MemoryPlace, SqlitePlace
from tests.persistence.sessions import created, turn

NUMBERS = range(1, 4)


@dataclass
class Delivery:
    """Accepts messages, begins and settles them, one after the other, and keeps every answer."""

    bridge: Bridge
    host: HostLoop
    accepted: set[int] = field(default_factory=set[int])
    begun: set[int] = field(default_factory=set[int])
    settled: set[int] = field(default_factory=set[int])
    doubtful: set[int] = field(default_factory=set[int])
    """Numbers of messages whose last step nobody can tell of."""
    version: int = 1

    async def write(self, record: Record) -> Outcome:
        promise = self.host.promise()
        self.bridge.commit(record, promise.set_result)
        outcome: Outcome = await promise
        return outcome

    async def run(self) -> None:
        if not isinstance(await self.write(created()), Applied):
            return
        for number in NUMBERS:
            await self.step(number, note(inbox_added=[message(number)]), self.accepted)
        for number in sorted(self.accepted):
            kept = [ProgressRow(number, CHECKPOINT, 0, b"draft")]
            if await self.step(number, note(inbox_started=[(number, 1)], progress=kept), self.begun):
                mail = Mail(inbox_settled=[number], outbox_added=[outgoing(number)])
                if number % 2:
                    mail.dead_letters = [letter(f"t0-{number}")]
                if await self.step(number, turn(1, self.version + 1, mail=mail), self.settled):
                    self.version += 1

    async def step(self, number: int, record: Record, done: set[int]) -> bool:
        outcome = await self.write(record)
        if isinstance(outcome, Applied):
            done.add(number)
        elif not isinstance(outcome, Fenced):
            self.doubtful.add(number)
        return isinstance(outcome, Applied)


@asynccontextmanager
async def delivery_over(store: Store) -> AsyncGenerator[Delivery]:
    host = current_host_loop()
    bridge = bridge_for(store, host, time.monotonic)
    await bridge.open()
    try:
        yield Delivery(bridge, host)
    finally:
        await bridge.close()
        await host.close()


async def check(store: Store, told: Delivery) -> None:
    """What was answered is there, and nothing of what was not begun is half there."""
    stored = await loaded(store)
    waiting = {row.number: row for row in stored.inbox}
    posted = {row.number for row in stored.outbox}
    buried = {found.row.id for found in await store.letters(LetterQuery())}

    assert posted.isdisjoint(waiting)
    assert told.accepted - told.doubtful <= set(waiting) | posted
    assert told.settled <= posted <= told.settled | told.doubtful
    assert buried == {f"t0-{number}" for number in posted if number % 2}
    for number, row in waiting.items():
        begun = number in told.begun
        assert row.attempts == begun or number in told.doubtful
    assert {row.number for row in stored.progress} == {number for number, row in waiting.items() if row.attempts}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize(
    ("when", "effect"),
    [("instead", "refuse"), ("instead", "unknown"), ("after", "unknown"), ("before", "die"), ("after", "die")],
)
async def test_wherever_a_write_goes_wrong_what_was_answered_is_there(
    kind: str, when: When, effect: Effect, tmp_path: Path
) -> None:
    settled: list[int] = []
    for number in itertools.count(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        place = MemoryPlace() if kind == "memory" else SqlitePlace(folder)
        faulty = FaultyStore(place.store(), [FaultPoint("commit", number, when, effect)])
        async with delivery_over(faulty) as delivery:
            await delivery.run()
        async with opened_anywhere(place.store()) as store:
            await check(store, delivery)
        settled.append(len(delivery.settled))
        if not faulty.fired:
            break

    assert len(settled) == 1 + 3 * len(NUMBERS)
    assert settled[-1] == len(NUMBERS) > settled[0]


@asynccontextmanager
async def opened_anywhere(store: Store) -> AsyncGenerator[Store]:
    """Also on trio, where a store on a thread needs its bridge."""
    host = current_host_loop()
    bridge = bridge_for(store, host, time.monotonic)
    await bridge.open()
    try:
        yield bridge  # type: ignore[misc]  # pyright: ignore[reportReturnType]  # it reads as a store does
    finally:
        await bridge.close()
        await host.close()
