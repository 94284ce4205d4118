"""The mailbox: what waits for one actor, first in, first out, and what happens between turns ahead of it.

A lane is a deque, made for the second message in it, for an empty one costs 760 bytes.
There are two lanes now; `high` and `low` will be two more, with `take` choosing among them.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from math import inf
from typing import Generic, TypeVar

from salon_actors.envelope import Envelope

E = TypeVar("E", bound=Envelope)


class Lane(Generic[E]):
    """First in, first out."""

    __slots__ = ("_first", "_rest")

    def __init__(self, envelopes: Iterable[E] = ()) -> None:
        self._first: E | None = None
        self._rest: deque[E] | None = None
        for envelope in envelopes:
            self.put(envelope)

    def __len__(self) -> int:
        return (self._first is not None) + (len(self._rest) if self._rest else 0)

    def __iter__(self) -> Iterator[E]:
        if self._first is not None:
            yield self._first
        yield from self._rest or ()

    def put(self, envelope: E) -> None:
        if self._first is None:
            self._first = envelope
        else:
            if self._rest is None:
                self._rest = deque()
            self._rest.append(envelope)

    def take(self) -> E | None:
        envelope = self._first
        self._first = self._rest.popleft() if self._rest else None
        return envelope


class Mailbox(Generic[E]):
    """Messages of one actor that wait; it exists only while there are some."""

    __slots__ = ("_control", "_users", "earliest")

    def __init__(self) -> None:
        self._control = Lane[E]()
        self._users = Lane[E]()
        self.earliest = inf
        """No message has a deadline before this; a scan below it would find nothing."""

    def __len__(self) -> int:
        return len(self._control) + len(self._users)

    def __iter__(self) -> Iterator[E]:
        """In the order in which they would run."""
        yield from self._control
        yield from self._users

    @property
    def depth(self) -> int:
        """Messages that count against the bound."""
        return len(self._users)

    def put(self, envelope: E) -> None:
        self._users.put(envelope)
        self.earliest = min(self.earliest, envelope.deadline)

    def put_control(self, envelope: E) -> None:
        """Behind earlier ones of its kind, ahead of every user."""
        self._control.put(envelope)
        self.earliest = min(self.earliest, envelope.deadline)

    def take(self) -> E | None:
        return self._control.take() or self._users.take()

    def take_expired(self, now: float) -> list[E]:
        """Take out every message whose deadline is not after `now`."""
        expired = [envelope for envelope in self if envelope.deadline <= now]
        self._control = Lane(envelope for envelope in self._control if envelope.deadline > now)
        self._users = Lane(envelope for envelope in self._users if envelope.deadline > now)
        self.earliest = min((envelope.deadline for envelope in self), default=inf)
        return expired
