"""What crosses the border to a store: keys, versions and bytes, never objects of a session.

A `TurnRecord` holds all that one turn may commit; parts that a turn does not use stay empty and cost nothing.
A `NoteRecord` holds what is made durable beside turns: a message was accepted, a handler begins, a delivery is done.
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
    """A message that was accepted for later."""

    number: int
    """Of its turn: the order of admission; never used again, and unique in the store."""
    sid: int
    """The receiver. 0: the session that the record creates; -(i + 1): child i of the record that adds the row."""
    priority: int
    """0 high, 1 normal, 2 low."""
    message: str
    schema_version: int
    body: bytes
    key: str | None = None
    fingerprint: bytes = b""
    overlap: str = ""
    deadline_us: int | None = None
    """Wall time; None: no deadline."""
    accepted_us: int = 0
    attempts: int = 0
    """Begun so far."""
    due_us: int | None = None
    """Not to begin before: the back-off of a retry."""


CHECKPOINT = 1
CHUNKS = 2
"""Kinds of progress."""


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """What a running inbox turn keeps before its end; the same number, kind and ordinal replaces."""

    number: int
    """Of the turn; without its inbox row there is no progress, and the row is passed over."""
    kind: int
    """`CHECKPOINT` or `CHUNKS`."""
    ordinal: int
    """0 to 2 ** 32 - 1."""
    body: bytes


@dataclass(frozen=True, slots=True)
class StepRow:
    """The result of one step of a turn, or of all turns of one key; the same owner and name replaces."""

    owner: str
    """The id of a turn, or `key:` and the key."""
    name: str
    body: bytes
    at_us: int


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Something that leaves the process after the commit."""

    number: int
    """The order of delivery; never used again, and unique in the store."""
    key: str
    kind: str
    schema_version: int
    body: bytes
    attempts: int = 0
    due_us: int | None = None
    """Not to be tried before."""


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """A message that will not run, or an outgoing one that will not leave, with its bytes and the reason."""

    id: str
    """Unique in the store."""
    kind: Literal["message", "outgoing"]
    reason: str
    """`receiver_gone` is written by the store itself: the letter is the sender's, its `cause` names the receiver
    as `s12`, its `id` is the turn that the message would have had, its `at_us` the time of the commit."""
    message: str
    """Name of the message, or kind of the outgoing one."""
    schema_version: int
    body: bytes
    at_us: int
    attempts: int = 0
    cause: str = ""
    state_version: int = 0
    key: str | None = None
    priority: int = 1


@dataclass(slots=True)
class LedgerEntry:
    """How a message ended, for the sender who asks again: by turn, and by key if it has one.

    Not frozen, as a `TurnRecord` is not, and for the same reason; nobody changes it once it is made.
    """

    turn: str
    outcome: str
    at_us: int
    key: str | None = None
    fingerprint: bytes = b""
    message_schema: int = 1
    reply_schema: int = 1
    reply: bytes = b""
    chunks: int = 0
    attempt: int = 1
    message: str = ""
    """Name of the message, by which its reply is read."""


@dataclass(slots=True, kw_only=True)
class Mail:
    """What goes in and out of a session beside its state.

    Rows that are named by number, owner or id must be the session's own; those that are not there are passed over.
    Within one record what is dropped is dropped before anything is added.
    """

    inbox_added: Sequence[InboxRow] = ()
    inbox_started: Sequence[tuple[int, int]] = ()
    """(number, attempts): made durable before the handler begins."""
    inbox_put_off: Sequence[tuple[int, int | None]] = ()
    """(number, due_us)."""
    inbox_settled: Sequence[int] = ()
    """Numbers of rows that go; their progress goes with them."""
    progress: Sequence[ProgressRow] = ()
    progress_dropped: Sequence[int] = ()
    """Numbers of turns all of whose progress goes, though their rows stay."""
    steps: Sequence[StepRow] = ()
    steps_dropped: Sequence[str] = ()
    """Owners."""
    outbox_added: Sequence[OutboxRow] = ()
    outbox_tried: Sequence[tuple[int, int, int | None]] = ()
    """(number, attempts, due_us)."""
    outbox_settled: Sequence[int] = ()
    dead_letters: Sequence[DeadLetterRow] = ()
    dead_letters_dropped: Sequence[str] = ()
    """Ids."""


@dataclass(slots=True, kw_only=True)
class NoteRecord:
    """What is written between and during turns: outside the session's chain, and no version of it.

    One that adds to the inbox holds only if the session is there, active, and of this generation.
    """

    sid: int
    generation: int = 0
    mail: Mail


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
    ledger: Sequence[LedgerEntry] = ()
    mail: Mail | None = None
    """Not in the journal: its rows have tables of their own, and a body stored twice is written twice."""
    children: Sequence["TurnRecord"] = ()
    """Sessions created in this very commit, each by a record with `created`, without children of its own."""


Record: TypeAlias = TurnRecord | NoteRecord
"""What a batch is made of."""


LEDGER = "#ledger"
"""Among the logs of a snapshot, the ledger: no field of a state has such a name."""


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
    """By field; with that of the ledger, under `LEDGER`, when it has ever had an entry."""
    forgotten: int = 0
    """The highest number of a turn whose ledger entry was dropped."""
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
    inbox: Sequence[InboxRow] = ()
    """In the order of their numbers."""
    progress: Sequence[ProgressRow] = ()
    """Of the inbox rows, by number, kind and ordinal."""
    steps: Sequence[StepRow] = ()
    """By owner and name."""
    outbox: Sequence[OutboxRow] = ()
    """In the order of their numbers."""
