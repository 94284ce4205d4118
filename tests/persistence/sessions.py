"""Records of sessions that tests write: small, and told apart by their numbers."""

from typing import Any

from salon_persistence.records import (
    LedgerEntry,
    LogDelta,
    LogPage,
    LogShape,
    Reminder,
    SessionRow,
    SnapshotRecord,
    StoredSession,
    TurnRecord,
)

NOW_US = 1_700_000_000_000_000
WINDOWS = {"chat": {"lines": 50}}

EVERY_PART = TurnRecord(
    sid=7,
    version=3,
    generation=2,
    schema_version=4,
    turn="1-81",
    at_us=5,
    whole=True,
    state={"count": b"\x01"},
    logs=(LogDelta("lines", 1, 9, ((8, b"eight"),), ((2, 4),), {5: b"five"}, {"key": 8}),),
    created=SessionRow(
        uid=b"u" * 16,
        public_id="p",
        type="chat",
        tenant="t",
        name="n",
        user_id="u",
        conversation_id="c",
        device_id="d",
        generation=1,
        lifecycle="revoked",
        reason="why",
        owner_epoch=3,
        deadline_us=1,
        created_us=2,
        activity_us=3,
        facts=b"f",
    ),
    row=SessionRow(uid=b"v" * 16, public_id="q", type="chat", created_us=2, activity_us=3),
    activity_us=6,
    deadline_us=7,
    reminders=(Reminder("r", None, 2, "skip", "say", 2, b"b"),),
    ledger=(LedgerEntry("t1-81", "done", 5, "k", b"f", 2, 3, b"reply", 4, 2, "say"),),
)
"""A turn in which no part of the journal's is empty."""


def row(number: int = 1, **changes: Any) -> SessionRow:
    facts: dict[str, Any] = {
        "uid": number.to_bytes(16, "big"),
        "public_id": f"public-{number}",
        "type": "chat",
        "name": f"name-{number}",
        "created_us": NOW_US,
        "activity_us": NOW_US + number,
    }
    return SessionRow(**{**facts, **changes})


def created(number: int = 1, **changes: Any) -> TurnRecord:
    return TurnRecord(sid=0, version=1, whole=True, state={"count": b"\x01"}, created=row(number, **changes))


def turn(sid: int, version: int, **changes: Any) -> TurnRecord:
    """Says its version, in the state and as a line; lines begin with the second turn."""
    number = version - 2
    parts: dict[str, Any] = {
        "turn": f"1-{version}",
        "at_us": NOW_US + version,
        "state": {"count": bytes([version % 256])},
        "logs": (LogDelta("lines", 0, number + 1, ((number, said(version)),)),),
    }
    return TurnRecord(sid=sid, version=version, **{**parts, **changes})


def said(version: int) -> bytes:
    return b"said %d" % version


def snapshot(sid: int, version: int, lsn: int, *, paged: int = 0) -> SnapshotRecord:
    """Of a session made by `created` and `turn`; the lines from `paged` on go into pages of eight."""
    count = version - 1
    numbers = range(paged, count)
    pages = [numbers[start : start + 8] for start in range(0, len(numbers), 8)]
    return SnapshotRecord(
        sid=sid,
        version=version,
        lsn=lsn,
        schema_version=1,
        state={"count": bytes([version % 256])},
        logs={"lines": LogShape(0, count, count)} if count else {},
        pages=tuple(LogPage("lines", tuple((n, said(n + 2)) for n in page)) for page in pages),
    )


def lines_of(stored: StoredSession) -> dict[int, bytes]:
    """Every line that a load brought, by number."""
    lines: dict[int, bytes] = {}
    for page in stored.snapshot.pages if stored.snapshot else ():
        lines.update(page.items)
    for record in stored.tail:
        for delta in record.logs:
            lines.update(delta.items)
    return lines
