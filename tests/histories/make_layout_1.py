"""Make `layout_1.db`. It was run once, by the release that had layout 1; running it again needs that release.

python -m tests.histories.make_layout_1
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from salon_persistence.codec import pack
from salon_persistence.records import TurnRecord
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Applied, Outcome
from tests.histories.layout_1 import (
    EVERY_PART,
    SNAPSHOTS,
    SPOKEN,
    UUID_OF_STORE,
    VALUES,
    WALL_US,
    facts,
    snapshot,
    spoken,
)

FILE = Path(__file__).with_name("layout_1.db")


def applied(outcomes: Sequence[Outcome]) -> list[Applied]:
    assert all(isinstance(outcome, Applied) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Applied)]


def created(number: int) -> TurnRecord:
    return TurnRecord(sid=0, version=1, whole=True, state={"count": b"\x01"}, created=facts(number))


async def make() -> None:
    FILE.unlink(missing_ok=True)
    store = SqliteStore(FILE, wall_us=lambda: WALL_US, random_bytes=lambda _: UUID_OF_STORE)
    await store.open()
    applied(await store.commit([created(number) for number in (1, 2, 3)]))
    values = {name: pack(value) for name, value in VALUES.items()}
    applied(await store.commit([TurnRecord(sid=1, version=2, whole=True, schema_version=2, state=values)]))
    lsns = {1: 2}
    for version in range(2, SPOKEN + 1):
        lsns[version] = applied(await store.commit([spoken(version)]))[0].lsn
    for version, paged in zip(SNAPSHOTS, (0, SNAPSHOTS[0] - 1), strict=True):
        applied(await store.keep([snapshot(version, lsns[version], paged)]))
    applied(await store.commit([EVERY_PART]))
    await store.close()
    FILE.with_name(FILE.name + ".lock").unlink()


if __name__ == "__main__":
    asyncio.run(make())
