"""Messages: pydantic models with a stable name, a schema version and the type of their reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

from pydantic import BaseModel
from typing_extensions import TypeVar

from salon.errors import ConfigurationError

R_co = TypeVar("R_co", covariant=True, default=None)


@dataclass(frozen=True, slots=True)
class MessageName:
    """What is stored of a class of messages: never its path."""

    name: str
    former_names: tuple[str, ...]
    schema_version: int


class Message(BaseModel, Generic[R_co]):
    """A request; the type in brackets is its reply's. `Message` alone is `Message[None]`.

    Args (of the class statement):
        name: What is stored and shown; default the class's name.
        former_names: Names it had in older releases.
        schema_version: >= 1; grows when its fields change.
    """

    salon_name: ClassVar[MessageName] = MessageName("Message", (), 1)

    def __init_subclass__(
        cls, *, name: str | None = None, former_names: Sequence[str] = (), schema_version: int = 1, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        check_names(cls.__name__, name, former_names)
        if schema_version < 1:
            raise ConfigurationError(f"{cls.__name__}: schema_version is {schema_version}; it starts at 1.")
        cls.salon_name = MessageName(name or cls.__name__, tuple(former_names), schema_version)


def check_names(owner: str, name: str | None, former_names: Sequence[str]) -> None:
    """Raises ConfigurationError for names that could not be stored: no text, empty, or one text for a list of them."""
    if isinstance(former_names, str):
        raise ConfigurationError(f"{owner}: former_names is one text; write ({former_names!r},).")
    for stored in (*former_names, *(() if name is None else (name,))):
        if not isinstance(stored, str) or not stored:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"{owner}: {stored!r} is no name.")


def reply_type(message: type[Message[Any]]) -> Any:
    """The type in the brackets of `Message[…]`."""
    for base in message.__mro__:
        made_from = getattr(base, "__pydantic_generic_metadata__", None)
        if made_from and made_from["origin"] is Message:
            (promised,) = made_from["args"]
            return type(None) if promised is None else promised
    return type(None)
