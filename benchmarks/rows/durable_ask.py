"""A durable ask through the whole Runtime: SQLite, `synchronous=FULL`, 200 bytes changed per turn.

Sketch: alone it waits for one fsync (0.1 ms here) and four thread hops (20 to 50 µs each): half the rate of fdatasync.
With 100 sessions a commit is shared by all that came meanwhile, and the interpreter is the slowest resource:
12 µs for the ask, 7 for the row and its hand-over: 50 000 a second, each waiting for about two commits, 2 to 4 ms.

Does not show: a disk with slow flushes, where groups get larger and every latency is at least one flush;
a busy loop (see `saturated_loop`). Wall time, so a foreign load on the machine shows.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeAlias

from benchmarks.baselines import fdatasync
from benchmarks.baselines.aiosqlite_each import EachItsOwn
from benchmarks.baselines.group_commit import GroupCommit
from benchmarks.bench import Bench
from benchmarks.bots import Note, Notebook, Write
from benchmarks.figure import at_least, at_most, ratio_at_least
from benchmarks.meter import Ask, Sample, Spread, on, take_turns, timed
from benchmarks.place import fresh_folder, sqlite_url
from salon import Runtime, SessionHandle

SESSIONS = (1, 100)
TEXT_BYTES = 190
BARE = ("aiosqlite", "group commit")
"""A transaction per update; a thread that only inserts, the most that a storage thread can do."""
FDATASYNC = 0.35
K_PER_S = 45
P99_MS = 8


Writer: TypeAlias = type[EachItsOwn] | type[GroupCommit]


def run(bench: Bench) -> None:
    seconds = bench.effort.seconds
    with fresh_folder(bench.folder) as folder:
        cells: dict[tuple[str, int], Callable[[], Sample]] = {("fdatasync", 1): partial(disk, folder, seconds)}
        for n in SESSIONS:
            cells["aiosqlite", n] = partial(bare, folder, EachItsOwn, n, seconds)
            cells["group commit", n] = partial(bare, folder, GroupCommit, n, seconds)
            for backend in bench.backends:
                cells[backend, n] = partial(durable, backend, folder, n, seconds)
        found = take_turns(bench.report, "durable asks", bench.effort, cells)
    raw = found["fdatasync", 1]["per_s"]
    for backend in bench.backends:
        for n in SESSIONS:
            ours, case = found[backend, n], f"{n} sessions" if n > 1 else "1 session"
            target = ratio_at_least(FDATASYNC) if n == 1 else None
            bench.more_is_better(backend, case, "turns/s", ours["per_s"], against="fdatasync", bare=raw, target=target)
            for name in BARE:
                bench.more_is_better(
                    backend, case, "turns/s", ours["per_s"], against=name, bare=found[name, n]["per_s"]
                )
            if n > 1:
                rate = thousands(ours["per_s"])
                bench.more_is_better(backend, case, "k turns/s", rate, target=at_least(K_PER_S))
            bench.less_is_better(backend, case, "ms p50", ours["p50_ms"])
            bench.less_is_better(backend, case, "ms p99", ours["p99_ms"], target=at_most(P99_MS) if n > 1 else None)
            bench.less_is_better(backend, case, "µs CPU", ours["cpu_us"])


def thousands(rate: Spread) -> Spread:
    return Spread(rate.median / 1e3, rate.low / 1e3, rate.high / 1e3)


def disk(folder: Path, seconds: float) -> Sample:
    return {"per_s": fdatasync.per_s(folder, seconds)}


def texts() -> Iterator[str]:
    """Each differs from the one before, or nothing would be written."""
    return (f"{number:0{TEXT_BYTES}}" for number in count())


def durable(backend: str, parent: Path, sessions: int, seconds: float) -> Sample:
    with fresh_folder(parent) as folder:
        return on(backend, partial(measured, folder, sessions, seconds))


async def measured(folder: Path, sessions: int, seconds: float) -> Sample:
    async with Runtime(Notebook, store=sqlite_url(folder)) as runtime:
        handles = [await runtime.create(Notebook) for _ in range(sessions)]
        return await timed([asking(handle) for handle in handles], seconds)


def asking(handle: SessionHandle[Note]) -> Ask:
    text = texts()

    async def ask() -> None:
        await handle.ask(Write(text=next(text)))

    return ask


def bare(parent: Path, writer: Writer, sessions: int, seconds: float) -> Sample:
    async def measured() -> Sample:
        async with writer(folder) as database:
            text = texts()
            return await timed([partial(database.write, sid, text) for sid in range(sessions)], seconds)

    with fresh_folder(parent) as folder:
        return asyncio.run(measured())
