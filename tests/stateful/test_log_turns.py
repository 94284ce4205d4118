"""Whatever turns do to a log, through snapshots, faults and restarts: what is read is what a plain list says."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from salon import (
    Log,
    Message,
    OutcomeUnknown,
    Runtime,
    SalonError,
    Session,
    SessionHandle,
    SessionView,
    Settings,
    receive,
)
from salon.testing import FaultPoint, FaultyStore
from tests.effort import effort
from tests.runtime.places import Kind, Place

RESIDENT = 5
WEIGHT = 1500
"""Characters of an item, so that a snapshot is due every few turns."""
VIEWS_MAX = 3

Verb = Literal["append", "rewind", "truncate", "pop", "clear", "redact"]
Op = tuple[Verb, int]
"""What is done, and where: a fraction of the log, in hundredths."""
Model = list[tuple[int, str]]
"""Numbers and items."""


class State(BaseModel):
    turns: int = 0
    lines: Log[str] = Log(resident=RESIDENT)


class Change(Message[list[int]], name="change"):
    ops: list[tuple[str, int]]
    raises: bool = False


class Book(Session[State], name="book"):
    """Replies with the numbers of what it has appended."""

    @receive
    async def change(self, message: Change) -> list[int]:
        self.state.turns += 1
        appended = [number for verb, at in message.ops if (number := self._do(verb, at)) is not None]
        if message.raises:
            raise RuntimeError
        return appended

    def _do(self, verb: str, at: int) -> int | None:
        lines = self.state.lines
        match verb:
            case "append":
                return lines.append(item_of(at))
            case "rewind":
                lines.rewind(at)
            case "truncate":
                lines.truncate_before(at)
            case "pop":
                lines.pop()
            case "clear":
                lines.clear()
            case _:
                lines.redact(at, item_of(-at))
        return None


def item_of(number: int) -> str:
    return f"{number}:".ljust(WEIGHT, "x")


VERBS = ("append",) * 8 + ("rewind", "truncate", "pop", "redact", "redact")
OPS = st.tuples(st.sampled_from(VERBS), st.integers(0, 99))
TURN = st.tuples(st.just("turn"), st.lists(OPS, min_size=1, max_size=8), st.integers(0, 9).map(lambda n: n == 0))
OTHER = st.sampled_from((("clear",), ("look",), ("look",), ("restart",), ("release",)))
STEPS = st.lists(st.one_of(TURN, TURN, TURN, TURN, OTHER), min_size=12, max_size=50)
KEEPS, COMMITS = st.integers(1, 4), st.integers(2, 9)
POINTS = st.one_of(
    st.builds(FaultPoint, st.just("keep"), KEEPS, st.sampled_from(("before", "after")), st.just("stall")),
    st.builds(FaultPoint, st.just("keep"), KEEPS, st.just("instead"), st.sampled_from(("refuse", "unknown"))),
    st.builds(FaultPoint, st.just("commit"), COMMITS, st.sampled_from(("instead", "after")), st.just("unknown")),
)


class Reader:
    """Plays one program against a list."""

    def __init__(self, did: Counter[str]) -> None:
        self.did = did
        self.model: Model = []
        self.next = 0
        self.views: list[tuple[SessionView[State], list[str]]] = []

    async def play(self, place: Place, steps: Sequence[Any], points: Sequence[FaultPoint]) -> None:
        session_id: str | None = None
        rest = list(steps)
        while rest:
            store = FaultyStore(place.store(), points)
            async with Runtime(Book, store=store, settings=Settings(probe_interval_s=0.001)) as runtime:
                book = await (runtime.create(Book) if session_id is None else runtime.get(Book, session_id))
                session_id = book.session_id
                try:
                    while rest and (step := rest.pop(0))[0] != "restart":
                        await self._step(runtime, store, book, step)
                    await self._compare(book)
                finally:
                    store.release()
                    self.did["snapshots"] += int(str(runtime.stats()["snapshots"]))
                    self.did["faults"] += len(store.fired)
            self.did["restarts"] += bool(rest)
            self.views.clear()

    async def _step(self, runtime: Runtime, store: FaultyStore, book: SessionHandle[State], step: Any) -> None:
        match step:
            case ("turn", ops, raises):
                await self._turn(runtime, store, book, ops, raises)
            case ("clear",):
                await self._turn(runtime, store, book, [("clear", 0)], False)
            case ("look",):
                self.views = [*self.views, await self._look(book)][-VIEWS_MAX:]
            case _:
                store.release()

    async def _turn(
        self, runtime: Runtime, store: FaultyStore, book: SessionHandle[State], ops: list[Op], raises: bool
    ) -> None:
        draft, next_, meant = self._meant(ops)
        if not meant:
            return
        try:
            numbers = await self._ask(store, book, Change(ops=meant, raises=raises))
        except SalonError as error:
            self.did[type(error).__name__] += 1
            if isinstance(error, OutcomeUnknown):
                await self._learn(book, draft, next_)
        else:
            assert numbers == list(range(self.next, next_))
            self.model, self.next = draft, next_
            self.did["turns"] += 1
        await self._until_well(runtime)
        await self._compare(book)

    async def _ask(self, store: FaultyStore, book: SessionHandle[State], message: Change) -> list[int]:
        errors, numbers = list[SalonError](), list[int]()

        async def ask(done: anyio.Event) -> None:
            try:
                numbers.extend(await book.ask(message))
            except SalonError as error:
                errors.append(error)
            done.set()

        async with anyio.create_task_group() as group:
            group.start_soon(ask, done := anyio.Event())
            while not done.is_set():
                store.release()  # A commit waits behind a snapshot that is held up.
                with anyio.move_on_after(0.002):
                    await done.wait()
        if errors:
            raise errors[0]
        return numbers

    async def _until_well(self, runtime: Runtime) -> None:
        with anyio.fail_after(10):
            while not runtime.stats()["store_is_well"]:  # noqa: ASYNC110  # nobody tells when a store heals
                await anyio.sleep(0.001)

    def _meant(self, ops: Sequence[Op]) -> tuple[Model, int, list[tuple[str, int]]]:
        """What the list does, and the same in the log's own numbers; what makes no sense here is left out."""
        model, next_, meant = list(self.model), self.next, list[tuple[str, int]]()
        for verb, at in ops:
            # A rewind drops at most the last third, a truncation the first, or nothing would ever grow.
            early = at * len(model) // 300
            late = len(model) - 1 - early
            match verb:
                case "append":
                    meant.append((verb, next_))
                    model.append((next_, item_of(next_)))
                    next_ += 1
                case "rewind" if model:
                    meant.append((verb, model[late][0]))
                    model = model[: late + 1]
                case "truncate" if model:
                    meant.append((verb, model[early][0]))
                    model = model[early:]
                case "pop" if model and self._pops(ops):
                    meant.append((verb, 0))
                    model.pop()
                case "redact" if model:
                    place = at * len(model) // 100
                    number = model[place][0]
                    meant.append((verb, number))
                    model[place] = number, item_of(-number)
                case "clear" if model:
                    meant.append((verb, 0))
                    model = []
                case _:
                    continue
            self.did[verb] += 1
        return model, next_, meant

    def _pops(self, ops: Sequence[Op]) -> bool:
        """A pop reads the newest item, which a long rewind of the same turn may have left out of memory."""
        return all(verb != "rewind" for verb, _ in ops) and sum(verb == "pop" for verb, _ in ops) < RESIDENT

    async def _learn(self, book: SessionHandle[State], draft: Model, next_: int) -> None:
        """The store could not say; the session can."""
        seen = await self._read(await book.peek())
        if seen != [item for _, item in self.model] or draft == self.model:
            assert seen == [item for _, item in draft]
            self.model, self.next = draft, next_

    async def _compare(self, book: SessionHandle[State]) -> None:
        assert await self._read(await book.peek()) == [item for _, item in self.model]
        for view, items in self.views:
            assert await self._read(view) == items

    async def _look(self, book: SessionHandle[State]) -> tuple[SessionView[State], list[str]]:
        return await book.peek(), [item for _, item in self.model]

    async def _read(self, view: SessionView[State]) -> list[str]:
        lines = view.state.lines
        scanned = [item async for item in lines.scan()]
        page = await lines.page(limit=7)
        paged = list(page.items)
        while page.next is not None:
            page = await lines.page(before=page.next, limit=7)
            paged[:0] = page.items
        assert scanned == paged
        assert len(scanned) == len(lines)
        assert lines.tail(RESIDENT) == scanned[-RESIDENT:]
        assert lines.last == (scanned[-1] if scanned else None)
        return scanned


def run(backend: str, kind: Kind, examples: int) -> Counter[str]:
    did = Counter[str]()

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        derandomize=True,
        database=None,
        phases=tuple(Phase),
    )
    @given(steps=STEPS, points=st.lists(POINTS, max_size=3))
    def play(steps: Sequence[Any], points: Sequence[FaultPoint]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            anyio.run(Reader(did).play, Place(kind, Path(folder)), steps, points, backend=backend)

    play()
    return did


WANTED = ("append", "rewind", "truncate", "pop", "redact", "clear", "turns", "restarts", "snapshots", "faults",
          "TurnFailed", "OutcomeUnknown")  # fmt: skip


@pytest.mark.blocks_loop("examples run in loops of their own")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_log_is_what_a_list_says(backend: str, kind: Kind) -> None:
    did = run(backend, kind, 40 if kind == "memory" else 6)

    assert [] == [name for name in WANTED if not did[name]], did


@pytest.mark.slow
@pytest.mark.blocks_loop("examples run in loops of their own")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_log_is_what_a_list_says_many_times_over(backend: str, kind: Kind) -> None:
    did = run(backend, kind, effort(50, 1000))

    assert [] == [name for name in WANTED if not did[name]], did
