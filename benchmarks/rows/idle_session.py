"""Memory of an idle resident session, after a turn, over many of them in one SQLite file.

Sketch: an actor (about 130 B), its row (a slotted object of 19 fields, 190 B, and the strings in it, two of them its
own: 49 + 24 and 33 + 16 B), an image (104 B and a dict of 64 B), a place in the registry (100 B): 600 to 900 B.
The slowest resource is RAM: 100 000 sessions at 512 B are 50 MB.

Without its state: of a state that has no field. Two more cases show what a state adds.
Does not show: the page cache of SQLite, which is bounded; memory of turns that run.
`RSS` is what the operating system sees grow; `traced` is what Python's allocator was asked for.
"""

import gc
import resource
import tracemalloc
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from benchmarks.bench import Bench
from benchmarks.bots import ANSWERED, SAID, Bare, Bump, Counter, Talk, Touch, Turn
from benchmarks.figure import at_most
from benchmarks.meter import on, single
from benchmarks.place import fresh_folder, sqlite_url
from salon import Message, Runtime, Session, Settings

SESSIONS = 20_000
BYTES_MAX = 512
AT_ONCE = 200

STATELESS = "without a state"
Kind = tuple[type[Session[Any, None]], Callable[[], Message[Any]]]
KINDS: Mapping[str, Kind] = {
    STATELESS: (Bare, Touch),
    "with one number": (Counter, Bump),
    "with two lines of a conversation": (Talk, lambda: Turn(said=SAID, answered=ANSWERED)),
}


def run(bench: Bench) -> None:
    sessions = bench.effort.count(SESSIONS, 50)
    for case, kind in bench.report.track("idle sessions", list(KINDS.items())):
        with fresh_folder(bench.folder) as folder:
            found = on(bench.backends[0], partial(measured, kind, sessions, folder))
        target = at_most(BYTES_MAX) if case == STATELESS else None
        bench.less_is_better(bench.backends[0], case, "B traced", single(found["traced"]), target=target)
        if case == STATELESS:  # What later cases take was there before them.
            bench.less_is_better(bench.backends[0], case, "B RSS", single(found["rss"]), target=target)


async def measured(kind: Kind, sessions: int, folder: Path) -> dict[str, float]:
    async with Runtime(kind[0], store=sqlite_url(folder), settings=Settings(durability="normal")) as runtime:
        await populate(runtime, kind, max(sessions // 10, AT_ONCE))  # Arenas, caches and pools are there.
        before = resident_bytes()
        await populate(runtime, kind, sessions)
        rss = resident_bytes() - before
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            await populate(runtime, kind, sessions)
            gc.collect()
            traced = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        return {"traced": traced / sessions, "rss": rss / sessions}


async def populate(runtime: Runtime, kind: Kind, sessions: int) -> None:
    cls, message = kind

    async def create(n: int) -> None:
        for _ in range(n):
            handle = await runtime.create(cls)
            await handle.ask(message())

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(partial(create, -(-sessions // AT_ONCE)))


def resident_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
