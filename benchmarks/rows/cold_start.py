"""A restart with 100 000 sessions in the file: until it is ready, until the first reply, and activation of others.

Sketch: opening takes a lock, reads the header, raises the epoch (one flush): 2 to 5 ms, whatever is in the file.
A cold session costs a few random reads (0.1 ms each on this disk) and four thread hops, then a durable turn: 1 to 2 ms.
Warm, an activation is two index look-ups, some rows, a decode of a kilobyte: 50 µs of work and 50 to 100 µs of hops.

The file is made through the store layer, from one session that a Runtime has made: five turns, about a kilobyte.
"cold": the operating system is told to forget the file (POSIX_FADV_DONTNEED) before it is opened.
Does not show: the start of the process itself (see `footprint`), a disk with seeks.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.bench import Bench
from benchmarks.bots import ANSWERED, SAID, Talk, Turn
from benchmarks.figure import at_most
from benchmarks.meter import Sample, on, take_turns
from benchmarks.place import fresh_folder, sqlite_url
from benchmarks.report import Report
from benchmarks.rows.store_rows import check, store_in
from salon import Runtime
from salon_persistence.records import TurnRecord
from salon_persistence.store import ByPublicId

SESSIONS = 100_000
TURNS = 5
BATCH = 1000
READY_MS = 50
FIRST_REPLY_MS = 10
ACTIVATION_US = 200
ACTIVATED = 1000


def run(bench: Bench) -> None:
    sessions = bench.effort.count(SESSIONS)
    with fresh_folder(bench.folder) as folder:
        ids = asyncio.run(filled(folder, sessions, bench.report))
        chance = Random(17)
        cells = {backend: partial(on, backend, partial(measured, folder, ids, chance)) for backend in bench.backends}
        found = take_turns(bench.report, "restarts", bench.effort, cells)
        size = (folder / "chat.db").stat().st_size
    for backend, spreads in found.items():
        case = f"{SESSIONS} sessions"
        note = f"{size / len(ids):.0f} B per session in the file"
        bench.less_is_better(
            backend, f"{case}, cold: ready", "ms", spreads["ready_ms"], target=at_most(READY_MS), note=note
        )
        reply = spreads["reply_ms"]
        bench.less_is_better(backend, f"{case}, cold: first reply", "ms", reply, target=at_most(FIRST_REPLY_MS))
        warm = spreads["warm_us"]
        bench.less_is_better(backend, f"{case}, warm: activation", "µs p50", warm, target=at_most(ACTIVATION_US))
        bench.less_is_better(backend, f"{case}, warm: activation", "µs CPU", spreads["warm_cpu_us"])


async def filled(folder: Path, sessions: int, report: Report) -> list[str]:
    """Ids of so many copies of one session, committed through the store."""
    template = await one_session(folder)
    store = store_in(folder)
    await store.open()
    ids = [f"s_{number:022}" for number in range(sessions)]
    for first in report.track("making sessions", range(0, sessions, BATCH)):
        batch = [
            copy(template, public_id, number) for number, public_id in enumerate(ids[first : first + BATCH], first)
        ]
        check(await store.commit(batch))
    await store.close()
    return ids


async def one_session(folder: Path) -> TurnRecord:
    """All its turns as one record that creates it."""
    async with Runtime(Talk, store=sqlite_url(folder)) as runtime:
        handle = await runtime.create(Talk)
        for _ in range(TURNS):
            await handle.ask(Turn(said=SAID, answered=ANSWERED))
    store = store_in(folder)
    await store.open()
    stored = await store.load(ByPublicId(handle.session_id), {"talk": {"messages": 100}})
    await store.close()
    assert stored is not None
    assert stored.snapshot is None
    logs = [log for record in stored.tail for log in record.logs]
    items = [item for log in logs for item in log.items]
    whole = replace(logs[-1], items=items, first=0)
    row = replace(stored.row, sid=0, version=0, head_lsn=0)
    return replace(stored.tail[0], sid=0, version=1, logs=[whole], created=row)


def copy(template: TurnRecord, public_id: str, number: int) -> TurnRecord:
    assert template.created is not None
    return replace(template, created=replace(template.created, uid=number.to_bytes(16, "big"), public_id=public_id))


async def measured(folder: Path, ids: Sequence[str], chance: Random) -> Sample:
    forget(folder / "chat.db")
    runtime = Runtime(Talk, store=sqlite_url(folder))
    began = time.perf_counter()
    await runtime.open()
    ready = time.perf_counter()
    first, *others = chance.sample(ids, min(len(ids), ACTIVATED + 1))
    handle = await runtime.get(Talk, first)
    await handle.ask(Turn(said=SAID, answered=ANSWERED))
    replied = time.perf_counter()
    await runtime.close()
    await activations(folder, others)
    return {"ready_ms": (ready - began) * 1e3, "reply_ms": (replied - ready) * 1e3, **await activations(folder, others)}


async def activations(folder: Path, ids: Sequence[str]) -> Sample:
    """One after another, by a runtime that has just been opened; warm when another has read the same ones before."""
    async with Runtime(Talk, store=sqlite_url(folder)) as runtime:
        cpu = time.process_time()
        seconds = [await activation_s(runtime, public_id) for public_id in ids]
        cpu = time.process_time() - cpu
        return {"warm_us": statistics.median(seconds) * 1e6, "warm_cpu_us": cpu / len(ids) * 1e6}


async def activation_s(runtime: Runtime, public_id: str) -> float:
    began = time.perf_counter()
    await runtime.get(Talk, public_id)
    return time.perf_counter() - began


def forget(path: Path) -> None:
    """Nobody has the file open here, so closing it drops nobody's locks."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
