"""What the file of layout 1 holds: what its maker wrote, and what today's code must read out of it for ever."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from salon_persistence.records import (
    LedgerEntry,
    LogDelta,
    LogPage,
    LogShape,
    Reminder,
    SessionRow,
    SnapshotRecord,
    TurnRecord,
)

UUID_OF_STORE = bytes(range(16))
WALL_US = 1_700_000_000_000_000

VALUES: dict[str, Any] = {
    "plain": [None, True, False, 0, -1, 2**63 - 1, 1.5, "text ü", b"bytes", {"a": 1, 2: "b"}],
    "tuple": (1, ("two",)),
    "set": {1, 2, 3},
    "frozenset": frozenset({"a"}),
    "moments": [
        datetime(2024, 2, 29, 12, 30, 15, 123456),  # noqa: DTZ001  # Naive on purpose.
        datetime(2024, 2, 29, tzinfo=UTC),
        datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    ],
    "date": date(2024, 2, 29),
    "time": time(23, 59, 59, 999_999),
    "timedelta": timedelta(days=-2, microseconds=3),
    "uuid": UUID(int=2**127 + 1),
    "decimal": Decimal("-1.50E+3"),
    "large": -(2**100),
    "complex": 1 - 2j,
    "bytearray": bytearray(b"mutable"),
}
"""A value of each type that the codec knows, by the field of the state that holds it."""


def facts(number: int, **changes: Any) -> SessionRow:
    named: dict[str, Any] = {"name": f"telegram:{number}", "user_id": f"user-{number}", "tenant": "bakery"}
    return SessionRow(
        uid=bytes([number]) * 16,
        public_id=f"session-{number}",
        type="chat",
        created_us=WALL_US,
        activity_us=WALL_US + number,
        **{**named, **changes},
    )


def line(number: int) -> bytes:
    return f"line {number}".encode()


SPOKEN = 200
"""Turns of the second session; snapshots after 100 and 150."""
SNAPSHOTS = (100, 150)

ENDED = facts(
    3,
    lifecycle="revoked",
    reason="asked to leave",
    generation=2,
    owner_epoch=1,
    deadline_us=WALL_US + 99,
    conversation_id="c",
    device_id="d",
    facts=b"\x81\xa1a\x01",
)


EVERY_PART = TurnRecord(
    sid=3,
    version=2,
    schema_version=4,
    turn="1-81",
    at_us=5,
    whole=True,
    state={"count": b"\x01"},
    logs=(LogDelta("lines", 1, 9, ((8, b"eight"),), ((2, 4),), {5: b"five"}, {"key": 8}),),
    row=ENDED,
    reminders=(Reminder("r", None, 2, "skip", "say", 2, b"b"),),
    ledger=(LedgerEntry("1-81", "done", 5, "k", b"f", reply_schema=2, reply=b"reply"),),
)
"""The second turn of the third session. Its maker also wrote mail into the journal, which no release ever did."""


def spoken(version: int) -> TurnRecord:
    number = version - 2
    delta = LogDelta("lines", 0, number + 1, ((number, line(number)),), keys={f"key-{number}": number})
    return TurnRecord(
        sid=2,
        version=version,
        turn=f"1-{version}",
        at_us=WALL_US + version,
        state={"count": bytes([version])},
        logs=(delta,),
    )


def snapshot(version: int, lsn: int, paged: int) -> SnapshotRecord:
    count = version - 1
    starts = range(paged, count, 64)
    return SnapshotRecord(
        sid=2,
        version=version,
        lsn=lsn,
        schema_version=1,
        state={"count": bytes([version])},
        logs={"lines": LogShape(0, count, count)},
        pages=tuple(
            LogPage("lines", tuple((n, line(n)) for n in range(start, min(start + 64, count)))) for start in starts
        ),
    )
