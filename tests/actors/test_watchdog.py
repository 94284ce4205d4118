"""The watchdog: a loop that stands still is told by another thread, with the place where it stands."""

import inspect
import threading
import time
from collections.abc import Callable
from math import inf
from types import FrameType

import anyio
import pytest

from salon_actors import Actor, Envelope, Scheduler, SystemClock, Watchdog, current_host_loop
from tests.actors.stage import Play, StillClock, actor, says, staged, waits

LIMIT_S = 0.05


class Reports:
    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.threads = set[int]()

    def __call__(self, stalled_s: float, stack: str) -> None:
        self.told.append((stalled_s, stack))
        self.threads.add(threading.get_ident())


class Watching:
    """A thread that looks twice per limit."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._end.wait(LIMIT_S / 2):
            self._watchdog.look()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def blocks_until(told: Callable[[], bool], secret: str) -> bool:
    """Keep the loop for itself until the report has come."""
    del secret
    deadline = time.monotonic() + 20
    while not told() and time.monotonic() < deadline:
        time.sleep(0.001)
    return told()


@pytest.mark.blocks_loop("this is what the watchdog is for")
async def test_a_handler_that_blocks_the_loop_is_reported_once_per_stall_with_its_stack() -> None:
    reports, clock, host = Reports(), SystemClock(), current_host_loop()
    watchdog = Watchdog(clock.monotonic, threading.get_ident(), reports, LIMIT_S)
    scheduler: Scheduler[Actor[Envelope], Envelope] = Scheduler(host, clock, Play(), tick_s=0.002, watchdog=watchdog)
    await scheduler.open()

    async def ask(stall: int) -> bool:
        async def handler() -> bool:
            await anyio.sleep(0.005)  # The tick has begun.
            seen = blocks_until(lambda: len(reports.told) == stall, "s3cret")
            time.sleep(LIMIT_S)  # noqa: ASYNC251 - the same stall goes on and is not told again
            return seen

        reply = host.promise()
        scheduler.submit(actor(), Envelope(handler, reply, inf))
        return bool(await reply)

    with Watching(watchdog):
        assert await ask(1)
        assert 1 == len(reports.told)
        assert await ask(2)
    await scheduler.close()
    await host.close()

    assert 2 == len(reports.told)
    assert threading.get_ident() not in reports.threads
    for stalled_s, stack in reports.told:
        assert stalled_s >= LIMIT_S
        *outer, inner = [line for line in stack.splitlines() if "test_watchdog" in line]
        assert inner.endswith("blocks_until") or "<lambda>" in inner
        assert any(line.endswith("handler") for line in outer)
        assert "s3cret" not in stack
        assert "time.sleep(" not in stack


async def test_a_loop_that_ticks_or_is_parked_is_left_alone() -> None:
    reports = Reports()
    watchdog = Watchdog(lambda: stage.clock.now, threading.get_ident(), reports, 1)
    async with staged(watchdog=watchdog) as stage:
        go = anyio.Event()
        await stage.clock.advance(100)
        assert watchdog.beat is None, "nothing has ever run"
        watchdog.look()
        stage.submit(actor(), waits(go))
        for _ in range(5):
            await stage.clock.advance(0.9)
            assert stage.clock.now == watchdog.beat
            stage.clock.now += 0.9
            watchdog.look()
        go.set()
        await stage.clock.advance(0.9)
        await stage.clock.advance(100)
        assert watchdog.beat is None, "the tick is parked again"
        watchdog.look()

        assert [] == reports.told
        await stage.submit(actor(), says("woken"))
        assert stage.clock.now == watchdog.beat, "it counts from when the tick was woken"
    assert watchdog.beat is None, "a closed scheduler is not watched"


def frames_of(ident: int) -> Callable[[], dict[int, FrameType]]:
    return lambda: {ident: here()}


def here() -> FrameType:
    frame = inspect.currentframe()
    assert frame is not None
    return frame


def test_each_stall_is_told_once_and_the_next_one_again() -> None:
    reports, clock = Reports(), StillClock()
    watchdog = Watchdog(clock.monotonic, 7, reports, 1, frames=frames_of(7))
    watchdog.look()
    watchdog.beat = clock.now
    clock.now += 0.5
    watchdog.look()
    assert [] == reports.told
    for _ in range(3):
        clock.now += 0.5
        watchdog.look()
    assert [1.0] == [stalled_s for stalled_s, _ in reports.told]

    watchdog.beat = clock.now
    watchdog.look()
    clock.now += 5
    watchdog.look()

    assert [1.0, 5.0] == [stalled_s for stalled_s, _ in reports.told]


def test_a_deep_stack_is_cut_at_its_outer_end() -> None:
    reports, clock = Reports(), StillClock()

    def deep(left: int) -> FrameType:
        return deep(left - 1) if left else here()

    watchdog = Watchdog(clock.monotonic, 7, reports, 1, frames=lambda: {7: deep(200)})
    watchdog.beat = clock.now - 1
    watchdog.look()

    (_, stack) = reports.told[0]
    lines = stack.splitlines()
    assert 64 == len(lines)
    assert all(line.startswith(f"{__file__}:") and line.endswith(".deep") for line in lines[:-1])
    assert lines[-1].endswith(" here")


def test_a_thread_that_is_gone_has_no_stack() -> None:
    reports, clock = Reports(), StillClock()
    watchdog = Watchdog(clock.monotonic, 7, reports, 1, frames=frames_of(8))
    watchdog.beat = clock.now - 2
    watchdog.look()

    assert [(2.0, "")] == reports.told
