"""Messages cross by value: encoded, measured, and made anew for the session that gets them."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic_core import PydanticSerializationError

from salon.errors import MessageInvalid, SchemaTooNew
from salon.invalid import told
from salon.named import Named
from salon.plain import holds_plain, own_fields, plain_packer, wholly_plain
from salon_persistence import codec

M = TypeVar("M", bound=Named)


class MessageCodec(Generic[M]):
    """Copies, encodes and decodes one class of messages, or of what goes out; made once, when its method is defined."""

    __slots__ = ("_dump", "_name", "_pack", "_plain", "_schema_version", "_validate")

    def __init__(self, message: type[M]) -> None:
        self._name = message.__name__
        self._schema_version = message.salon_name.schema_version
        self._dump = message.__pydantic_serializer__.to_python
        self._validate = message.__pydantic_validator__.validate_python
        self._plain = wholly_plain(message)
        self._pack = plain_packer().pack

    def copy(self, message: M) -> tuple[M, int]:
        """A message that shares nothing with the sender's, and how many bytes it has.

        Raises MessageInvalid when a field holds what its class does not allow, or what cannot be stored.
        """
        try:
            fields, data = self._by_value(message)
            return self._validate(fields, by_name=True, by_alias=False), len(data)
        except (TypeError, ValueError, PydanticSerializationError) as error:
            raise self._invalid(error) from None

    def encode(self, message: M) -> bytes:
        """The bytes from which `decode` makes an equal one. Raises as `copy` does, so that what is stored decodes."""
        try:
            fields, data = self._by_value(message)
            self._validate(fields, by_name=True, by_alias=False)
            return data
        except (TypeError, ValueError, PydanticSerializationError) as error:
            raise self._invalid(error) from None

    def decode(self, data: bytes, schema_version: int) -> M:
        """What `encode` gave, under this schema version or an older one.

        Raises:
            SchemaTooNew: Newer code has written it.
            MessageInvalid: Its fields are not those of today's class.
            CorruptRecord: The bytes are none of ours.
        """
        if schema_version > self._schema_version:
            raise SchemaTooNew(
                f"{self._name} was written under schema {schema_version}; this code knows {self._schema_version}."
            )
        try:
            message: M = self._validate(codec.unpack(data), by_name=True, by_alias=False)
        except ValueError as error:
            raise self._invalid(error) from None
        return message

    def _invalid(self, error: Exception) -> MessageInvalid:
        return MessageInvalid(f"{self._name} is not valid: {told(error, 'the message')}.")

    def _by_value(self, message: M) -> tuple[Any, bytes]:
        fields = own_fields(message)
        if self._plain is not None and holds_plain(fields, self._plain):
            try:
                return fields.copy(), self._pack(fields)  # a validator of the class may change what it gets
            except OverflowError:
                pass  # an int beyond 64 bits is not plain
        data = codec.pack(self._dump(message, mode="python", round_trip=True, by_alias=False, warnings="error"))
        return codec.unpack(data), data
