"""Every coroutine test runs on asyncio and on trio, and one that blocks its event loop fails.

A module whose tests make sense on one backend only overrides the fixture:

    @pytest.fixture(scope="session")
    def anyio_backend() -> str:
        return "asyncio"
"""

import asyncio
import inspect
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import trio

BLOCKED_S_MAX = 1.0
"""Longest step of the loop. Generous: the machine may be shared."""
SAMPLE_S = 0.2
"""How stale the count of starved time may be when a step begins."""


class LoopGuard(trio.abc.Instrument):
    """Remembers the longest step that any event loop of the main thread has made since `reset`.

    Time in which the thread was ready and other processes had the processor does not count.
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._sampled = 0.0
        self._starved_s = 0.0
        self.longest_s = 0.0

    def reset(self) -> None:
        self.longest_s = 0.0

    def begin(self) -> None:
        self._began = time.monotonic()
        if self._began - self._sampled > SAMPLE_S:
            self._sampled, self._starved_s = self._began, starved_s()

    def end(self) -> None:
        step_s = time.monotonic() - self._began
        if step_s > max(self.longest_s, BLOCKED_S_MAX):
            step_s -= starved_s() - self._starved_s
        self.longest_s = max(self.longest_s, step_s)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.begin()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.end()


def starved_s() -> float:
    """Seconds that this thread has waited for a processor so far, where Linux counts them."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


GUARD = pytest.StashKey[LoopGuard]()
HANDLE_RUN = asyncio.Handle._run


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "blocks_loop(reason): the test may block its event loop, for this reason")
    guard = config.stash[GUARD] = LoopGuard()
    main = threading.get_ident()

    def run(handle: asyncio.Handle) -> None:
        if threading.get_ident() != main:
            HANDLE_RUN(handle)
            return
        guard.begin()
        HANDLE_RUN(handle)
        guard.end()

    asyncio.Handle._run = run  # type: ignore[method-assign, assignment]


def pytest_unconfigure(config: pytest.Config) -> None:
    asyncio.Handle._run = HANDLE_RUN  # type: ignore[method-assign]


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: Any) -> None:
    if collector.istestfunction(obj, name):
        function = obj.hypothesis.inner_test if hasattr(obj, "hypothesis") else obj
        if inspect.iscoroutinefunction(function):
            pytest.mark.usefixtures("anyio_backend")(obj)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    guard = pyfuncitem.config.stash[GUARD]
    guard.reset()
    result = yield
    allowed = pyfuncitem.get_closest_marker("blocks_loop")
    if guard.longest_s > BLOCKED_S_MAX and allowed is None:
        pytest.fail(f"The test blocked its event loop for {guard.longest_s:.1f} s.", pytrace=False)
    return result


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    guarded = {"trio": {"instruments": [request.config.stash[GUARD]]}}
    return request.param, guarded.get(request.param, {})


@pytest.fixture(scope="session")
def backend(anyio_backend: tuple[str, dict[str, Any]] | str) -> str:
    """Name of the backend that the test runs on; a plain `def` test that takes it runs once for each."""
    return anyio_backend if isinstance(anyio_backend, str) else anyio_backend[0]
