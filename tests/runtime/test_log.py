"""A Log against a plain list: whatever a turn does, what is read, stored and replayed is the same."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import BaseModel

from salon import ConfigurationError, Log, StateInvalid
from salon.log import over, stage_of
from salon.log_core import LogCore
from salon.log_item import LogItems
from salon.log_stage import LogStage
from salon_persistence.log_image import LogImage
from salon_persistence.records import LogPage

RESIDENT = 5


class Line(BaseModel, frozen=True):
    text: str


class Pages:
    """Pages of one log, as a store keeps them."""

    def __init__(self) -> None:
        self.kept: dict[int, LogPage] = {}

    async def read(self, field: str, before: int, items: int) -> Sequence[LogPage]:
        found: list[LogPage] = []
        held = 0
        for first in sorted(self.kept, reverse=True):
            if first < before and held < items:
                found.append(self.kept[first])
                held += sum(number < before for number, _ in self.kept[first].items)
        return found


class LogMachine(RuleBasedStateMachine):
    """Turns on one log, committed or not, with snapshots and restarts in between."""

    def __init__(self) -> None:
        super().__init__()
        self.items: LogItems[int] = LogItems("log", int, RESIDENT, 1)
        self.image = LogImage()
        self.pages = Pages()
        self.model: list[tuple[int, int]] = []
        self.next = 0
        self._begin()

    def _begin(self) -> None:
        self.core = LogCore(self.items, "log", self.image, self.pages.read)
        self.log: Log[int] = over(Log[int](resident=RESIDENT), LogStage(self.core))
        self.draft = list(self.model)
        self.draft_next = self.next

    @rule(item=st.integers(0, 9), key=st.none() | st.sampled_from(["a", "b"]))
    def append(self, item: int, key: str | None) -> None:
        number = self.log.append(item, key=key)
        if number == self.draft_next:
            self.draft.append((number, item))
            self.draft_next += 1
        else:
            assert key is not None
            assert number in dict(self.draft)

    @precondition(lambda self: self.draft)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        to = data.draw(st.sampled_from([number for number, _ in self.draft]))
        self.log.rewind(to)
        self.draft = [entry for entry in self.draft if entry[0] <= to]

    @precondition(lambda self: self.draft_next)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        before = data.draw(st.integers(0, self.draft_next))
        self.log.truncate_before(before)
        self.draft = [entry for entry in self.draft if entry[0] >= before]

    @precondition(lambda self: self.draft)
    @rule(data=st.data(), item=st.integers(10, 19))
    def redact(self, data: st.DataObject, item: int) -> None:
        index = data.draw(st.sampled_from([number for number, _ in self.draft]))
        self.log.redact(index, item)
        self.draft = [(number, item if number == index else old) for number, old in self.draft]

    @precondition(lambda self: self.draft)
    @rule()
    def pop(self) -> None:
        try:
            popped = self.log.pop()
        except IndexError:
            assert self.image.window_start > self.draft[-1][0]
        else:
            assert popped == self.draft.pop()[1]

    @rule()
    def clear(self) -> None:
        self.log.clear()
        self.draft = []

    @rule()
    def commit(self) -> None:
        delta = stage_of(self.log).delta()
        if delta is not None:
            self.image.apply(delta)
            stage_of(self.log).committed()
        self.model, self.next = self.draft, self.draft_next
        self._begin()

    @rule()
    def fail(self) -> None:
        self._begin()

    @rule(keep=st.integers(0, 8))
    def snapshot_and_restart(self, keep: int) -> None:
        old = list(self.pages.kept.values())
        mended = self.image.mended("log", old)
        for first in mended.dropped:
            del self.pages.kept[first]
        for page in [*mended.pages, *self.image.pages("log")]:
            self.pages.kept[page.first] = page
        shape = self.image.shape(paged=self.image.next, redactions=mended.left)
        self.image = LogImage(shape)
        for page in sorted(self.pages.kept.values(), key=lambda page: -page.first):
            if len(self.image.items) < keep:
                self.image.read_back(page)
        self._begin()

    @invariant()
    def reads_are_the_models(self) -> None:
        values = [item for _, item in self.draft]
        assert len(self.log) == len(values)
        for n in (0, 1, RESIDENT):
            try:
                tail = self.log.tail(n)
            except ValueError:  # told, not shortened: a rewind or a small window left less in memory
                assert self.image.window_start > self.draft[-n:][0][0]
            else:
                assert tail == values[-n:][:n] if n else tail == []
        assert anyio.run(self._read_all) == (values, values)

    async def _read_all(self) -> tuple[list[int], list[int]]:
        page = await self.log.page(limit=3)
        paged = list(page.items)
        while page.next is not None:
            page = await self.log.page(before=page.next, limit=3)
            paged[:0] = page.items
        return paged, [item async for item in self.log.scan()]


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_tail_beyond_what_is_resident_fails_even_in_a_short_log() -> None:
    with pytest.raises(ValueError, match="at most resident=5"):
        Log[int](resident=5).tail(6)


def test_a_log_has_no_hash_and_no_iteration() -> None:
    with pytest.raises(TypeError):
        hash(Log[int]())
    with pytest.raises(TypeError):
        iter(Log[int]())  # type: ignore[call-overload]  # pyright: ignore


def test_two_states_share_no_log() -> None:
    class State(BaseModel):
        lines: Log[str] = Log()

    one, two = State(), State()
    one.lines.append("one's")

    assert (len(one.lines), len(two.lines), two.lines.last) == (1, 0, None)


def test_a_repr_shows_no_items() -> None:
    log = Log[str]()
    log.append("secret")

    assert repr(log) == "<Log of 1 items>"


@pytest.mark.parametrize("item", [list[str], dict[str, int], set[int], object, Any])
def test_items_that_can_change_are_refused(item: Any) -> None:
    with pytest.raises(ConfigurationError, match="can be changed"):
        LogItems("log", item, 10, 1)


@pytest.mark.parametrize("item", [str, int, Line, tuple[str, ...], Line | None, frozenset[int], bytes])
def test_items_that_cannot_change_are_taken(item: Any) -> None:
    assert LogItems("log", item, 10, 1).field == "log"


@pytest.mark.parametrize("wrong", ["text", 1.5, True, None])
def test_an_item_of_another_type_is_refused_when_it_is_appended(wrong: Any) -> None:
    items: LogItems[int] = LogItems("log", int, 10, 1)
    log = over(Log[int](), LogStage(LogCore(items, "log", LogImage(), Pages().read)))
    with pytest.raises(StateInvalid):
        log.append(wrong)

    assert len(log) == 0


def test_numbers_are_never_used_again() -> None:
    log = Log[str]()
    assert [log.append("a"), log.append("b")] == [0, 1]
    log.clear()

    assert log.append("c") == 2
    assert log.tail(5) == ["c"]


@pytest.mark.parametrize("before", ["", "7", "nx", "n-1"])
async def test_a_cursor_that_is_none_of_ours_is_told(before: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        await Log[int]().page(before=before)
