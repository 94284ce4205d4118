"""An ask at the engine's layer, a context per turn: 1, 100 and 10 000 actors, one in flight per caller.

Sketch: a reply, an envelope, two queue operations, a context and two calls into the behaviour: 1 to 2 µs of CPU.
Alone it also pays two task switches, about 3 µs on asyncio, so that one actor cannot be much cheaper than the raw one.
The slowest resource is the interpreter; nothing waits.
For the same reason one actor cannot be four times as cheap as one anyio stream: that pays the two switches too,
and an event, about 1.4 times as much.

Does not show: mailboxes that hold more than one message, the tick's scan of many suspended turns,
what a session adds (see `runtime_ask`). With 10 000 actors each caller asks a few times only, on both sides.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from benchmarks.baselines import pykka_actor
from benchmarks.baselines.anyio_stream import StreamActor
from benchmarks.baselines.raw_actor import raw_actor
from benchmarks.bench import Bench
from benchmarks.figure import Target, ratio_at_least
from benchmarks.meter import Ask, Sample, Spreads, counted, on, take_turns
from salon_actors import Actor, Ending, Envelope, Returned, Scheduler, SystemClock, current_host_loop

ACTORS = (1, 100, 10_000)
ASKS = {1: 20_000, 100: 400, 10_000: 8}
REPEATS = {1: 5, 100: 5, 10_000: 2}
SUSPENDING = 100
"""Actors of the cells whose handlers suspend once."""
PYKKA_ASKS = {1: 5_000, 100: 100, 10_000: 1}
"""Fewer, because ten thousand threads that all want to run are a burden on whoever shares the machine."""
RAW = {1: 0.8, 100: 1.2, 10_000: 1.3}
STREAMS = 4
PYKKA: Mapping[str, Mapping[int, float]] = {
    "asyncio": {1: 4, 100: 12, 10_000: 25},
    "trio": {1: 2.5, 100: 8, 10_000: 18},
}

Cell: TypeAlias = tuple[str, str, int]
"""Backend, way, actors."""
Handler: TypeAlias = Callable[[Any], Awaitable[Any]]
Open: TypeAlias = Callable[[str, int, Handler], AbstractAsyncContextManager[Sequence[Ask]]]


def run(bench: Bench) -> None:
    for n in ACTORS:
        actors, each = bench.effort.count(n, min(n, 20)), bench.effort.count(ASKS[n], 2)
        cells: dict[Cell, Callable[[], Sample]] = {}
        for backend, (way, open_) in product(bench.backends, WAYS.items()):
            cells[backend, way, n] = partial(on, backend, partial(measured, open_, backend, actors, echo, each))
            if n == SUSPENDING:
                suspending = partial(measured, open_, backend, actors, suspends, each)
                cells[backend, f"{way}, suspends", n] = partial(on, backend, suspending)
        effort = bench.effort.at_most(REPEATS[n])
        with pykka_actor.actors(pykka_actor.Echo, actors) as refs:  # No more threads than this size asks for.
            cells["threads", "pykka", n] = partial(pykka_sample, refs, bench.effort.count(PYKKA_ASKS[n]))
            found = take_turns(bench.report, f"asks at the engine, {actors_said(n)}", effort, cells)
        for backend in bench.backends:
            say(bench, found, backend, n)


def say(bench: Bench, found: Mapping[Cell, Spreads], backend: str, n: int) -> None:
    """Figures of pykka are for asyncio; what a task switch costs on trio makes its own."""
    pykka = ratio_at_least(PYKKA[backend][n]) if backend in PYKKA else None
    bare: list[tuple[Cell, Target | None]] = [
        ((backend, "raw actor", n), ratio_at_least(RAW[n])),
        ((backend, "anyio stream", n), ratio_at_least(STREAMS)),
        (("threads", "pykka", n), pykka),
    ]
    ours = found[backend, "salon", n]["cpu_us"]
    for cell, target in bare:
        theirs = found[cell]["cpu_us"]
        bench.less_is_better(backend, actors_said(n), "µs CPU", ours, against=cell[1], bare=theirs, target=target)
    if n == SUSPENDING:
        ours = found[backend, "salon, suspends", n]["cpu_us"]
        theirs = found[backend, "raw actor, suspends", n]["cpu_us"]
        case = f"{actors_said(n)}, handler suspends once"
        bench.less_is_better(backend, case, "µs CPU", ours, against="raw actor", bare=theirs)


def actors_said(n: int) -> str:
    return "1 actor" if n == 1 else f"{n} actors"


def pykka_sample(refs: Sequence[pykka_actor.Ref], each: int) -> Sample:
    return {"cpu_us": pykka_actor.cpu_us(refs, MESSAGE, each)}


async def measured(open_: Open, backend: str, n: int, handler: Handler, each: int) -> Sample:
    async with open_(backend, n, handler) as asks:
        await anyio.sleep(0.01)
        return await counted(asks, each)


class Say:
    __slots__ = ()


MESSAGE = Say()


async def echo(message: object) -> object:
    return message


async def suspends(message: object) -> object:
    await checkpoint()
    return message


class Echo:
    """The behaviour is the handler: one coroutine a turn, as the others have."""

    async def handle(self, actor: Actor[Envelope], envelope: Envelope) -> object:
        return envelope.message

    def finish(self, actor: Actor[Envelope], envelope: Envelope, ending: Ending) -> bool:
        if isinstance(ending, Returned):
            envelope.promise.set_result(ending.value)
        return True

    def expire(self, actor: Actor[Envelope], envelope: Envelope, started: bool) -> None: ...

    def stuck(self, actor: Actor[Envelope], envelope: Envelope, late_s: float) -> None: ...

    def abandon(self, actor: Actor[Envelope], envelope: Envelope) -> None: ...


class Suspending(Echo):
    async def handle(self, actor: Actor[Envelope], envelope: Envelope) -> object:
        await checkpoint()
        return envelope.message


@asynccontextmanager
async def salon(backend: str, n: int, handler: Handler) -> AsyncGenerator[list[Ask]]:
    host, clock = current_host_loop(), SystemClock()
    scheduler = Scheduler[Actor[Envelope], Envelope](host, clock, Echo() if handler is echo else Suspending())
    await scheduler.open()
    deadline = clock.monotonic() + 300
    reply, submit = host.reply, scheduler.submit

    def bound(actor: Actor[Envelope]) -> Ask:
        async def ask() -> object:
            promise = reply()
            submit(actor, Envelope(MESSAGE, promise, deadline=deadline))
            return await promise

        return ask

    try:
        yield [bound(Actor()) for _ in range(n)]
    finally:
        await scheduler.close()
        await host.close()


@asynccontextmanager
async def raw(backend: str, n: int, handler: Handler) -> AsyncGenerator[list[Ask]]:
    actors = [raw_actor(backend, handler) for _ in range(n)]
    try:
        yield [partial(actor.ask, MESSAGE) for actor in actors]
    finally:
        for actor in actors:
            actor.stop()
        await anyio.sleep(0.01)


@asynccontextmanager
async def streams(backend: str, n: int, handler: Handler) -> AsyncGenerator[list[Ask]]:
    async with anyio.create_task_group() as group:
        yield [partial(StreamActor(group, handler).ask, MESSAGE) for _ in range(n)]
        group.cancel_scope.cancel()


WAYS: dict[str, Open] = {"salon": salon, "raw actor": raw, "anyio stream": streams}
