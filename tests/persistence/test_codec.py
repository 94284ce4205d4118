"""Values come back as exactly what went in."""

import threading
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from msgpack import ExtType, packb
from pydantic import BaseModel

from salon_persistence.codec import pack, unpack
from salon_persistence.errors import CorruptRecord
from tests.persistence import strategies

TABLE: tuple[tuple[int, Any], ...] = (
    (1, (1, "a", (2,))),
    (2, {3, "b"}),
    (3, frozenset({None, 2.5})),
    (4, datetime(2024, 10, 27, 2, 30, 15, 7, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))),
    (5, date(2024, 2, 29)),
    (6, time(23, 59, 59, 999_999, tzinfo=UTC)),
    (7, timedelta(days=-1, microseconds=1)),
    (8, UUID(int=42)),
    (9, Decimal("1.20")),
    (10, 2**200),
    (11, complex(-0.0, 2)),
    (12, bytearray(b"ab")),
)
"""Extension codes and a value of each: files of every release hold them, so this table only grows."""


def same(left: object, right: object) -> bool:
    """Equal, and of the same types all the way down."""
    return type(left) is type(right) and exact(left) == exact(right)


def exact(value: Any) -> object:
    """Something that is equal only for values of the same types, and hashes if the value does."""
    kind: str = value.__class__.__name__
    if kind == "dict":
        return kind, tuple((exact(key), exact(item)) for key, item in value.items())
    if kind in {"list", "tuple"}:
        return kind, tuple(exact(item) for item in value)
    if kind in {"set", "frozenset"}:
        return kind, frozenset(exact(item) for item in value)
    if kind in {"datetime", "time"}:
        return kind, value, value.fold, value.utcoffset()
    if kind in {"float", "complex", "Decimal"}:
        return kind, repr(value)
    return kind, bytes(value) if kind == "bytearray" else value


@strategies.unhurried
@given(strategies.values)
def test_what_is_packed_comes_back_equal_and_of_the_same_types(value: Any) -> None:
    assert same(unpack(pack(value)), value)


@strategies.unhurried
@given(strategies.values)
def test_packing_what_came_back_gives_the_same_bytes(value: Any) -> None:
    assert pack(unpack(pack(value))) == pack(value)


@pytest.mark.parametrize(("code", "value"), TABLE, ids=lambda part: type(part).__name__)
def test_each_type_keeps_its_extension_code(code: int, value: Any) -> None:
    raw = pack(value)
    opened = [(seen, data) for seen, data in _extensions(raw)]

    assert opened[0][0] == code
    assert same(unpack(raw), value)


def test_every_code_of_the_table_is_known_and_the_next_is_not() -> None:
    codes = [code for code, _ in TABLE]

    assert codes == list(range(1, 13))
    with pytest.raises(CorruptRecord, match="Extension code 13 is unknown"):
        unpack(packb(ExtType(13, b"")))


def test_equal_sets_give_equal_bytes() -> None:
    numbers = [9, 1, 5, 8, 17, 33]

    assert pack(set(numbers)) == pack({33, 17, 8, 5, 1, 9})
    assert pack({"a", "b", "c"}) == pack({"c", "b", "a"})


def test_a_bytearray_stays_one_wherever_it_stands() -> None:
    value = {"plain": b"x", "list": [bytearray(b"y"), {"deep": bytearray(b"z")}], "tuple": (bytearray(b"q"),)}

    assert same(unpack(pack(value)), value)


def test_a_zone_is_kept_by_its_key_and_the_fold_with_it() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=fold) for fold in (0, 1))

    back = unpack(pack([first, second]))

    assert [moment.tzinfo for moment in back] == [berlin, berlin]
    assert [moment.utcoffset() for moment in back] == [timedelta(hours=2), timedelta(hours=1)]


def test_infinities_and_not_a_number_are_values() -> None:
    back = unpack(pack([float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity"), Decimal("-0")]))

    assert [repr(value) for value in back] == ["nan", "inf", "Decimal('NaN')", "Decimal('-Infinity')", "Decimal('-0')"]


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


def test_an_enum_is_stored_as_its_value_and_validation_makes_it_a_member_again() -> None:
    class Painted(BaseModel):
        colour: Colour
        level: Level

    dumped = Painted(colour=Colour.RED, level=Level.HIGH).model_dump(mode="python")
    back = unpack(pack(dumped))

    assert back == {"colour": "red", "level": 3}
    assert Painted.model_validate(back) == Painted(colour=Colour.RED, level=Level.HIGH)


class Pair(Enum):
    BOTH = (1, "two")
    DAY = date(2024, 2, 29)


def test_the_value_of_an_enum_may_be_any_that_is_known() -> None:
    assert unpack(pack([Pair.BOTH, Pair.DAY, {Level.HIGH: Colour.RED}])) == [
        (1, "two"),
        date(2024, 2, 29),
        {3: "red"},
    ]


def nested(kind: type[list[Any]] | type[tuple[Any, ...]], depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = kind([value])
    return value


@pytest.mark.parametrize("kind", [list, tuple])
def test_nesting_without_end_is_refused(kind: Any) -> None:
    assert unpack(pack(nested(kind, 50))) == nested(kind, 50)
    with pytest.raises(ValueError, match=r"recursion|cannot be encoded"):
        pack(nested(kind, 5000))


class Stranger:
    pass


STRANGERS: dict[str, Any] = {
    "bare": Stranger(),
    "in a list": [Stranger()],
    "in a dict": {1: Stranger()},
    "in a tuple": (Stranger(),),
    "a kind of dict": OrderedDict(a=1),
    "a kind of str": type("Text", (str,), {})("a"),
}


@pytest.mark.parametrize(
    "value",
    STRANGERS.values(),
    ids=STRANGERS.keys(),
)
def test_a_type_that_is_not_in_the_table_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="has no place in stored state"):
        pack(value)


def test_a_memoryview_is_refused_and_not_taken_for_bytes() -> None:
    with pytest.raises(TypeError, match="memoryview"):
        pack([memoryview(b"abc")])


@pytest.mark.parametrize(
    "data",
    [b"", b"\x92\x01", pack(1) + pack(2), b"\xc1", b"\xd4\x04\x00", b"\xd4\x0d\x00", b"\xc7\x01\x09x"],
    ids=["empty", "cut short", "followed by more", "no such mark", "a broken datetime", "unknown", "a broken decimal"],
)
def test_bytes_that_are_none_of_ours_are_damage(data: bytes) -> None:
    with pytest.raises(CorruptRecord):
        unpack(data)


def test_threads_that_pack_at_once_do_not_mix_their_bytes() -> None:
    values = [[(n, {n}), "x" * n, Decimal(n)] for n in range(64)]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            wrong.extend(n for n, value in enumerate(values) if unpack(pack(value)) != value)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def _extensions(raw: bytes) -> list[tuple[int, bytes]]:
    from msgpack import unpackb

    seen: list[tuple[int, bytes]] = []
    unpackb(raw, ext_hook=lambda code, data: seen.append((code, data)), strict_map_key=False)
    return seen
