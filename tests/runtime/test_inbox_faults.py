"""Every write of a scenario of tells and keyed asks goes wrong in turn; afterwards the history must be a possible one.

A client that may retry does, under its key. Each message is then in the log once, or a dead letter `interrupted`.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio
import pytest

from salon import Message, OutcomeUnknown, SalonError, SessionHandle, TurnInterrupted
from salon.testing import Append, FaultPoint, History, check
from tests.runtime.lives import CALM, Desk, Life, Note, Sheet, Stubborn, life, lines_of
from tests.runtime.places import Kind, Place
from tests.runtime.waiting import until

TEXTS = ("told note", "asked note", "told stubborn", "asked stubborn", "told later", "asked last")
TRIES = 20


@dataclass
class Book:
    """What the clients did and saw over all lives."""

    history: History = field(default_factory=History)
    appends: dict[str, Append] = field(default_factory=dict[str, Append])
    accepted: set[str] = field(default_factory=set[str])
    """Told, and the sender heard that it is in the inbox."""
    met: Counter[str] = field(default_factory=Counter[str])

    def append(self, text: str) -> Append:
        return self.appends.setdefault(text, self.history.append("clerk", text))

    async def send(self, clerk: SessionHandle[Sheet], text: str) -> None:
        """Until it is known what became of it, or the process is dead."""
        append = self.append(text) if text not in self.appends else self.appends[text]
        message: Message[int] = Stubborn(text=text) if "stubborn" in text else Note(text=text)
        for _ in range(TRIES):
            try:
                if text.startswith("told"):
                    receipt = await clerk.tell(message, key=text)
                    self.accepted.add(text)
                    place = await receipt.wait()
                else:
                    place = await clerk.ask(message, key=text)
            except TurnInterrupted:
                if append.fate == "pending":
                    append.not_applied()
                return
            except SalonError as error:
                self.met[type(error).__name__] += 1
                if not (error.retryable or isinstance(error, OutcomeUnknown)):
                    return
                await anyio.sleep(0.002)
            else:
                if append.fate == "pending":
                    append.acknowledged(place - 1)
                return


async def scenario(it: Life, book: Book) -> None:
    try:
        clerk = await it.clerk()
    except SalonError:
        return
    async with anyio.create_task_group() as process:
        process.start_soon(die_with, it, process.cancel_scope)
        async with anyio.create_task_group() as clients:
            for text in TEXTS:
                clients.start_soon(book.send, clerk, text)
        process.cancel_scope.cancel()


async def die_with(it: Life, scope: anyio.CancelScope) -> None:
    """The clients live in the process too."""
    await until(lambda: it.store.is_dead)
    scope.cancel()


@pytest.mark.parametrize(
    ("kind", "effect", "when"),
    [
        ("memory", "die", "before"),
        ("memory", "die", "after"),
        ("memory", "refuse", "instead"),
        ("memory", "unknown", "instead"),
        ("memory", "unknown", "after"),
        ("sqlite", "die", "after"),
        ("sqlite", "unknown", "after"),
    ],
)
async def test_every_write_may_go_wrong(
    kind: Kind, effect: Any, when: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    met: Counter[str] = Counter()
    number = 0
    for number in count(1):
        here = Place(kind, tmp_path_factory.mktemp("here"))
        book, desk = Book(), Desk()
        async with life(here, desk, FaultPoint("write", number, when, effect), **CALM) as it:
            await scenario(it, book)
            fired = bool(it.store.fired)
        async with life(here, desk, **CALM) as it:
            await scenario(it, book)
            lines = await lines_of(await it.clerk())
            letters = Counter(reason for _, reason, _ in await it.letters())
        book.history.final("clerk", lines)

        where = f"{effect} {when} write {number}: {lines}, {dict(letters)}"
        assert [] == check(book.history, acknowledged_min=0), where
        assert letters.keys() <= {"interrupted"}, where
        assert len(TEXTS) == len(lines) + letters.total() == len({*lines}) + letters.total(), where
        assert all(append.fate != "pending" for append in book.appends.values()), where
        assert "told stubborn" in lines, where
        met += book.met + letters
        met["applied"] += len(lines)
        if not fired:
            break
    print(f"{kind}, {effect} {when}: {number} runs, {dict(sorted(met.items()))}")  # noqa: T201

    assert number > 10
    assert met["applied"] > 50


async def test_a_message_that_comes_back_and_begins_has_begun(place: Place) -> None:
    """Its acceptance was unknown, so that it had not; then its handler ran, and nobody knows what of it was applied."""
    desk = Desk()
    points = [FaultPoint("commit", 2, "after", "unknown"), FaultPoint("commit", 4, "instead", "unknown")]
    async with life(place, desk, *points, **CALM) as it:
        clerk = await it.clerk()
        with pytest.raises(OutcomeUnknown):
            await clerk.tell(Note(text="a"))
        while not (letters := await it.letters()):  # noqa: ASYNC110  # there is no event to wait for
            await anyio.sleep(0.001)

        assert ([("note", "interrupted", 1)], ["a"], []) == (letters, desk.began, await lines_of(clerk))
