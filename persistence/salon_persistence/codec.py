"""Values to msgpack bytes and back, each of exactly the type that went in.

A value is what pydantic's python-mode dump gives: None, bool, int, float, str, bytes, list, dict,
and the types of the table below, nested at will; keys of a dict may be any of them that hash.
The one exception is an `Enum`: its value is stored, because a class path never is,
and validation makes it a member again.

Extension codes, never to change, only to grow:

    1  tuple            msgpack array
    2  set              elements encoded one by one and sorted, so that equal sets give equal bytes
    3  frozenset        likewise
    4  datetime         array: year, month, day, hour, minute, second, microsecond, fold, zone
    5  date             array: year, month, day
    6  time             array: hour, minute, second, microsecond, fold, zone
    7  timedelta        array: days, seconds, microseconds
    8  UUID             16 bytes
    9  Decimal          its text
   10  int beyond 64 bits, big-endian two's complement
   11  complex          two big-endian doubles
   12  bytearray        its bytes

A zone is nil (naive), an integer (a fixed offset in microseconds) or a text (the key of a `ZoneInfo`).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from enum import Enum
from struct import Struct
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from msgpack import ExtType, Packer, unpackb

from salon_persistence.errors import CorruptRecord

_MICROSECOND = timedelta(microseconds=1)
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, dict})
_COMPLEX = Struct(">dd")
_BUFFER_BYTES = 512
"""Msgpack's own first buffer is 256 KiB, which costs more than packing a small value does; it grows by itself."""
_BINARY_MARKS = (b"\xc4", b"\xc5", b"\xc6")
"""What msgpack writes before anything like bytes."""


def pack(value: object) -> bytes:
    """Encode `value`; equal values of the same make give equal bytes.

    Raises:
        TypeError: The value holds something that is not in the table.
        ValueError: Text that is not Unicode (a lone surrogate), or nesting deeper than msgpack allows (about 500).
    """
    try:
        data = _packed(value)
        for mark in _BINARY_MARKS:
            if mark in data:  # Msgpack takes a bytearray for bytes and does not ask; a look for its marks costs 20 ns.
                return _packed(_with_bytearrays_named(value))
    except (RecursionError, OverflowError) as error:
        raise ValueError(f"The value cannot be encoded: {error}.") from error
    return data


def unpack(data: bytes) -> Any:
    """Decode what `pack` gave.

    Raises:
        CorruptRecord: The bytes are none of ours: cut short, followed by others, or with an unknown extension code.
    """
    try:
        return unpackb(data, ext_hook=_decoded, strict_map_key=False)
    except CorruptRecord:
        raise
    except Exception as error:
        raise CorruptRecord(f"A value of {len(data)} bytes does not decode: {type(error).__name__}.") from error


def _packed(value: object) -> bytes:
    # A Packer of its own for each call: one that is shared mixes up bytes when `default` packs with it again,
    # and between threads.
    packer = Packer(strict_types=True, default=_extended, buf_size=_BUFFER_BYTES)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the stubs lag behind
    return packer.pack(value)


def _with_bytearrays_named(value: object) -> object:
    kind = type(value)
    if kind is dict:
        return {key: _with_bytearrays_named(item) for key, item in cast(dict[object, object], value).items()}
    if kind is list:
        return [_with_bytearrays_named(item) for item in cast(list[object], value)]
    if kind is bytearray:
        return ExtType(12, bytes(cast(bytearray, value)))
    if kind is memoryview:
        raise TypeError("A memoryview has no place in stored state; use bytes.")
    return value


def _extended(value: object) -> object:
    if isinstance(value, Enum):
        # Msgpack asks only once, so what it does not know is encoded here.
        return value.value if type(value.value) in _PLAIN else _extended(value.value)
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise TypeError(f"{type(value).__name__} has no place in stored state.")
    return encoder(value)


def _decoded(code: int, data: bytes) -> Any:
    decoder = _DECODERS.get(code)
    if decoder is None:
        raise CorruptRecord(f"Extension code {code} is unknown.")
    return decoder(data)


def _sorted_elements(elements: Any) -> bytes:
    return pack(sorted(pack(element) for element in elements))


def _elements(data: bytes) -> list[Any]:
    return [unpack(element) for element in unpack(data)]


def _zone(zone: tzinfo | None, moment: datetime | time) -> int | str | None:
    if zone is None:
        return None
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key
    offset = moment.utcoffset()
    if offset is None:
        raise TypeError(f"{type(zone).__name__} gives no offset; use a ZoneInfo or a fixed offset.")
    return offset // _MICROSECOND


def _tzinfo(zone: int | str | None) -> tzinfo | None:
    if zone is None:
        return None
    if isinstance(zone, str):
        return ZoneInfo(zone)
    return UTC if zone == 0 else timezone(timedelta(microseconds=zone))


def _encode_datetime(moment: datetime) -> ExtType:
    day = (moment.year, moment.month, moment.day)
    return ExtType(4, _array(*day, *_clock(moment), _zone(moment.tzinfo, moment)))


def _clock(moment: datetime | time) -> tuple[int, int, int, int, int]:
    return moment.hour, moment.minute, moment.second, moment.microsecond, moment.fold


def _decode_datetime(data: bytes) -> datetime:
    year, month, day, hour, minute, second, microsecond, fold, zone = unpack(data)
    return datetime(year, month, day, hour, minute, second, microsecond, _tzinfo(zone), fold=fold)


def _decode_time(data: bytes) -> time:
    hour, minute, second, microsecond, fold, zone = unpack(data)
    return time(hour, minute, second, microsecond, _tzinfo(zone), fold=fold)


def _array(*items: Any) -> bytes:
    return pack(list(items))


def _encode_integer(number: int) -> ExtType:
    return ExtType(10, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def _decode_decimal(data: bytes) -> Decimal:
    try:
        return Decimal(data.decode("ascii"))
    except InvalidOperation as error:
        raise ValueError("not a decimal") from error


def _decode_date(data: bytes) -> date:
    year, month, day = unpack(data)
    return date(year, month, day)


def _decode_timedelta(data: bytes) -> timedelta:
    days, seconds, microseconds = unpack(data)
    return timedelta(days, seconds, microseconds)


def _sequence(items: Sequence[Any]) -> bytes:
    return pack(list(items))


_ENCODERS: MappingProxyType[type, Callable[[Any], ExtType]] = MappingProxyType(
    {
        tuple: lambda value: ExtType(1, _sequence(value)),
        set: lambda value: ExtType(2, _sorted_elements(value)),
        frozenset: lambda value: ExtType(3, _sorted_elements(value)),
        datetime: _encode_datetime,
        date: lambda value: ExtType(5, _array(value.year, value.month, value.day)),
        time: lambda value: ExtType(6, _array(*_clock(value), _zone(value.tzinfo, value))),
        timedelta: lambda value: ExtType(7, _array(value.days, value.seconds, value.microseconds)),
        UUID: lambda value: ExtType(8, value.bytes),
        Decimal: lambda value: ExtType(9, str(value).encode("ascii")),
        int: _encode_integer,
        complex: lambda value: ExtType(11, _COMPLEX.pack(value.real, value.imag)),
    }
)

_DECODERS: MappingProxyType[int, Callable[[bytes], Any]] = MappingProxyType(
    {
        1: lambda data: tuple(unpack(data)),
        2: lambda data: set(_elements(data)),
        3: lambda data: frozenset(_elements(data)),
        4: _decode_datetime,
        5: _decode_date,
        6: _decode_time,
        7: _decode_timedelta,
        8: lambda data: UUID(bytes=data),
        9: _decode_decimal,
        10: lambda data: int.from_bytes(data, "big", signed=True),
        11: lambda data: complex(*_COMPLEX.unpack(data)),
        12: bytearray,
    }
)
