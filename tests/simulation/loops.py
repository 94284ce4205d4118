"""Event loops on which no time passes but what is waited for: asyncio and trio, deterministic from a seed.

When every task waits, the time of the loop jumps to the next timer; so an hour of a workload takes seconds,
and one seed gives one run. A run that hangs reaches the end of its time at once, and fails.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

import anyio
import trio
import trio.testing

T = TypeVar("T")

START = datetime(2030, 1, 1, tzinfo=UTC)


LIFETIME_S = 3600.0
"""Of a simulated run; one that is not done by then hangs."""


class Jump(selectors.SelectSelector):
    """Instead of waiting for time to pass, lets it have passed; or, while it is frozen, waits for other threads."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.is_frozen = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.is_frozen:
            return super().select(0 if timeout == 0 else None)
        self.now += timeout or 0
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jump = Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now


class LoopClock:
    """The clock of a simulated loop: salon's time, the loop's timers and everybody's sleep are one."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._start = now()

    def wall(self) -> datetime:
        return START + timedelta(seconds=self._now() - self._start)

    def monotonic(self) -> float:
        return self._now()

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(max(seconds, 0))


def simulate(backend: str, seed: int, main: Callable[[LoopClock], Awaitable[T]]) -> T:
    """Run `main` in simulated time; from one seed the same run again.

    Raises:
        TimeoutError: It was not done after an hour.
    """
    return _on_trio(seed, main) if backend == "trio" else _on_asyncio(main)


async def _live(main: Callable[[LoopClock], Awaitable[T]], now: Callable[[], float]) -> T:
    with anyio.fail_after(LIFETIME_S):
        return await main(LoopClock(now))


def _on_asyncio(main: Callable[[LoopClock], Awaitable[T]]) -> T:
    async def run() -> T:
        return await _live(main, asyncio.get_running_loop().time)

    return anyio.run(run, backend="asyncio", backend_options={"loop_factory": SimulatedLoop})


def _on_trio(seed: int, main: Callable[[LoopClock], Awaitable[T]]) -> T:
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def run() -> T:
        return await _live(main, clock.current_time)

    with repeatable_trio(seed):
        return anyio.run(run, backend="trio", backend_options={"clock": clock})


@contextmanager
def repeatable_trio(seed: int) -> Generator[None]:
    """trio shuffles its tasks, so that nobody relies on their order; here the shuffling repeats itself."""
    core: Any = trio._core._run  # pyright: ignore
    shuffled, core._r = core._r, Random(seed)
    ordered, core._ALLOW_DETERMINISTIC_SCHEDULING = core._ALLOW_DETERMINISTIC_SCHEDULING, True
    try:
        yield
    finally:
        core._r, core._ALLOW_DETERMINISTIC_SCHEDULING = shuffled, ordered
