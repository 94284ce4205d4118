"""Messages of one session run in the order in which they were sent, whatever became of those before."""

import anyio
import anyio.lowlevel

from salon import Runtime, SalonError
from salon.testing import SeededReady
from tests.consistency.notebook import Append, Desk, Notebook, read
from tests.runtime.conftest import place as place
from tests.runtime.places import Place

MESSAGES = 40


async def test_messages_of_one_session_run_in_the_order_of_their_sending(place: Place) -> None:
    ran, answers, began = list[str](), list[tuple[int, int]](), anyio.Event()

    def note(element: str) -> None:
        ran.append(element)
        if element == "slow":
            began.set()

    desk = Desk(anyio.sleep, note)
    async with Runtime(Notebook, store=place.store(), deps=desk, ready=lambda: SeededReady(3)) as runtime:
        notebook, other = await runtime.create(Notebook), await runtime.create(Notebook)

        async def ask(number: int) -> None:
            ends = "refused" if number % 7 == 3 else "raised" if number % 7 == 5 else "well"
            try:
                place = await notebook.ask(Append.model_validate({"element": str(number), "takes_s": 0, "ends": ends}))
            except SalonError:
                place = -1
            answers.append((number, place))

        async with anyio.create_task_group() as group:
            group.start_soon(notebook.ask, Append(element="slow", takes_s=0.05))
            group.start_soon(other.ask, Append(element="other", takes_s=0.05))
            await began.wait()
            for number in range(MESSAGES):
                group.start_soon(ask, number)
                await anyio.lowlevel.checkpoint()  # It is sent in its first step, before the next one begins.
        kept = await read(await notebook.peek())

    sent = [element for element in ran if element not in ("slow", "other")]
    assert list(map(str, range(MESSAGES))) == sent
    assert ["slow", *[element for element in sent if int(element) % 7 not in (3, 5)]] == kept
    assert list(range(MESSAGES)) == [number for number, _ in answers]
    assert list(range(1, len(kept))) == [place for _, place in answers if place >= 0]
