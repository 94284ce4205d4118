"""Make `layout_2.db`. It was run once, by the release that had layout 2; running it again needs that release.

python -m tests.histories.make_layout_2
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from salon_persistence.image import SessionImage
from salon_persistence.records import TurnRecord
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Applied, Outcome
from tests.histories.layout_2 import (
    FORGOTTEN,
    NOTES,
    RECORDED,
    SNAPSHOT,
    TELLING,
    UUID_OF_STORE,
    WALL_US,
    created,
    facts,
    recorded,
)

FILE = Path(__file__).with_name("layout_2.db")


def applied(outcomes: Sequence[Outcome]) -> Applied:
    assert all(isinstance(outcome, Applied) for outcome in outcomes), outcomes
    (*_, last) = [outcome for outcome in outcomes if isinstance(outcome, Applied)]
    return last


async def make() -> None:
    FILE.unlink(missing_ok=True)
    store = SqliteStore(FILE, wall_us=lambda: WALL_US, random_bytes=lambda _: UUID_OF_STORE)
    await store.open()
    image = SessionImage()
    applied(await store.commit([created(1), created(2)]))
    image.apply(replace(created(1), sid=1))
    for version in range(2, RECORDED + 2):
        image.lsn = applied(await store.commit([recorded(version)])).lsn
        image.apply(recorded(version))
        if version == SNAPSHOT:
            assert image.ledger is not None
            image.ledger.forget(WALL_US + FORGOTTEN)
            taken = image.snapshot(1, {})
            applied(await store.keep([taken]))
            image.snapshotted(taken, {})
    applied(await store.commit([TurnRecord(sid=2, version=2, row=facts(2, "expired"))]))
    applied(await store.commit(NOTES))
    applied(await store.commit([TELLING]))
    await store.close()
    FILE.with_name(FILE.name + ".lock").unlink()


if __name__ == "__main__":
    asyncio.run(make())
