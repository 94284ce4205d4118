"""A random troupe: whatever handlers do, turns of one actor never overlap or overtake, and each message ends once."""

import random
from collections import Counter
from collections.abc import AsyncGenerator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from salon_actors import Ending, Envelope, MailboxFull, Scheduler, current_host_loop
from tests.actors.stage import Handler, Someone, StillClock, actor, settle
from tests.actors.test_accidents import ABANDONED, put_away

pytestmark = pytest.mark.usefixtures("quiet")


class Witness:
    """Runs numbered messages, holds some turns, and writes down what it sees."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.begun: dict[Someone, list[int]] = {}
        self.under_way = Counter[Someone]()
        self.fates: dict[int, list[str]] = {}
        self.held: list[Someone] = []

    async def handle(self, one: Someone, envelope: Envelope, /) -> object:
        number, handler = self.opened(envelope)
        assert 0 == self.under_way[one]
        self.under_way[one] += 1
        self.begun.setdefault(one, []).append(number)
        try:
            return await handler()
        finally:
            self.under_way[one] -= 1

    def opened(self, envelope: Envelope) -> tuple[int, Handler]:
        message: tuple[int, Handler] = envelope.message  # type: ignore[assignment]
        return message

    def note(self, envelope: Envelope, fate: str) -> None:
        self.fates[self.opened(envelope)[0]].append(fate)

    def finish(self, one: Someone, envelope: Envelope, ending: Ending, /) -> bool:
        assert 0 == self.under_way[one]
        self.note(envelope, type(ending).__name__)
        free = self.chance.random() < 0.7
        if not free:
            self.held.append(one)
        return free

    def expire(self, one: Someone, envelope: Envelope, started: bool, /) -> None:
        self.note(envelope, "late" if started else "expired")

    def stuck(self, one: Someone, envelope: Envelope, late_s: float, /) -> None: ...

    def abandon(self, one: Someone, envelope: Envelope, /) -> None:
        self.note(envelope, "abandoned")


ENDINGS = [
    ["Returned"],
    ["Raised"],
    ["Cancelled"],
    ["late", "Cancelled"],
    ["expired"],
    ["abandoned"],
]


@pytest.mark.parametrize("seed", range(12))
async def test_turns_never_overlap_and_each_message_ends_once(seed: int, sight: str) -> None:
    chance, clock, host = random.Random(seed), StillClock(), current_host_loop()
    witness = Witness(chance)
    scheduler: Scheduler[Someone, Envelope] = Scheduler(host, clock, witness, mailbox_messages_max=8)
    await scheduler.open()
    actors, kept = [actor() for _ in range(6)], list[AsyncGenerator[int, None]]()
    sent: dict[Someone, list[int]] = {one: [] for one in actors}

    async def returns() -> None: ...

    async def suspends() -> None:
        for _ in range(chance.randrange(6)):
            await checkpoint()

    async def raises() -> None:
        await suspends()
        raise ValueError

    async def waits() -> None:
        await anyio.sleep_forever()

    async def shields() -> None:
        with anyio.CancelScope(shield=True):
            await clock.sleep(chance.random() * 3)

    async def abandons() -> None:
        kept.append(chance.choice(ABANDONED)([]))
        await anext(kept[-1])
        await suspends()

    handlers: list[Handler] = [returns, suspends, suspends, raises, waits, shields, abandons]
    refused = 0
    for number in range(400):
        one = chance.choice(actors)
        deadline = clock.now + chance.choice([0.5, 2, 1000])
        witness.fates[number] = []
        message = (number, chance.choice(handlers))
        envelope = Envelope(message, host.promise(), deadline)
        try:
            scheduler.submit(one, envelope)
            sent[one].append(number)
        except MailboxFull:
            refused += 1
            del witness.fates[number]
        what = chance.random()
        if what < 0.2:
            await checkpoint()
        elif what < 0.25:
            await clock.advance(chance.random())
        elif what < 0.3:
            scheduler.cancel(chance.choice(actors), "chance")
        elif what < 0.6 and witness.held:
            scheduler.release(witness.held.pop(chance.randrange(len(witness.held))))
    if seed % 2:
        while not scheduler.is_idle:
            while witness.held:
                scheduler.release(witness.held.pop())
            await clock.advance(400)
        await scheduler.wait_idle()
        assert all(one.is_idle for one in actors)
    closing = anyio.Event()

    async def close() -> None:
        await scheduler.close()
        closing.set()

    async with anyio.create_task_group() as group:
        group.start_soon(close)
        while not closing.is_set():
            await clock.advance(10)
    await settle()

    assert [fates for fates in witness.fates.values() if fates not in ENDINGS] == []
    for one in actors:
        assert [number for number in sent[one] if number in witness.begun[one]] == witness.begun[one]
    counts = Counter(fate for fates in witness.fates.values() for fate in fates)
    assert counts["Returned"] > 20
    assert counts["Cancelled"] > 2
    assert refused < 350
    assert 0 == scheduler.worker_count
    await host.close()
    await put_away(kept)
