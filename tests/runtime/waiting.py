"""Waiting for what nobody tells, such as a counter."""

from collections.abc import Callable

import anyio


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; fail when it does not within ten seconds."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await anyio.sleep(0.001)
