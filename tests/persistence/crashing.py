"""A process that writes until it is killed. Run with the path of the file; each line of its output is an answer.

created <sid>
<sid> <version>     that turn is durable
"""

import asyncio
import os
import sys
import time

from salon_persistence.image import SessionImage, replay
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Applied, ByPublicId, SessionQuery
from tests.persistence.sessions import created, turn

SESSIONS = 8


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
    return found


async def write(store: SqliteStore, known: dict[int, SessionImage]) -> None:
    """One turn of each session, and a snapshot of those whose tail has grown."""
    records = [turn(sid, image.version + 1) for sid, image in known.items()]
    for record, outcome in zip(records, await store.commit(records), strict=True):
        assert isinstance(outcome, Applied), outcome
        tell(record.sid, record.version)
        known[record.sid].apply(record)
        known[record.sid].lsn = outcome.lsn
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
        await write(store, known)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
