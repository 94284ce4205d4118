"""Bodies of records: parts to msgpack, sealed for their place, and back."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from msgpack import Packer, unpackb

from salon_persistence.errors import CorruptRecord, RecordRefused
from salon_persistence.header import Kind, seal, unseal

_BUFFER_BYTES = 1024

SHAPE_FAULTS = (TypeError, ValueError, KeyError, AttributeError, IndexError)
"""Raised by whoever takes parts that have not the shape of their kind."""


def sealed(kind: int, schema_version: int, ordinal: int, suborder: int, parts: Any) -> bytes:
    """The bytes of `parts`, a map or an array, for this place.

    Raises:
        RecordRefused: A part cannot be stored, such as an integer beyond 64 bits.
    """
    # A packer of its own for each call, because one that is shared is not safe between threads.
    packer = Packer(default=_plain, buf_size=_BUFFER_BYTES)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the stubs lag behind
    try:
        return seal(kind, schema_version, ordinal, suborder, packer.pack(parts))
    except (TypeError, ValueError, OverflowError, struct.error) as reason:
        name = Kind(kind).name.lower().replace("_", " ")
        raise RecordRefused(f"A {name} cannot be encoded: {type(reason).__name__}: {reason}.") from reason


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(value, Sequence):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise TypeError(f"{type(value).__name__} has no place in a record")


def opened(kind: Kind, ordinal: int, suborder: int, data: bytes) -> tuple[int, Any]:
    """The schema version, and the parts that were sealed for this place; arrays are tuples.

    Raises:
        CorruptRecord, FormatTooNew: See `salon_persistence.header`.
    """
    header, body = unseal(kind, ordinal, suborder, data)
    try:
        return header.schema_version, unpackb(body, strict_map_key=False, use_list=False)
    except Exception as error:
        raise shapeless(kind) from error


def shapeless(kind: Kind) -> CorruptRecord:
    return CorruptRecord(f"The body of a {kind.name.lower()} is whole, but not of its shape.")
