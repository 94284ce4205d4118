"""Signatures: what the methods that a session class marks say of themselves, and sentences for what they should say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from salon.errors import ConfigurationError

Function: TypeAlias = Callable[[Any, Any], Coroutine[Any, Any, Any]]


def check_async(name: str, function: Function, instead: str) -> None:
    """Raises ConfigurationError unless it is `async def`; `instead` is the advice for an async generator."""
    if inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"{name} is an async generator: {instead}")
    if not inspect.iscoroutinefunction(function):
        raise ConfigurationError(
            f"{name} must be `async def`; wrap blocking calls in `await anyio.to_thread.run_sync(...)`."
        )


def annotation_of_argument(name: str, function: Function, argument: str, missing: str | None) -> Any:
    """What stands at its only argument beside self, unresolved.

    Args:
        argument: How the sentence calls it.
        missing: The advice when it is not annotated; None: it need not be.

    Raises:
        ConfigurationError: It takes more or fewer, or does not say what it takes.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 2:
        raise ConfigurationError(f"{name} must take two arguments: self and {argument}.")
    annotation = parameters[1].annotation
    if annotation is inspect.Parameter.empty and missing is not None:
        raise ConfigurationError(f"{name}: {missing}")
    return annotation


def resolved(name: str, function: Function, annotation: Any, names: Mapping[str, Any], instead: str) -> Any:
    """The annotation as an object; `names` are those where the class stands.

    Raises:
        ConfigurationError: A text that means nothing there; `instead` ends the sentence.
    """
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}), dict(names))  # the class's own text
    except Exception as error:
        raise ConfigurationError(
            f"{name}: cannot resolve the annotation {annotation!r}. Import it outside `if TYPE_CHECKING:`{instead}."
        ) from error
