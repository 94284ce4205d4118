"""Whether values of a type can change: items of a Log may not, for every turn and every view shares them."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import types
import typing
import uuid
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel

ATOMS = (
    str,
    int,
    float,
    bool,
    bytes,
    complex,
    type(None),
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
)


def changeable_part(annotation: Any, seen: frozenset[Any] = frozenset()) -> str | None:
    """Where values of this type can be changed, in words; None when they cannot."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return changeable_part(get_args(annotation)[0], seen)
    if origin is Literal:
        return None
    if origin in (typing.Union, types.UnionType) or origin in (tuple, frozenset):
        return _first(get_args(annotation), seen)
    if isinstance(annotation, type) and annotation not in seen:
        return _changeable_class(annotation, seen | {annotation})
    return None if annotation is Ellipsis or annotation in seen else str(annotation)


def _first(parts: tuple[Any, ...], seen: frozenset[Any]) -> str | None:
    return next((found for part in parts if (found := changeable_part(part, seen)) is not None), None)


def _changeable_class(cls: type[object], seen: frozenset[Any]) -> str | None:
    parts: dict[str, Any]
    if cls in ATOMS or issubclass(cls, enum.Enum):
        return None
    if issubclass(cls, BaseModel):
        if not cls.model_config.get("frozen"):
            return f"{cls.__name__} is not frozen"
        if cls.model_config.get("extra") == "allow" or cls.__private_attributes__:
            return f"{cls.__name__} holds more than its fields"
        parts = {name: field.annotation for name, field in cls.model_fields.items()}
    elif dataclasses.is_dataclass(cls):
        if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # typeshed hides it
            return f"{cls.__name__} is not frozen"
        parts = get_type_hints(cls)
    elif tuple in cls.__bases__ and hasattr(cls, "_fields"):
        parts = get_type_hints(cls)
    else:
        return cls.__name__
    for name, part in parts.items():
        found = changeable_part(part, seen)
        if found is not None:
            return f"{cls.__name__}.{name}: {found}"
    return None
