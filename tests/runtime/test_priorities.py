"""High, normal and low share the turns of a session 4 : 2 : 1; within a priority the order of admission stands."""

from collections import Counter
from itertools import product
from typing import Any

import anyio
import pytest

from salon import Runtime, Settings
from salon.handle import PRIORITIES, Priority
from salon.testing import SeededChance
from tests.runtime.acts import Act, Say, Script
from tests.runtime.places import Place
from tests.runtime.waiting import until

EACH = 20
NAMES: tuple[Priority, ...] = ("low", "normal", "high")


@pytest.mark.parametrize("told", [True, False], ids=["told", "asked"])
async def test_priorities_share_the_turns_of_a_session_and_none_starves(place: Place, told: bool) -> None:
    script = Script()
    hold = script.close("hold")
    settings = Settings(mailbox_messages_max=100)
    async with Runtime(Act, store=place.store(), deps=script, settings=settings, chance=SeededChance(1)) as runtime:
        act = await runtime.create(Act)
        async with anyio.create_task_group() as group:
            await act.tell(Say(text="hold"))
            await until(lambda: script.began)
            for place_in_line, (priority, number) in enumerate(product(NAMES, range(EACH)), 1):
                message = Say(text=f"{priority} {number}")
                if told:
                    await act.tell(message, priority=priority)
                else:
                    group.start_soon(ask, act, message, priority)
                await until(lambda waiting=place_in_line: runtime.stats()["messages_waiting"] == waiting)  # type: ignore[misc]
            shown: Any = await runtime.explain(act.session_id)
            assert dict.fromkeys(PRIORITIES, EACH) == shown["waiting_by_priority"]
            hold.set()
            await until(lambda: len(script.began) == 1 + 3 * EACH)

    order = [text.split() for text in script.texts[1:]]
    assert {"high": 16, "normal": 8, "low": 4} == Counter(priority for priority, _ in order[:28])
    for priority in NAMES:
        numbers = [int(number) for name, number in order if name == priority]
        assert list(range(EACH)) == numbers


async def ask(act: Any, message: Say, priority: Priority) -> None:
    await act.ask(message, priority=priority)


async def test_a_low_message_comes_to_its_turn_while_high_ones_keep_coming(place: Place) -> None:
    script = Script()
    async with Runtime(Act, store=place.store(), deps=script, chance=SeededChance(1)) as runtime:
        act = await runtime.create(Act)
        hold = script.close("hold")
        await act.tell(Say(text="hold"))
        await until(lambda: script.began)
        low = await act.tell(Say(text="low"), priority="low")
        for number in range(8):
            await act.tell(Say(text=f"{number}"), priority="high")

        async def flood(text: str) -> None:
            if "low" not in script.texts:
                number = len(script.began) + 8
                runtime._running().host.spawn(ask, act, Say(text=f"{number}"), "high")  # pyright: ignore[reportPrivateUsage]

        script.before = flood
        hold.set()
        with anyio.fail_after(10):
            await low.wait()

    assert script.texts.index("low") <= 6


async def test_a_priority_that_is_none_is_told(place: Place) -> None:
    async with Runtime(Act, store=place.store(), deps=Script()) as runtime:
        act = await runtime.create(Act)
        with pytest.raises(ValueError, match="'high', 'normal' or 'low'"):
            await act.ask(Say(text="x"), priority="urgent")  # type: ignore[arg-type]
