"""Tracebacks: of errors that are kept, only the latest hold the frames of the code that raised them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import cast

TRACEBACKS_MAX = 16
"""A frame holds all that its function had at hand: a whole conversation each, while a model is down for minutes."""


class Tracebacks:
    """Cuts them off. Clearing the frames instead would close coroutines that wait with such an error in hand."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: deque[BaseException] = deque()

    def keep(self, error: BaseException) -> None:
        self._latest.append(error)
        if len(self._latest) > TRACEBACKS_MAX:
            for beneath in _all_of(self._latest.popleft()):
                beneath.__traceback__ = None

    def clear(self) -> None:
        """Holds nothing from now on, and leaves the errors as they are."""
        self._latest.clear()


def _all_of(error: BaseException) -> Iterator[BaseException]:
    """It, and all that lies beneath it, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += (found.__cause__, found.__context__)
        if isinstance(found, BaseExceptionGroup):
            waiting += cast(Sequence[BaseException], found.exceptions)
