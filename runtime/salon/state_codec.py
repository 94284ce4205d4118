"""A state and its bytes: each top-level field on its own, so that a turn stores only what it changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeGuard, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from salon.errors import ConfigurationError, StateInvalid
from salon.log import Log
from salon.log_item import LogItems
from salon_persistence import codec

S = TypeVar("S", bound=BaseModel)


class StateCodec(Generic[S]):
    """Encodes and decodes one class of states; made once, when the session class is defined."""

    __slots__ = ("_dump", "_validate", "logs", "model", "templates")

    def __init__(self, model: type[S]) -> None:
        self.model = model
        self._dump = model.__pydantic_serializer__.to_python
        self._validate = model.__pydantic_validator__.validate_python
        self.templates: dict[str, Log[Any]] = {}
        self.logs: dict[str, LogItems[Any]] = {}
        for name, field in model.model_fields.items():
            if field.exclude:
                raise ConfigurationError(f"{model.__name__}.{name} is excluded from dumps, so it cannot be stored.")
            if get_origin(field.annotation) is Log:
                self._add_log(name, field.annotation, field.get_default(call_default_factory=True))
        if model.__private_attributes__:
            private = ", ".join(model.__private_attributes__)
            raise ConfigurationError(f"{model.__name__} has private attributes, which are not stored: {private}.")

    def _add_log(self, name: str, annotation: Any, default: object) -> None:
        template = default if _is_log(default) else Log[Any]()
        (item,) = get_args(annotation)
        self.templates[name] = template
        self.logs[name] = LogItems(template.name or name, item, template.resident, template.schema_version)

    def new(self) -> S:
        """A fresh state, with its defaults.

        Raises:
            ConfigurationError: It has fields without a default.
        """
        try:
            return self.model()
        except ValidationError as error:
            missing = ", ".join(str(part["loc"][0]) for part in error.errors() if part["loc"])
            raise ConfigurationError(f"{self.model.__name__} needs a value for {missing}: pass state=.") from None

    def encode(self, state: S) -> dict[str, bytes]:
        """Every field but the logs.

        Raises:
            StateInvalid: Some value cannot be stored.
        """
        try:
            dumped = self._dump(state, mode="python", round_trip=True, by_alias=False, warnings="error")
            pack, logs = codec.pack, self.logs
            return {name: pack(value) for name, value in dumped.items() if name not in logs}
        except (TypeError, ValueError, PydanticSerializationError) as error:
            kind = type(error).__name__
            raise StateInvalid(f"{self.model.__name__} cannot be stored: {kind} while it was encoded.") from None

    def decode(self, fields: Mapping[str, bytes], logs: Mapping[str, Log[Any]]) -> S:
        """A state that shares nothing with any other; its logs are those given.

        Raises:
            StateInvalid: The values are not those of a valid state.
        """
        values: dict[str, Any] = {name: codec.unpack(data) for name, data in fields.items()}
        values.update(logs)
        try:
            state: S = self._validate(values, by_name=True, by_alias=False)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, part['loc'])) or 'the state'}: {part['type']}"
                for part in error.errors(include_input=False, include_url=False, include_context=False)
            )
            raise StateInvalid(f"{self.model.__name__} is not valid: {wrong}.") from None
        return state


def _is_log(value: object) -> TypeGuard[Log[Any]]:
    return isinstance(value, Log)
