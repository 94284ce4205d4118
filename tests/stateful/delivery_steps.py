"""What may happen, as data: a program of steps is what Hypothesis makes, shrinks and prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from hypothesis import strategies as st

from salon.testing import FaultPoint

if TYPE_CHECKING:
    from tests.stateful.delivery_world import World

SESSIONS = ("a", "b")
Mode = Literal["ask", "tell", "stream"]


@dataclass(frozen=True)
class Send:
    session: int
    mode: Mode
    kind: str = "plain"
    chunks: int = 0
    takes_s: float = 0
    ends: str = "well"
    priority: str = "normal"
    overlap: str | None = None
    is_keyed: bool = False
    is_hurried: bool = False

    async def take(self, world: World) -> None:
        world.did[self.mode] += 1
        for name in (self.kind, self.overlap, self.ends, "keyed" if self.is_keyed else None, self.priority):
            if name is not None:
                world.did[f"sent {name}"] += 1
        await world.send(self)


@dataclass(frozen=True)
class Rush:
    """Several to one session, before the first is done."""

    sends: Sequence[Send]

    async def take(self, world: World) -> None:
        for send in self.sends:
            await replace(send, session=self.sends[0].session, takes_s=send.takes_s or 3).take(world)


@dataclass(frozen=True)
class Resend:
    """Under a key that was used before; with the same content, or with another."""

    which: int
    mode: Mode
    is_same: bool

    async def take(self, world: World) -> None:
        keyed = [sent for story in world.stories.values() for sent in story.sent.values() if sent.key is not None]
        if not keyed:
            return
        sent = keyed[self.which % len(keyed)]
        world.did["resent" if self.is_same else "resent with other content"] += 1
        await world.resend(sent, self.mode, is_same=self.is_same)


@dataclass(frozen=True)
class Leave:
    """A caller is cancelled, or a reader disconnects."""

    which: int

    async def take(self, world: World) -> None:
        waiting = [call for call in world.calls if not call.is_ended]
        if waiting:
            call = waiting[self.which % len(waiting)]
            world.did["reader left" if call.reading is not None else "caller cancelled"] += 1
            await world.leave(call)


@dataclass(frozen=True)
class Attach:
    which: int

    async def take(self, world: World) -> None:
        followed = [call for call in world.calls if call.turn is not None]
        if followed:
            world.did["attached"] += 1
            await world.attach(followed[self.which % len(followed)])


@dataclass(frozen=True)
class Stop:
    session: int
    which: int | None

    async def take(self, world: World) -> None:
        name, turn = SESSIONS[self.session], None
        if self.which is not None:
            turns = list(world.stories[name].accepted)
            if not turns:
                return
            turn = turns[self.which % len(turns)]
        world.did["stopped" if turn is None else "stopped a turn"] += 1
        await world.stop(name, turn)


@dataclass(frozen=True)
class PassTime:
    seconds: float

    async def take(self, world: World) -> None:
        world.did["time passed"] += 1
        await world.pass_time(self.seconds)


@dataclass(frozen=True)
class Release:
    async def take(self, world: World) -> None:
        world.did["released"] += world.life.store.stalled > 0
        world.life.store.release()
        await world.rest()


@dataclass(frozen=True)
class Settle:
    async def take(self, world: World) -> None:
        world.did["settled"] += 1
        await world.settle()


@dataclass(frozen=True)
class End:
    """Of a life, in good order or by a kill; and the plan of the next one."""

    is_killed: bool
    plan: Sequence[FaultPoint]
    seed: int

    async def take(self, world: World) -> None:
        world.did["killed" if self.is_killed else "restarted"] += 1
        if self.is_killed:
            world.life.store.die()
        await world.close()
        await world.open(self.plan, self.seed)


Step = Send | Rush | Resend | Leave | Attach | Stop | PassTime | Release | Settle | End
COMMITS = st.integers(1, 12)
POINTS = st.one_of(
    st.builds(FaultPoint, st.just("commit"), COMMITS, st.just("instead"), st.sampled_from(("refuse", "unknown")),
              st.integers(1, 3)),
    st.builds(FaultPoint, st.just("commit"), COMMITS, st.just("after"), st.just("unknown")),
    st.builds(FaultPoint, st.just("commit"), COMMITS, st.sampled_from(("before", "after")), st.just("stall")),
    st.builds(FaultPoint, st.just("commit"), COMMITS, st.sampled_from(("before", "after")), st.just("die")),
)  # fmt: skip
MODES = st.sampled_from(("ask", "tell", "tell", "stream"))
WHICH = st.integers(0, 9)
SESSION = st.integers(0, 1)
SENDS = st.builds(
    Send,
    session=SESSION,
    mode=MODES,
    kind=st.sampled_from(("plain", "plain", "again", "aside", "quick")),
    chunks=st.integers(0, 2),
    takes_s=st.sampled_from((0, 0, 1, 3)),
    ends=st.sampled_from(("well", "well", "well", "refused", "raised", "raised once")),
    priority=st.sampled_from(("normal", "normal", "normal", "high", "low")),
    overlap=st.sampled_from((None, None, None, "queue", "reject", "interrupt", "rollback")),
    is_keyed=st.booleans(),
    is_hurried=st.integers(0, 9).map(lambda n: n == 9),
)
ENDS = st.builds(End, st.booleans(), st.lists(POINTS, max_size=2), st.integers(0, 7))
RUSHES = st.builds(Rush, st.lists(SENDS, min_size=2, max_size=4))
STEPS = st.one_of(
    SENDS,
    SENDS,
    RUSHES,
    RUSHES,
    RUSHES,
    st.builds(Resend, WHICH, MODES, st.sampled_from((True, True, False))),
    st.builds(Leave, WHICH),
    st.builds(Attach, WHICH),
    st.builds(Stop, SESSION, st.one_of(st.none(), WHICH)),
    st.builds(PassTime, st.sampled_from((0.5, 1.0, 4.0))),
    st.builds(Release),
    ENDS,
    st.builds(Settle),
)
PROGRAMS = st.lists(STEPS, min_size=12, max_size=30)
