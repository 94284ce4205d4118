"""Async generators that somebody on this thread begins to iterate over, told to every host of its asyncio loop.

Python has one hook for them a thread, and asyncio is in it already: ours calls the one that it found.
Only the outermost of such a chain can be taken out, so that a hook for each host would make it longer for ever
where hosts overlap; they share one. Who shares it is seen from the hook itself, as there is no better place for that.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeAlias, final

Listener: TypeAlias = Callable[[asyncio.Task[Any], AsyncGenerator[Any, Any]], None]


@final
class FirstIterations:
    """The hook, from its first listener to its last."""

    __slots__ = ("_inner", "_listeners")

    def __init__(self, inner: Callable[[AsyncGenerator[Any, Any]], None] | None) -> None:
        self._inner = inner
        self._listeners: dict[Listener, None] = {}

    @classmethod
    def outermost(cls) -> "FirstIterations":
        """The hook of this thread, put around what is there unless it is the outermost already.

        One that somebody else has covered is never put in again, lest the chain become a ring.
        """
        found = sys.get_asyncgen_hooks().firstiter
        if isinstance(found, cls):
            return found
        sys.set_asyncgen_hooks(firstiter=(hook := cls(found)))
        return hook

    def __call__(self, generator: AsyncGenerator[Any, Any], /) -> None:
        if self._listeners and (task := task_of_this_thread()) is not None:
            for listener in tuple(self._listeners):
                listener(task, generator)
        if self._inner is not None:
            self._inner(generator)

    def join(self, listener: Listener) -> None:
        self._listeners[listener] = None

    def leave(self, listener: Listener) -> None:
        """The last to leave restores what was there before; where another hook covers ours, that one still calls it."""
        self._listeners.pop(listener, None)
        if not self._listeners and sys.get_asyncgen_hooks().firstiter is self:
            sys.set_asyncgen_hooks(firstiter=self._inner)


def task_of_this_thread() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # No loop runs: generators can be driven by hand.
        return None
