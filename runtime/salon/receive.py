"""@receive: marks a handler and says which message it takes; mistakes are told when the class is defined."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeAlias, TypeGuard, TypeVar, overload

from pydantic import TypeAdapter

from salon.errors import ConfigurationError
from salon.message import Message, reply_type
from salon.message_codec import MessageCodec
from salon.plain import ATOMS
from salon_persistence import codec

R = TypeVar("R")
C = TypeVar("C")
M = TypeVar("M", bound=Message[Any])
M_co = TypeVar("M_co", bound=Message[Any], covariant=True)
F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])

Function: TypeAlias = Callable[[Any, Any], Coroutine[Any, Any, Any]]
MARK = "__salon_receive__"


@dataclass(frozen=True, slots=True)
class Options:
    """What stands in the brackets of `@receive(…)`."""

    message: type[Message[Any]] | None
    timeout_s: float | None


class Receiver(Generic[M_co]):
    """What `@receive(Say)` makes: it takes a handler of one Say."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(
        self: Receiver[Message[R]], handler: Callable[[C, M_co], Coroutine[Any, Any, R]], /
    ) -> Callable[[C, M_co], Coroutine[Any, Any, R]]:
        setattr(handler, MARK, self._options)
        return handler


@overload
def receive(handler: F, /) -> F: ...
@overload
def receive(message: type[M], /, *, timeout_s: float | None = None) -> Receiver[M]: ...
@overload
def receive(*, timeout_s: float | None = None) -> Callable[[F], F]: ...
def receive(target: Any = None, /, *, timeout_s: float | None = None) -> Any:
    """Marks a handler: `@receive`, `@receive(timeout_s=120)` or `@receive(Say)`.

    Args:
        target: The class of messages it takes; default what the annotation of its argument says.
        timeout_s: Seconds > 0 that the handler may run; the message's own deadline counts too.
    """
    if timeout_s is not None and not 0 < timeout_s < float("inf"):
        raise ConfigurationError(f"@receive(timeout_s={timeout_s}): it must be above 0.")
    if _is_message(target):
        return Receiver[Any](Options(target, timeout_s))
    options = Options(None, timeout_s)
    if target is None:
        return partial(_marked, options)
    if callable(target) and not isinstance(target, type):
        return _marked(options, target)
    raise ConfigurationError(f"@receive({target!r}): give it a class of messages, or nothing.")


def _is_message(target: Any) -> TypeGuard[type[Message[Any]]]:
    return isinstance(target, type) and issubclass(target, Message)


def _marked(options: Options, handler: Any) -> Any:
    setattr(handler, MARK, options)
    return handler


class Handler:
    """One handler of a session class, ready to run: its function, its message, the codec of its replies."""

    __slots__ = ("_adapter", "_plain", "codec", "function", "message", "name", "timeout_s")

    def __init__(self, owner: str, name: str, function: Function, names: Mapping[str, Any]) -> None:
        options: Options = getattr(function, MARK)
        self.name = f"{owner}.{name}"
        self.function = function
        self.timeout_s = options.timeout_s
        _check_async(self.name, function)
        self.message = options.message or _annotated_message(self.name, function, names)
        self.codec = MessageCodec(self.message)
        promised = reply_type(self.message)
        _check_reply(self.name, function, self.message, promised, names)
        self._plain = promised if promised in ATOMS else None
        self._adapter: TypeAdapter[Any] = TypeAdapter(promised)

    def copy_reply(self, value: Any) -> Any:
        """The reply by value: what the caller gets shares nothing with the session.

        Raises:
            TypeError, ValueError: It is not what the message promises.
        """
        if type(value) is self._plain:
            return value
        dumped = self._adapter.dump_python(value, mode="python", round_trip=True, by_alias=False, warnings="error")
        return self._adapter.validate_python(codec.unpack(codec.pack(dumped)), by_name=True, by_alias=False)


def handlers_of(cls: type, names: Mapping[str, Any]) -> dict[type[Message[Any]], Handler]:
    """The handlers of a class and its bases; a method of a subclass replaces the one of the same name."""
    found: dict[type[Message[Any]], Handler] = {}
    for name in dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base)):
        function = inspect.getattr_static(cls, name)
        if hasattr(function, MARK):
            handler = Handler(cls.__name__, name, function, names)
            if handler.message in found:
                other = found[handler.message].name
                raise ConfigurationError(f"{other} and {handler.name} both take {handler.message.__name__}.")
            found[handler.message] = handler
    return found


def _check_async(name: str, function: Function) -> None:
    if inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"{name} is an async generator: return the reply instead of yielding parts of it.")
    if not inspect.iscoroutinefunction(function):
        raise ConfigurationError(
            f"{name} must be `async def`; wrap blocking calls in `await anyio.to_thread.run_sync(...)`."
        )


def _annotated_message(name: str, function: Function, names: Mapping[str, Any]) -> type[Message[Any]]:
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 2:
        raise ConfigurationError(f"{name} must take two arguments: self and the message.")
    annotation = parameters[1].annotation
    if annotation is inspect.Parameter.empty:
        raise ConfigurationError(f"{name}: annotate its message, or write `@receive(Say)`.")
    message = _resolved(name, function, annotation, names)
    if not _is_message(message):
        raise ConfigurationError(f"{name} takes {annotation!r}, which is no Message.")
    return message


def _check_reply(
    name: str, function: Function, message: type[Message[Any]], promised: Any, names: Mapping[str, Any]
) -> None:
    annotation = inspect.signature(function).return_annotation
    if annotation is inspect.Signature.empty:
        return
    returned = _resolved(name, function, annotation, names)
    if not _fits(type(None) if returned is None else returned, promised):
        raise ConfigurationError(
            f"{name} returns {_shown(returned)}, but {message.__name__} is a Message[{_shown(promised)}]."
        )


def _fits(returned: Any, promised: Any) -> bool:
    """Whether a handler that returns this keeps what the message promises; in doubt yes, the reply is checked again."""
    if returned == promised or Any in (returned, promised) or returned in (typing.Never, typing.NoReturn):
        return True
    if isinstance(returned, type) and isinstance(promised, type):
        return issubclass(returned, promised)
    if typing.get_origin(promised) in (typing.Union, types.UnionType):
        return any(_fits(returned, part) for part in typing.get_args(promised))
    return not (isinstance(returned, type) and promised is type(None))


def _resolved(name: str, function: Function, annotation: Any, names: Mapping[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}), dict(names))  # the class's own text
    except Exception as error:
        raise ConfigurationError(
            f"{name}: cannot resolve the annotation {annotation!r}. Import it outside `if TYPE_CHECKING:`, "
            "or write `@receive(Say)`."
        ) from error


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
