"""A session whose store cannot say what became of a write is read back, and never goes back in time or out of order."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from salon import OutcomeUnknown
from salon.testing import FaultPoint
from tests.runtime.lives import CALM, Desk, Life, Note, Stubborn, life, lines_of
from tests.runtime.places import Place
from tests.runtime.waiting import until

ACCEPTED_2, COMMITTED_1 = 3, 5
"""Writes: the first creates the clerk, the next three accept messages."""


@asynccontextmanager
async def doubtful(place: Place, desk: Desk, *points: FaultPoint) -> AsyncGenerator[Life]:
    async with life(place, desk, *points, **CALM) as it:
        yield it


async def test_a_turn_that_was_committed_meanwhile_never_runs_again(place: Place) -> None:
    desk = Desk(closed={"first"})
    points = FaultPoint("write", ACCEPTED_2, "instead", "unknown"), FaultPoint("load", 3, "after", "stall")
    async with doubtful(place, desk, *points) as it:
        clerk = await it.clerk()
        first = await clerk.tell(Stubborn(text="first"))
        await until(lambda: desk.has_heard("first"))
        with pytest.raises(OutcomeUnknown):
            await clerk.tell(Stubborn(text="lost"))
        await until(lambda: it.store.stalled)
        desk.open()
        assert 1 == await first.wait()
        it.store.release()
        assert 2 == await clerk.ask(Note(text="last"))
        assert ["first", "last"] == await lines_of(clerk)
        assert ["first", "last"] == desk.began
        assert [] == await it.letters()


async def test_what_comes_back_after_an_unknown_commit_runs_before_all_that_waits(place: Place) -> None:
    desk = Desk(closed={"first"})
    points = FaultPoint("write", COMMITTED_1, "instead", "unknown"), FaultPoint("load", 3, "after", "stall")
    async with doubtful(place, desk, *points) as it:
        clerk = await it.clerk()
        first = await clerk.tell(Stubborn(text="first"))
        await until(lambda: desk.has_heard("first"))
        second, third = await clerk.tell(Note(text="second")), await clerk.tell(Note(text="third"))
        desk.open()
        with pytest.raises(OutcomeUnknown):
            await first.wait()
        await until(lambda: it.store.stalled)
        await anyio.sleep(0.005)
        assert ["first"] == desk.began

        it.store.release()
        assert [2, 3] == [await second.wait(), await third.wait()]
        assert ["first", "first", "second", "third"] == desk.began
        assert ["first", "second", "third"] == await lines_of(clerk)


async def test_a_message_that_turns_out_to_be_accepted_keeps_its_place(place: Place) -> None:
    desk = Desk(closed={"first"})
    points = FaultPoint("write", ACCEPTED_2, "after", "unknown"), FaultPoint("load", 3, "after", "stall")
    async with doubtful(place, desk, *points) as it:
        clerk = await it.clerk()
        await clerk.tell(Note(text="first"))
        await until(lambda: desk.has_heard("first"))
        with pytest.raises(OutcomeUnknown):
            await clerk.tell(Note(text="second"))
        third = await clerk.tell(Note(text="third"))
        await until(lambda: it.store.stalled)
        it.store.release()
        await until(lambda: not it.store.stalled)
        await until(lambda: it.stat("messages_restored"))
        desk.open()
        assert 3 == await third.wait()
        assert ["first", "second", "third"] == desk.began
        assert ["first", "second", "third"] == await lines_of(clerk)
