"""The store: what every place where sessions are kept must do, and how it answers.

    caller (bridge)                      store
    open()                 ->            takes ownership, raises the epoch durably
    commit(batch)          ->            one transaction; one outcome per record, in the order of the batch
    keep(snapshots)        ->            off the reply path; one outcome each
    load, find, read_pages,
    mail_waits, letters    ->            the last committed truth, beside commits, never behind them
    probe()                ->            after StoreUnavailable: does writing work again?
    close()                ->            gives up ownership

`commit` and `keep` never raise for what went wrong with a record or with the disk: they answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from salon_persistence.errors import StoreError
from salon_persistence.records import (
    DeadLetterRow,
    Lifecycle,
    LogPage,
    Record,
    SessionRow,
    SnapshotRecord,
    StoredSession,
)


@dataclass(slots=True)
class Applied:
    """The record is as durable as the store makes it.

    Not frozen because a frozen one costs twice as much, and there is one per turn.
    """

    sid: int
    lsn: int
    """0: a note, which has no row in the journal."""
    children: Sequence[int] = ()
    """Sids of the record's children, in their order."""
    undelivered: Sequence[int] = ()
    """Numbers of inbox rows that became dead letters, because their receiver was not there or not active."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """Somebody else owns the store, or the session stands at another version: nothing was applied."""

    whole_store: bool
    """True: the epoch is gone, and with it every write of this process."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was applied, for this reason."""

    error: StoreError


@dataclass(frozen=True, slots=True)
class Unknown:
    """The store cannot say whether the record was applied."""

    error: StoreError


Outcome: TypeAlias = Applied | Fenced | Refused | Unknown


@dataclass(frozen=True, slots=True)
class ByPublicId:
    public_id: str


@dataclass(frozen=True, slots=True)
class ByName:
    """The active session with this natural key."""

    tenant: str
    type: str
    name: str


Address: TypeAlias = ByPublicId | ByName


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery:
    """Sessions that match every key that is not None, newest activity first."""

    tenant: str = ""
    user_id: str | None = None
    conversation_id: str | None = None
    device_id: str | None = None
    lifecycle: Lifecycle | None = None
    after: tuple[int, int] | None = None
    """(activity_us, sid) of the last row of the page before."""
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterQuery:
    """Dead letters of one session, or of all; newest last."""

    sid: int | None = None
    after: int | None = None
    """Place of the last letter of the page before."""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter, and whose it is."""

    place: int
    """Grows from letter to letter, and is never used again."""
    sid: int
    public_id: str
    type: str
    row: DeadLetterRow


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store says of itself when it has been opened, for the log and for health."""

    store: str
    """Such as `sqlite:///chat.db`."""
    uuid: bytes
    format: int
    engine: str
    """Name and version of what lies beneath, such as `SQLite 3.40.1`."""
    durability: str
    epoch: int
    wall_high_us: int
    """Time never runs below this, across restarts."""
    clean: bool
    """The last owner closed it."""
    warnings: Sequence[str] = ()
    sessions: int = 0
    """Active ones when it was opened."""


class Store(Protocol):
    """Coroutines of an asyncio loop of their own (`on_thread`), or of the host's loop, whichever it is."""

    @property
    def on_thread(self) -> bool:
        """True: needs an asyncio loop and may block, so it lives on the storage thread. False: never blocks."""
        ...

    @property
    def durability(self) -> Literal["full", "normal", "memory"]: ...

    async def open(self) -> StoreInfo: ...

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        """Each record whole or not at all, as if one after the other.

        At most one turn per session in a batch, and any number of notes.
        An inbox row for another session that is not there or not active becomes a dead letter of the sender.
        """
        ...

    async def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]: ...

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        """`windows` says, per session type and log, how many of the newest items are wanted. None: no such session."""
        ...

    async def find(self, query: SessionQuery, /) -> Sequence[SessionRow]: ...

    async def read_pages(self, sid: int, field: str, before: int, items: int, /) -> Sequence[LogPage]:
        """Pages with numbers below `before`, newest first, until they hold `items` such numbers or no more exist."""
        ...

    async def mail_waits(self, after_sid: int, limit: int, /) -> Sequence[tuple[int, str]]:
        """(sid, public id) of active sessions with rows in inbox or outbox, in the order of sids above `after_sid`."""
        ...

    async def letters(self, query: LetterQuery, /) -> Sequence[StoredLetter]: ...

    async def letter(self, id: str, /) -> StoredLetter | None: ...

    async def probe(self) -> None:
        """Returns when a write works; raises StoreUnavailable when it does not yet."""
        ...

    async def close(self) -> None: ...


class BlockingWriter(Protocol):
    """`Store.commit` and `Store.keep` without the `await`."""

    def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]: ...

    def keep(self, snapshots: Sequence[SnapshotRecord], /) -> Sequence[Outcome]: ...


@runtime_checkable
class LendsItsWriter(Protocol):
    """A store that writes on a thread of its own, and lets others work there.

    Whoever waits on that thread for what is to be written saves two changes of thread per batch.
    """

    async def lend(self, use: Callable[[BlockingWriter], None], /) -> None:
        """Run `use` on the thread that writes; everything else that is written waits for its end."""
        ...
