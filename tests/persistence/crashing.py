"""A process that writes until it is killed. Run with the path of the file; each line of its output is an answer.

created <sid>
<sid> <version>     that turn is durable, and with it the end of the message of the version before
told <sid> <number> a message with this number was accepted
"""

import asyncio
import os
import sys
import time

from salon_persistence.image import SessionImage, replay
from salon_persistence.records import CHUNKS, Mail, NoteRecord, ProgressRow
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Applied, ByPublicId, SessionQuery
from tests.persistence.mail_conformance import message
from tests.persistence.sessions import created, turn

SESSIONS = 8
PENDING = set[int]()
"""Numbers of messages that a life before has accepted."""


def tell(*words: object) -> None:
    """Without a buffer, so that nothing is told before it is done, and nothing that was told is lost."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def create(store: SqliteStore) -> None:
    for outcome in await store.commit([created(number) for number in range(1, SESSIONS + 1)]):
        assert isinstance(outcome, Applied), outcome
        tell("created", outcome.sid)


async def images(store: SqliteStore) -> dict[int, SessionImage]:
    found: dict[int, SessionImage] = {}
    for row in await store.find(SessionQuery()):
        stored = await store.load(ByPublicId(row.public_id), {})
        assert stored is not None
        found[row.sid] = replay(stored)
        PENDING.update(waiting.number for waiting in stored.inbox)
    return found


def number_of(sid: int, version: int) -> int:
    """Of the message that a session is told while it stands at this version."""
    return version * 100 + sid


async def accept(store: SqliteStore, known: dict[int, SessionImage]) -> None:
    """A message for each session, unless a life before has brought it already; half of them begin at once."""
    notes: list[NoteRecord] = []
    for sid, image in known.items():
        number = number_of(sid, image.version)
        if number not in PENDING:
            begun = [(number, 1)] if sid % 2 else []
            kept = [ProgressRow(number, CHUNKS, 0, b"chunks")] if begun else []
            mail = Mail(inbox_added=[message(number, sid)], inbox_started=begun, progress=kept)
            notes.append(NoteRecord(sid=sid, mail=mail))
    for note, outcome in zip(notes, await store.commit(notes), strict=True):
        assert isinstance(outcome, Applied), outcome
        tell("told", note.sid, note.mail.inbox_added[0].number)


async def write(store: SqliteStore, known: dict[int, SessionImage]) -> None:
    """One turn of each session, which settles its message, and a snapshot of those whose tail has grown."""
    settled = {sid: Mail(inbox_settled=[number_of(sid, image.version)]) for sid, image in known.items()}
    records = [turn(sid, image.version + 1, mail=settled[sid]) for sid, image in known.items()]
    for record, outcome in zip(records, await store.commit(records), strict=True):
        assert isinstance(outcome, Applied), outcome
        tell(record.sid, record.version)
        known[record.sid].apply(record)
        known[record.sid].lsn = outcome.lsn
    PENDING.clear()
    taken = [image.snapshot(sid, {}) for sid, image in known.items() if image.tail_turns >= 5 + sid]
    for snapshot, outcome in zip(taken, await store.keep(taken), strict=True):
        assert isinstance(outcome, Applied), outcome
        known[snapshot.sid].snapshotted(snapshot, {})


async def main(path: str) -> None:
    store = SqliteStore(path, wall_us=lambda: time.time_ns() // 1000, random_bytes=os.urandom)
    await store.open()
    known = await images(store)
    if not known:
        await create(store)
        known = await images(store)
    while True:
        await accept(store, known)
        await write(store, known)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
