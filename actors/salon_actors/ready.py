"""The ready queue: actors for which a worker will come."""

from typing import Protocol, TypeVar

X = TypeVar("X")


class Ready(Protocol[X]):
    """The choice among ready actors. A deque is one; simulation passes a seeded one."""

    def append(self, item: X, /) -> None: ...

    def popleft(self) -> X: ...

    def __len__(self) -> int: ...
