"""Plain fields: those whose values are stored as they are, so that no dump is needed to know their bytes.

A dump of a whole model costs 1.5 µs and more, packing a number 0.1 µs; most fields of most chatbots are plain.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, cast, get_args, get_origin

from msgpack import Packer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ATOMS = frozenset({str, int, float, bool, bytes, type(None)})


Plain: TypeAlias = tuple[tuple[str, frozenset[type[Any]]], ...]
"""Fields, each with the very types that its values may have."""


def wholly_plain(model: type[BaseModel]) -> Plain | None:
    """All fields of a model; None unless each of them is plain."""
    plain = plain_fields(model)
    is_whole = len(plain) == len(model.model_fields) and model.model_config.get("extra") != "allow"
    return tuple(plain.items()) if is_whole else None


def holds_plain(values: Mapping[str, object], plain: Plain) -> bool:
    """Whether the values of an instance are what its class says, so that they may be packed as they are."""
    for name, allowed in plain:  # noqa: SIM110  # all() takes a generator, which costs 0.5 µs
        if type(values[name]) not in allowed:
            return False
    return True


def own_fields(model: BaseModel) -> dict[str, Any]:
    """The values of its fields, without what a cached_property has put beside them."""
    values = vars(model)
    fields = type(model).__pydantic_fields__  # model_fields is a property in Python, 0.5 µs dearer
    return values if len(values) == len(fields) else {name: values[name] for name in fields}


def plain_fields(model: type[BaseModel]) -> dict[str, frozenset[type[Any]]]:
    """The plain fields of a model, each with the very types that its values may have."""
    if _has_serializers(model):
        return {}
    found = {name: plain_types(field.annotation) for name, field in model.model_fields.items() if not _is_marked(field)}
    return {name: allowed for name, allowed in found.items() if allowed}


def plain_packer() -> Packer:
    """Packs plain values, to the same bytes as the codec does. Raises OverflowError for an int beyond 64 bits."""
    return Packer(strict_types=True, buf_size=512)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the stubs lag behind


def _has_serializers(model: type[BaseModel]) -> bool:
    decorators = model.__pydantic_decorators__
    return bool(decorators.field_serializers or decorators.model_serializers)


def _is_marked(field: FieldInfo) -> bool:
    """Something in its annotation may change how it is dumped."""
    return any(hasattr(part, "__get_pydantic_core_schema__") for part in field.metadata)


def plain_types(annotation: Any) -> frozenset[type[Any]]:
    """The types of a plain annotation; empty for any other."""
    if annotation in (None, type(None)):
        return frozenset({type(None)})
    if isinstance(annotation, type) and annotation in ATOMS:
        return frozenset((cast("type[Any]", annotation),))
    origin = get_origin(annotation)
    if origin is Literal:
        found = [frozenset((_kind(value),)) for value in get_args(annotation)]
    elif origin in (typing.Union, types.UnionType):
        found = [plain_types(part) for part in get_args(annotation)]
    else:
        return frozenset()
    plain = all(part and part <= ATOMS for part in found)
    return frozenset[type[Any]]().union(*found) if plain else frozenset()


def _kind(value: object) -> type[Any]:
    return type(value)
