"""What the file of layout 2 holds: what its maker wrote, and what today's code must read out of it for ever.

Two sessions were created first; sid 3 is a child of the first, and sid 2 has ended when the first tells it.
"""

from collections.abc import Sequence

from salon_persistence.records import (
    CHECKPOINT,
    CHUNKS,
    DeadLetterRow,
    InboxRow,
    LedgerEntry,
    Mail,
    NoteRecord,
    OutboxRow,
    ProgressRow,
    Record,
    SessionRow,
    StepRow,
    TurnRecord,
)

UUID_OF_STORE = bytes(range(16))
WALL_US = 1_700_000_000_000_000
EPOCH = 1 << 40


def facts(number: int, lifecycle: str = "active") -> SessionRow:
    return SessionRow(
        uid=bytes([number]) * 16,
        public_id=f"session-{number}",
        type="chat",
        name=f"telegram:{number}",
        lifecycle="expired" if lifecycle == "expired" else "active",
        created_us=WALL_US,
        activity_us=WALL_US + number,
    )


def created(number: int) -> TurnRecord:
    return TurnRecord(sid=0, version=1, whole=True, state={"count": b"\x01"}, created=facts(number))


RECORDED = 150
"""Turns of the first session with a ledger entry, versions 2 to 151; a snapshot after 100, before which 30 were
forgotten."""
SNAPSHOT, FORGOTTEN = 100, 30


def entry(version: int) -> LedgerEntry:
    return LedgerEntry(
        turn=f"t1-{version}",
        outcome="done",
        at_us=WALL_US + version,
        key=f"update-{version}" if version % 2 else None,
        fingerprint=b"\x01" * 16,
        message_schema=2,
        reply_schema=3,
        reply=b"reply %d" % version,
        chunks=version,
        attempt=2,
        message="say",
    )


def recorded(version: int) -> TurnRecord:
    return TurnRecord(
        sid=1,
        version=version,
        turn=f"t1-{version}",
        at_us=WALL_US + version,
        state={"count": bytes([version])},
        ledger=(entry(version),),
    )


INBOX = (
    InboxRow(EPOCH | 200, 1, 1, "say", 1, b"bare"),
    InboxRow(EPOCH | 201, 1, 2, "say", 3, b"full", "key", b"print", "reject", WALL_US + 9, WALL_US, 2, WALL_US + 5),
)
PROGRESS = (
    ProgressRow(EPOCH | 201, CHECKPOINT, 0, b"draft"),
    ProgressRow(EPOCH | 201, CHUNKS, 0, b"first chunks"),
    ProgressRow(EPOCH | 201, CHUNKS, 64, b"more chunks"),
)
STEPS = (StepRow("key:key", "charge", b"receipt", WALL_US), StepRow("t1-201", "look up", b"found", WALL_US + 1))
OUTBOX = (
    OutboxRow(EPOCH | 300, "t1-151:0", "text", 2, b"first", 3, WALL_US + 60),
    OutboxRow(EPOCH | 301, "t1-151:1", "text", 2, b"second"),
)
LETTERS = (
    DeadLetterRow("t1-90", "message", "crashed", "say", 2, b"lost", WALL_US, 4, "ValueError", 7, "key", 0),
    DeadLetterRow("t1-91:0", "outgoing", "attempts", "text", 1, b"undelivered", WALL_US + 1),
)
UNDELIVERED = DeadLetterRow(
    "t1-400", "message", "receiver_gone", "say", 1, b"to nobody", WALL_US + 152, 0, "s2", 152, "far", 1
)
TO_CHILD = InboxRow(EPOCH | 401, 3, 1, "say", 1, b"welcome")

TELLING = TurnRecord(
    sid=1,
    version=RECORDED + 2,
    turn="t1-152",
    at_us=WALL_US + 152,
    state={"count": b"\x98"},
    children=(created(3),),
    mail=Mail(
        inbox_added=(
            InboxRow(EPOCH | 400, 2, 1, "say", 1, b"to nobody", "far"),
            InboxRow(EPOCH | 401, -1, 1, "say", 1, b"welcome"),
        )
    ),
)
"""The last turn of the first session."""

NOTES: Sequence[Record] = (
    NoteRecord(sid=1, mail=Mail(inbox_added=INBOX, progress=PROGRESS, steps=STEPS)),
    NoteRecord(sid=1, mail=Mail(outbox_added=OUTBOX, dead_letters=LETTERS)),
)
