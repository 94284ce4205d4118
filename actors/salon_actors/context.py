"""A context of its own for a coroutine that runs within the current task."""

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


@types.coroutine
def in_context(run: Callable[..., Any], coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Drive `coroutine`, each step of it by `run`, the `run` method of a contextvars.Context.

    A task per turn would give the same at three times the price of the whole ask (benchmarks/actors_ask.py).
    Cancellation and errors pass through unchanged, both ways.
    """
    try:
        waits_for = run(coroutine.send, None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    while True:
        try:
            value = yield waits_for
        except GeneratorExit:
            run(coroutine.close)
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine
            step: Callable[[Any], Any] = coroutine.throw
            value = error
        else:
            step = coroutine.send
        try:
            waits_for = run(step, value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
