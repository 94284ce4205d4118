"""What the file looks like: its tables, and how a file of an older layout becomes one of this.

    owner      one row: who the store is, which epoch owns it, and the high-water marks that never fall
    session    one row per session, found by each of its keys
    journal    one row per turn; `prev_lsn` is the turn before of the same session, so that no index is needed
    snapshot   the two newest of each session, in the slots 2 * sid and 2 * sid + 1
    page       items of logs that have left the journal
    inbox      messages that were accepted and have not ended
    progress   what their turns keep before their end
    step       results of steps of turns
    outbox     what leaves the process and has not yet
    dead_letter  what will not run, or not leave

The wide columns stand last, because SQLite reads a row from its beginning.
A new layout is a new entry of `MIGRATIONS`; one that was released never changes.
"""

import sqlite3
from types import MappingProxyType

APPLICATION_ID = 0x53414C4E
"""The letters SALN, in the header of every file."""
LAYOUT = 2

_LAYOUT_1 = (
    """CREATE TABLE owner (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        epoch INTEGER NOT NULL,
        lsn INTEGER NOT NULL,
        sid INTEGER NOT NULL,
        wall_us INTEGER NOT NULL,
        clean INTEGER NOT NULL,
        uuid BLOB NOT NULL
    )""",
    """CREATE TABLE session (
        sid INTEGER PRIMARY KEY,
        version INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        head_lsn INTEGER NOT NULL,
        activity_us INTEGER NOT NULL,
        created_us INTEGER NOT NULL,
        deadline_us INTEGER,
        owner_epoch INTEGER NOT NULL,
        uid BLOB NOT NULL,
        public_id TEXT NOT NULL,
        tenant TEXT NOT NULL,
        type TEXT NOT NULL,
        name TEXT,
        user_id TEXT,
        conversation_id TEXT,
        device_id TEXT,
        lifecycle TEXT NOT NULL,
        reason TEXT,
        facts BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX session_by_public_id ON session (public_id)",
    """CREATE UNIQUE INDEX session_by_name ON session (tenant, type, name)
        WHERE name IS NOT NULL AND lifecycle = 'active'""",
    "CREATE INDEX session_by_tenant ON session (tenant, activity_us)",
    "CREATE INDEX session_by_user ON session (tenant, user_id, activity_us) WHERE user_id IS NOT NULL",
    """CREATE INDEX session_by_conversation ON session (tenant, conversation_id, activity_us)
        WHERE conversation_id IS NOT NULL""",
    "CREATE INDEX session_by_device ON session (tenant, device_id, activity_us) WHERE device_id IS NOT NULL",
    "CREATE INDEX session_by_deadline ON session (deadline_us) WHERE deadline_us IS NOT NULL AND lifecycle = 'active'",
    """CREATE TABLE journal (
        lsn INTEGER PRIMARY KEY,
        sid INTEGER NOT NULL,
        version INTEGER NOT NULL,
        prev_lsn INTEGER NOT NULL,
        body BLOB NOT NULL
    )""",
    """CREATE TABLE snapshot (
        slot INTEGER PRIMARY KEY,
        version INTEGER NOT NULL,
        lsn INTEGER NOT NULL,
        body BLOB NOT NULL
    )""",
    """CREATE TABLE page (
        sid INTEGER NOT NULL,
        field TEXT NOT NULL,
        first INTEGER NOT NULL,
        body BLOB NOT NULL
    )""",
    # Not a table WITHOUT ROWID, which would keep a kilobyte of each body in the nodes above the leaves:
    # measured, 100 µs a page and not 37 to write it, 40 and not 13 to read it.
    "CREATE UNIQUE INDEX page_by_first ON page (sid, field, first)",
)

_LAYOUT_2 = (
    # Attempts stand beside the body: the first mark turns a 0 into a 1, which have no bytes of their own in SQLite,
    # so that a row of any length is overwritten in place.
    """CREATE TABLE inbox (
        number INTEGER PRIMARY KEY,
        sid INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        due_us INTEGER,
        body BLOB NOT NULL
    )""",
    "CREATE INDEX inbox_by_sid ON inbox (sid)",
    """CREATE TABLE progress (
        number INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,
        body BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX progress_by_number ON progress (number, kind, ordinal)",
    """CREATE TABLE step (
        sid INTEGER NOT NULL,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        at_us INTEGER NOT NULL,
        body BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX step_by_owner ON step (sid, owner, name)",
    """CREATE TABLE outbox (
        number INTEGER PRIMARY KEY,
        sid INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        due_us INTEGER,
        body BLOB NOT NULL
    )""",
    "CREATE INDEX outbox_by_sid ON outbox (sid)",
    # AUTOINCREMENT, so that the place of a dropped letter is not given again and a page of them continues rightly.
    """CREATE TABLE dead_letter (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        sid INTEGER NOT NULL,
        id TEXT NOT NULL,
        body BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX dead_letter_by_id ON dead_letter (id)",
    "CREATE INDEX dead_letter_by_sid ON dead_letter (sid)",
)

MIGRATIONS: MappingProxyType[int, tuple[str, ...]] = MappingProxyType({1: _LAYOUT_1, 2: _LAYOUT_2})
"""By the layout that each leads to, from the one before."""


def create(connection: sqlite3.Connection, uuid: bytes, wall_us: int) -> None:
    """Make a store of an empty file. A crash in the middle leaves an empty file."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # Only possible before the first table.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for layout in sorted(MIGRATIONS):
        _apply(connection, layout)
    connection.execute("INSERT INTO owner VALUES (1, 0, 0, 0, ?, 1, ?)", (wall_us, uuid))
    connection.execute("COMMIT")


def migrate(connection: sqlite3.Connection, layout: int) -> None:
    """Bring a file of `layout` to this release's, one transaction a step. A crash leaves it between two steps."""
    for step in sorted(MIGRATIONS):
        if step > layout:
            connection.execute("BEGIN IMMEDIATE")
            _apply(connection, step)
            connection.execute("COMMIT")


def _apply(connection: sqlite3.Connection, layout: int) -> None:
    for statement in MIGRATIONS[layout]:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {layout}")
