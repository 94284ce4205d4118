"""The store layer alone: fenced rows of 100 sessions, 200 bytes each, `synchronous=FULL`, asyncio.

Two ways. "in batches" hands the store a batch of 100 records at a time, on one loop, nothing beside it.
"closed loop" is the bridge as the Runtime uses it: each session hands in its next record when the last is durable.

Sketch: encoding a record 2 µs, its fenced UPDATE and its INSERT 1.5 µs each, a flush of 100 µs shared by 100 rows 1 µs,
a crossing to the thread and back 100 µs, shared too: 7 µs, or 140 000 a second. The closed loop adds the hand-over.

Does not show: records with log items, snapshots, sessions that are created.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.figure import at_least
from benchmarks.meter import Sample, Spread, on, take_turns
from benchmarks.place import fresh_folder
from salon import SystemChance, SystemClock
from salon.info import microseconds
from salon_actors import current_host_loop
from salon_persistence.bridge import Bridge, bridge_for
from salon_persistence.records import SessionRow, TurnRecord
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Applied, Outcome

SESSIONS = 100
BODY_BYTES = 190
K_PER_S = 120


def run(bench: Bench) -> None:
    seconds = bench.effort.seconds
    cells: dict[tuple[str, str], Callable[[], Sample]] = {
        ("asyncio", "in batches"): partial(fresh, bench.folder, partial(in_batches, seconds=seconds))
    }
    for backend in bench.backends:
        cells[backend, "closed loop"] = partial(
            fresh, bench.folder, partial(closed_loop, backend=backend, seconds=seconds)
        )
    found = take_turns(bench.report, "rows of the store", bench.effort, cells)
    for (backend, case), spreads in found.items():
        rate = spreads["per_s"]
        k_per_s = Spread(rate.median / 1e3, rate.low / 1e3, rate.high / 1e3)
        bench.more_is_better(backend, case, "k rows/s", k_per_s, target=at_least(K_PER_S))
        bench.less_is_better(backend, case, "µs CPU", spreads["cpu_us"])


def fresh(parent: Path, measure: Callable[[SqliteStore], Sample]) -> Sample:
    with fresh_folder(parent) as folder:
        return measure(store_in(folder))


def store_in(folder: Path) -> SqliteStore:
    clock = SystemClock()
    return SqliteStore(
        folder / "chat.db",
        wall_us=lambda: microseconds(clock.wall()),
        random_bytes=SystemChance().random_bytes,
    )


def new_session(number: int) -> TurnRecord:
    row = SessionRow(
        uid=number.to_bytes(16, "big"), public_id=f"s_{number:022}", type="notebook", created_us=1, activity_us=1
    )
    return TurnRecord(sid=0, version=1, whole=True, state={"text": b"\xa0"}, created=row)


def turn(sid: int, version: int) -> TurnRecord:
    body = b"%0*d" % (BODY_BYTES, version)
    return TurnRecord(sid=sid, version=version, turn=f"t1-{version}", at_us=version, state={"text": body})


def in_batches(store: SqliteStore, seconds: float) -> Sample:
    async def measured() -> Sample:
        await store.open()
        sids = [applied(outcome).sid for outcome in await store.commit([new_session(n) for n in range(SESSIONS)])]
        version, began, cpu = 1, time.perf_counter(), time.process_time()
        while (passed := time.perf_counter() - began) < seconds:
            version += 1
            check(await store.commit([turn(sid, version) for sid in sids]))
        rows, spent = (version - 1) * SESSIONS, time.process_time() - cpu
        await store.close()
        return {"per_s": rows / passed, "cpu_us": spent / rows * 1e6}

    return asyncio.run(measured())


def closed_loop(store: SqliteStore, backend: str, seconds: float) -> Sample:
    return on(backend, partial(through_the_bridge, store, seconds))


async def through_the_bridge(store: SqliteStore, seconds: float) -> Sample:
    host = current_host_loop()
    bridge = bridge_for(store, host, time.monotonic)
    await bridge.open()
    sids = [await created(bridge, number) for number in range(SESSIONS)]
    versions, over, left = Counter(dict.fromkeys(sids, 1)), host.promise(), set(sids)
    began, cpu = time.perf_counter(), time.process_time()

    def go_on(sid: int, outcome: Outcome) -> None:
        applied(outcome)
        if time.perf_counter() - began < seconds:
            hand_over(sid)
            return
        left.discard(sid)
        if not left:
            over.set_result(None)

    def hand_over(sid: int) -> None:
        versions[sid] += 1
        bridge.commit(turn(sid, versions[sid]), partial(go_on, sid))

    for sid in sids:
        hand_over(sid)
    await over
    passed, spent, rows = time.perf_counter() - began, time.process_time() - cpu, versions.total() - SESSIONS
    await bridge.close()
    await host.close()
    return {"per_s": rows / passed, "cpu_us": spent / rows * 1e6}


async def created(bridge: Bridge, number: int) -> int:
    promise = current_host_loop().promise()
    bridge.commit(new_session(number), promise.set_result)
    return applied(await promise).sid


def check(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        applied(outcome)


def applied(outcome: Outcome) -> Applied:
    assert isinstance(outcome, Applied), outcome
    return outcome
