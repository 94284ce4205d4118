"""A session that comes back goes on being snapshotted, so that no life has more to replay than the one before."""

import anyio

from salon import Runtime
from tests.consistency.notebook import Append, Desk, Notebook, read
from tests.runtime.conftest import place as place
from tests.runtime.places import Place

LIVES = 3
TURNS = 150


async def test_every_life_of_a_long_session_takes_its_snapshots(place: Place) -> None:
    async with Runtime(Notebook, store=place.store(), deps=Desk(anyio.sleep)) as runtime:
        notebook = await runtime.create(Notebook)
    for life in range(LIVES):
        async with Runtime(Notebook, store=place.store(), deps=Desk(anyio.sleep)) as runtime:
            again = await runtime.get(Notebook, notebook.session_id)
            for number in range(life * TURNS, (life + 1) * TURNS):
                assert await again.ask(Append(element=str(number))) == number
            stats = runtime.stats()
            assert 2 <= int(str(stats["snapshots"])) <= 3
            assert stats["snapshots_failed"] == 0
            assert list(map(str, range((life + 1) * TURNS))) == await read(await again.peek())
