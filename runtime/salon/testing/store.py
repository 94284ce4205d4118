"""A store that fails, stalls or dies at chosen points; beneath it lies any other store.

    caller -> FaultyStore -> inner store
              counts the call; before, instead of or after the inner call a FaultPoint says what happens

For every point in turn, until a run completes untouched:

    for number in itertools.count(1):
        store = FaultyStore(inner, [FaultPoint("write", number, "after", "die")])
        ...  # run, look at what is in `inner`
        if not store.fired:
            break
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Final, Literal, TypeVar

from salon.testing.faults import Calls, Effect, FaultPoint, Verb, covers
from salon.testing.latch import Latch
from salon_persistence.errors import StoreError, StoreFailed, StoreUnavailable
from salon_persistence.records import LogPage, Record, SessionRow, SnapshotRecord, StoredSession
from salon_persistence.store import (
    Address,
    Applied,
    Fenced,
    LetterQuery,
    Outcome,
    Refused,
    SessionQuery,
    Store,
    StoredLetter,
    StoreInfo,
    Unknown,
)

T = TypeVar("T")
W = TypeVar("W", Record, SnapshotRecord)

NOWHERE: Final = 1 << 40
"""Numbers from here on are given to sessions and rows that were never written."""


class FaultyStore:
    """Passes every call on to the inner store, except where the plan says otherwise.

    It may be used and steered from several threads: a stalled call waits on the loop that it was made on,
    while the test releases it from its own.
    A write that goes wrong answers for its records; a read or probe raises StoreUnavailable.
    """

    def __init__(self, inner: Store, plan: Iterable[FaultPoint] = ()) -> None:
        """Wrap `inner`; the points of `plan` that meet at one call happen in their order."""
        self.inner: Final = inner
        self._plan = tuple(plan)
        self._lock = Lock()
        self._counts = [0] * len(self._plan)
        self._calls = Counter[Verb]()
        self._fired: list[FaultPoint] = []
        self._is_dead = False
        self._stalls: list[Latch] = []
        self._watchers: list[tuple[int, Latch]] = []
        self._lost = NOWHERE

    @property
    def on_thread(self) -> bool:
        return self.inner.on_thread

    @property
    def durability(self) -> Literal["full", "normal", "memory"]:
        return self.inner.durability

    @property
    def fired(self) -> Sequence[FaultPoint]:
        """The points that have been reached, in that order; empty after a run that was left untouched."""
        return tuple(self._fired)

    @property
    def is_dead(self) -> bool:
        return self._is_dead

    @property
    def stalled(self) -> int:
        """How many calls wait to be released."""
        return len(self._stalls)

    def calls(self, calls: Calls = "any") -> int:
        """How many such calls were made so far: as many points could be put there."""
        with self._lock:
            return sum(count for verb, count in self._calls.items() if covers(calls, verb))

    async def wait_until_stalled(self, n: int = 1) -> None:
        """Wait until at least `n` calls are stalled at once."""
        watcher = n, Latch()
        with self._lock:
            if len(self._stalls) >= n:
                watcher[1].open()
            self._watchers.append(watcher)
        try:
            await watcher[1].wait()
        finally:
            with self._lock:
                self._watchers.remove(watcher)

    def release(self) -> None:
        """Let all calls that are stalled now go on; from any thread."""
        with self._lock:
            stalls, self._stalls = self._stalls, []
        for latch in stalls:
            latch.open()

    def die(self) -> None:
        """Behave as a dead process from now on; from any thread.

        Nothing but `close` reaches the inner store any more; writes answer Unknown, all else raises StoreFailed.
        A write that the inner store is busy with may still be applied, as in a real death.
        Open the inner store again, or another over the same file, and look. Only one thing differs from a real death:
        a store that was closed may call its end a clean one.
        """
        with self._lock:
            self._is_dead = True
        self.release()

    async def open(self) -> StoreInfo:
        if self._is_dead:
            raise _error("die")
        return await self.inner.open()

    async def close(self) -> None:
        """Close the inner store, also after a death: an operating system takes files and locks back from the dead."""
        await self.inner.close()

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        return await self._write("commit", batch, self.inner.commit)

    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]:
        return await self._write("keep", snapshots, self.inner.keep)

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        return await self._read("load", lambda: self.inner.load(address, windows))

    async def find(self, query: SessionQuery, /) -> Sequence[SessionRow]:
        return await self._read("find", lambda: self.inner.find(query))

    async def read_pages(self, sid: int, field: str, before: int, items: int, /) -> Sequence[LogPage]:
        return await self._read("read_pages", lambda: self.inner.read_pages(sid, field, before, items))

    async def mail_waits(self, after_sid: int, limit: int, /) -> Sequence[tuple[int, str]]:
        return await self._read("mail_waits", lambda: self.inner.mail_waits(after_sid, limit))

    async def letters(self, query: LetterQuery, /) -> Sequence[StoredLetter]:
        return await self._read("letters", lambda: self.inner.letters(query))

    async def letter(self, id: str, /) -> StoredLetter | None:
        return await self._read("letters", lambda: self.inner.letter(id))

    async def probe(self) -> None:
        await self._read("probe", self.inner.probe)

    async def _write(
        self, verb: Verb, batch: Sequence[W], inner: Callable[[Sequence[W]], Awaitable[Sequence[Outcome]]]
    ) -> Sequence[Outcome]:
        points = self._count(verb, frozenset(record.sid for record in batch))
        await self._interrupt(points, "before")
        if self._is_dead:
            return [Unknown(_error("die")) for _ in batch]
        outcomes = await self._write_spared(batch, [point for point in points if point.when == "instead"], inner)
        await self._interrupt(points, "after")
        if self._is_dead:
            return [Unknown(_error("die")) for _ in batch]
        lies = [point for point in points if point.when == "after" and point.effect in ("refuse", "unknown")]
        return [
            next((self._outcome(lie, record) for lie in lies if lie.touches(record.sid)), outcome)
            for record, outcome in zip(batch, outcomes, strict=True)
        ]

    async def _write_spared(
        self,
        batch: Sequence[W],
        points: Sequence[FaultPoint],
        inner: Callable[[Sequence[W]], Awaitable[Sequence[Outcome]]],
    ) -> Sequence[Outcome]:
        """Hand on the records that no point takes the place of, and answer for all of them in their order."""
        takers = [next((point for point in points if point.touches(record.sid)), None) for record in batch]
        spared = [record for record, taker in zip(batch, takers, strict=True) if taker is None]
        answers = iter(await inner(spared) if spared else ())
        return [
            next(answers) if taker is None else self._outcome(taker, record)
            for record, taker in zip(batch, takers, strict=True)
        ]

    async def _read(self, verb: Verb, inner: Callable[[], Awaitable[T]]) -> T:
        points = self._count(verb, frozenset())
        await self._interrupt(points, "before")
        self._raise_at(points, "instead")
        result = await inner()
        await self._interrupt(points, "after")
        self._raise_at(points, "after")
        return result

    def _raise_at(self, points: Sequence[FaultPoint], when: Literal["instead", "after"]) -> None:
        if self._is_dead:
            raise _error("die")
        for point in points:
            if point.when == when and point.effect in ("refuse", "unknown"):
                raise _error(point.effect)

    def _count(self, verb: Verb, sids: frozenset[int]) -> Sequence[FaultPoint]:
        """Count the call; the points that have come to their number."""
        if self._is_dead:
            return ()
        with self._lock:
            self._calls[verb] += 1
            reached = [point for i, point in enumerate(self._plan) if self._has_come(i, point, verb, sids)]
            self._fired += reached
            return reached

    def _has_come(self, i: int, point: FaultPoint, verb: Verb, sids: frozenset[int]) -> bool:
        if not point.counts(verb, sids):
            return False
        self._counts[i] += 1
        return point.comes_at(self._counts[i])

    async def _interrupt(self, points: Sequence[FaultPoint], when: Literal["before", "after"]) -> None:
        for point in points:
            if point.when == when and point.effect == "stall":
                await self._stall()
            elif point.when == when and point.effect == "die":
                self.die()

    async def _stall(self) -> None:
        latch = Latch()
        with self._lock:
            if self._is_dead:
                return
            self._stalls.append(latch)
            reached = [watcher for n, watcher in self._watchers if len(self._stalls) >= n]
        for watcher in reached:
            watcher.open()
        try:
            await latch.wait()
        finally:
            with self._lock:
                if latch in self._stalls:
                    self._stalls.remove(latch)

    def _outcome(self, point: FaultPoint, record: Record | SnapshotRecord) -> Outcome:
        match point.effect:
            case "refuse":
                return Refused(_error("refuse"))
            case "fence":
                return Fenced(whole_store=point.sid is None)
            case "lose":
                return self._pretend(record)
            case effect:
                return Unknown(_error(effect))

    def _pretend(self, record: Record | SnapshotRecord) -> Applied:
        with self._lock:
            self._lost += 1
            return Applied(record.sid or self._lost, self._lost)


def _error(effect: Effect) -> StoreError:
    if effect == "refuse":
        return StoreUnavailable("The plan of a FaultyStore refuses this call.")
    if effect == "die":
        return StoreFailed("The plan of a FaultyStore let the process die here.")
    return StoreUnavailable("The plan of a FaultyStore lets nobody know what became of this call.")
