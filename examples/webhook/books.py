"""What the platform has sent and shown: the other half of the truth, beside the bot's file."""

import itertools
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Sent:
    """One update, on its way to the bot."""

    update: int
    chat: str
    text: str
    began: int | None = None
    """Moment at which it was sent first."""
    accepted: int | None = None
    """Moment at which the bot first said that it has it."""
    answers: int = 0
    """How many it has got."""


@dataclass(frozen=True)
class Shown:
    """An answer as the person in the chat sees it."""

    update: int
    text: str


@dataclass
class Books:
    updates: dict[int, Sent] = field(default_factory=dict[int, Sent])
    screens: dict[str, list[Shown]] = field(default_factory=lambda: defaultdict(list))
    """What each chat shows, in order."""
    keys: set[str] = field(default_factory=set[str])
    requests: int = 0
    """Updates that were sent, repetitions included."""
    broken: int = 0
    """Requests that were not answered, because the bot died."""
    refused: int = 0
    owed: set[str] = field(default_factory=set[str])
    """Keys of texts whose sender does not know yet that they were shown: it will send them again."""
    calls: int = 0
    """Texts that the bot has sent, repetitions included."""
    calls_failed: int = 0
    calls_repeated: int = 0
    """Texts that were not shown, because they had been, under the same key."""
    waiting_at_kill: int = 0
    """Updates that the bot had accepted and not answered."""
    _moments: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def sends(self, sent: Sent) -> None:
        self.requests += 1
        if sent.began is None:
            sent.began = next(self._moments)

    def accepts(self, sent: Sent) -> None:
        if sent.accepted is None:
            sent.accepted = next(self._moments)

    def shows(self, key: str, update: int, text: str) -> None:
        """Once for each key."""
        if key in self.keys:
            self.calls_repeated += 1
            return
        self.keys.add(key)
        sent = self.updates[update]
        sent.answers += 1
        self.screens[sent.chat].append(Shown(update, text))

    @property
    def accepted(self) -> int:
        return sum(sent.accepted is not None for sent in self.updates.values())

    @property
    def answered(self) -> int:
        return sum(sent.answers > 0 for sent in self.updates.values())

    @property
    def waiting(self) -> int:
        """Updates that the bot has accepted and not answered yet."""
        return sum(sent.accepted is not None and not sent.answers for sent in self.updates.values())
