"""@receive: marks a handler and says which message it takes; mistakes are told when the class is defined."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeGuard, TypeVar, overload

from pydantic import TypeAdapter

from salon.errors import ConfigurationError
from salon.message import Message, reply_type
from salon.message_codec import MessageCodec
from salon.overflow import WhenFull, check_when_full
from salon.overlap import Merge, Overlap, check_overlap
from salon.plain import ATOMS
from salon.retry import OnCrash, OnError, Retry, on_crash_of, on_error_of
from salon.signature import Function, annotation_of_argument, check_async, resolved
from salon_persistence import codec

R = TypeVar("R")
C = TypeVar("C")
M = TypeVar("M", bound=Message[Any])
M_co = TypeVar("M_co", bound=Message[Any], covariant=True)
F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])

MARK = "__salon_receive__"
INSTEAD = ", or write `@receive(Say)`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What stands in the brackets of `@receive(…)`."""

    message: type[Message[Any]] | None = None
    overlap: Overlap = "queue"
    timeout_s: float | None = None
    on_error: OnError = "fail"
    on_crash: OnCrash = "fail"
    max_age_s: float | None = None
    when_full: WhenFull = "reject"

    def check(self) -> None:
        """Raises ConfigurationError for what is out of its bounds."""
        for name, seconds in (("timeout_s", self.timeout_s), ("max_age_s", self.max_age_s)):
            if seconds is not None and not 0 < seconds < float("inf"):
                raise ConfigurationError(f"@receive({name}={seconds}): it must be above 0.")
        check_overlap(self.overlap)
        check_when_full(self.when_full)
        on_error_of(self.on_error)
        on_crash_of(self.on_crash)


class Receiver(Generic[M_co]):
    """What `@receive(Say)` makes: it takes a handler of one Say, or of a list of them under Merge."""

    def __init__(self, options: Options) -> None:
        self._options = options

    @overload
    def __call__(
        self: Receiver[Message[R]], handler: Callable[[C, M_co], Coroutine[Any, Any, R]], /
    ) -> Callable[[C, M_co], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self: Receiver[Message[R]], handler: Callable[[C, list[M_co]], Coroutine[Any, Any, R]], /
    ) -> Callable[[C, list[M_co]], Coroutine[Any, Any, R]]: ...
    def __call__(self, handler: Any, /) -> Any:
        setattr(handler, MARK, self._options)
        return handler


@overload
def receive(handler: F, /) -> F: ...
@overload
def receive(
    message: type[M],
    /,
    *,
    overlap: Overlap = "queue",
    timeout_s: float | None = None,
    on_error: OnError = "fail",
    on_crash: OnCrash = "fail",
    max_age_s: float | None = None,
    when_full: WhenFull = "reject",
) -> Receiver[M]: ...
@overload
def receive(
    *,
    overlap: Overlap = "queue",
    timeout_s: float | None = None,
    on_error: OnError = "fail",
    on_crash: OnCrash = "fail",
    max_age_s: float | None = None,
    when_full: WhenFull = "reject",
) -> Callable[[F], F]: ...
def receive(target: Any = None, /, **given: Any) -> Any:
    """Marks a handler: `@receive`, `@receive(timeout_s=120)` or `@receive(Say)`.

    Args:
        target: The class of messages it takes; default what the annotation of its argument says.
        overlap: What becomes of a message whose session has something to do: it waits ("queue"), is refused with
            SessionBusy ("reject"), cuts the turn that runs ("interrupt"), takes its place ("rollback"), or becomes
            one turn with those that follow it (`Merge(…)`: annotate the argument `list[Say]`).
        timeout_s: Seconds > 0 that the handler may run; the message's own deadline counts too.
        on_error: What becomes of a message whose handler raised: its sender is told ("fail"), it is tried again
            ("retry" or `Retry(…)`) and is a dead letter at last, or it is one at once ("quarantine").
        on_crash: What becomes of a told message that ran when the process died: a dead letter ("fail"), or `Retry(…)`.
        max_age_s: Seconds > 0 after which a told message that has not begun is a dead letter.
        when_full: What becomes of a message that finds the mailbox full: MailboxFull ("reject"), its sender waits for
            room (`Wait(seconds)`), or the oldest one that waits and is of such a handler too is dropped and told so
            ("drop_oldest").
    """
    if _is_message(target):
        return Receiver[Any](_checked(message=target, **given))
    options = _checked(**given)
    if target is None:
        return partial(_marked, options)
    if callable(target) and not isinstance(target, type):
        return _marked(options, target)
    raise ConfigurationError(f"@receive({target!r}): give it a class of messages, or nothing.")


def _checked(**given: Any) -> Options:
    options = Options(**given)
    options.check()
    return options


def _is_message(target: Any) -> TypeGuard[type[Message[Any]]]:
    return isinstance(target, type) and issubclass(target, Message)


def _marked(options: Options, handler: Any) -> Any:
    setattr(handler, MARK, options)
    return handler


class Handler:
    """One handler of a session class, ready to run: its function, its message, the codec of its replies."""

    __slots__ = (
        "_adapter", "_plain", "codec", "function", "is_list", "is_simple", "max_age_s", "message", "name", "on_crash",
        "on_error", "overlap", "timeout_s", "when_full",
    )  # fmt: skip

    def __init__(self, owner: str, name: str, function: Function, names: Mapping[str, Any]) -> None:
        options: Options = getattr(function, MARK)
        self.name = f"{owner}.{name}"
        self.function = function
        self.overlap: Overlap = options.overlap
        self.timeout_s = options.timeout_s
        self.max_age_s = options.max_age_s
        self.when_full = options.when_full
        self.on_error = on_error_of(options.on_error)
        self.on_crash: Retry | None = on_crash_of(options.on_crash)
        check_async(self.name, function, "return the reply instead of yielding parts of it.")
        annotated, self.is_list = _annotated_message(self.name, function, names, options)
        self.message = options.message or annotated
        _check_merge(self.name, self.message, options.overlap, self.is_list)
        self.is_simple = options.overlap == "queue" and options.when_full == "reject"
        """Its messages wait for their turn and nothing else."""
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
        return self.decode_reply(self.encode_reply(value))

    def encode_reply(self, value: Any) -> bytes:
        """Raises TypeError or ValueError when it is not what the message promises."""
        if type(value) is self._plain:
            return codec.pack(value)
        dumped = self._adapter.dump_python(value, mode="python", round_trip=True, by_alias=False, warnings="error")
        return codec.pack(dumped)

    def decode_reply(self, data: bytes) -> Any:
        """Raises ValueError when the message promises something else by now."""
        return self._adapter.validate_python(codec.unpack(data), by_name=True, by_alias=False)


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


def _annotated_message(
    name: str, function: Function, names: Mapping[str, Any], options: Options
) -> tuple[type[Message[Any]], bool]:
    """The class of messages that the handler's argument is annotated with, and whether it takes a list of them."""
    missing = "annotate its message, or write `@receive(Say)`." if options.message is None else None
    annotation = annotation_of_argument(name, function, "the message", missing)
    if options.message is not None and not _tells_list(annotation):
        return options.message, False
    message = options.message or resolved(name, function, annotation, names, INSTEAD)
    is_list = _tells_list(annotation)
    if typing.get_origin(message) is list:
        (message,) = typing.get_args(message)
        is_list = True
    if not _is_message(message):
        raise ConfigurationError(f"{name} takes {annotation!r}, which is no Message.")
    return message, is_list


def _tells_list(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.startswith(("list[", "List["))
    return typing.get_origin(annotation) is list


def _check_merge(name: str, message: type[Message[Any]], overlap: Overlap, is_list: bool) -> None:
    shown = message.__name__
    if isinstance(overlap, Merge) and not is_list:
        raise ConfigurationError(f"{name} merges its messages: annotate its argument `list[{shown}]`.")
    if is_list and not isinstance(overlap, Merge):
        raise ConfigurationError(f"{name} takes list[{shown}]: write `@receive(overlap=Merge(...))`, or take one.")


def _check_reply(
    name: str, function: Function, message: type[Message[Any]], promised: Any, names: Mapping[str, Any]
) -> None:
    annotation = inspect.signature(function).return_annotation
    if annotation is inspect.Signature.empty:
        return
    returned = resolved(name, function, annotation, names, INSTEAD)
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


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
