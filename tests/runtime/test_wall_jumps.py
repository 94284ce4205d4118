"""Setting the clock of the machine changes no deadline of what this process has accepted."""

from datetime import datetime, timedelta

import pytest

from salon import Message, Runtime, Session, Settings, receive
from salon.testing import VirtualClock
from tests.runtime.places import Place
from tests.runtime.scripts import Cues, Say, State
from tests.runtime.waiting import until


class Jumping(VirtualClock):
    jump = timedelta(0)

    def wall(self) -> datetime:
        return super().wall() + self.jump


class Aging(Message[str], name="aging"):
    text: str


class Bot(Session[State, Cues], name="bot"):
    @receive
    async def say(self, message: Say) -> str:
        self.deps.began.append(message.text)
        await self.deps.pause(message.text)
        return f"re {message.text}"

    @receive(max_age_s=600)
    async def aging(self, message: Aging) -> str:
        return f"re {message.text}"


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_step_of_the_wall_clock_ends_no_told_message_and_gives_none_more_time(place: Place, hours: int) -> None:
    clock, cues = Jumping(), Cues()
    cues.closed = {"a", "b"}
    settings = Settings.model_validate({"drain_deadline_s": 5})
    async with Runtime(Bot, store=place.store(), deps=cues, clock=clock, settings=settings) as runtime:
        bot = await runtime.create(Bot)
        a = await bot.tell(Say(text="a"))
        await until(lambda: cues.began)
        b, c = await bot.tell(Say(text="b"), timeout_s=600), await bot.tell(Aging(text="c"))
        late = await bot.tell(Say(text="late"), timeout_s=5)
        clock.jump = timedelta(hours=hours)
        for _ in range(4):
            await clock.advance(2)
        cues.closed.remove("a")
        await until(lambda: "b" in cues.began)
        await clock.advance(1)
        cues.closed.clear()

        assert ["re a", "re b", "re c"] == [await a.wait(), await b.wait(), await c.wait()]
        assert await late.status() == "dead_lettered"
