"""A runtime under a Hypothesis machine: every step is Hypothesis' choice, and time stands still between them.

    the machine's thread             the loop's thread
    rule: ask, cancel, wait, …  ->   does it, and runs until everybody waits
    compares with the model     <-   what is there now

So a falsifying example is a program of steps that fails again whenever it is run.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import anyio
import trio.testing
from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from salon import OutcomeUnknown, Runtime, SalonError, SessionHandle, Settings
from salon.info import microseconds
from salon.testing import FaultPoint, FaultyStore, SeededChance, SeededReady
from salon.testing.stillness import wait_until_still
from salon_persistence.memory import MemoryFile, MemoryStore
from tests.consistency.notebook import Append, Desk, Lines, Notebook, ReadAll, read
from tests.simulation.loops import LoopClock, SimulatedLoop, repeatable_trio
from tests.stateful.model import Model, Sent

SESSIONS = ("a", "b", "c")
SETTINGS = Settings(tick_s=0.25, drain_deadline_s=3)
CLOSING_STEPS_MAX = 40
ASKED_MIN = 4
"""Messages before a life may end, so that something goes on in it."""
ROUNDS_MAX = 100_000
TROUBLE = {"NotApplied", "OutcomeUnknown", "Fenced", "StoreUnavailable"}
CLOSING = {"Draining", "RuntimeNotRunning"}
KINDS = {
    "append": (0, "well", None),
    "slow": (2, "well", None),
    "refused": (0.5, "refused", None),
    "raised": (0, "raised", None),
    "late": (4, "well", 1.0),
}
"""(how long the handler takes, how it ends, the deadline)"""
ASKED_FOR = {"refused": {"Refused"}, "raised": {"TurnFailed"}, "late": {"TurnTimeout"}}

COMMITS = st.integers(1, 5)
POINTS = st.one_of(
    st.builds(FaultPoint, st.just("commit"), COMMITS, st.just("instead"), st.sampled_from(("refuse", "unknown"))),
    st.builds(FaultPoint, st.just("commit"), COMMITS, st.just("after"), st.just("unknown")),
    st.builds(FaultPoint, st.just("commit"), COMMITS, st.sampled_from(("before", "after")), st.just("stall")),
    st.builds(FaultPoint, st.just("commit"), st.integers(1, 4), st.just("instead"), st.just("fence"), st.just(1),
              st.integers(1, 3)),
)  # fmt: skip
PLANS = st.lists(POINTS, max_size=3)


@dataclass
class Call:
    """One ask, from its sending to its answer."""

    kind: str
    sent: Sent
    scope: anyio.CancelScope
    is_ended: bool = False


class Life:
    """One runtime on the file, and the store that may fail it. For the loop's thread."""

    def __init__(self, world: "World", plan: Sequence[FaultPoint], seed: int) -> None:
        inner = MemoryStore(
            world.file, wall_us=lambda: microseconds(world.clock.wall()), random_bytes=world.chance.random_bytes
        )
        self.store = FaultyStore(inner, plan)
        self.is_closing = False
        self.asked = 0
        self.runtime = Runtime(
            Notebook, store=self.store, deps=Desk(world.clock.sleep, overlaps=world.overlaps), settings=SETTINGS,
            clock=world.clock, chance=world.chance, ready=lambda: SeededReady(seed),
        )  # fmt: skip

    def allowed(self, kind: str) -> set[str]:
        """What a sender may hear, as things stand."""
        allowed = ASKED_FOR.get(kind, set[str]())
        if self.store.fired or self.store.is_dead:
            allowed = allowed | TROUBLE
        return allowed | CLOSING if self.is_closing else allowed


class World:
    """Everything that lives on the loop's thread."""

    def __init__(self, clock: LoopClock, freeze: Callable[[bool], None]) -> None:
        self.clock = clock
        self.file = MemoryFile()
        self.chance = SeededChance(1)
        self.overlaps: list[str] = []
        self.wrong: list[str] = []
        """Answers that nobody may get."""
        self.calls: list[Call] = []
        self.models = {name: Model() for name in SESSIONS}
        self.met = Counter[str]()
        self.life: Life
        self._freeze = freeze
        self._number = 0
        self._group: Any = None
        self._ended = anyio.Event()

    async def live(self) -> None:
        async with anyio.create_task_group() as self._group:
            await self._ended.wait()

    async def end(self) -> None:
        await self.close()
        self._ended.set()

    async def begin(self) -> None:
        """All sessions are there before anything goes wrong."""
        await self.open((), 0)
        for name in SESSIONS:
            await self._handle(self.life, name)
        await self.close()

    async def open(self, plan: Sequence[FaultPoint], seed: int) -> None:
        self.life = Life(self, plan, seed)
        await self.life.runtime.open()

    async def close(self) -> None:
        self.life.is_closing = True
        closed = anyio.Event()
        self._group.start_soon(self._close, closed)
        for _ in range(CLOSING_STEPS_MAX):
            self.life.store.release()
            await self.wait(0.25)
            if closed.is_set():
                break
        assert closed.is_set(), "The runtime did not close."
        self.file.owner = None

    async def _close(self, closed: anyio.Event) -> None:
        await self.life.runtime.close()
        closed.set()

    async def die(self) -> None:
        self.life.store.die()
        await self.close()

    async def wait(self, seconds: float) -> None:
        self._freeze(False)
        await anyio.sleep(seconds)
        self._freeze(True)
        await self.rest()

    async def rest(self) -> None:
        await wait_until_still(ROUNDS_MAX)

    async def ask(self, name: str, kind: str) -> None:
        """Sends, and returns when everybody waits: so messages are sent in the order of the steps."""
        self._number += 1
        call = Call(kind, Sent(f"{name}{self._number}"), anyio.CancelScope())
        self.calls.append(call)
        self.models[name].coming.append(call.sent)
        self._group.start_soon(self._call, name, call)
        await self.rest()

    async def _call(self, name: str, call: Call) -> None:
        life = self.life
        life.asked += 1
        takes_s, ends, timeout_s = KINDS[call.kind]
        message = Append.model_validate({"element": call.sent.element, "takes_s": takes_s, "ends": ends})
        with call.scope:
            try:
                handle = await self._handle(life, name)
                call.sent.place = await handle.ask(message, timeout_s=timeout_s)
                call.sent.fate = "kept"
                self.met["kept"] += 1
                if call.kind in ASKED_FOR:
                    self.wrong.append(f"{call.kind} was acknowledged")
            except SalonError as error:
                call.sent.fate = "unknown" if isinstance(error, OutcomeUnknown) else "dropped"
                self.met[type(error).__name__] += 1
                if type(error).__name__ not in life.allowed(call.kind):
                    self.wrong.append(f"{call.kind} met {error!r}")
            finally:
                call.is_ended = True

    async def _handle(self, life: Life, name: str) -> SessionHandle[Lines]:
        return await life.runtime.get_or_create(Notebook, name=name)

    async def cancel(self, call: Call) -> None:
        call.sent.fate = "unknown"
        call.scope.cancel()
        await self.rest()

    async def look(self) -> None:
        """Beside whatever is under way."""
        for name, model in self.models.items():
            handle = await self._handle(self.life, name)
            model.see(await read(await handle.peek()), is_over=False)
        assert self.overlaps == [], "two turns of one session ran at once"
        assert self.wrong == [], self.wrong

    async def look_behind_everything(self) -> None:
        """In a turn, which reads back what the store could not say."""
        for name, model in self.models.items():
            handle = await self._handle(self.life, name)
            model.see(await handle.ask(ReadAll()), is_over=True)


class Conversations(RuleBasedStateMachine):
    """The rules. A subclass says on which backend."""

    backend: ClassVar[str]
    did: ClassVar[Counter[str]]
    """Over all examples."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._stack.enter_context(repeatable_trio(1))
        clock = trio.testing.MockClock()
        options: dict[str, Any] = {"clock": clock} if self.backend == "trio" else {"loop_factory": SimulatedLoop}
        self._portal = self._stack.enter_context(start_blocking_portal(self.backend, options))
        self.world: World = self._portal.call(self._make_world, clock)
        self._portal.start_task_soon(self.world.live)

    async def _make_world(self, clock: trio.testing.MockClock) -> World:
        if self.backend == "trio":
            return World(LoopClock(clock.current_time), lambda frozen: _set_threshold(clock, frozen))
        import asyncio

        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.jump.is_frozen = True
        return World(LoopClock(loop.time), lambda frozen: setattr(loop.jump, "is_frozen", frozen))

    def _do(self, name: str, step: Callable[..., Awaitable[None]], *args: object) -> None:
        self.did[name] += 1
        self._portal.call(step, *args)

    @initialize(plan=PLANS, seed=st.integers(0, 7))
    def open(self, plan: Sequence[FaultPoint], seed: int) -> None:
        self._portal.call(self.world.begin)
        self._do("opened", self.world.open, plan, seed)

    @rule(name=st.sampled_from(SESSIONS), kind=st.sampled_from(tuple(KINDS)))
    def ask(self, name: str, kind: str) -> None:
        self._do(kind, self.world.ask, name, kind)

    @rule(names=st.lists(st.sampled_from(SESSIONS), min_size=2, max_size=6))
    def append_to_several(self, names: list[str]) -> None:
        for name in names:
            self._do("append", self.world.ask, name, "append")

    @rule(name=st.sampled_from(SESSIONS), kinds=st.lists(st.sampled_from(tuple(KINDS)), min_size=2, max_size=5))
    def ask_behind_a_slow_one(self, name: str, kinds: list[str]) -> None:
        for kind in ("slow", *kinds):
            self._do(kind, self.world.ask, name, kind)

    @precondition(lambda self: any(not call.is_ended for call in self.world.calls))
    @rule(data=st.data())
    def cancel_a_caller(self, data: st.DataObject) -> None:
        waiting = [call for call in self.world.calls if not call.is_ended]
        self._do("caller cancelled", self.world.cancel, waiting[data.draw(st.integers(0, len(waiting) - 1))])

    @rule(seconds=st.sampled_from((0.25, 1.0, 3.0)))
    def wait(self, seconds: float) -> None:
        self._do("waited", self.world.wait, seconds)

    @precondition(lambda self: self.world.life.store.stalled)
    @rule()
    def release(self) -> None:
        self.did["released"] += 1
        self.world.life.store.release()
        self._portal.call(self.world.rest)

    @precondition(lambda self: any(not call.is_ended for call in self.world.calls))
    @rule()
    def settle(self) -> None:
        """Everybody is answered in the end."""
        for _ in range(20):
            self.world.life.store.release()
            self._portal.call(self.world.wait, 10.0)
        self.did["settled"] += 1

        assert all(call.is_ended for call in self.world.calls)
        self._portal.call(self.world.look_behind_everything)

    @precondition(lambda self: self.world.life.asked >= ASKED_MIN)
    @rule(plan=PLANS, seed=st.integers(0, 7))
    def restart(self, plan: Sequence[FaultPoint], seed: int) -> None:
        self._do("restarted", self.world.close)
        self._open_again(plan, seed)

    @precondition(lambda self: self.world.life.asked >= ASKED_MIN)
    @rule(plan=PLANS, seed=st.integers(0, 7))
    def die(self, plan: Sequence[FaultPoint], seed: int) -> None:
        self._do("died", self.world.die)
        self._open_again(plan, seed)

    def _open_again(self, plan: Sequence[FaultPoint], seed: int) -> None:
        assert all(call.is_ended for call in self.world.calls)
        self._portal.call(self.world.open, plan, seed)
        self._portal.call(self.world.look_behind_everything)

    @invariant()
    def what_is_there_is_what_the_model_says(self) -> None:
        if hasattr(self.world, "life"):
            self._portal.call(self.world.look)

    def teardown(self) -> None:
        try:
            if hasattr(self.world, "life"):
                self._portal.call(self.world.end)
            type(self).did.update(self.world.met)
        finally:
            self._stack.close()


def _set_threshold(clock: trio.testing.MockClock, frozen: bool) -> None:
    clock.autojump_threshold = inf if frozen else 0
