"""Durable asks of 100 sessions beside 50 tasks that keep the loop at 100 %, in loop turns of about 0.3 ms.

A busy loop lets go of the GIL too briefly for a storage thread to take it: 50 to 400 commits a second for any store
on a thread. The remedy is that the loop waits for the thread, 0.2 ms in each millisecond while a batch is under way.

Sketch: a batch needs the GIL about ten times, so it ends within a few of these waits: 5 to 10 ms for up to 100 turns,
10 000 a second. The other work keeps the time that is left: a second of 10 000 turns costs 0.2 s of CPU for the turns
and at most 0.2 s of waiting.

"other work kept" is what the 50 tasks do beside the sessions, of what they do alone: 1 would be a free lunch.
aiosqlite is held against it on asyncio, in the same loop.
Does not show: handlers that themselves compute for long, which nothing can help but another process.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from benchmarks.baselines.aiosqlite_each import EachItsOwn
from benchmarks.bench import Bench
from benchmarks.bots import Notebook
from benchmarks.busy import TASKS, calibrated
from benchmarks.figure import at_least, at_most
from benchmarks.meter import Ask, Sample, on, take_turns, timed
from benchmarks.place import fresh_folder, sqlite_url
from benchmarks.rows.durable_ask import asking, texts, thousands
from salon import Runtime

SESSIONS = 100
K_PER_S = 5
P99_MS = 50


def run(bench: Bench) -> None:
    seconds = bench.effort.seconds * 2
    cells: dict[tuple[str, str], Callable[[], Sample]] = {
        ("asyncio", "aiosqlite"): partial(in_folder, bench.folder, "asyncio", aiosqlite_beside, seconds)
    }
    for backend in bench.backends:
        cells[backend, "salon"] = partial(in_folder, bench.folder, backend, salon_beside, seconds)
    found = take_turns(bench.report, "saturated loop", bench.effort, cells)
    theirs = found["asyncio", "aiosqlite"]
    for backend in bench.backends:
        ours, case = found[backend, "salon"], f"{SESSIONS} sessions, {TASKS} busy tasks"
        bench.more_is_better(
            backend,
            case,
            "k turns/s",
            thousands(ours["per_s"]),
            against="aiosqlite",
            bare=thousands(theirs["per_s"]),
            target=at_least(K_PER_S),
        )
        p99 = theirs["p99_ms"]
        bench.less_is_better(backend, case, "ms p50", ours["p50_ms"])
        bench.less_is_better(
            backend, case, "ms p99", ours["p99_ms"], against="aiosqlite", bare=p99, target=at_most(P99_MS)
        )
        bench.more_is_better(backend, case, "of the other work kept", ours["kept"])
        bench.less_is_better(backend, case, "ms per loop turn, busy tasks alone", ours["turn_ms"])


def in_folder(
    parent: Path, backend: str, measure: Callable[[Path, float], Coroutine[Any, Any, Sample]], seconds: float
) -> Sample:
    with fresh_folder(parent) as folder:
        return on(backend, partial(measure, folder, seconds))


async def salon_beside(folder: Path, seconds: float) -> Sample:
    async with Runtime(Notebook, store=sqlite_url(folder)) as runtime:
        handles = [await runtime.create(Notebook) for _ in range(SESSIONS)]
        return await beside([asking(handle) for handle in handles], seconds)


async def aiosqlite_beside(folder: Path, seconds: float) -> Sample:
    async with EachItsOwn(folder) as database:
        text = texts()
        return await beside([partial(database.write, sid, text) for sid in range(SESSIONS)], seconds)


async def beside(asks: Sequence[Ask], seconds: float) -> Sample:
    spinning, alone = await calibrated()
    sample: Sample = {}
    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(TASKS):
            group.start_soon(spinning.spin)
        sample = await timed(asks, seconds)
        spinning.is_over = True
    passed = time.perf_counter() - began
    return {**sample, "kept": spinning.spins / passed / alone, "turn_ms": TASKS / alone * 1e3}
