"""From rows of a store to a `StoredSession`: newest snapshot that decodes, the turns after it, the newest pages.

Never a silent loss: if turns are missing between the snapshot and the session's row, that is `CorruptRecord`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from salon_persistence.errors import CorruptRecord
from salon_persistence.journal import SnapshotBody, decode_page, decode_snapshot, decode_turn
from salon_persistence.log_image import is_cut, merge_cuts
from salon_persistence.mail_codec import open_inbox, open_outbox, open_progress, open_step
from salon_persistence.records import LEDGER, LogPage, LogShape, SessionRow, SnapshotRecord, StoredSession, TurnRecord


class SnapshotRow(NamedTuple):
    version: int
    lsn: int
    body: bytes


class Rows(Protocol):
    """The stored rows of one session, all as of one moment."""

    def snapshots(self) -> Iterator[SnapshotRow]:
        """Newest first."""
        ...

    def inbox(self) -> Sequence[tuple[int, int, int | None, bytes]]:
        """(number, attempts, due_us, body) in the order of numbers."""
        ...

    def progress(self) -> Sequence[tuple[int, int, int, bytes]]:
        """(number, kind, ordinal, body) of the inbox rows, in this order."""
        ...

    def steps(self) -> Sequence[tuple[str, str, int, bytes]]:
        """(owner, name, at_us, body) in this order."""
        ...

    def outbox(self) -> Sequence[tuple[int, int, int | None, bytes]]:
        """As `inbox`."""
        ...

    def turns(self, after_lsn: int) -> Sequence[tuple[int, bytes]]:
        """(version, body) along the chain from the newest turn back to the one after `after_lsn`, newest first."""
        ...

    def pages(self, field: str, before: int) -> Iterator[tuple[int, bytes]]:
        """(first number, body) of pages that begin below `before`, newest first."""
        ...


def recover(row: SessionRow, rows: Rows, windows: Mapping[str, int]) -> StoredSession:
    """The session as of its row, with as many of the newest items of each log as `windows` asks for.

    Raises:
        CorruptRecord: No snapshot that decodes has all turns after it.
        FormatTooNew: A newer release wrote what would be needed; an older snapshot is no substitute then.
    """
    snapshot: SnapshotRecord | None = None
    damage: CorruptRecord | None = None
    for stored in rows.snapshots():
        try:
            snapshot = _snapshot(row.sid, stored)
            break
        except CorruptRecord as error:
            damage = damage or error
    try:
        tail = _tail(row, rows, snapshot)
    except CorruptRecord as error:
        raise damage or error from error
    if snapshot is not None:
        snapshot = _with_pages(snapshot, tail, rows, windows)
    return _with_mail(row, snapshot, tail, rows)


def pages_before(rows: Rows, sid: int, field: str, before: int, items: int) -> tuple[LogPage, ...]:
    """Pages with numbers below `before`, newest first, until they hold `items` such numbers or no more exist."""
    found: list[LogPage] = []
    wanted = items
    for first, body in rows.pages(field, before):
        if wanted <= 0:
            break
        page = decode_page(body, sid, field, first)
        found.append(page)
        wanted -= sum(1 for number, _ in page.items if number < before)
    return tuple(found)


def _with_mail(
    row: SessionRow, snapshot: SnapshotRecord | None, tail: Sequence[TurnRecord], rows: Rows
) -> StoredSession:
    sid, inbox = row.sid, rows.inbox()
    return StoredSession(
        row,
        snapshot,
        tail,
        inbox=tuple(open_inbox(sid, *line) for line in inbox) if inbox else (),
        progress=tuple(open_progress(*line) for line in rows.progress()) if inbox else (),
        steps=tuple(open_step(sid, *line) for line in rows.steps()),
        outbox=tuple(open_outbox(sid, *line) for line in rows.outbox()),
    )


def _snapshot(sid: int, stored: SnapshotRow) -> SnapshotRecord:
    body: SnapshotBody = decode_snapshot(stored.body, sid, stored.version)
    return SnapshotRecord(
        sid=sid,
        version=stored.version,
        lsn=stored.lsn,
        schema_version=body.schema_version,
        state=body.state,
        logs=body.logs,
        forgotten=body.forgotten,
    )


def _tail(row: SessionRow, rows: Rows, snapshot: SnapshotRecord | None) -> tuple[TurnRecord, ...]:
    start, after_lsn = (snapshot.version, snapshot.lsn) if snapshot else (0, 0)
    stored = rows.turns(after_lsn)
    versions = [version for version, _ in reversed(stored)]
    if versions != list(range(start + 1, row.version + 1)):
        raise CorruptRecord(f"Session {row.sid} stands at turn {row.version}, but turns after {start} are missing.")
    return tuple(decode_turn(body, row.sid, version) for version, body in reversed(stored))


def _with_pages(
    snapshot: SnapshotRecord, tail: Sequence[TurnRecord], rows: Rows, windows: Mapping[str, int]
) -> SnapshotRecord:
    pages: list[LogPage] = []
    for field, shape in snapshot.logs.items():
        wanted = len(range(shape.first, shape.next)) if field == LEDGER else windows.get(field, 0)
        if wanted > 0:
            pages += _newest_pages(snapshot.sid, field, shape, tail, rows, wanted)
    return SnapshotRecord(
        sid=snapshot.sid,
        version=snapshot.version,
        lsn=snapshot.lsn,
        schema_version=snapshot.schema_version,
        state=snapshot.state,
        logs=snapshot.logs,
        forgotten=snapshot.forgotten,
        pages=tuple(pages),
    )


def _newest_pages(
    sid: int, field: str, shape: LogShape, tail: Sequence[TurnRecord], rows: Rows, wanted: int
) -> list[LogPage]:
    """Pages of one log, oldest first, with `wanted` items that still live after the tail."""
    deltas = [delta for record in tail for delta in record.logs if delta.field == field]
    first = max([shape.first, *(delta.first for delta in deltas)])
    cuts = merge_cuts((*shape.cuts, *(cut for delta in deltas for cut in delta.cuts)), first)
    found: list[LogPage] = []
    for page_first, body in rows.pages(field, shape.paged):
        page = _below(shape.paged, decode_page(body, sid, field, page_first))
        found.append(page)
        wanted -= sum(1 for number, _ in page.items if number >= first and not is_cut(cuts, number))
        if wanted <= 0 or page_first <= first:
            break
    return found[::-1]


def _below(paged: int, page: LogPage) -> LogPage:
    """Without what the snapshot does not count as paged: a newer one, which does not decode, moved it there."""
    if page.items[-1][0] < paged:
        return page
    items = tuple(item for item in page.items if item[0] < paged)
    numbers = {number for number, _ in items}
    return LogPage(page.field, items, {key: number for key, number in page.keys.items() if number in numbers})
