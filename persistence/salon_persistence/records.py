"""What crosses the border to a store: keys, versions and bytes, never objects of a session.

A `TurnRecord` holds all that one turn may commit; parts that a turn does not use stay empty and cost nothing.
A `SnapshotRecord` holds a whole session at one version. A `StoredSession` is what a load brings back.
Times are integer microseconds since 1970, UTC. Numbers of log items start at 0 and are never used twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made
from types import MappingProxyType
from typing import Literal, TypeAlias

Lifecycle: TypeAlias = Literal["active", "expired", "revoked", "deleted"]

NOTHING: Mapping[str, bytes] = MappingProxyType({})
_NO_REDACTIONS: Mapping[int, bytes] = MappingProxyType({})
_NO_KEYS: Mapping[str, int] = MappingProxyType({})


def _no_state() -> Mapping[str, bytes]:
    return NOTHING


def _no_redactions() -> Mapping[int, bytes]:
    return _NO_REDACTIONS


def _no_keys() -> Mapping[str, int]:
    return _NO_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """Who and what a session is: one row, found by each of its keys."""

    uid: bytes
    """16 random bytes, internal and for ever; the public id may be rotated."""
    public_id: str
    type: str
    tenant: str = ""
    name: str | None = None
    """Natural key, unique among the active sessions of (tenant, type)."""
    user_id: str | None = None
    conversation_id: str | None = None
    device_id: str | None = None
    generation: int = 0
    """Grows when handles and tokens of before must fail."""
    lifecycle: Lifecycle = "active"
    reason: str | None = None
    owner_epoch: int = 0
    deadline_us: int | None = None
    """When the session is due to end; may lag behind the truth, never lead it."""
    created_us: int
    activity_us: int
    """May lag behind the last turn."""
    facts: bytes = b""
    """Language, metadata and the like, encoded; no key for a search among them."""
    sid: int = 0
    """Given by the store when the session is created; 0 until then."""
    version: int = 0
    """Turns committed so far."""
    head_lsn: int = 0
    """Newest journal row; 0 when there is none."""


@dataclass(frozen=True, slots=True)
class LogDelta:
    """What one turn does to one log."""

    field: str
    first: int
    """Numbers below it are dropped."""
    next: int
    """The number that the next item will get."""
    items: Sequence[tuple[int, bytes]] = ()
    """Appended, in order of their numbers; each one's bytes begin with its own schema version."""
    cuts: Sequence[tuple[int, int]] = ()
    """Half-open ranges of numbers that are dropped."""
    redactions: Mapping[int, bytes] = made(default_factory=_no_redactions)
    """New bytes of older items."""
    keys: Mapping[str, int] = made(default_factory=_no_keys)
    """Append keys of `items`."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """A timer of a session; `due_us` None cancels the one of that name."""

    name: str
    due_us: int | None
    every_us: int | None = None
    missed: str = "run_once"
    message: str = ""
    schema_version: int = 1
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A message that was accepted for later; its receiver may be another session than the turn's."""

    sid: int
    turn: str
    position: int
    priority: int
    message: str
    schema_version: int
    body: bytes
    key: str | None = None
    deadline_us: int | None = None
    attempts: int = 0
    started: bool = False


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Something that leaves the process after the commit."""

    key: str
    kind: str
    schema_version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """How a keyed message ended, for the sender who asks again."""

    key: str
    fingerprint: bytes
    turn: str
    outcome: str
    at_us: int
    reply_schema: int = 1
    reply: bytes = b""


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """A message that will not run, with its bytes and the reason."""

    turn: str
    reason: str
    message: str
    schema_version: int
    body: bytes
    attempts: int = 0
    cause: str = ""
    state_version: int = 0


@dataclass(slots=True, kw_only=True)
class TurnRecord:
    """All that one turn commits, for one session: every part of it becomes durable, or none does.

    Not frozen because a frozen one costs 2 µs more per turn; nobody changes it once it is handed over.
    """

    sid: int
    """0 when this record creates the session."""
    version: int
    """The session's version after this turn; the write holds only if the row stands at `version - 1`."""
    generation: int = 0
    schema_version: int = 1
    """Of the state."""
    turn: str = ""
    at_us: int = 0
    whole: bool = False
    """`state` names every field there is: the first commit of a session, or under a new schema."""
    state: Mapping[str, bytes] = made(default_factory=_no_state)
    """Changed top-level fields, encoded."""
    logs: Sequence[LogDelta] = ()
    created: SessionRow | None = None
    row: SessionRow | None = None
    """The row's facts and keys when this turn changes them."""
    activity_us: int | None = None
    """None leaves the stored activity as it is."""
    deadline_us: int | None = None
    """None leaves the stored deadline as it is."""
    reminders: Sequence[Reminder] = ()
    inbox_added: Sequence[InboxRow] = ()
    inbox_settled: Sequence[str] = ()
    outbox: Sequence[OutboxRow] = ()
    ledger: Sequence[LedgerEntry] = ()
    dead_letters: Sequence[DeadLetterRow] = ()


@dataclass(frozen=True, slots=True)
class LogPage:
    """Consecutive items of one log, moved here once and for all (but for redaction)."""

    field: str
    items: Sequence[tuple[int, bytes]]
    keys: Mapping[str, int] = made(default_factory=_no_keys)

    @property
    def first(self) -> int:
        return self.items[0][0]


@dataclass(frozen=True, slots=True)
class LogShape:
    """Where the numbers of one log stand; the items themselves are in pages and in the tail."""

    first: int
    next: int
    paged: int
    """Items below this number are in pages."""
    cuts: Sequence[tuple[int, int]] = ()
    redactions: Mapping[int, bytes] = made(default_factory=_no_redactions)
    """New bytes of items whose page was not rewritten yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """A whole session at one version, so that the journal before it need not be read."""

    sid: int
    version: int
    lsn: int
    """Journal row of that version."""
    schema_version: int
    state: Mapping[str, bytes]
    logs: Mapping[str, LogShape] = made(default_factory=dict[str, LogShape])
    ledger: Sequence[LedgerEntry] = ()
    pages: Sequence[LogPage] = ()
    """New pages, and older ones with a redacted item, to be written over those with the same first number."""
    pages_dropped: Sequence[tuple[str, int]] = ()
    """(field, first number) of pages without a living item."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What a load brings back, all of it as of one moment."""

    row: SessionRow
    snapshot: SnapshotRecord | None
    """Its `pages` are those that hold the newest items of each log, as many as were asked for."""
    tail: Sequence[TurnRecord]
    """The turns after the snapshot, oldest first."""
