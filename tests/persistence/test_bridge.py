"""What is handed to a bridge is written in groups, answered in order on the host loop, and never forgotten."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from salon_actors.hostloop import HostLoop, current_host_loop
from salon_persistence.bridge import Bridge, bridge_for
from salon_persistence.commit_queue import (
    BATCH_RECORDS_MAX,
    BATCHES_BETWEEN_KEEPS,
    KEPT_AT_ONCE_MAX,
    CommitQueue,
    Commits,
    Snapshots,
)
from salon_persistence.errors import StoreFailed, StoreInUse, StoreUnavailable
from salon_persistence.records import SnapshotRecord, TurnRecord
from salon_persistence.store import (
    Applied,
    ByPublicId,
    Fenced,
    LendsItsWriter,
    Outcome,
    Refused,
    SessionQuery,
    Store,
    Unknown,
)
from tests.persistence.places import MemoryPlace, SqlitePlace
from tests.persistence.sessions import WINDOWS, created, snapshot, turn
from tests.persistence.stand_ins import Held

WITHIN_S = 10.0
"""Longest wait for something that takes a millisecond on a machine that has nothing else to do."""


class Desk:
    """A bridge, its host loop, and a clock that is set by hand."""

    def __init__(self, store: Store) -> None:
        self.host: HostLoop = current_host_loop()
        self.now_s = 0.0
        self.bridge: Bridge = bridge_for(store, self.host, lambda: self.now_s)
        self.answers: list[tuple[int, Outcome]] = []
        self.threads: set[str] = set()

    def commit(self, record: TurnRecord) -> None:
        self.bridge.commit(record, lambda outcome: self._answered(record.version, outcome))

    def keep(self, record: SnapshotRecord) -> None:
        self.bridge.keep(record, lambda outcome: self._answered(-record.version, outcome))

    def _answered(self, version: int, outcome: Outcome) -> None:
        self.answers.append((version, outcome))
        self.threads.add(threading.current_thread().name)

    async def committed(self, record: TurnRecord) -> Outcome:
        promise = self.host.promise()
        self.bridge.commit(record, promise.set_result)
        with anyio.fail_after(WITHIN_S):
            outcome: Outcome = await promise
        return outcome

    async def until(self, condition: Callable[[], object]) -> None:
        with anyio.fail_after(WITHIN_S):
            while not condition():  # noqa: ASYNC110  # The thread sets no event of ours.
                await anyio.sleep(0.0005)


@asynccontextmanager
async def desk(store: Store) -> AsyncGenerator[Desk]:
    at = Desk(store)
    await at.bridge.open()
    try:
        yield at
    finally:
        with anyio.CancelScope(shield=True):
            if isinstance(store, Held):
                store.gate.set()
            await at.bridge.close()
            await at.host.close()


def store_in(folder: Path, kind: str) -> Store:
    return SqlitePlace(folder).store() if kind == "sqlite" else MemoryPlace().store()


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return store_in(tmp_path, request.param)


async def test_a_session_lives_through_its_bridge(store: Store) -> None:
    async with desk(store) as at:
        assert await at.committed(created()) == Applied(1, 1)
        for version in range(2, 6):
            assert await at.committed(turn(1, version)) == Applied(1, version)
        assert await at.committed(turn(1, 9)) == Fenced(whole_store=False)
        at.keep(snapshot(1, 5, 5))
        await at.until(lambda: at.answers)
        stored = await at.bridge.load(ByPublicId("public-1"), WINDOWS)
        listed = await at.bridge.find(SessionQuery())
        pages = await at.bridge.read_pages(1, "lines", 4, 4)
        await at.bridge.probe()

        assert stored is not None
        assert stored.snapshot is not None
        assert [row.sid for row in listed] == [1]
        assert [page.first for page in pages] == [0]


async def test_answers_come_in_order_on_the_host_loop_after_commit_has_returned(store: Store) -> None:
    async with desk(store) as at:
        await at.committed(created())
        for version in range(2, 202):
            at.commit(turn(1, version))
        assert at.answers == []
        await at.until(lambda: len(at.answers) == 200)

        assert at.answers == [(version, Applied(1, version)) for version in range(2, 202)]
        assert at.threads == {threading.current_thread().name}


async def test_what_gathers_while_a_batch_is_under_way_is_the_next_batch() -> None:
    held = Held()
    async with desk(held) as at:
        held.gate.clear()
        at.commit(turn(1, 1))
        await at.until(lambda: held.batches)
        for version in range(2, 50):
            at.commit(turn(1, version))
        held.gate.set()
        await at.until(lambda: len(at.answers) == 49)

        assert held.batches == [[1], list(range(2, 50))]
        assert held.threads == {"salon-storage"}


async def test_inline_too_gathers_what_is_handed_over_in_one_step() -> None:
    held = Held(on_thread=False)
    async with desk(held) as at:
        for version in range(1, 50):
            at.commit(turn(1, version))
        await at.until(lambda: len(at.answers) == 49)

        assert held.batches == [list(range(1, 50))]


@pytest.mark.parametrize("on_thread", [True, False], ids=["thread", "inline"])
async def test_pending_since_tells_when_the_oldest_unanswered_record_was_handed_over(on_thread: bool) -> None:
    held = Held(on_thread=on_thread)
    async with desk(held) as at:
        assert at.bridge.pending_since() is None
        held.gate.clear()
        for version, now_s in ((1, 5.0), (2, 6.0), (3, 7.0)):
            at.now_s = now_s
            at.commit(turn(1, version))
            await at.until(lambda: held.batches)
        assert at.bridge.pending_since() == 5.0
        held.gate.set()
        await at.until(lambda: len(at.answers) == 3)

        assert at.bridge.pending_since() is None


async def test_closing_writes_what_was_handed_over_and_refuses_what_comes_later(store: Store) -> None:
    at = Desk(store)
    await at.bridge.open()
    await at.committed(created())
    for version in range(2, 30):
        at.commit(turn(1, version))
    at.keep(snapshot(1, 1, 1))
    await at.bridge.close()
    at.commit(turn(1, 99))
    at.keep(snapshot(1, 99, 99))
    await at.until(lambda: len(at.answers) == 31)

    assert [outcome for version, outcome in at.answers if 1 < version < 99] == [Applied(1, n) for n in range(2, 30)]
    assert (-1, Applied(1, 1)) in at.answers
    late = [outcome for version, outcome in at.answers if abs(version) == 99]
    assert [type(outcome) for outcome in late] == [Refused, Refused]
    with pytest.raises(StoreFailed):
        await at.bridge.load(ByPublicId("public-1"), WINDOWS)
    await at.bridge.close()
    await at.host.close()


async def test_closing_waits_for_who_is_reading() -> None:
    held = Held()
    at = Desk(held)
    await at.bridge.open()
    held.gate.clear()
    found: list[object] = []

    async def load() -> None:
        found.append(await at.bridge.load(ByPublicId("public-1"), WINDOWS))

    with anyio.fail_after(WITHIN_S):
        async with anyio.create_task_group() as group:
            group.start_soon(load)
            await at.until(held.reading.is_set)
            group.start_soon(at.bridge.close)
            await anyio.sleep(0.002)
            held.gate.set()

    assert found == [None]
    await at.host.close()


async def test_a_probe_is_not_kept_waiting_by_a_writer_that_sleeps_at_the_queue(store: Store) -> None:
    async with desk(store) as at:
        with anyio.fail_after(WITHIN_S):
            for version in range(1, 30):
                await at.bridge.probe()
                await at.committed(created() if version == 1 else turn(1, version))
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(at.bridge.probe)

        assert (await at.committed(turn(1, 30))) == Applied(1, 30)


async def test_a_writer_that_fails_on_its_own_thread_leaves_its_batch_unknown(tmp_path: Path) -> None:
    store = SqlitePlace(tmp_path).store()
    async with desk(store) as at:
        await at.committed(created())
        assert isinstance(store, LendsItsWriter)
        writer: Any = store._writer  # pyright: ignore[reportPrivateUsage]
        writer.commit = lambda batch: batch[1:]  # pyright: ignore[reportUnknownLambdaType]
        outcome = await at.committed(turn(1, 2))

        assert isinstance(outcome, Unknown)
        assert isinstance(await at.committed(turn(1, 3)), Refused)


async def test_before_it_is_open_everything_is_refused() -> None:
    at = Desk(Held())
    at.commit(turn(1, 1))
    await at.until(lambda: at.answers)

    assert isinstance(at.answers[0][1], Refused)
    with pytest.raises(StoreFailed):
        await at.bridge.find(SessionQuery())
    await at.bridge.close()
    await at.host.close()


async def test_a_store_that_cannot_be_opened_says_why_and_leaves_no_thread(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    async with desk(place.store()):
        before = threading.active_count()
        at = Desk(place.store())
        with pytest.raises(StoreInUse, match="One process per file"):
            await at.bridge.open()
        await at.bridge.close()
        await at.host.close()

        assert threading.active_count() == before


async def test_cancelling_who_waits_for_a_load_stops_only_the_waiting() -> None:
    held = Held()
    async with desk(held) as at:
        held.gate.clear()
        with anyio.move_on_after(WITHIN_S) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(at.bridge.load, ByPublicId("public-1"), WINDOWS)
                await at.until(held.reading.is_set)
                group.cancel_scope.cancel()
        held.gate.set()

        assert not scope.cancelled_caught
        assert await at.bridge.load(ByPublicId("public-1"), WINDOWS) is None
        assert isinstance(await at.committed(turn(1, 1)), Applied)


async def test_nothing_of_the_callers_context_reaches_the_storage_thread() -> None:
    held = Held()
    canary: ContextVar[str] = ContextVar("canary")
    canary.set("of one session")
    async with desk(held) as at:
        await at.bridge.load(ByPublicId("public-1"), WINDOWS)

        assert held.contexts == [{}]


async def test_cancelling_who_waits_for_the_opening_gives_the_file_up_again(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    at = Desk(place.store())
    with anyio.CancelScope() as scope:
        scope.cancel()
        await at.bridge.open()
    with anyio.fail_after(WITHIN_S):
        await at.bridge.close()
    async with desk(place.store()) as again:
        assert await again.committed(created()) == Applied(1, 1)
    await at.host.close()


@pytest.mark.parametrize("on_thread", [True, False], ids=["thread", "inline"])
async def test_a_store_that_raises_leaves_its_batch_unknown_and_the_rest_refused(on_thread: bool) -> None:
    held = Held(fails_with=RuntimeError("against the contract"), on_thread=on_thread)
    async with desk(held) as at:
        held.gate.clear()
        at.commit(turn(1, 1))
        await at.until(lambda: held.batches)
        at.commit(turn(1, 2))
        at.keep(snapshot(1, 2, 2))
        held.gate.set()
        await at.until(lambda: len(at.answers) == 3)
        at.commit(turn(1, 3))
        await at.until(lambda: len(at.answers) == 4)

        kinds = {version: type(outcome) for version, outcome in at.answers}
        assert kinds == {1: Unknown, 2: Refused, -2: Refused, 3: Refused}
        assert at.bridge.pending_since() is None
        with pytest.raises(StoreFailed, match="RuntimeError"):
            await at.bridge.load(ByPublicId("public-1"), WINDOWS)
    assert not held.is_open


async def test_a_read_that_is_waiting_when_the_thread_ends_hears_of_it() -> None:
    held = Held(fails_with=SystemExit(), reads_stay=True)
    heard: list[StoreFailed] = []
    async with desk(held) as at:

        async def load() -> None:
            try:
                await at.bridge.load(ByPublicId("public-1"), WINDOWS)
            except StoreFailed as error:
                heard.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(load)
            await at.until(held.reading.is_set)
            at.commit(turn(1, 1))
            await at.until(lambda: at.answers and heard)

        assert isinstance(at.answers[0][1], Unknown)
        assert "SystemExit" in str(heard[0])


async def test_a_store_that_answers_too_few_leaves_all_unknown() -> None:
    class Terse(Held):
        async def commit(self, batch: Any, /) -> Any:
            return (await super().commit(batch))[1:]

    async with desk(Terse()) as at:
        at.commit(turn(1, 1))
        at.commit(turn(2, 1))
        await at.until(lambda: len(at.answers) == 2)

        assert {type(outcome) for _, outcome in at.answers} <= {Unknown, Refused}
        assert isinstance(at.answers[0][1], Unknown)


@pytest.mark.parametrize("on_thread", [True, False], ids=["thread", "inline"])
async def test_who_cannot_take_an_answer_keeps_no_other_from_theirs(
    on_thread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def clumsy(outcome: Outcome) -> None:
        raise ZeroDivisionError

    async with desk(Held(on_thread=on_thread)) as at:
        at.bridge.commit(turn(1, 1), clumsy)
        at.commit(turn(2, 1))
        await at.until(lambda: at.answers)
        assert await at.committed(turn(1, 2)) == Applied(1, 2)

        assert at.answers == [(1, Applied(2, 1))]
        await at.until(lambda: "could not be taken" in caplog.text)


async def test_a_write_that_fails_is_told_at_durability_memory_too() -> None:
    lost = Refused(StoreUnavailable("full"))
    held = Held(durability="memory", answers=[lost])
    async with desk(held) as at:
        held.gate.clear()
        at.commit(turn(1, 2))
        await at.until(lambda: held.batches)
        assert at.answers == []
        held.gate.set()
        await at.until(lambda: at.answers)

        assert at.answers == [(2, lost)]


async def test_a_host_loop_that_never_rests_still_gets_its_turns_written(tmp_path: Path) -> None:
    """On a machine with nothing else to do, a round takes half a second without the help of the host loop."""
    rounds, sessions = 60, 20
    busy, took_s = True, 0.0

    async def spin() -> None:
        while busy:
            for _ in range(20):
                sum(range(40))
            await anyio.lowlevel.checkpoint()

    async with desk(SqlitePlace(tmp_path).store()) as at:
        for number in range(1, sessions + 1):
            at.commit(created(number))
        await at.until(lambda: len(at.answers) == sessions)
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(spin)
            began = time.monotonic()
            for version in range(2, rounds + 2):
                for sid in range(1, sessions + 1):
                    at.commit(turn(sid, version))
                await at.until(lambda done=version * sessions: len(at.answers) == done)  # type: ignore[misc]
            took_s = time.monotonic() - began
            busy = False

        assert all(isinstance(outcome, Applied) for _, outcome in at.answers)
        assert took_s < 4.0


class Counting:
    """A host loop that counts how often it is asked to call back later."""

    def __init__(self, host: HostLoop) -> None:
        self.host = host
        self.post, self.promise, self.spawn = host.post, host.promise, host.spawn
        self.later_s: list[float] = []

    def later(self, seconds: float, fn: Callable[..., object], *args: Any) -> Any:
        self.later_s.append(seconds)
        return self.host.later(seconds, fn, *args)


async def test_the_host_loop_lends_the_gil_each_millisecond_while_a_batch_is_under_way_and_then_no_more() -> None:
    host, held = Counting(current_host_loop()), Held()
    bridge = bridge_for(held, host, time.monotonic)
    await bridge.open()
    held.gate.clear()
    promise = host.promise()
    bridge.commit(turn(1, 1), promise.set_result)
    with anyio.fail_after(WITHIN_S):
        while len(host.later_s) < 5:  # noqa: ASYNC110  # Nothing but time passes.
            await anyio.sleep(0.001)
    held.gate.set()
    assert await promise == Applied(1, 1)
    await anyio.sleep(0.005)
    settled = len(host.later_s)
    await anyio.sleep(0.01)

    assert len(host.later_s) == settled
    assert host.later_s.count(0) == 1
    assert set(host.later_s) == {0, 0.001}
    await bridge.close()
    await host.host.close()


async def test_what_is_handed_over_in_one_step_wakes_the_thread_once_and_is_one_batch() -> None:
    host, held = Counting(current_host_loop()), Held()
    bridge = bridge_for(held, host, time.monotonic)
    await bridge.open()
    promises = [host.promise() for _ in range(50)]
    for sid, promise in enumerate(promises, start=1):
        bridge.commit(turn(sid, 1), promise.set_result)
    assert [await promise for promise in promises] == [Applied(sid, 1) for sid in range(1, 51)]

    assert host.later_s.count(0) == 1
    assert held.batches == [[1] * 50]
    await bridge.close()
    await host.host.close()


def test_turns_go_first_but_overtake_a_snapshot_only_so_often() -> None:
    queue, order = CommitQueue(), list[str]()
    queue.add_snapshot(snapshot(1, 1, 1), print)
    for version in range(1, 12):
        queue.add(turn(1, version), print)
        batch = queue.next()
        order.append(type(batch).__name__)
    while batch := queue.next():
        order.append(type(batch).__name__)

    assert order[:BATCHES_BETWEEN_KEEPS] == ["Commits"] * BATCHES_BETWEEN_KEEPS
    assert order[BATCHES_BETWEEN_KEEPS] == "Snapshots"
    assert order.count("Snapshots") == 1


def test_snapshots_go_at_once_when_no_turn_waits_and_a_few_at_a_time() -> None:
    queue = CommitQueue()
    for version in range(1, KEPT_AT_ONCE_MAX + 3):
        queue.add_snapshot(snapshot(1, version, version), print)
    first, second = queue.next(), queue.next()

    assert isinstance(first, Snapshots)
    assert isinstance(second, Snapshots)
    assert (len(first.records), len(second.records)) == (KEPT_AT_ONCE_MAX, 2)
    assert queue.next() is None


def test_a_batch_is_bounded_by_count_and_by_bytes() -> None:
    queue = CommitQueue()
    for version in range(1, BATCH_RECORDS_MAX + 2):
        queue.add(turn(1, version), print)
    counted = [queue.next(), queue.next()]
    for version in range(1, 6):
        queue.add(turn(1, version, state={"blob": bytes(7_000_000)}), print)
    weighed = [queue.next(), queue.next()]

    assert [len(batch.records) for batch in counted if isinstance(batch, Commits)] == [BATCH_RECORDS_MAX, 1]
    assert [len(batch.records) for batch in weighed if isinstance(batch, Commits)] == [3, 2]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
async def test_a_forked_child_must_not_use_the_bridge(tmp_path: Path) -> None:
    async with desk(SqlitePlace(tmp_path).store()) as at:
        await at.committed(created())
        child = os.fork()
        if child == 0:
            os._exit(_uses_in_child(at))
        status = await anyio.to_thread.run_sync(os.waitpid, child, 0)

        assert os.waitstatus_to_exitcode(status[1]) == 0
        assert await at.committed(turn(1, 2)) == Applied(1, 2)


def _uses_in_child(at: Desk) -> int:
    def asked() -> None:
        coroutine: Any = at.bridge.load(ByPublicId("public-1"), WINDOWS)
        coroutine.send(None)

    refused = 0
    uses: list[Callable[[], None]] = [lambda: at.commit(turn(1, 2)), lambda: at.keep(snapshot(1, 1, 1)), asked]
    for use in uses:
        try:
            use()
        except StoreFailed:
            refused += 1
    return 0 if refused == 3 else 1


DYING = """
    import os, sys, time
    import anyio
    from salon_actors.hostloop import current_host_loop
    from salon_persistence.bridge import bridge_for
    from salon_persistence.sqlite import SqliteStore
    from tests.persistence.sessions import created

    async def main():
        host = current_host_loop()
        store = SqliteStore(sys.argv[1], wall_us=lambda: 1, random_bytes=os.urandom)
        bridge = bridge_for(store, host, time.monotonic)
        await bridge.open()
        done = host.promise()
        bridge.commit(created(), done.set_result)
        print(await done)

    anyio.run(main, backend=sys.argv[2])
"""


def test_a_host_that_dies_without_closing_does_not_hang_at_exit(tmp_path: Path, backend: str) -> None:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(DYING), str(tmp_path / "chat.db"), backend]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert ended.stdout == "Applied(sid=1, lsn=1, children=(), undelivered=())\n"
    assert ended.returncode == 0, ended.stderr


class AsyncioHost:
    """The least that a bridge needs, on a bare asyncio loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[object]] = set()

    def post(self, fn: Callable[..., object], /, *args: Any) -> None:
        self.loop.call_soon_threadsafe(fn, *args)

    def later(self, seconds: float, fn: Callable[..., object], /, *args: Any) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, fn, *args)

    def promise(self) -> asyncio.Future[Any]:
        return self.loop.create_future()

    def spawn(self, async_fn: Callable[..., Coroutine[Any, Any, object]], /, *args: Any) -> None:
        task = self.loop.create_task(async_fn(*args))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_the_slice_of_a_host_loop_is_enough(kind: str, tmp_path: Path) -> None:
    async def main() -> list[Outcome]:
        host = AsyncioHost()
        bridge = bridge_for(store_in(tmp_path, kind), host, time.monotonic)
        await bridge.open()
        outcomes: list[Outcome] = []
        for record in (created(), turn(1, 2), turn(1, 2)):
            promise = host.promise()
            bridge.commit(record, promise.set_result)
            outcomes.append(await promise)
        await bridge.close()
        return outcomes

    assert asyncio.run(main()) == [Applied(1, 1), Applied(1, 2), Fenced(whole_store=False)]
