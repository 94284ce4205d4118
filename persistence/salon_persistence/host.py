"""The slice of a host loop that a bridge needs; asyncio or trio, it does not know."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Promise(Protocol):
    """A value for later, awaited on the host loop. Settling one that is done is for the caller to avoid."""

    def __await__(self) -> Generator[Any, Any, Any]: ...

    def done(self) -> bool: ...

    def set_result(self, value: Any, /) -> None: ...

    def set_exception(self, error: BaseException, /) -> None: ...


class HostPort(Protocol):
    def post(self, fn: Callable[..., object], /, *args: Any) -> None:
        """Call `fn` soon on the host loop, in the order of posting; from any thread.

        A loop that is gone is no error.
        """
        ...

    def later(self, seconds: float, fn: Callable[..., object], /, *args: Any) -> Timer: ...

    def promise(self) -> Promise: ...

    def spawn(self, async_fn: Callable[..., Coroutine[Any, Any, object]], /, *args: Any) -> None: ...


def settle(promise: Promise, value: object) -> None:
    if not promise.done():
        promise.set_result(value)


def settle_error(promise: Promise, error: BaseException) -> None:
    if not promise.done():
        promise.set_exception(error)
