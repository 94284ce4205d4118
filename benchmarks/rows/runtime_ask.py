"""An ask through the whole Runtime on `memory://`: small state, one number changed per turn.

Sketch: in µs of CPU, message and frame 1, admission 2, scheduler and context 2, dispatch and turn 1,
encode and check 2.5, record 0.7, gate and release 2, counters 1: about 12, or 80 000 a second.
The slowest resource is the interpreter.
The memory store encodes the record as SQLite's would, and is within that.

Does not show: a disk (see `durable_ask`), handlers that wait for a model, which is what handlers mostly do.
pykka does less: its actors have no copy of the message, no transaction, no record.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from benchmarks.baselines import pykka_actor
from benchmarks.bench import Bench
from benchmarks.bots import Bare, Bump, Counter, Touch
from benchmarks.figure import at_least, ratio_at_least
from benchmarks.meter import Sample, Spread, counted, on, take_turns
from salon import Runtime

ASKS = {1: 4_000, 100: 100, 10_000: 2}
PYKKA = 1.5
K_PER_S = 70
TRIO_TO_ASYNCIO = 0.7


def run(bench: Bench) -> None:
    effort = bench.effort
    counts = {n: (effort.count(n, min(n, 20)), effort.count(asks, 2)) for n, asks in ASKS.items()}
    with ExitStack() as stack:
        refs = stack.enter_context(pykka_actor.actors(pykka_actor.Bumper, counts[100][0]))
        cells: dict[tuple[str, int], Callable[[], Sample]] = {
            (backend, n): partial(on, backend, partial(measured, sessions, each))
            for backend in bench.backends
            for n, (sessions, each) in counts.items()
        }
        for backend in bench.backends:
            cells[f"{backend}, unchanged", 100] = partial(on, backend, partial(unchanged, *counts[100]))
        cells["pykka", 100] = lambda: {"cpu_us": pykka_actor.cpu_us(refs, 1, counts[100][1])}
        found = take_turns(bench.report, "asks through the Runtime", effort, cells)
    for backend in bench.backends:
        for n in ASKS:
            case = f"{n} sessions" if n > 1 else "1 session"
            ours = found[backend, n]["cpu_us"]
            target = at_least(K_PER_S) if n == 100 and backend == "asyncio" else None
            bench.more_is_better(backend, case, "k asks per s of CPU", inverse(ours), target=target)
            if n == 100:
                pykka = found["pykka", n]["cpu_us"]
                held = ratio_at_least(PYKKA) if backend == "asyncio" else None
                bench.less_is_better(backend, case, "µs CPU", ours, against="pykka", bare=pykka, target=held)
        cost = found[f"{backend}, unchanged", 100]["cpu_us"]
        bench.less_is_better(backend, "100 sessions, nothing changed", "µs CPU", cost)
    if {"asyncio", "trio"} <= set(bench.backends):
        bench.less_is_better(
            "trio",
            "100 sessions",
            "µs CPU",
            found["trio", 100]["cpu_us"],
            against="asyncio",
            bare=found["asyncio", 100]["cpu_us"],
            target=ratio_at_least(TRIO_TO_ASYNCIO),
        )


def inverse(cost: Spread) -> Spread:
    """µs each as thousands a second."""
    return Spread(1e3 / cost.median, 1e3 / cost.high, 1e3 / cost.low)


async def measured(sessions: int, each: int) -> Sample:
    async with Runtime(Counter, store="memory://") as runtime:
        handles = [await runtime.create(Counter) for _ in range(sessions)]
        bump = Bump()
        asks = [partial(handle.ask, bump) for handle in handles]
        await counted(asks, 1)
        return await counted(asks, each)


async def unchanged(sessions: int, each: int) -> Sample:
    async with Runtime(Bare, store="memory://") as runtime:
        handles = [await runtime.create(Bare) for _ in range(sessions)]
        touch = Touch()
        return await counted([partial(handle.ask, touch) for handle in handles], each)
