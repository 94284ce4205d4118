"""Messages: pydantic models with a stable name, a schema version and the type of their reply."""

from __future__ import annotations

from typing import Any, Generic

from typing_extensions import TypeVar

from salon.named import Named
from salon.named import check_names as check_names

R_co = TypeVar("R_co", covariant=True, default=None)


class Message(Named, Generic[R_co]):
    """A request; the type in brackets is its reply's. `Message` alone is `Message[None]`.

    Args (of the class statement):
        name: What is stored and shown; default the class's name.
        former_names: Names it had in older releases.
        schema_version: >= 1; grows when its fields change.
    """


def reply_type(message: type[Message[Any]]) -> Any:
    """The type in the brackets of `Message[…]`."""
    for base in message.__mro__:
        made_from = getattr(base, "__pydantic_generic_metadata__", None)
        if made_from and made_from["origin"] is Message:
            (promised,) = made_from["args"]
            return type(None) if promised is None else promised
    return type(None)
