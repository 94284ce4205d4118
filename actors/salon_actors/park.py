"""Where tasks wait for one value that comes later: a promise for many of them, a reply for one."""

from collections.abc import Generator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Promise(Protocol[T]):
    """Settled once, awaited by any number of tasks of its host loop, before or after.

    Made by `HostLoop.promise`; to be touched on that loop's thread only (`HostLoop.post` leads there).
    Cancellation: a waiter that is cancelled leaves alone; the promise, its value and the other waiters are untouched.
    An error that nobody waits for makes no noise.
    """

    def __await__(self) -> Generator[Any, Any, T]: ...

    def done(self) -> bool:
        """True once there is a value or an error."""
        ...

    def set_result(self, value: T, /) -> None:
        """Settle with a value. A promise that is settled already stays as it is."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """Settle with an error, which every waiter gets. A promise that is settled already stays as it is."""
        ...


class Reply(Protocol[T]):
    """A promise for one waiter, 0.5 µs cheaper. Every `Promise` is one.

    Somebody must wait for it: on asyncio an error that nobody ever waits for is logged.
    Cancellation: a waiter that is cancelled may settle it, so look at `done` before settling.
    """

    def __await__(self) -> Generator[Any, Any, T]: ...

    def done(self) -> bool:
        """True once there is a value or an error, and when nobody waits any more."""
        ...

    def set_result(self, value: T, /) -> None:
        """It must not be done."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """It must not be done."""
        ...
