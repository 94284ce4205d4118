"""A reply leaves when its turn is durable; what the store did not take has not happened."""

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from pydantic import BaseModel

from salon import (
    Draining,
    Fenced,
    Log,
    Message,
    NotApplied,
    OutcomeUnknown,
    Runtime,
    SalonError,
    Session,
    SessionHandle,
    Settings,
    StoreUnavailable,
    TurnTimeout,
    receive,
)
from salon.testing import FaultPoint, FaultyStore
from tests.runtime.places import Place
from tests.runtime.waiting import until


class State(BaseModel):
    count: int = 0
    lines: Log[int] = Log()


class Add(Message[int], name="add"):
    pass


class Counter(Session[State], name="counter"):
    @receive
    async def add(self, message: Add) -> int:
        self.state.count += 1
        self.state.lines.append(self.state.count)
        return self.state.count


class Counting:
    def __init__(self, runtime: Runtime, store: FaultyStore, session: SessionHandle[State]) -> None:
        self.runtime, self.store, self.session = runtime, store, session

    async def stored(self) -> int:
        return (await self.session.peek()).state.count


@asynccontextmanager
async def counting(place: Place, *points: FaultPoint, **settings: float) -> AsyncGenerator[Counting]:
    """A session whose creation is write number 1."""
    store = FaultyStore(place.store(), points)
    async with Runtime(Counter, store=store, settings=Settings.model_validate(settings)) as runtime:
        try:
            yield Counting(runtime, store, await runtime.create(Counter))
        finally:
            store.release()  # or a test that fails while a commit is stalled would hang where it closes


async def test_a_reply_waits_for_its_commit(place: Place) -> None:
    async with counting(place, FaultPoint("commit", 2, "after", "stall")) as it:
        replies: list[int] = []

        async def ask() -> None:
            replies.append(await it.session.ask(Add()))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await it.store.wait_until_stalled()
            assert (replies, await it.stored()) == ([], 0)
            it.store.release()
        assert (replies, await it.stored()) == ([1], 1)


async def test_the_gate_holds_the_session_and_nobody_else(place: Place) -> None:
    async with counting(place, FaultPoint("commit", 3, "before", "stall")) as it:
        other = await it.runtime.create(Counter)
        order: list[str] = []

        async def ask(name: str, session: SessionHandle[State]) -> None:
            await session.ask(Add())
            order.append(name)

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "first", it.session)
            await it.store.wait_until_stalled()
            explained = await it.runtime.explain(it.session.session_id)
            assert explained["phase"] == "held"
            started = it.runtime.stats()["turns_started"]
            group.start_soon(ask, "second", it.session)
            group.start_soon(ask, "other", other)
            await anyio.sleep(0.01)
            assert it.runtime.stats()["turns_started"] == started + 1  # type: ignore[operator]  # pyright: ignore
            it.store.release()
        assert set(order) == {"first", "second", "other"}
        assert order.index("first") < order.index("second")


@pytest.mark.parametrize(
    ("effect", "error", "applied"),
    [("refuse", NotApplied, 0), ("unknown", OutcomeUnknown, 0)],
)
async def test_a_failed_commit_discards_exactly_one_turn(
    place: Place, effect: str, error: type[SalonError], applied: int
) -> None:
    point = FaultPoint("commit", 3, "instead", effect, sid=1)  # type: ignore[arg-type]  # pyright: ignore
    async with counting(place, point, probe_interval_s=0.001) as it:
        assert await it.session.ask(Add()) == 1
        outcomes: list[object] = []

        async def ask() -> None:
            try:
                outcomes.append(await it.session.ask(Add()))
            except SalonError as failure:
                outcomes.append(type(failure))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
        assert sorted(map(str, outcomes)) == sorted(map(str, [error, 2, 3]))
        assert await it.stored() == 3


async def test_an_unknown_outcome_that_was_applied_is_read_back(place: Place) -> None:
    async with counting(place, FaultPoint("commit", 2, "after", "unknown")) as it:
        with pytest.raises(OutcomeUnknown) as caught:
            await it.session.ask(Add())
        assert not caught.value.retryable
        assert await it.stored() == 1
        assert await it.session.ask(Add()) == 2
        assert it.runtime.stats()["reloads"] == 1


async def test_a_fenced_session_is_read_back_and_its_turn_dropped(place: Place) -> None:
    async with counting(place, FaultPoint("commit", 1, "instead", "fence", sid=1)) as it:
        with pytest.raises(Fenced):
            await it.session.ask(Add())

        assert await it.session.ask(Add()) == 1


async def test_a_fenced_store_ends_the_runtime(place: Place) -> None:
    async with counting(place, FaultPoint("commit", 2, "instead", "fence")) as it:
        with pytest.raises(Fenced):
            await it.session.ask(Add())
        with pytest.raises(Fenced):
            await it.session.ask(Add())
        assert it.store.calls("commit") == 2
        assert (await it.session.peek()).state.count == 0


async def test_an_unavailable_store_is_probed_and_resumes(place: Place) -> None:
    outage = (FaultPoint("commit", 2, "instead", "refuse"), FaultPoint("probe", 1, "instead", "refuse", times=3))
    async with counting(place, *outage, probe_interval_s=0.001) as it:
        with pytest.raises(NotApplied):
            await it.session.ask(Add())
        with pytest.raises(StoreUnavailable) as caught:
            await it.session.ask(Add())
        assert caught.value.retry_after_s == 0.001
        await until(lambda: it.runtime.stats()["store_is_well"])

        assert it.store.calls("probe") == 4
        assert await it.session.ask(Add()) == 1


async def test_a_dead_store_never_resumes(tmp_path: Path) -> None:
    death = FaultPoint("commit", 2, "before", "die")
    async with counting(Place("memory", tmp_path), death, probe_interval_s=0.001) as it:
        with pytest.raises(OutcomeUnknown):
            await it.session.ask(Add())
        await anyio.sleep(0.01)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await it.session.ask(Add())


async def test_a_commit_that_does_not_come_back_refuses_what_is_new(place: Place) -> None:
    async with counting(place, FaultPoint("commit", 2, "before", "stall"), commit_stall_s=0.001) as it:
        async with anyio.create_task_group() as group:
            group.start_soon(it.session.ask, Add())
            await it.store.wait_until_stalled()
            await anyio.sleep(0.005)
            with pytest.raises(StoreUnavailable, match="oldest commit has waited"):
                await it.session.ask(Add())
            it.store.release()
        assert await it.session.ask(Add()) == 2


async def test_a_deadline_does_not_cancel_what_the_store_has(place: Place) -> None:
    async with counting(place, FaultPoint("commit", 2, "before", "stall"), tick_s=0.001) as it:
        replies: list[int] = []

        async def ask() -> None:
            replies.append(await it.session.ask(Add(), timeout_s=0.01))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await it.store.wait_until_stalled()
            with pytest.raises(TurnTimeout, match="before it began"):
                await it.session.ask(Add(), timeout_s=0.005)
            await anyio.sleep(0.02)
            it.store.release()
        assert replies == [1]
        assert await it.stored() == 1


async def test_a_store_that_hangs_keeps_no_caller_beyond_its_deadline(place: Place) -> None:
    async with counting(place, FaultPoint("commit", 2, "before", "stall")) as it:
        with pytest.raises(OutcomeUnknown, match="has not answered for the turn in time"):
            await it.session.ask(Add(), timeout_s=0.05)
        assert (await it.runtime.explain(it.session.session_id))["phase"] == "held"
        it.store.release()
        assert await it.session.ask(Add()) == 2


async def test_a_store_that_hangs_does_not_keep_the_runtime_from_closing(tmp_path: Path) -> None:
    store = FaultyStore(Place("memory", tmp_path).store(), [FaultPoint("commit", 2, "before", "stall")])
    outcomes: list[type[Exception]] = []

    async def ask(session: SessionHandle[State]) -> None:
        try:
            await session.ask(Add())
        except OutcomeUnknown as error:
            outcomes.append(type(error))

    runtime = await Runtime(Counter, store=store, settings=Settings(drain_deadline_s=0.02)).open()
    session = await runtime.create(Counter)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, session)
        await store.wait_until_stalled()
        await runtime.close()
    assert outcomes == [OutcomeUnknown]


async def test_reads_do_not_wait_for_a_commit_or_a_turn(place: Place) -> None:
    async with counting(place, FaultPoint("commit", 3, "before", "stall")) as it:
        await it.session.ask(Add())
        async with anyio.create_task_group() as group:
            group.start_soon(it.session.ask, Add())
            await it.store.wait_until_stalled()
            with anyio.fail_after(1):
                assert await it.stored() == 1
                page = await it.session.history(lambda state: state.lines)
                assert list(page.items) == [1]
            it.store.release()


async def test_memory_durability_opens_the_gate_before_the_write(place: Place) -> None:
    store = FaultyStore(place.store("memory"), [FaultPoint("commit", 2, "before", "stall")])
    async with Runtime(Counter, store=store, settings=Settings(durability="memory")) as runtime:
        session = await runtime.create(Counter)
        assert await session.ask(Add()) == 1
        await store.wait_until_stalled()
        store.release()
        assert await session.ask(Add()) == 2


async def test_closing_waits_for_what_is_behind_the_gate(place: Place) -> None:
    store = FaultyStore(place.store(), [FaultPoint("commit", 2, "before", "stall")])
    replies: list[int] = []

    async def ask(session: SessionHandle[State]) -> None:
        replies.append(await session.ask(Add()))

    async with anyio.create_task_group() as group, Runtime(Counter, store=store) as runtime:
        session = await runtime.create(Counter)
        group.start_soon(ask, session)
        await store.wait_until_stalled()
        group.start_soon(_release_when_draining, session, store)
    assert replies == [1]


async def _release_when_draining(session: SessionHandle[State], store: FaultyStore) -> None:
    while True:
        try:
            await session.info()
        except Draining:
            store.release()
            return
        await anyio.lowlevel.checkpoint()


FAULTS = [("instead", "refuse"), ("instead", "unknown"), ("after", "unknown")]
DEATHS = [("before", "die"), ("after", "die")]


@pytest.mark.parametrize(("when", "effect"), FAULTS)
async def test_a_fault_at_any_write_leaves_exactly_what_was_answered(place: Place, when: str, effect: str) -> None:
    await _fail_at_each_write_in_turn(place, when, effect)


@pytest.mark.parametrize(("when", "effect"), DEATHS)
async def test_a_death_at_any_write_leaves_exactly_what_was_answered(tmp_path: Path, when: str, effect: str) -> None:
    """In memory, where the dead may be looked at; a file's owner is killed for real by the crash tests."""
    await _fail_at_each_write_in_turn(Place("memory", tmp_path), when, effect)


async def _fail_at_each_write_in_turn(place: Place, when: str, effect: str) -> None:
    """At the first write, the second, and so on until a run completes untouched."""
    for number in itertools.count(1):
        here = Place(place.kind, place.path.parent / f"{number}")
        here.path.parent.mkdir(parents=True)
        store = FaultyStore(here.store(), [FaultPoint("write", number, when, effect)])  # type: ignore[arg-type]  # pyright: ignore
        answered, unknown, session_id = await _count_until_it_fails(store)
        if store.is_dead:
            await store.inner.close()
        if session_id is not None:
            async with Runtime(Counter, store=here.store()) as runtime:
                view = await (await runtime.get(Counter, session_id)).peek()
                assert answered <= view.state.count <= answered + unknown
                assert view.state.lines.tail(10) == list(range(1, view.state.count + 1))
        if not store.fired:
            assert (number, answered) == (7, 5)
            return


async def _count_until_it_fails(store: FaultyStore) -> tuple[int, int, str | None]:
    answered, session_id = 0, None
    async with Runtime(Counter, store=store, settings=Settings(probe_interval_s=0.001)) as runtime:
        try:
            session = await runtime.create(Counter)
            session_id = session.session_id
            for _ in range(5):
                answered = await session.ask(Add())
        except OutcomeUnknown:
            return answered, 1, session_id
        except (NotApplied, StoreUnavailable):
            pass
    return answered, 0, session_id
