"""Counts effects and answers: the bot's file against what the platform has sent and shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from examples.webhook.books import Books, Sent, Shown
from examples.webhook.bot import Chat, Deps, Heard, Say, Text
from salon import Runtime


@dataclass
class Tally:
    """`effects` and `answers` are as many as there are updates, and everything else is 0, or something is wrong."""

    effects: int = 0
    answers: int = 0
    lost: int = 0
    """Accepted updates without an effect."""
    doubled: int = 0
    """Effects of an update beyond the first."""
    unanswered: int = 0
    """Accepted updates without an answer."""
    answered_twice: int = 0
    """Answers to an update beyond the first."""
    untrue: int = 0
    """Answers that the file does not bear out."""
    disordered: int = 0
    """Effects before one that was accepted earlier than they were sent; answers in another order than their effects."""
    left: int = 0
    """Dead letters, and answers that were still to leave."""

    def add(self, other: "Tally") -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def is_exact(self, updates: int) -> bool:
        return self == Tally(effects=updates, answers=updates)


def judge(sents: Sequence[Sent], heard: Sequence[Heard], screen: Sequence[Shown]) -> Tally:
    """One chat: what was sent, what its file holds, what it shows."""
    effects, answers = Counter(each.update for each in heard), Counter(each.update for each in screen)
    accepted = [sent.update for sent in sents if sent.accepted is not None]
    return Tally(
        effects=effects.total(),
        answers=answers.total(),
        lost=sum(not effects[update] for update in accepted),
        doubled=effects.total() - len(effects),
        unanswered=sum(not answers[update] for update in accepted),
        answered_twice=answers.total() - len(answers),
        untrue=sum(not _is_true(shown, heard) for shown in screen),
        disordered=_overtaken(sents, heard) + _swapped(heard, screen),
    )


def _is_true(shown: Shown, heard: Sequence[Heard]) -> bool:
    """It names the number and the words that the file has for its update."""
    return any(
        shown.update == each.update and shown.text == f"That was number {number}: {each.text}"
        for number, each in enumerate(heard, 1)
    )


def _overtaken(sents: Sequence[Sent], heard: Sequence[Heard]) -> int:
    """What was accepted before another one was sent comes before it."""
    known = {sent.update: sent for sent in sents}
    order = [known[update] for update in dict.fromkeys(each.update for each in heard)]
    return sum(any(_is_before(later, sent) for later in order[place + 1 :]) for place, sent in enumerate(order))


def _is_before(one: Sent, other: Sent) -> bool:
    return one.accepted is not None and other.began is not None and one.accepted < other.began


def _swapped(heard: Sequence[Heard], screen: Sequence[Shown]) -> int:
    places = {each.update: place for place, each in enumerate(heard)}
    order = [places[shown.update] for shown in screen if shown.update in places]
    return sum(later < earlier for earlier, later in pairwise(order))


async def count(store: str, books: Books) -> Tally:
    """Reads every chat of the file, which nobody has open."""
    tally, left = Tally(), list[str]()

    async def think(message: Say) -> None:
        left.append(f"turn of update {message.update}")

    async def send(out: Text, key: str) -> None:
        left.append(key)

    chats: dict[str, list[Sent]] = {}
    for sent in books.updates.values():
        chats.setdefault(sent.chat, []).append(sent)
    async with Runtime(Chat, store=store, deps=Deps(think, send)) as runtime:
        for chat, sents in chats.items():
            tally.add(judge(sents, await _heard(runtime, chat), books.screens[chat]))
        tally.left = len((await runtime.dead_letters().list(limit=1000)).items)
    tally.left += len(left)
    return tally


async def _heard(runtime: Runtime, chat: str) -> Sequence[Heard]:
    handle = await runtime.get_or_create(Chat, name=f"platform:{chat}")
    return (await handle.history(lambda state: state.heard, limit=1000)).items


def deviations(tally: Tally) -> Mapping[str, int]:
    """Everything that should be 0."""
    return {
        each.name.replace("_", " "): getattr(tally, each.name)
        for each in fields(tally)
        if each.name not in ("effects", "answers")
    }
