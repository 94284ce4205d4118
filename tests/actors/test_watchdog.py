"""The watchdog: a loop that stands still is told by another thread, with the place where it stands."""

import inspect
import threading
from collections.abc import Callable
from types import FrameType

import anyio
import pytest

from salon_actors import Watchdog
from tests.actors.stage import StillClock, actor, says, staged, waits


class Reports:
    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.threads = set[int]()

    def __call__(self, stalled_s: float, stack: str) -> None:
        self.told.append((stalled_s, stack))
        self.threads.add(threading.get_ident())


class Blockade:
    """A handler that keeps the loop for itself while another thread looks at the clock."""

    def __init__(self, watchdog: Watchdog, clock: StillClock) -> None:
        self._watchdog = watchdog
        self._clock = clock
        self._blocked = threading.Event()
        self._end = threading.Event()

    async def handler(self) -> bool:
        looking = threading.Thread(target=self.look)
        looking.start()
        ended = self.block("s3cret")
        looking.join()
        return ended

    def block(self, secret: str) -> bool:
        del secret
        self._blocked.set()
        return self._end.wait(20)

    def look(self) -> None:
        assert self._blocked.wait(20)
        for _ in range(8):
            self._clock.now += 0.4
            self._watchdog.look()
        self._end.set()


@pytest.mark.blocks_loop("this is what the watchdog is for")
async def test_a_handler_that_blocks_the_loop_is_reported_once_per_stall_with_its_stack() -> None:
    reports = Reports()
    watchdog = Watchdog(lambda: stage.clock.now, threading.get_ident(), reports, 1)
    async with staged(watchdog=watchdog) as stage:
        for stalls in (1, 2):
            assert await stage.submit(actor(), Blockade(watchdog, stage.clock).handler)
            assert stalls == len(reports.told)
            await stage.clock.advance(1)

    assert threading.get_ident() not in reports.threads
    for stalled_s, stack in reports.told:
        assert 1.2 == pytest.approx(stalled_s)
        calls = [line.rpartition(" ")[2] for line in stack.splitlines() if line.startswith(f"{__file__}:")]
        assert ["Blockade.handler", "Blockade.block"] == calls[-2:]
        assert "s3cret" not in stack
        assert "_end.wait" not in stack


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
