"""Messages cross by value: encoded, measured, and made anew for the session that gets them."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticSerializationError

from salon.errors import MessageInvalid
from salon.invalid import told
from salon.message import Message
from salon.plain import holds_plain, own_fields, plain_packer, wholly_plain
from salon_persistence import codec


class MessageCodec:
    """Copies one class of messages; made once, when its handler is defined."""

    __slots__ = ("_dump", "_name", "_pack", "_plain", "_validate")

    def __init__(self, message: type[Message[Any]]) -> None:
        self._name = message.__name__
        self._dump = message.__pydantic_serializer__.to_python
        self._validate = message.__pydantic_validator__.validate_python
        self._plain = wholly_plain(message)
        self._pack = plain_packer().pack

    def copy(self, message: Message[Any]) -> tuple[Message[Any], int]:
        """A message that shares nothing with the sender's, and how many bytes it has.

        Raises MessageInvalid when a field holds what its class does not allow, or what cannot be stored.
        """
        try:
            fields, size = self._by_value(message)
            return self._validate(fields, by_name=True, by_alias=False), size
        except (TypeError, ValueError, PydanticSerializationError) as error:
            raise MessageInvalid(f"{self._name} is not valid: {told(error, 'the message')}.") from None

    def _by_value(self, message: Message[Any]) -> tuple[Any, int]:
        fields = own_fields(message)
        if self._plain is not None and holds_plain(fields, self._plain):
            try:
                return fields.copy(), len(self._pack(fields))  # a validator of the class may change what it gets
            except OverflowError:
                pass  # an int beyond 64 bits is not plain
        data = codec.pack(self._dump(message, mode="python", round_trip=True, by_alias=False, warnings="error"))
        return codec.unpack(data), len(data)
