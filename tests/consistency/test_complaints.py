"""What users of other actor systems have complained about for years, each as a test.

| They complained that | There | Here |
| --- | --- | --- |
| after an exception the next message saw half of a change | orleans#3487, pykka#83 | tests/runtime/test_turns.py::test_a_turn_that_fails_leaves_nothing |
| a commit timed out, was applied, and the retry applied it again | orleans#6128 | tests/runtime/test_keys.py::test_a_commit_of_which_nobody_knows_and_then_the_same_key_are_one_effect |
| a supervised restart lost what was queued | kameo#335, #351, #364 | tests/runtime/test_failure.py::test_a_failure_is_told_and_rolled_back_and_the_rest_of_the_mailbox_survives |
| and so did one whose budget was used up | kameo#335 | tests/runtime/test_failure.py::test_a_session_that_keeps_crashing_rests_and_its_queue_waits_with_it |
| and the process with it | kameo#364 | tests/runtime/test_failure.py::test_what_waits_in_a_parked_session_is_there_after_a_restart |
| messages that came while a session started were lost silently | akka.net#8572 | tests/consistency/test_complaints.py::test_messages_to_a_session_that_cannot_start_are_each_told_so_and_others_run |
| a retry ran beside the first attempt | strands#1176, ray#47659 | tests/runtime/test_keys.py::test_the_same_key_joins_what_waits_and_what_runs |
| after a timeout the work went on, and its reply came late | orleans#8422 | tests/runtime/test_deadlines.py::test_what_returns_after_its_deadline_reaches_nobody_and_changes_nothing |
| sessions that asked each other hung until a timeout | dapr#2901 | tests/runtime/test_between_sessions.py::test_a_circle_of_sessions_is_found_by_the_ask_that_would_close_it |
| a stuck turn held its session for ever | restate#5196 | tests/consistency/test_complaints.py::test_a_turn_that_hangs_ends_at_its_deadline_and_what_waited_runs |
| and nobody was told of one that could not be stopped | restate#5196 | tests/runtime/test_deadlines.py::test_a_handler_that_ignores_its_cancellation_blocks_its_own_session_and_is_reported |
| a key was forgotten by a snapshot or a restart | temporalio/sdk-typescript#1317 | tests/runtime/test_keys.py::test_records_outlive_snapshots_reloads_and_restarts |
| a cancel between admission and queue was lost | agents#1395 | tests/consistency/test_complaints.py::test_a_message_that_is_stopped_on_its_way_into_the_inbox_never_runs |
| the stream of a session with one turn was kept for ever | agents#1706 | tests/consistency/test_complaints.py::test_the_chunks_of_the_only_turn_go_in_time_and_whoever_comes_back_is_told |
| coming back to a stream that had expired ran the turn again | omni#327 | tests/consistency/test_complaints.py::test_the_chunks_of_the_only_turn_go_in_time_and_whoever_comes_back_is_told |
| two processes wrote one session | akka-core#30604, orleans#9855 | tests/consistency/test_fence.py::test_every_write_of_a_stale_runtime_is_refused_though_it_comes_last |
| a fake clock skipped timers, or spun | orleans#10271, #10159 | tests/testing/test_virtual_clock.py::test_a_timer_armed_on_the_way_is_neither_skipped_nor_late |
| who was cancelled at the hand-over took the message along | cpython#92824, tornado#2826 | tests/actors/test_hand_over.py::test_a_message_is_not_lost_when_its_worker_is_cancelled_by_a_stranger |

Passivation, reminders and damaged snapshots have complaints of their own, for later.
"""  # noqa: E501  # a row is a line

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from salon import (
    Chunk,
    Log,
    Message,
    ReplayIncomplete,
    Runtime,
    SalonError,
    Session,
    Settings,
    Stopped,
    StoreUnavailable,
    TurnStopped,
    TurnTimeout,
    receive,
)
from salon.testing import FaultPoint, FaultyStore, VirtualClock
from tests.runtime.places import Kind, Place

ROOT = Path(__file__).parents[2]
BOUND_S = 10


@pytest.fixture(params=["sqlite", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(cast(Kind, request.param), tmp_path)


class Lines(BaseModel):
    lines: Log[str] = Log()


class Say(Message[int], name="say"):
    text: str
    hangs: bool = False


@dataclass
class Desk:
    began: list[str] = field(default_factory=list[str])


class Chat(Session[Lines, Desk], name="complaint"):
    @receive
    async def say(self, message: Say) -> int:
        self.deps.began.append(message.text)
        self.state.lines.append(message.text)
        await self.turn.emit(message.text)
        if message.hangs:
            await anyio.sleep_forever()
        return len(self.state.lines)


def opened(store: FaultyStore, desk: Desk, clock: VirtualClock | None = None, **settings: Any) -> Runtime:
    return Runtime(Chat, store=store, deps=desk, clock=clock or VirtualClock(), settings=Settings(**settings))


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(BOUND_S):
        while not condition():  # noqa: ASYNC110  # a store has a thread of its own
            await anyio.sleep(0.001)


async def heard(send: Callable[[], Awaitable[object]], into: list[object]) -> None:
    try:
        into.append(await send())
    except SalonError as error:
        into.append(error)


async def left(runtime: Runtime) -> Sequence[str]:
    chat = await runtime.get_or_create(Chat, name="a")
    return (await chat.peek()).state.lines.tail(100)


async def test_messages_to_a_session_that_cannot_start_are_each_told_so_and_others_run(place: Place) -> None:
    desk, answers = Desk(), list[object]()
    async with opened(FaultyStore(place.store()), desk) as runtime:
        address = (await runtime.get_or_create(Chat, name="a")).session_id
    store = FaultyStore(
        place.store(), [FaultPoint("load", 1, "before", "stall"), FaultPoint("load", 1, "after", "refuse")]
    )
    async with opened(store, desk) as runtime:

        async def tell(text: str) -> int:
            chat = await runtime.get(Chat, address, trusted=True)
            return await (await chat.tell(Say(text=text))).wait()

        async with anyio.create_task_group() as group:
            for text in ("x", "y", "z"):
                group.start_soon(heard, partial(tell, text), answers)
            await store.wait_until_stalled()
            for _ in range(20):
                await checkpoint()  # until all of them wait for the same activation
            store.release()
        await heard(partial(tell, "later"), answers)

        assert [StoreUnavailable, StoreUnavailable, StoreUnavailable, int] == [type(answer) for answer in answers]
        assert ["later"] == await left(runtime)
        assert ["later"] == desk.began


async def test_a_turn_that_hangs_ends_at_its_deadline_and_what_waited_runs(place: Place) -> None:
    clock, desk, answers = VirtualClock(), Desk(), list[object]()
    async with opened(FaultyStore(place.store()), desk, clock) as runtime:
        chat = await runtime.get_or_create(Chat, name="a")
        async with anyio.create_task_group() as group:
            group.start_soon(heard, lambda: chat.ask(Say(text="hangs", hangs=True), timeout_s=5), answers)
            await until(lambda: desk.began == ["hangs"])
            receipt = await chat.tell(Say(text="waits"))
            await clock.advance(4.9)

            assert [] == answers

            await clock.advance(0.2)
            with anyio.fail_after(BOUND_S):
                answers.append(await receipt.wait())

        assert [TurnTimeout, int] == [type(answer) for answer in answers]
        assert ["waits"] == await left(runtime)


async def test_a_message_that_is_stopped_on_its_way_into_the_inbox_never_runs(place: Place) -> None:
    """Admission is behind it, the queue is before it."""
    desk, answers, turn = Desk(), list[object](), ""
    store = FaultyStore(place.store(), [FaultPoint("commit", 2, "before", "stall")])
    async with opened(store, desk) as runtime:
        chat = await runtime.get_or_create(Chat, name="a")

        async def tell() -> int:
            return await (await chat.tell(Say(text="stopped"), key="k")).wait()

        async with anyio.create_task_group() as group:
            group.start_soon(heard, lambda: chat.ask(Say(text="runs", hangs=True)), answers)
            await until(lambda: desk.began == ["runs"])
            group.start_soon(heard, tell, answers)
            await store.wait_until_stalled()
            turn = (await chat.receipt(key="k")).turn
            await chat.stop(turn)
            await chat.stop()
            store.release()

        assert [TurnStopped, TurnStopped] == [type(answer) for answer in answers]
        assert isinstance(await chat.outcome(turn), Stopped)
        assert ["runs"] == desk.began
        assert [] == await left(runtime)


async def test_the_chunks_of_the_only_turn_go_in_time_and_whoever_comes_back_is_told(place: Place) -> None:
    """Without another message, and without another run."""
    clock, desk = VirtualClock(), Desk()
    async with opened(FaultyStore(place.store()), desk, clock, replay_age_s=60) as runtime:
        chat = await runtime.get_or_create(Chat, name="a")
        with anyio.fail_after(BOUND_S):
            async with chat.stream(Say(text="one")) as events:
                seen = [event async for event in events]
        turn = seen[0].turn
        with anyio.fail_after(BOUND_S):
            async with chat.attach(turn, after=seen[0].id) as again:
                kept = [event.data async for event in again if isinstance(event, Chunk)]
        await clock.advance(61)
        with anyio.fail_after(BOUND_S), pytest.raises(ReplayIncomplete) as told:
            async with chat.attach(turn, after=seen[0].id) as late:
                _ = [event async for event in late]

        assert ["one"] == kept
        assert seen[-1] == told.value.outcome
        assert ["one"] == desk.began


def test_every_row_names_a_test_that_is_there() -> None:
    named = re.findall(r"(tests/\S+\.py)::(test_\w+)", __doc__ or "")

    assert len(named) >= 18
    for path, name in named:
        assert re.search(rf"def {name}\(", (ROOT / path).read_text()), f"{path}::{name}"
