"""The committed image of one session: what all its committed turns have made of it, as bytes.

The same `apply` builds it from the journal after a restart and keeps it up to date while the session lives,
so that what is remembered and what would be restored cannot differ.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from salon_persistence.errors import CorruptRecord
from salon_persistence.ledger import Ledger
from salon_persistence.log_image import LogImage
from salon_persistence.records import (
    LEDGER,
    LedgerEntry,
    LogPage,
    LogShape,
    SnapshotRecord,
    StoredSession,
    TurnRecord,
)

TAIL_TURNS_MAX = 64
"""Turns after the last snapshot that an activation may have to read: measured, 1 ms of replay."""
TAIL_BYTES_MIN = 32 * 1024
"""Below it a snapshot costs more than the replay that it saves: measured, 0.5 ms against 64 turns of 200 bytes."""

ENTRY_BYTES = 64
"""Of a ledger entry beside its reply, about."""

NO_LOGS: Mapping[str, LogImage] = MappingProxyType({})
"""Shared by the images without logs: an empty dictionary has 64 bytes."""


class SessionImage:
    """Fields and logs of one session at `version`."""

    __slots__ = (
        "_bytes_in_snapshot",
        "ledger",
        "logs",
        "lsn",
        "schema_version",
        "snapshot_bytes",
        "state",
        "tail_bytes",
        "tail_turns",
        "version",
    )

    def __init__(self) -> None:
        self.version: int = 0
        self.lsn: int = 0
        self.schema_version: int = 1
        self.state: dict[str, bytes] = {}
        self.logs: Mapping[str, LogImage] = NO_LOGS
        self.ledger: Ledger | None = None
        """None while nothing was recorded."""
        self.tail_turns = 0
        self.tail_bytes = 0
        self.snapshot_bytes = 0
        self._bytes_in_snapshot = 0

    def apply(self, record: TurnRecord) -> None:
        """One committed turn more. Raises CorruptRecord when it is not the next one."""
        if record.version != self.version + 1:
            raise CorruptRecord(f"turn {record.version} follows turn {self.version}")
        if record.whole:
            self.state = dict(record.state)
        elif record.state:
            self.state.update(record.state)
        for delta in record.logs:
            self.log(delta.field).apply(delta)
        if record.ledger:
            self._record(record.ledger)
        self.version = record.version
        self.schema_version = record.schema_version
        self.tail_turns += 1
        self.tail_bytes += weight(record)

    def _record(self, entries: Sequence[LedgerEntry]) -> None:
        if self.ledger is None:
            self.ledger = Ledger()
        for entry in entries:
            self.ledger.add(entry)

    def log(self, field: str) -> LogImage:
        log = self.logs.get(field)
        if log is None:
            log = LogImage()
            self.logs = {**self.logs, field: log}
        return log

    @property
    def wants_snapshot(self) -> bool:
        """The geometric rule: when the tail outweighs the last snapshot, or has become long to replay."""
        if self.tail_turns >= TAIL_TURNS_MAX:
            return True
        return self.tail_bytes > max(2 * self.snapshot_bytes, TAIL_BYTES_MIN) and self.tail_turns > 1

    def snapshot(self, sid: int, redacted: Mapping[str, Sequence[LogPage]]) -> SnapshotRecord:
        """The whole image; log items that are in no page yet come as new pages.

        `redacted` holds, per log, older pages as they were read; those with a redacted item are written anew.
        """
        self._bytes_in_snapshot = self.tail_bytes
        pages: list[LogPage] = []
        dropped: list[tuple[str, int]] = []
        shapes: dict[str, LogShape] = {}
        for field, log in self.logs.items():
            log.begin_paging()
            mended = log.mended(field, redacted.get(field, ()))
            pages += log.pages(field) + mended.pages
            dropped += [(field, first) for first in mended.dropped]
            shapes[field] = log.shape(paged=log.next, redactions=mended.left)
        if self.ledger is not None:
            pages += self.ledger.pages()
            shapes[LEDGER] = self.ledger.shape()
        return SnapshotRecord(
            sid=sid,
            version=self.version,
            lsn=self.lsn,
            schema_version=self.schema_version,
            state=dict(self.state),
            logs=shapes,
            forgotten=self.ledger.forgotten if self.ledger is not None else 0,
            pages=pages,
            pages_dropped=dropped,
        )

    def snapshotted(self, snapshot: SnapshotRecord, windows: Mapping[str, int]) -> None:
        """The snapshot is durable: what is in pages now may leave memory, but for the window of each log."""
        for page in snapshot.pages:
            if page.field != LEDGER:
                self.logs[page.field].written(page)
        for field, shape in snapshot.logs.items():
            if field != LEDGER:
                self.logs[field].paged_until(shape.paged, windows.get(field, 0))
            elif self.ledger is not None:
                self.ledger.paged_until(shape.paged)
        self.snapshot_bytes = sum(map(len, snapshot.state.values()))
        # What was committed while the snapshot was written is the new tail.
        self.tail_turns = self.version - snapshot.version
        self.tail_bytes -= self._bytes_in_snapshot


def weight(record: TurnRecord) -> int:
    """Bytes that replaying this turn has to read, without the few of its frame."""
    size = 0
    for data in record.state.values():
        size += len(data)
    for delta in record.logs:
        for _, data in delta.items:
            size += len(data)
    for entry in record.ledger:
        size += ENTRY_BYTES + len(entry.reply)
    return size


def replay(stored: StoredSession) -> SessionImage:
    """The image at the version of the session's row. Raises CorruptRecord when turns are missing."""
    image = SessionImage()
    if stored.snapshot is not None:
        _start_from(image, stored.snapshot)
    for record in stored.tail:
        image.apply(record)
    if image.version != stored.row.version:
        raise CorruptRecord(f"session {stored.row.sid} ends at turn {image.version}, its row says {stored.row.version}")
    image.lsn = stored.row.head_lsn
    return image


def _start_from(image: SessionImage, snapshot: SnapshotRecord) -> None:
    image.version = snapshot.version
    image.schema_version = snapshot.schema_version
    image.state = dict(snapshot.state)
    image.snapshot_bytes = sum(map(len, image.state.values()))
    for field, shape in snapshot.logs.items():
        if field == LEDGER:
            image.ledger = Ledger(shape, snapshot.forgotten)
            image.ledger.read_back([page for page in snapshot.pages if page.field == LEDGER])
        else:
            image.logs = {**image.logs, field: LogImage(shape)}
    for page in sorted(snapshot.pages, key=lambda page: -page.first):
        if page.field != LEDGER:
            image.logs[page.field].read_back(page)
