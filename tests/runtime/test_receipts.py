"""A receipt leads to what became of a message: while it moves, and when only a record is left."""

import anyio
import pytest

from salon.errors import NotApplied, ReplayIncomplete, ReplyTimeout, TurnFailed
from salon.events import Ending
from salon.receipt import Receipt
from salon.recorded import Recorded
from salon.replay import ReplayBounds
from salon.testing import VirtualClock
from salon.ticket import Ticket
from salon.turn_id import number_of
from salon_actors import current_host_loop
from tests.runtime.reading import labels

TURN = "t1-1"
SO = Ending.done(TURN, "so")


class Session:
    """Where one session's turns are."""

    def __init__(self) -> None:
        bounds = ReplayBounds()
        self.clock = VirtualClock()
        self.ticket: Ticket | None = Ticket(current_host_loop(), number_of(1, 1), bounds=bounds)
        self.record: Recorded | None = None
        self.receipt = Receipt[str](TURN, 2, self, self.clock)

    async def find(self, turn: str, /) -> Ticket | Recorded:
        await anyio.lowlevel.checkpoint()
        place = self.ticket or self.record
        if turn != TURN or place is None:
            raise NotApplied
        return place


async def test_a_receipt_knows_its_turn() -> None:
    it = Session()

    assert (TURN, 2, "<Receipt of turn t1-1>") == (it.receipt.turn, it.receipt.position, repr(it.receipt))


async def test_a_receipt_follows_the_turn() -> None:
    it = Session()
    assert it.ticket is not None
    found = [await it.receipt.status()]
    it.ticket.begin(1)
    found.append(await it.receipt.status())
    replies: list[str] = []

    async def wait() -> None:
        replies.append(await it.receipt.wait())

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        it.ticket.emit("a")
        it.ticket.end(SO)
    found.append(await it.receipt.status())

    assert ["queued", "running", "done"] == found
    assert ["so", "so"] == replies
    assert "so" == await it.receipt.wait(timeout_s=1)
    assert ["accepted 0", "a", "done so"] == await labels(aiter(it.receipt.events()))
    assert ["done so"] == await labels(aiter(it.receipt.events(after="t1-1.1.1")))


async def test_only_the_waiting_times_out() -> None:
    it = Session()
    assert it.ticket is not None
    it.ticket.begin(1)
    caught: list[ReplyTimeout] = []

    async def wait() -> None:
        with pytest.raises(ReplyTimeout) as late:
            await it.receipt.wait(timeout_s=5)
        caught.append(late.value)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await it.clock.advance(4.9)
        assert [] == caught
        await it.clock.advance(0.1)

    assert [it.receipt] == [late.receipt for late in caught]
    assert ("running", 0) == (it.ticket.status, it.clock.sleeping)
    it.ticket.end(SO)
    assert "so" == await it.receipt.wait()


async def test_an_ending_in_time_is_the_answer_as_it_is() -> None:
    it = Session()
    assert it.ticket is not None
    caught: list[TurnFailed] = []

    async def wait() -> None:
        with pytest.raises(TurnFailed) as failed:
            await it.receipt.wait(timeout_s=5)
        caught.append(failed.value)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await it.clock.advance(1)
        it.ticket.end(Ending.failed(TURN, TurnFailed("Chat.say", "KeyError")))

    assert 1 == len(caught)
    assert 0 == it.clock.sleeping


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
async def test_a_timeout_must_be_positive(timeout_s: float) -> None:
    with pytest.raises(ValueError):
        await Session().receipt.wait(timeout_s)


async def test_a_cancelled_waiter_leaves_everything_as_it_was() -> None:
    it = Session()
    assert it.ticket is not None
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(it.receipt.wait)
            group.start_soon(it.receipt.wait, 5.0)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    it.ticket.end(SO)

    assert ("so", 0) == (await it.receipt.wait(), it.clock.sleeping)


async def test_a_record_answers_when_the_ticket_is_gone() -> None:
    it = Session()
    it.ticket, it.record = None, Recorded(TURN, SO)

    assert ("done", "so", "so") == (await it.receipt.status(), await it.receipt.wait(), await it.receipt.wait(1))
    assert ["done so"] == await labels(aiter(it.receipt.events()))
    assert ["done so"] == await labels(aiter(it.receipt.events(after="t1-1.0.0")))
    assert [] == await labels(aiter(it.receipt.events(after="t1-1.end")))


async def test_a_record_never_pretends_to_have_the_chunks() -> None:
    it = Session()
    it.ticket, it.record = None, Recorded(TURN, SO, attempt=2, chunks=3)

    for after in (None, "t1-1.2.2"):
        with pytest.raises(ReplayIncomplete) as incomplete:
            await labels(aiter(it.receipt.events(after=after)))
        assert SO.outcome == incomplete.value.outcome
    assert ["done so"] == await labels(aiter(it.receipt.events(after="t1-1.2.3")))
    stream = it.receipt.events(after="t1-1.1.7")
    assert "restarted" == (await anext(aiter(stream))).kind
    with pytest.raises(ReplayIncomplete):
        await anext(aiter(stream))
    assert "so" == await stream.reply()


async def test_a_message_that_was_merged_is_found_under_both_ids() -> None:
    it = Session()
    it.ticket, it.record = None, Recorded(TURN, Ending.done("t1-2", "so"), chunks=2)

    assert ["done so"] == await labels(aiter(it.receipt.events(after="t1-2.1.2")))
    with pytest.raises(ValueError):
        await labels(aiter(it.receipt.events(after="t1-3.1.2")))


async def test_a_turn_that_nobody_knows_was_not_applied() -> None:
    it = Session()
    it.ticket = None

    with pytest.raises(NotApplied):
        await it.receipt.status()
    with pytest.raises(NotApplied):
        await it.receipt.wait()
    with pytest.raises(NotApplied):
        await it.receipt.wait(1)
    with pytest.raises(NotApplied):
        await labels(aiter(it.receipt.events()))
