"""However many ask a session that is not in memory, it is read once, and there is one of it."""

import anyio

from salon import Runtime
from salon.testing import FaultPoint, FaultyStore
from tests.consistency.notebook import Append, Desk, Notebook, read
from tests.runtime.conftest import place as place
from tests.runtime.places import Place

CALLERS = 20


async def test_a_session_that_many_ask_at_once_is_activated_once(place: Place) -> None:
    async with Runtime(Notebook, store=place.store(), deps=Desk(anyio.sleep)) as runtime:
        notebook = await runtime.create(Notebook)
    store, desk, places = (
        FaultyStore(place.store(), [FaultPoint("load", 1, "after", "stall")]),
        Desk(anyio.sleep),
        set[int](),
    )
    async with Runtime(Notebook, store=store, deps=desk) as runtime:

        async def ask(number: int) -> None:
            with anyio.move_on_after(10):
                handle = await runtime.get(Notebook, notebook.session_id)
                places.add(await handle.ask(Append(element=str(number), takes_s=0.001)))

        async with anyio.create_task_group() as group:
            for number in range(CALLERS):
                group.start_soon(ask, number)
            await store.wait_until_stalled()
            await anyio.sleep(0.005)
            store.release()

        assert (1, 1) == (store.calls("load"), runtime.stats()["activations"])
        again = await runtime.get(Notebook, notebook.session_id)
        assert sorted(map(str, range(CALLERS))) == sorted(await read(await again.peek()))

    assert set(range(CALLERS)) == places
    assert desk.overlaps == []


async def test_a_caller_who_goes_away_leaves_the_activation_to_the_others(place: Place) -> None:
    async with Runtime(Notebook, store=place.store(), deps=Desk(anyio.sleep)) as runtime:
        notebook = await runtime.create(Notebook)
    store, places = FaultyStore(place.store(), [FaultPoint("load", 1, "after", "stall")]), list[int]()
    async with Runtime(Notebook, store=store, deps=Desk(anyio.sleep)) as runtime:

        async def ask() -> None:
            handle = await runtime.get(Notebook, notebook.session_id)
            places.append(await handle.ask(Append(element="of the patient one")))

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(ask)
                await store.wait_until_stalled()
                scope.cancel()
                await runtime.get(Notebook, notebook.session_id)
            assert scope.cancelled_caught
            store.release()

        assert store.calls("load") == 1

    assert [0] == places
