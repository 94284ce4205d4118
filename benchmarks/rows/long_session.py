"""One session of 10 000 turns, 180 bytes each: late turns beside early ones, the file, a page anywhere, activation.

Sketch: a turn is one journal row (300 bytes) that a page of 64 items (12 KB for 32 turns: 380 bytes a turn) replaces
once its tail is snapshotted: below 700 bytes a turn, below 2 KB with half-full pages and the overhead of trees.
A late turn reads nothing an early one did not. A page of history is one or two rows: 0.1 ms and four thread hops.
Activation reads a row, a snapshot, at most 64 rows of tail and the pages of the window: 1 ms.

Wall time: the medians of 100 turns are compared, which a single slow flush does not move.
The size is that of the closed file, with all that is free in it, and its schema of 100 KB.
Does not show: many such sessions at once; a cold page cache.
"""

import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.bots import ANSWERED, SAID, Chat, Talk, Turn
from benchmarks.figure import at_most, ratio_at_most
from benchmarks.meter import Sample, latency, on, take_turns
from benchmarks.place import fresh_folder, sqlite_url
from salon import Runtime, SessionHandle

TURNS = 10_000
ENDS = 100
LATE_TO_EARLY = 1.3
BYTES_PER_TURN = 2048
PAGE_MS = 2
ACTIVATION_MS = 5
REOPENED = 5
REPEATS = 2
"""A cell takes half a minute."""


def run(bench: Bench) -> None:
    turns = bench.effort.count(TURNS, 300)
    cells: dict[str, Callable[[], Sample]] = {
        backend: partial(in_folder, bench.folder, backend, turns) for backend in bench.backends
    }
    found = take_turns(bench.report, "long session", bench.effort.at_most(REPEATS), cells)
    for backend, spreads in found.items():
        case = f"{TURNS} turns"
        early, late = spreads["early_ms"], spreads["late_ms"]
        bench.growth(
            backend, f"{case}: last {ENDS} to first", "ms p50", late, early, target=ratio_at_most(LATE_TO_EARLY)
        )
        first, second = spreads["first_half_bytes"], spreads["second_half_bytes"]
        bench.growth(backend, f"{case}: second half to first", "B per turn", second, first, note="1 is linear")
        bench.less_is_better(backend, case, "B per turn", spreads["bytes"], target=at_most(BYTES_PER_TURN))
        bench.less_is_better(backend, f"{case}: a page anywhere", "ms p50", spreads["p50_ms"])
        bench.less_is_better(backend, f"{case}: a page anywhere", "ms p99", spreads["p99_ms"], target=at_most(PAGE_MS))
        activation = spreads["activation_ms"]
        bench.less_is_better(backend, f"{case}: activation", "ms", activation, target=at_most(ACTIVATION_MS))


def in_folder(parent: Path, backend: str, turns: int) -> Sample:
    with fresh_folder(parent) as folder:
        return on(backend, partial(measured, folder, turns))


async def measured(folder: Path, turns: int) -> Sample:
    async with Runtime(Talk, store=sqlite_url(folder)) as runtime:
        await spoken(await runtime.create(Talk), ENDS)  # Not the first turns of the process.
        began_bytes = pages_bytes(folder)
        handle = await runtime.create(Talk)
        first = await spoken(handle, turns // 2)
        middle_bytes = pages_bytes(folder)
        second = await spoken(handle, turns - turns // 2)
        end_bytes = pages_bytes(folder)
        pages = await pages_of(handle)
    closed_bytes = (folder / "chat.db").stat().st_size
    return {
        "early_ms": statistics.median(first[:ENDS]) * 1e3,
        "late_ms": statistics.median(second[-ENDS:]) * 1e3,
        "first_half_bytes": (middle_bytes - began_bytes) / (turns // 2),
        "second_half_bytes": (end_bytes - middle_bytes) / (turns - turns // 2),
        "bytes": closed_bytes / turns,
        "activation_ms": await activation_ms(folder, handle.session_id),
        **latency(pages),
    }


async def spoken(handle: SessionHandle[Chat], turns: int) -> list[float]:
    """Seconds of each turn."""
    seconds: list[float] = []
    for _ in range(turns):
        began = time.perf_counter()
        await handle.ask(Turn(said=SAID, answered=ANSWERED))
        seconds.append(time.perf_counter() - began)
    return seconds


async def pages_of(handle: SessionHandle[Chat]) -> list[float]:
    """Seconds of each page of 50, from the newest to the oldest."""
    seconds: list[float] = []
    cursor: str | None = None
    while not seconds or cursor is not None:
        began = time.perf_counter()
        page = await handle.history(lambda state: state.messages, before=cursor)
        seconds.append(time.perf_counter() - began)
        assert page.items
        cursor = page.next
    return seconds


async def activation_ms(folder: Path, session_id: str) -> float:
    """The median of several processes' worth of first meetings."""
    found: list[float] = []
    for _ in range(REOPENED):
        async with Runtime(Talk, store=sqlite_url(folder)) as runtime:
            began = time.perf_counter()
            await runtime.get(Talk, session_id)
            found.append(time.perf_counter() - began)
    return statistics.median(found) * 1e3


def pages_bytes(folder: Path) -> int:
    """What the database holds now, wherever its pages are; on disk it grows by four megabytes at a time."""
    with closing(sqlite3.connect(f"file:{folder / 'chat.db'}?mode=ro", uri=True)) as reader:
        (pages,), (size,) = (reader.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    return int(pages * size)
