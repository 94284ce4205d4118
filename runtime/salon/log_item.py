"""How the items of one Log become bytes and back, with their schema version in front."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from salon.errors import ConfigurationError, SchemaTooNew, StateInvalid
from salon.immutability import changeable_part
from salon.invalid import told
from salon.plain import holds_plain, own_fields, plain_packer, plain_types, wholly_plain
from salon_persistence import codec

T = TypeVar("T")


class LogItems(Generic[T]):
    """The codec of one log: `field` of a state, items of type T.

    The first byte of an item is its schema version, so that pages may mix versions.
    """

    __slots__ = (
        "_adapter",
        "_atoms",
        "_fields",
        "_model",
        "_pack",
        "_prefix",
        "_serialize",
        "_validate",
        "field",
        "former",
        "resident",
        "schema_version",
    )

    def __init__(self, field: str, item: Any, resident: int, schema_version: int, former: tuple[str, ...] = ()) -> None:
        changeable = changeable_part(item)
        if changeable is not None:
            raise ConfigurationError(f"Items of the Log {field!r} can be changed ({changeable}); make them frozen.")
        if not 1 <= schema_version <= 127:
            raise ConfigurationError(f"Log {field!r}: schema_version is {schema_version}; it must be 1 to 127.")
        self.field = field
        """The name under which new sessions store it."""
        self.former = former
        """Names under which older sessions store it, for ever: their pages are found by it."""
        self.resident = resident
        self.schema_version = schema_version
        self._prefix = bytes((schema_version,))
        self._adapter: TypeAdapter[T] = TypeAdapter(item)
        self._serialize = self._adapter.serializer.to_python
        self._validate = self._adapter.validator.validate_python
        self._pack = plain_packer().pack
        self._atoms = plain_types(item)
        self._model = item if isinstance(item, type) and issubclass(item, BaseModel) else None
        self._fields = wholly_plain(self._model) if self._model is not None else None

    def encode(self, item: T) -> tuple[bytes, T]:
        """The bytes, and the item as it will be read back: equal, and nobody else's.

        Raises:
            StateInvalid: It is not of the log's type, or would not come back as it is.
        """
        if self._is_plain(item):
            try:
                return self._encode_plain(item)
            except OverflowError:
                pass  # an int beyond 64 bits is not plain
        try:
            dumped = self._serialize(item, mode="python", round_trip=True, by_alias=False, warnings="error")
            data = self._prefix + codec.pack(dumped)
            restored = self.decode(data)
        except (TypeError, ValueError) as error:
            raise StateInvalid(
                f"An item of the Log {self.field!r} cannot be stored: {told(error, 'the item')}."
            ) from None
        return data, self._same(item, restored)

    def _is_plain(self, item: T) -> bool:
        if type(item) in self._atoms:
            return True
        return (
            self._fields is not None
            and type(item) is self._model
            and holds_plain(own_fields(cast(BaseModel, item)), self._fields)
        )

    def _encode_plain(self, item: T) -> tuple[bytes, T]:
        if type(item) in self._atoms:
            return self._prefix + self._pack(item), item
        fields = own_fields(cast(BaseModel, item))
        try:
            restored = self._validate(fields.copy(), by_name=True, by_alias=False)
        except ValidationError as error:
            raise self._wrong("is not valid", error) from None
        if vars(restored) != fields:
            raise self._unlike()
        return self._prefix + self._pack(fields), restored

    def _same(self, item: T, restored: T) -> T:
        if restored != item or type(restored) is not type(item):
            raise self._unlike()
        return restored

    def _wrong(self, what: str, error: Exception) -> StateInvalid:
        return StateInvalid(f"An item of the Log {self.field!r} {what}: {told(error, 'the item')}.")

    def _unlike(self) -> StateInvalid:
        return StateInvalid(f"An item of the Log {self.field!r} would not be read back as it is.")

    def decode(self, data: bytes) -> T:
        if data[0] > self.schema_version:
            raise SchemaTooNew(f"Items of the Log {self.field!r} are of schema {data[0]}, newer than this code.")
        value: T = self._validate(codec.unpack(data[1:]), by_name=True, by_alias=False)
        return value
