"""What must end the process does, on both backends, and Ctrl-C goes to the host's own task."""

import signal

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.actors.stage import Play, actor, says, settle, staged, waits


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("waiting", [False, True])
def test_what_must_end_the_process_leaves_the_run(
    backend: str, error: BaseException, suspends: bool, waiting: bool
) -> None:
    plays = list[Play]()

    async def deadly() -> None:
        if suspends:
            await checkpoint()
        raise error

    async def main() -> None:
        async with staged() as stage:
            plays.append(stage.play)
            stage.submit(actor(), waits(anyio.Event()))
            stage.submit(actor(), deadly)
            if waiting:
                await anyio.sleep_forever()
            while True:  # noqa: ASYNC110 - the host is busy, now and then it waits
                await anyio.sleep(0.001)

    with pytest.raises(type(error)) as ended:
        anyio.run(main, backend=backend)

    assert error is ended.value
    assert 2 == len(plays[0].endings)


def test_one_that_is_raised_in_a_task_group_of_the_handler_ends_the_run(backend: str) -> None:
    async def child() -> None:
        raise SystemExit(4)

    async def deadly() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child)

    async def main() -> None:
        async with staged() as stage:
            stage.submit(actor(), deadly)
            await anyio.sleep_forever()

    with pytest.raises(SystemExit) as ended:
        anyio.run(main, backend=backend)

    assert 4 == ended.value.code


def test_ctrl_c_goes_to_the_host_and_not_to_a_handler(backend: str) -> None:
    events = list[str]()

    async def handler() -> None:
        signal.raise_signal(signal.SIGINT)
        events.append("went on")

    async def main() -> None:
        async with staged() as stage:
            try:
                stage.submit(actor(), handler)
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    assert await stage.submit(actor(), says("alive")) == "alive"
                    events.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend=backend)

    assert ["went on", "cleaned up"] == events


def test_a_loop_that_ends_without_close_takes_the_scheduler_along(backend: str) -> None:
    plays, cleaned = list[Play](), list[str]()

    async def handler() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.append("turn")

    async def main() -> None:
        context = staged()
        stage = await context.__aenter__()  # Never left.
        kept.append(context)
        plays.append(stage.play)
        one = actor()
        await stage.submit(actor(), says("so that a worker is parked"))
        stage.submit(one, handler)
        await settle()
        stage.submit(one, says("never"))
        stage.host.later(3600, cleaned.append, "never")

    kept = list[object]()
    anyio.run(main, backend=backend)

    said = [what[0] for what in plays[0].said]
    assert ["turn"] == cleaned
    assert "abandon" in said
    assert 2 == said.count("finish")
