"""The host loop: calls from other threads, timers, tasks that nobody but it owns."""

import logging
import threading
from contextvars import ContextVar, copy_context

import anyio
import pytest
import trio.testing
from anyio.lowlevel import checkpoint

from salon_actors import HostLoop, current_host_loop
from tests.actors.stage import settle


async def test_posts_from_other_threads_arrive_in_order_on_the_loop() -> None:
    host = current_host_loop()
    arrived = list[tuple[int, bool]]()
    done = anyio.Event()

    def arrive(number: int) -> None:
        arrived.append((number, host.is_current()))

    def post() -> None:
        for number in range(100):
            host.post(arrive, number)
        host.post(done.set)

    thread = threading.Thread(target=post)
    thread.start()
    await done.wait()
    thread.join()

    assert [(number, True) for number in range(100)] == arrived
    await host.close()


async def test_a_loop_knows_whether_it_is_current() -> None:
    host = current_host_loop()
    elsewhere = list[bool]()
    thread = threading.Thread(target=lambda: elsewhere.append(host.is_current()))
    thread.start()
    thread.join()

    assert host.is_current()
    assert [False] == elsewhere
    assert threading.current_thread().name == host.thread_name


def test_posting_to_a_loop_that_is_gone_is_no_error(backend: str) -> None:
    async def main() -> HostLoop:
        return current_host_loop()

    host = anyio.run(main, backend=backend)
    called = list[int]()

    host.post(called.append, 1)

    assert [] == called
    assert not host.is_current()


def test_there_is_no_host_loop_without_a_loop() -> None:
    with pytest.raises(RuntimeError):
        current_host_loop()


async def test_timers_fire_in_the_order_of_their_times() -> None:
    host = current_host_loop()
    fired, done = list[str](), anyio.Event()

    host.later(0.004, fired.append, "third")
    host.later(0.002, fired.append, "second")
    host.later(0, fired.append, "first")
    host.later(0.006, done.set)
    await done.wait()

    assert ["first", "second", "third"] == fired
    await host.close()


async def test_a_cancelled_timer_does_not_fire() -> None:
    host = current_host_loop()
    fired, done = list[int](), anyio.Event()

    timers = [host.later(0.001, fired.append, number) for number in range(200)]
    for timer in timers[1:]:
        timer.cancel()
        timer.cancel()
    host.later(0.002, done.set)
    await done.wait()
    timers[0].cancel()

    assert [0] == fired
    await host.close()


async def test_a_timer_may_set_the_next_one() -> None:
    host = current_host_loop()
    done = anyio.Event()
    fired = 0

    def again() -> None:
        nonlocal fired
        fired += 1
        if fired == 5:
            done.set()
        else:
            host.later(0.0005, again)

    host.later(0.0005, again)
    await done.wait()

    assert 5 == fired
    await host.close()


@pytest.mark.timeout(10)
def test_a_timer_that_sets_itself_anew_without_delay_lets_others_run(backend: str) -> None:
    fired = 0

    async def main() -> None:
        host = current_host_loop()

        def again() -> None:
            nonlocal fired
            fired += 1
            host.later(0, again)

        again()
        await settle()
        await host.close()

    # A clock that stands still is the hard case.
    options = {"clock": trio.testing.MockClock()} if backend == "trio" else {}
    anyio.run(main, backend=backend, backend_options=options)

    assert fired > 3


async def test_an_earlier_timer_overtakes_a_later_one_that_is_waited_for() -> None:
    host = current_host_loop()
    done = anyio.Event()
    host.later(3600, done.set)
    await settle()
    host.later(0.001, done.set)

    with anyio.fail_after(5):
        await done.wait()
    await host.close()


async def test_closing_forgets_the_timers_and_ends_what_was_spawned() -> None:
    host = current_host_loop()
    events = list[str]()

    async def task() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await settle()
            events.append("ended")

    for _ in range(3):
        host.spawn(task)
    await settle()
    host.later(0, events.append, "never")
    await host.close()
    assert ["ended"] * 3 == events
    await anyio.sleep(0.002)

    await host.close()
    assert ["ended"] * 3 == events


async def test_a_spawned_task_runs_in_its_own_context() -> None:
    host = current_host_loop()
    variable = ContextVar("variable", default="unset")
    seen, done = list[str](), anyio.Event()

    async def task() -> None:
        seen.append(variable.get())
        variable.set("the task's")
        if len(seen) == 2:
            done.set()

    variable.set("the opener's")
    context = copy_context()
    variable.set("the caller's")
    host.spawn(task, context=context)
    host.spawn(task)
    await done.wait()

    assert {"the opener's", "unset"} == set(seen)
    assert "the caller's" == variable.get()
    await host.close()


async def test_a_spawned_task_outlives_the_scope_of_its_spawner() -> None:
    host = current_host_loop()
    go, done = anyio.Event(), anyio.Event()

    async def task() -> None:
        await go.wait()
        done.set()

    with anyio.CancelScope() as scope:
        host.spawn(task)
        scope.cancel()
        await anyio.sleep_forever()
    go.set()
    await done.wait()
    await host.close()


async def test_what_a_task_or_a_callback_raises_is_logged(caplog: pytest.LogCaptureFixture, backend: str) -> None:
    host = current_host_loop()

    async def task() -> None:
        raise ValueError("from a task")

    def callback() -> None:
        raise ValueError("from a callback")

    with caplog.at_level(logging.ERROR, "salon_actors"):
        host.spawn(task)
        if backend == "trio":  # asyncio has its own way, which ends up in its log.
            host.post(callback)
            host.later(0, callback)
        expected = 3 if backend == "trio" else 1
        with anyio.fail_after(5):
            while len(caplog.records) < expected:
                await checkpoint()

    assert expected == len(caplog.records)
    await host.close()
