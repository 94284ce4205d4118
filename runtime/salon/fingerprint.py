"""Fingerprint: what a message says in a few bytes, to tell whether it is another one under the same key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from salon_persistence import codec

if TYPE_CHECKING:
    from salon.message import Message
    from salon.receive import Handler


def fingerprint_of(handler: Handler, message: Message[Any]) -> bytes:
    """64 bits of what the message says: its name, and its fields but for those that have their defaults."""
    dump = type(message).__pydantic_serializer__.to_python
    fields = dump(message, mode="python", round_trip=True, by_alias=False, exclude_defaults=True)
    said = codec.pack([handler.message.salon_name.name, sorted(_in_order(fields).items())])
    return blake2b(said, digest_size=8).digest()


def _in_order(value: Any) -> Any:
    """Equal values in one order all the way down: who builds a message again may fill its maps in another one.

    Sets are packed in an order of their own. `map` and no comprehension: those take two frames for each level.
    """
    if type(value) is dict:
        fields = cast(Mapping[Any, Any], value)
        keys = sorted(fields, key=codec.pack)
        return dict(zip(keys, map(_in_order, map(fields.__getitem__, keys)), strict=True))
    if type(value) is list:
        return list(map(_in_order, cast(Sequence[Any], value)))
    if type(value) is tuple:
        return tuple(map(_in_order, cast(Sequence[Any], value)))
    return value
