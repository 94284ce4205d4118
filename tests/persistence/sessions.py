"""Records of sessions that tests write: small, and told apart by their numbers."""

from typing import Any

from salon_persistence.records import (
    LogDelta,
    LogPage,
    LogShape,
    SessionRow,
    SnapshotRecord,
    StoredSession,
    TurnRecord,
)

NOW_US = 1_700_000_000_000_000
WINDOWS = {"chat": {"lines": 50}}


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
