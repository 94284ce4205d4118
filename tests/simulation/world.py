"""One run: a workload and a fault on a simulated loop, from one seed; the same again whenever it is asked for.

python -m tests.simulation.world WORKLOAD FAULT SEED BACKEND      plays one run, and prints its fingerprint
"""

import logging
import sys
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import inf

import anyio

from salon import Clock, Draining, OutcomeUnknown, Runtime, SalonError, Settings, Store
from salon.info import microseconds
from salon.testing import FaultyStore, History, SeededChance, SeededReady, check
from salon_persistence.memory import MemoryFile, MemoryStore
from tests.consistency.notebook import Append, Client, Desk, Notebook, Torn, read
from tests.simulation.faults import ALWAYS, FAULTS, Fault
from tests.simulation.loops import LoopClock, simulate
from tests.simulation.workloads import WORKLOADS, Workload

RETRY_S = 0.3
TRIES_MAX = 300
TICK_S = 0.05


class Lectern(logging.Handler):
    """Hears every error that salon logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@dataclass
class Run:
    """What came of it."""

    workload: Workload
    fault: Fault
    seed: int
    backend: str
    history: History = field(default_factory=History)
    met: Counter[str] = field(default_factory=Counter[str])
    """Errors of salon that clients heard."""
    left: int = 0
    """Callers who went away while they waited."""
    fired: int = 0
    snapshots: int = 0
    overlaps: list[str] = field(default_factory=list[str])
    logged: list[str] = field(default_factory=list[str])
    broken: list[str] = field(default_factory=list[str])
    """Sessions of which the parts disagree, and clients who were never served."""

    def problems(self) -> list[str]:
        """Everything that must not be; empty when all is well."""
        found = list(map(str, check(self.history, acknowledged_min=self.workload.progress_min)))
        found += [f"two handlers of session {session} ran at once" for session in self.overlaps]
        found += [f"a client met {error}" for error in self._unexpected()]
        found += self.broken
        if not self.fault.logs_errors:
            found += [f"logged as an error: {record}" for record in self.logged]
        return found

    def _unexpected(self) -> set[str]:
        return self.met.keys() - ALWAYS - self.fault.errors

    @property
    def is_broken(self) -> bool:
        """It need not go on."""
        return bool(self.broken or self.overlaps or self._unexpected())

    @property
    def replay(self) -> str:
        return f"python -m tests.simulation.world {self.workload.name} {self.fault.name} {self.seed} {self.backend}"

    @property
    def fingerprint(self) -> int:
        """Of everything that clients did and saw, in order."""
        appends = [(a.session, a.element, a.began, a.fate, a.ended, a.index) for a in self.history.appends]
        reads = [(r.session, r.began, r.fate, r.ended, r.elements) for r in self.history.reads]
        return zlib.crc32(
            repr((appends, reads, sorted(self.met.items()), sorted(self.history.finals.items()))).encode()
        )


def play(workload: Workload, fault: Fault, seed: int, backend: str) -> Run:
    run, lectern = Run(workload, fault, seed, backend), Lectern()
    logger = logging.getLogger("salon")
    engine = logging.getLogger("salon_actors")
    logger.addHandler(lectern)
    engine.addHandler(lectern)
    try:
        simulate(backend, seed, lambda clock: World(run, clock).live())
    finally:
        logger.removeHandler(lectern)
        engine.removeHandler(lectern)
    run.logged = lectern.said
    return run


class World:
    """A file that outlives its runtimes, one runtime after the other, and people who talk to whichever is there."""

    def __init__(self, run: Run, clock: LoopClock) -> None:
        self.run = run
        self.clock: Clock = clock
        self.runtime: Runtime | None = None
        self._chance = SeededChance(run.seed)
        self._file = MemoryFile()
        self._desk = Desk(clock.sleep, overlaps=run.overlaps)

    async def live(self) -> None:
        names = [f"s{n}" for n in range(self.run.workload.sessions)]
        async with anyio.create_task_group() as lives:
            lives.start_soon(self._live_and_die)
            async with anyio.create_task_group() as people:
                for number, name in enumerate(names * self.run.workload.clients):
                    people.start_soon(Person(self, name, number).live)
            lives.cancel_scope.cancel()
        async with self._opened(self._inner()) as runtime:
            for name in names:
                self.run.history.final(name, await self._left_in(runtime, name))

    async def _left_in(self, runtime: Runtime, name: str) -> Sequence[str]:
        try:
            notebook = await runtime.get_or_create(Notebook, name=name)
            return await read(await notebook.peek())
        except (SalonError, Torn) as error:
            self.run.broken.append(f"{name} cannot be read any more: {error!r}")
            return ()

    async def _live_and_die(self) -> None:
        fault = self.run.fault
        for life in range(fault.lives):
            is_last = life == fault.lives - 1
            plan = () if is_last and fault.logs_errors else fault.plan(self._chance)
            store = FaultyStore(self._inner(), plan)
            try:
                async with self._opened(store) as self.runtime:
                    await self._until_end_of_life(store, is_last)
            finally:
                self.run.fired += len(store.fired)
                self._file.owner = None  # A lock ends with its process.

    async def _until_end_of_life(self, store: FaultyStore, is_last: bool) -> None:
        """The last life ends when everybody has gone."""
        end = inf if is_last else self.clock.monotonic() + self.run.fault.life_s
        try:
            while not store.is_dead and self.clock.monotonic() < end:
                await self.clock.sleep(TICK_S)
                if store.stalled:
                    await self.clock.sleep(self._chance.uniform() * self.run.fault.stall_s)
                    store.release()
        finally:
            store.release()
            assert self.runtime is not None
            self.run.snapshots += int(str(self.runtime.stats()["snapshots"]))

    def _inner(self) -> MemoryStore:
        return MemoryStore(
            self._file, wall_us=lambda: microseconds(self.clock.wall()), random_bytes=self._chance.random_bytes
        )

    def _opened(self, store: Store) -> Runtime:
        return Runtime(
            Notebook,
            store=store,
            deps=self._desk,
            settings=Settings(
                mailbox_messages_max=self.run.workload.mailbox_messages_max,
                crash_budget=1_000_000,  # handlers raise on purpose: nobody shall rest for it
            ),
            clock=self.clock,
            chance=self._chance,
            ready=lambda: SeededReady(self._chance.below(1 << 32)),
        )


class Person:
    """One client of one session, who tries again until it is done, and asks before it repeats itself."""

    def __init__(self, world: World, session: str, number: int) -> None:
        self._world = world
        self._run = world.run
        self._session = session
        self._number = number
        self._chance = SeededChance(world.run.seed * 1000 + number)

    async def live(self) -> None:
        workload = self._run.workload
        for step in range(workload.steps):
            if self._run.is_broken:
                return
            await self._world.clock.sleep(self._chance.uniform() * workload.pause_s)
            await self._step(f"{self._session}/{self._number}.{step}", self._chance.uniform() * workload.takes_s)

    async def _step(self, element: str, takes_s: float) -> None:
        workload, pick = self._run.workload, self._chance.below(100)
        for chance, do in (
            (workload.refused, lambda: self._try(Append(element=element, takes_s=takes_s, ends="refused"))),
            (workload.raised, lambda: self._try(Append(element=element, takes_s=takes_s, ends="raised"))),
            (workload.late, lambda: self._try(Append(element=element, takes_s=1 + takes_s), timeout_s=takes_s + 0.01)),
            (workload.left, lambda: self._leave(Append(element=element, takes_s=takes_s), takes_s / 2)),
            (workload.read, self._read),
            (workload.peeked, self._peek),
            (100, lambda: self._insist(Append(element=element, takes_s=takes_s))),
        ):
            if pick < chance:
                await do()
                return
            pick -= chance

    async def _client(self) -> Client | None:
        """None: there is no runtime, or it cannot reach the session now."""
        try:
            if self._world.runtime is None:
                return None
            handle = await self._world.runtime.get_or_create(Notebook, name=self._session)
        except SalonError as error:
            self._run.met[type(error).__name__] += 1
            return None
        return Client(self._run.history, self._session, handle)

    async def _try(self, message: Append, timeout_s: float | None = None) -> SalonError | None:
        client = await self._client()
        if client is None:
            return Draining()
        error = await client.append(message, timeout_s)
        if error is not None:
            self._run.met[type(error).__name__] += 1
        return error

    async def _leave(self, message: Append, after_s: float) -> None:
        with anyio.move_on_after(after_s) as scope:
            await self._try(message)
        self._run.left += scope.cancelled_caught

    async def _insist(self, message: Append) -> None:
        for _ in range(TRIES_MAX):
            error = await self._try(message)
            if error is None or self._run.is_broken:
                return
            if isinstance(error, OutcomeUnknown) and await self._is_there(message.element):
                return
            await self._world.clock.sleep(RETRY_S)
        self._run.broken.append(f"nobody took {message.element} in {TRIES_MAX} tries")

    async def _is_there(self, element: str) -> bool:
        """Told by a turn: whatever was under way before it is over."""
        for _ in range(TRIES_MAX):
            elements = await self._read()
            if elements is not None:
                return element in elements
            if self._run.is_broken:
                return True
            await self._world.clock.sleep(RETRY_S)
        self._run.broken.append(f"nobody could read {self._session} in {TRIES_MAX} tries")
        return True

    async def _read(self) -> Sequence[str] | None:
        client = await self._client()
        return None if client is None else await self._untorn(client.read)

    async def _peek(self) -> None:
        client = await self._client()
        if client is not None:
            await self._untorn(client.peek)

    async def _untorn(self, get: Callable[[], Awaitable[Sequence[str] | None]]) -> Sequence[str] | None:
        try:
            return await get()
        except Torn as torn:
            self._run.broken.append(f"{self._session}: {torn}")
            return None


def named(workload: str, fault: str) -> tuple[Workload, Fault]:
    return (
        next(one for one in WORKLOADS if one.name == workload),
        next(one for one in FAULTS if one.name == fault),
    )


def main(workload: str, fault: str, seed: str, backend: str) -> None:
    run = play(*named(workload, fault), int(seed), backend)
    sys.stdout.write("\n".join([str(run.fingerprint), *run.problems(), ""]))


if __name__ == "__main__":
    main(*sys.argv[1:])
