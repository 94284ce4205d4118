"""Meters: CPU time of a counted loop, wall time of a timed one, and medians of repeats that take turns."""

import gc
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from benchmarks.effort import Effort
from benchmarks.report import Report

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Ask: TypeAlias = Callable[[], Awaitable[Any]]
Sample: TypeAlias = Mapping[str, float]


def on(backend: str, fn: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `fn()` on asyncio, uvloop or trio."""
    options = {"use_uvloop": True} if backend == "uvloop" else {}
    return anyio.run(fn, backend="trio" if backend == "trio" else "asyncio", backend_options=options)


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one quantity over the repeats."""

    median: float
    low: float
    high: float


def single(value: float) -> Spread:
    """Of a quantity that is measured once."""
    return Spread(value, value, value)


class Spreads:
    """Of every quantity of one cell."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __getitem__(self, quantity: str) -> Spread:
        values = [sample[quantity] for sample in self._samples]
        return Spread(median(values), min(values), max(values))


def take_turns(report: Report, what: str, effort: Effort, cells: Mapping[K, Callable[[], Sample]]) -> dict[K, Spreads]:
    """Each cell once, then each once more: what changes on the machine meanwhile meets all of them."""
    samples: dict[K, list[Sample]] = {key: [] for key in cells}
    for key in report.track(what, list(cells) * effort.repeats):
        gc.collect()
        samples[key].append(cells[key]())
    return {key: Spreads(found) for key, found in samples.items()}


async def counted(asks: Sequence[Ask], each: int) -> Sample:
    """`cpu_us` per ask: a caller for each of `asks`, one in flight per caller, `each` times.

    Raises:
        RuntimeError: The asks never suspend, so that all was done before the clock started; see `timed_count`.
    """
    ended = 0

    async def caller(ask: Ask) -> None:
        nonlocal ended
        for _ in range(each):
            await ask()
        ended += 1

    began, began_wall = time.process_time(), time.perf_counter()
    async with anyio.create_task_group() as group:
        for ask in asks:
            group.start_soon(caller, ask)
        await checkpoint()  # Starting the callers is not measured.
        if ended:
            raise RuntimeError("asks that do not suspend are done before the clock starts")
        began, began_wall = time.process_time(), time.perf_counter()
    done = each * len(asks)
    wall = time.perf_counter() - began_wall
    return {"cpu_us": (time.process_time() - began) / done * 1e6, "per_s": done / wall}


async def timed(asks: Sequence[Ask], seconds: float) -> Sample:
    """As `counted`, but for a time, and each ask is timed too: `p50_ms`, `p99_ms`, `max_ms`; `each_ms` on average."""
    now = time.perf_counter
    end = now() + seconds

    async def caller(ask: Ask, latencies: list[float]) -> None:
        while (began := now()) < end:
            await ask()
            latencies.append(now() - began)

    return await _watched(asks, caller)


async def timed_count(asks: Sequence[Ask], each: int) -> Sample:
    """As `timed`, but `each` times."""
    now = time.perf_counter

    async def caller(ask: Ask, latencies: list[float]) -> None:
        for _ in range(each):
            began = now()
            await ask()
            latencies.append(now() - began)

    return await _watched(asks, caller)


async def _watched(asks: Sequence[Ask], caller: Callable[[Ask, list[float]], Coroutine[Any, Any, None]]) -> Sample:
    latencies: list[float] = []
    began, began_cpu = time.perf_counter(), time.process_time()
    async with anyio.create_task_group() as group:
        for ask in asks:
            group.start_soon(caller, ask, latencies)
    wall, cpu, done = time.perf_counter() - began, time.process_time() - began_cpu, len(latencies)
    return {**latency(latencies), "each_ms": wall / done * 1e3, "per_s": done / wall, "cpu_us": cpu / done * 1e6}


def latency(seconds: Sequence[float]) -> dict[str, float]:
    """`p50_ms`, `p99_ms` and `max_ms`."""
    ranked = sorted(seconds)
    return {
        "p50_ms": percentile(ranked, 0.5) * 1e3,
        "p99_ms": percentile(ranked, 0.99) * 1e3,
        "max_ms": ranked[-1] * 1e3,
    }


def percentile(ranked: Sequence[float], share: float) -> float:
    """The smallest value that `share` of them, 0 to 1, do not exceed."""
    return ranked[max(0, -int(-share * len(ranked) // 1) - 1)]
