"""Whatever fails, stalls, refuses or dies: everything that was posted leaves in order, or is a dead letter."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

import anyio
import anyio.lowlevel
from hypothesis import event, given, settings
from hypothesis import strategies as st

from salon import Outgoing, Session, deliver
from salon.backoff import Backoff
from salon.deliver import deliverers_by_name, deliveries_of
from salon.metrics import Counters
from salon.outbox import Bounds, Outbox
from salon.resident import Resident
from salon.testing import SeededChance, VirtualClock
from salon.wall import Wall
from salon_actors import current_host_loop
from salon_persistence.bridge import Bridge
from salon_persistence.errors import StoreUnavailable
from salon_persistence.store import Refused, Unknown
from tests.runtime.paper import PaperBridge

Action: TypeAlias = tuple[str, int]

ACTIONS = st.one_of(
    st.tuples(st.just("post"), st.integers(1, 3)),
    st.tuples(st.just("post"), st.integers(1, 3)),
    st.tuples(st.just("advance"), st.integers(0, 4)),
    st.tuples(st.sampled_from(["fail", "stall"]), st.integers(1, 4)),
    st.tuples(st.just("advance"), st.integers(0, 40)),
    st.tuples(st.sampled_from(["slow", "write", "refuse", "unknown", "kill", "close"]), st.just(0)),
)


class Text(Outgoing, name="text"):
    sid: int
    number: int


class Chat(Session, name="chat"):
    @deliver
    async def send(self, out: Text) -> None:
        await cast(Any, self.deps).send(out.sid, out.number)


DELIVERERS = {Chat: deliverers_by_name(deliveries_of(Chat, {}))}


@dataclass
class Bot:
    failures: int = 0
    stalls: int = 0
    came: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    lives: list[list[tuple[int, int]]] = field(default_factory=list[list[tuple[int, int]]])
    at_once: set[int] = field(default_factory=set[int])

    async def send(self, sid: int, number: int) -> None:
        assert sid not in self.at_once, "one at a time"
        self.at_once.add(sid)
        try:
            await anyio.lowlevel.checkpoint()
            if self.stalls:
                self.stalls -= 1
                await anyio.sleep_forever()
            if self.failures:
                self.failures -= 1
                raise ConnectionError
        finally:
            self.at_once.discard(sid)
        self.came.append((sid, number))
        self.lives[-1].append((sid, number))


class World:
    """Lives of a process, one after another, over one store on paper."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.bot = Bot()
        self.posted: dict[int, int] = {}
        self.is_calm = True
        """Nothing has happened after which a delivery may be repeated."""
        self.bridge = PaperBridge(current_host_loop())
        self.begin()

    def begin(self) -> None:
        self.host = current_host_loop()
        self.bridge.live_on(self.host)
        self.bot.lives.append([])
        bounds = Bounds(Backoff(1, 4), attempts_max=3, timeout_s=10, concurrent_max=2)
        bridge, wall, chance = cast(Bridge, self.bridge), Wall(self.clock, 0), SeededChance(1)
        self.outbox = Outbox(bridge, self.host, self.clock, wall, chance, Counters(), self.bot, DELIVERERS, bounds)
        for sid in (1, 2, 3):
            self.outbox.take(someone(sid), self.bridge.of(sid), restored=True)

    async def act(self, action: str, number: int) -> None:
        if action == "post":
            self.post(number)
        elif action == "fail":
            self.bot.failures += number
        elif action == "stall":
            self.bot.stalls += number
            self.is_calm = False  # one that was cut may have left
        elif action == "advance":
            await self.clock.advance(number)
        elif action == "slow":
            self.bridge.is_slow = True
        elif action == "write":
            self.bridge.is_slow = False
            self.bridge.write()
        elif action == "refuse":
            self.bridge.answers.append(Refused(StoreUnavailable("full")))
        elif action == "unknown":
            self.bridge.answers.append(Unknown(StoreUnavailable("who knows")))
        else:
            await self.end(is_killed=action == "kill")

    def post(self, sid: int) -> None:
        number = len(self.posted) + 1
        self.posted[number] = sid
        row = DELIVERERS[Chat]["text"].row(Text(sid=sid, number=number), number, f"key-{number}")
        self.bridge.rows[number] = sid, row
        self.outbox.take(someone(sid), [row])

    async def end(self, *, is_killed: bool) -> None:
        self.is_calm = False
        if is_killed:
            self.bridge.is_slow = True
        else:
            with anyio.move_on_after(0):
                await self.outbox.close()
            await self.clock.advance(0)
        await self.host.close()
        self.bridge.lose()
        self.begin()

    async def calm_down(self) -> None:
        self.bot.failures = self.bot.stalls = 0
        self.bridge.answers = []
        await self.act("write", 0)
        for _ in range(40):
            await self.clock.advance(5)


def someone(sid: int) -> Resident:
    return cast(Resident, SimpleNamespace(sid=sid, cls=Chat, generation=0, image=SimpleNamespace(version=1)))


def by_session(came: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for sid, number in came:
        found[sid].append(number)
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, min_size=15, max_size=60))
async def test_all_that_was_posted_leaves_in_order_or_is_a_dead_letter(actions: list[Action]) -> None:
    world = World()
    try:
        for action, number in actions:
            await world.act(action, number)
        await world.calm_down()
        left = {number for _, number in world.bot.came}
        dead = {int(letter.id.removeprefix("out-")) for letter in world.bridge.letters}
        event(f"lives: {min(len(world.bot.lives), 4)}")
        event(f"dead letters: {min(len(dead), 3)}")
        event(f"repeated: {len(world.bot.came) > len(left)}")

        assert world.bridge.rows == {}
        assert left | dead == set(world.posted)
        assert len(dead) == len(world.bridge.letters)
        for life in world.bot.lives:
            for numbers in by_session(life).values():
                assert numbers == sorted(set(numbers)), "in order, and never twice in one life"
        for numbers in by_session(world.bot.came).values():
            firsts = list(dict.fromkeys(numbers))
            assert firsts == sorted(firsts), "nothing overtakes, over all lives"
        if world.is_calm:
            assert len(world.bot.came) == len(left)
            assert not left & dead
        assert all(world.outbox.is_idle(someone(sid)) for sid in (1, 2, 3))
    finally:
        with anyio.CancelScope(shield=True):
            await world.host.close()
