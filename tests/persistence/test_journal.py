"""Records survive the disk in every part, and damage is noticed wherever it is."""

import struct
from dataclasses import fields, replace
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgpack import packb

from salon_persistence.errors import CorruptRecord, FormatTooNew, RecordRefused
from salon_persistence.header import FORMAT, HEADER_BYTES, Kind, seal, unseal
from salon_persistence.journal import (
    decode_page,
    decode_snapshot,
    decode_turn,
    encode_page,
    encode_snapshot,
    encode_turn,
)
from salon_persistence.records import LogPage, LogShape, SnapshotRecord, TurnRecord
from tests.persistence import strategies
from tests.persistence.sessions import EVERY_PART, created, turn


@strategies.unhurried
@given(strategies.turns)
def test_every_part_of_a_turn_comes_back(record: TurnRecord) -> None:
    assert decode_turn(encode_turn(record, record.sid), record.sid, record.version) == record


def test_no_part_of_a_turn_is_forgotten() -> None:
    """Fails when a field is added to the record and not to its encoding."""
    back = decode_turn(encode_turn(EVERY_PART, 7), 7, 3)
    bare = TurnRecord(sid=7, version=3)

    assert back == EVERY_PART
    for part in fields(TurnRecord):
        same = getattr(EVERY_PART, part.name) == getattr(bare, part.name)
        assert same is (part.name in {"sid", "version", "mail", "children"}), part.name


@strategies.unhurried
@given(strategies.snapshots)
def test_every_part_of_a_snapshot_comes_back(record: SnapshotRecord) -> None:
    body = decode_snapshot(encode_snapshot(record), record.sid, record.version)

    assert (body.schema_version, body.state, body.logs, body.forgotten) == (
        record.schema_version,
        record.state,
        record.logs,
        record.forgotten,
    )


@strategies.unhurried
@given(strategies.pages)
def test_every_part_of_a_page_comes_back(page: LogPage) -> None:
    assert decode_page(encode_page(page, 7), 7, page.field, page.first) == page


def test_a_turn_that_creates_takes_the_sid_that_it_was_given() -> None:
    back = decode_turn(encode_turn(created(), 12), 12, 1)

    assert back == replace(created(), sid=12)


@strategies.unhurried
@given(strategies.turns, st.data())
def test_a_flipped_bit_anywhere_is_damage(record: TurnRecord, data: st.DataObject) -> None:
    encoded = bytearray(encode_turn(record, record.sid))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8

    with pytest.raises(CorruptRecord):
        decode_turn(bytes(encoded), record.sid, record.version)


def test_each_single_bit_of_a_small_record_is_guarded() -> None:
    encoded = encode_turn(turn(1, 2), 1)
    for bit in range(len(encoded) * 8):
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptRecord):
            decode_turn(bytes(flipped), 1, 2)

    assert decode_turn(encoded, 1, 2) == turn(1, 2)


def test_a_record_cut_at_any_length_is_damage() -> None:
    encoded = encode_turn(turn(1, 2), 1)
    for length in range(len(encoded)):
        with pytest.raises(CorruptRecord):
            decode_turn(encoded[:length], 1, 2)


@pytest.mark.parametrize(("sid", "version"), [(2, 2), (1, 3)], ids=["another session", "another version"])
def test_a_body_in_another_rows_place_is_damage(sid: int, version: int) -> None:
    with pytest.raises(CorruptRecord, match="check"):
        decode_turn(encode_turn(turn(1, 2), 1), sid, version)


def test_a_kind_in_anothers_place_is_damage() -> None:
    record = seal(Kind.PAGE, 0, 1, 2, packb({}))

    with pytest.raises(CorruptRecord, match="kind 3 stands where a turn belongs"):
        decode_turn(record, 1, 2)


@pytest.mark.parametrize(
    ("format_", "flags", "key"), [(FORMAT + 1, 0, 0), (FORMAT, 1, 0), (FORMAT, 0, 1)], ids=["format", "flag", "key"]
)
def test_a_whole_record_of_a_newer_release_says_so(format_: int, flags: int, key: int) -> None:
    body = packb({})
    front = struct.pack(">BBHII", format_, Kind.TURN, flags, 1, key)
    check = crc32(body, crc32(front + struct.pack(">QQ", 1, 2)))

    with pytest.raises(FormatTooNew, match="newer release"):
        decode_turn(front + struct.pack(">I", check) + body, 1, 2)


def test_the_header_is_sixteen_bytes_laid_out_for_ever() -> None:
    """Written out, because files of every release begin like this."""
    record = seal(Kind.TURN, 5, 1, 2, b"\x80")

    assert record.hex() == "01010000000000050000000012239c4380"
    assert len(record) == HEADER_BYTES + 1
    assert bytes(unseal(Kind.TURN, 1, 2, record)[1]) == b"\x80"


@pytest.mark.parametrize("body", [b"\x01", b"\x90", b"\xc1", packb({4: 1}), packb({5: [[1]]})])
def test_a_whole_body_of_another_shape_is_damage(body: bytes) -> None:
    with pytest.raises(CorruptRecord, match="shape"):
        decode_turn(seal(Kind.TURN, 1, 1, 2, body), 1, 2)


def test_keys_and_fields_that_are_unknown_are_passed_over() -> None:
    entry = ("t1-81", "done", 5, "k", b"f", 2, 3, b"reply", 4, 2, "say", "a field of the future")
    body = packb({1: "1-81", 17: [entry], 99: {"a": "part of the future"}})

    back = decode_turn(seal(Kind.TURN, 1, 1, 2, body), 1, 2)

    assert back == TurnRecord(sid=1, version=2, turn="1-81", ledger=EVERY_PART.ledger)


def test_unused_parts_cost_nothing() -> None:
    assert len(encode_turn(TurnRecord(sid=1, version=2), 1)) == HEADER_BYTES + 1


@pytest.mark.parametrize(
    "record",
    [
        TurnRecord(sid=1, version=2, at_us=2**64),
        TurnRecord(sid=1, version=2, turn="\ud800"),
        TurnRecord(sid=1, version=2, schema_version=-1),
        TurnRecord(sid=1, version=2, state={"a": object()}),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
        TurnRecord(sid=1, version=-2),
    ],
    ids=["a number beyond 64 bits", "text that is not Unicode", "a negative schema", "an object", "a negative version"],
)
def test_what_has_no_bytes_is_refused(record: TurnRecord) -> None:
    with pytest.raises(RecordRefused, match="cannot be encoded"):
        encode_turn(record, 1)


def test_an_empty_page_is_refused() -> None:
    with pytest.raises(RecordRefused, match="without items"):
        encode_page(LogPage("lines", ()), 1)


def test_a_log_shape_keeps_its_redactions() -> None:
    shape = LogShape(1, 9, 8, ((2, 3),), {5: b"five"})
    record = SnapshotRecord(sid=1, version=2, lsn=3, schema_version=1, state={}, logs={"lines": shape})

    assert decode_snapshot(encode_snapshot(record), 1, 2).logs == {"lines": shape}
