"""The fixed sixteen bytes before every record: what it is, how old its shape is, and whether its bytes are whole.

    0  format          1 byte    of this header and of the body's keys
    1  kind            1 byte    see `Kind`
    2  flags           2 bytes   none yet; a set bit is something a newer release wants understood
    4  schema version  4 bytes   of the state, or of the items of a page
    8  key id          4 bytes   0: not encrypted
   12  check           4 bytes   CRC over header, ordinals and body

All big-endian. The place of the check never changes, so that damage is told from a newer format.
The check is zlib's CRC-32 and not CRC-32C: neither the standard library nor a dependency has the latter,
and one written in Python would cost more than the whole record.
The ordinals (such as session and version) are not stored but checked,
so that a body in another row's place is damage too.
"""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from salon_persistence.errors import CorruptRecord, FormatTooNew

FORMAT = 1
HEADER_BYTES = 16

_HEADER = Struct(">BBHIII")
_CHECKED = Struct(">BBHIIQQ")
"""Of the header what stands before the check, and the ordinals."""


class Kind(IntEnum):
    TURN = 1
    SNAPSHOT = 2
    PAGE = 3
    INBOX = 4
    PROGRESS = 5
    STEP = 6
    OUTBOX = 7
    DEAD_LETTER = 8


class Header(NamedTuple):
    kind: int
    schema_version: int


def seal(kind: int, schema_version: int, ordinal: int, suborder: int, body: bytes) -> bytes:
    """The record: header and body."""
    check = crc32(body, crc32(_CHECKED.pack(FORMAT, kind, 0, schema_version, 0, ordinal, suborder)))
    return _HEADER.pack(FORMAT, kind, 0, schema_version, 0, check) + body


def unseal(kind: Kind, ordinal: int, suborder: int, record: bytes) -> tuple[Header, memoryview]:
    """Header and body of a record that is whole, of this kind, and in its place.

    Raises:
        CorruptRecord: It is not.
        FormatTooNew: It is whole, and of a format or with a flag that this release does not know.
    """
    if len(record) < HEADER_BYTES:
        raise CorruptRecord(f"A {kind.name.lower()} record of {len(record)} bytes is shorter than its header.")
    view = memoryview(record)
    format_, found, flags, schema_version, key_id, check = _HEADER.unpack_from(record)
    front = _CHECKED.pack(format_, found, flags, schema_version, key_id, ordinal, suborder)
    if check != crc32(view[HEADER_BYTES:], crc32(front)):
        raise CorruptRecord(f"The check of a {kind.name.lower()} record of {len(record)} bytes fails.")
    if format_ > FORMAT or flags or key_id:
        raise FormatTooNew(f"A record of format {format_} (flags {flags}, key {key_id}) needs a newer release.")
    if found != kind or format_ < 1:
        raise CorruptRecord(f"A record of kind {found} stands where a {kind.name.lower()} belongs.")
    return Header(found, schema_version), view[HEADER_BYTES:]
