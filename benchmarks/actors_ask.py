"""CPU time per ask through the engine, against a raw task per actor on the same loop; one in flight per caller.

    python -m benchmarks.actors_ask [asyncio|uvloop|trio ...]

Sketch: an ask is a promise, an envelope, two queue operations, a context and two calls into the behaviour, 1 to 2 µs;
alone it also pays two task switches, so that one actor cannot be much cheaper than the raw one.
Does not show: the tick's scan of many suspended turns, mailboxes that hold more than one message.
"""

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from benchmarks.baselines.raw_actor import AsyncioRawActor, trio_raw_actor
from salon_actors import Actor, Ending, Envelope, Returned, Scheduler, SystemClock, current_host_loop

ASKS = {1: 30_000, 100: 600, 10_000: 12}
REPEATS = 5


class Say:
    __slots__ = ()


class Echo:
    async def handle(self, actor: Actor[Envelope], envelope: Envelope) -> object:
        return envelope.message

    def finish(self, actor: Actor[Envelope], envelope: Envelope, ending: Ending) -> bool:
        if isinstance(ending, Returned) and not envelope.promise.done():
            envelope.promise.set_result(ending.value)
        return True

    def expire(self, actor: Actor[Envelope], envelope: Envelope, started: bool) -> None: ...

    def stuck(self, actor: Actor[Envelope], envelope: Envelope, late_s: float) -> None: ...

    def abandon(self, actor: Actor[Envelope], envelope: Envelope) -> None: ...


class Suspending(Echo):
    async def handle(self, actor: Actor[Envelope], envelope: Envelope) -> object:
        await checkpoint()
        return envelope.message


async def echo(message: object) -> object:
    return message


async def suspending(message: object) -> object:
    await checkpoint()
    return message


async def measure(asks: list[Callable[[Any], Awaitable[Any]]], count: int) -> float:
    """Microseconds of CPU per ask."""
    message = Say()

    async def caller(ask: Callable[[Any], Awaitable[Any]]) -> None:
        for _ in range(count):
            await ask(message)

    gc.collect()
    began = 0.0
    async with anyio.create_task_group() as group:
        for ask in asks:
            group.start_soon(caller, ask)
        await checkpoint()
        began = time.process_time()
    return (time.process_time() - began) / (count * len(asks)) * 1e6


async def salon_cell(n: int, suspends: bool) -> float:
    host, clock = current_host_loop(), SystemClock()
    scheduler = Scheduler[Actor[Envelope], Envelope](host, clock, Suspending() if suspends else Echo())
    await scheduler.open()

    def bind(actor: Actor[Envelope]) -> Callable[[Any], Awaitable[Any]]:
        new_reply, submit = host.reply, scheduler.submit
        deadline = clock.monotonic() + 300

        async def ask(message: object) -> object:
            reply = new_reply()
            submit(actor, Envelope(message, reply, deadline))
            return await reply

        return ask

    cost = await measure([bind(Actor()) for _ in range(n)], ASKS[n])
    await scheduler.close()
    await host.close()
    return cost


async def raw_cell(n: int, suspends: bool, backend: str) -> float:
    make: Any = trio_raw_actor() if backend == "trio" else AsyncioRawActor
    actors = [make(suspending if suspends else echo) for _ in range(n)]
    await anyio.sleep(0.01)
    cost = await measure([actor.ask for actor in actors], ASKS[n])
    for actor in actors:
        (actor.scope if backend == "trio" else actor.task).cancel()
    await anyio.sleep(0.01)
    return cost


async def table(backend: str) -> None:
    for suspends in (False, True):
        for n in ASKS:
            salon, raw = list[float](), list[float]()
            for _ in range(REPEATS):
                raw.append(await raw_cell(n, suspends, backend))
                salon.append(await salon_cell(n, suspends))
            ours, bare = statistics.median(salon), statistics.median(raw)
            kind = "suspends once" if suspends else "plain"
            print(f"{backend:8} {kind:14} n={n:<6} salon {ours:6.2f} µs  raw {bare:6.2f} µs  ratio {bare / ours:.2f}")


def idle_bytes(n: int = 100_000) -> float:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    index = {number: Actor[Envelope]() for number in range(n)}
    size = (tracemalloc.get_traced_memory()[0] - before) / len(index)
    tracemalloc.stop()
    return size


if __name__ == "__main__":
    for backend in sys.argv[1:] or ["asyncio", "trio"]:
        options = {"use_uvloop": True} if backend == "uvloop" else {}
        anyio.run(table, backend, backend="trio" if backend == "trio" else "asyncio", backend_options=options)
    print(f"idle actor with its place in a dict: {idle_bytes():.0f} B")
