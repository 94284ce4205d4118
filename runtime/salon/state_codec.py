"""A state and its bytes: each top-level field on its own, so that a turn stores only what it changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeGuard, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from salon.errors import ConfigurationError, StateInvalid
from salon.invalid import told
from salon.log import Log
from salon.log_item import LogItems
from salon.plain import own_fields, plain_fields, plain_packer
from salon_persistence import codec

S = TypeVar("S", bound=BaseModel)


class StateCodec(Generic[S]):
    """Encodes and decodes one class of states; made once, when the session class is defined."""

    __slots__ = ("_dump", "_may_grow", "_pack", "_plain", "_rest", "_validate", "logs", "model", "templates")

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
            elif "Log[" in str(field.annotation):
                raise ConfigurationError(
                    f"{model.__name__}.{name}: a Log must be a field itself, as `lines: Log[Line]`."
                )
        if model.__private_attributes__:
            private = ", ".join(model.__private_attributes__)
            raise ConfigurationError(f"{model.__name__} has private attributes, which are not stored: {private}.")
        self._check_log_names()
        self._plain = tuple(plain_fields(model).items())
        self._pack = plain_packer().pack
        self._rest = model.model_fields.keys() - self.logs.keys() - dict(self._plain).keys()
        self._may_grow = model.model_config.get("extra") == "allow"

    def _check_log_names(self) -> None:
        stored = [name for items in self.logs.values() for name in (items.field, *items.former)]
        for name in stored:
            if stored.count(name) > 1:
                raise ConfigurationError(f"Two logs of {self.model.__name__} are or were stored as {name!r}.")

    def _add_log(self, name: str, annotation: Any, default: object) -> None:
        template = default if _is_log(default) else Log[Any]()
        (item,) = get_args(annotation)
        self.templates[name] = template
        self.logs[name] = LogItems(
            template.name or name, item, template.resident, template.schema_version, template.former_names
        )

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

    def encode(
        self, state: S, began: Mapping[str, object] | None = None, stored: Mapping[str, bytes] | None = None
    ) -> dict[str, bytes]:
        """Every field but the logs.

        Args:
            began: The values with which the turn began, if they are known; a plain one that is still
                the same object has its bytes in `stored`.

        Raises:
            StateInvalid: Some value cannot be stored.
        """
        try:
            fields = self._encode_plain(state.__dict__, began or {}, stored or {})
            if fields is None or self._rest or self._may_grow:
                dumped = self._dump(state, mode="python", round_trip=True, by_alias=False, warnings="error")
                known = fields or {}
                logs, pack = self.logs, codec.pack
                return {name: known.get(name) or pack(value) for name, value in dumped.items() if name not in logs}
        except (TypeError, ValueError, PydanticSerializationError) as error:
            kind = type(error).__name__
            raise StateInvalid(f"{self.model.__name__} cannot be stored: {kind} while it was encoded.") from None
        return fields

    def _encode_plain(
        self, values: Mapping[str, object], began: Mapping[str, object], stored: Mapping[str, bytes]
    ) -> dict[str, bytes] | None:
        """The plain fields; None when one of them holds something else, which a dump will tell."""
        pack = self._pack
        fields: dict[str, bytes] = {}
        for name, types in self._plain:
            value = values[name]
            if name in stored and value is began.get(name, self):
                fields[name] = stored[name]
            elif type(value) not in types:
                return None
            else:
                try:
                    fields[name] = pack(value)
                except OverflowError:  # an int beyond 64 bits
                    return None
        return fields

    def decode(self, fields: Mapping[str, bytes], logs: Mapping[str, Log[Any]]) -> S:
        """A state that shares nothing with any other; its logs are those given.

        Raises:
            StateInvalid: The values are not those of a valid state.
        """
        values: dict[str, Any] = {name: codec.unpack(data) for name, data in fields.items()}
        values.update(logs)
        return self._valid(values)

    def restored(self, state: S, fields: Mapping[str, bytes]) -> S:
        """What the bytes of `state` decode to: a valid state, equal to it, that shares nothing with it but its logs.

        Raises:
            StateInvalid: They decode to something else, or to nothing valid.
        """
        # A plain value is immutable and decodes to itself, so only the others are decoded in fact.
        current = own_fields(state)
        values = current.copy()
        if self._rest:
            for name in self._rest:
                values[name] = codec.unpack(fields[name])
        if self._may_grow:
            values.update({name: codec.unpack(data) for name, data in fields.items() if name not in values})
        restored = self._valid(values)
        same = own_fields(restored) == current
        if not same or (self._may_grow and restored.__pydantic_extra__ != state.__pydantic_extra__):
            raise StateInvalid(f"{self.model.__name__} would not be read back as it is.")
        return restored

    def _valid(self, values: dict[str, Any]) -> S:
        try:
            state: S = self._validate(values, by_name=True, by_alias=False)
        except ValidationError as error:
            wrong = told(error, "the state")
            raise StateInvalid(f"{self.model.__name__} is not valid: {wrong}.") from None
        return state


def _is_log(value: object) -> TypeGuard[Log[Any]]:
    return isinstance(value, Log)
