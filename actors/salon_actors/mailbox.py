"""The mailbox: what waits for one actor, and which of it is next.

What happens between turns (control) goes ahead of everything. Users wait in three lanes, first in, first out, which are
served 4 : 2 : 1 by a smooth weighted round robin, so that no lane starves: each choice gives every lane that waits its
weight as credit, and the one that has most pays for all.
https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1

There are lanes only for what waits, which is nearly always one: an empty lane is dropped, and its credit with it.
"""

from collections import deque
from collections.abc import Iterator
from math import inf
from typing import Generic, TypeVar

from salon_actors.envelope import CONTROL, LOW, Envelope

E = TypeVar("E", bound=Envelope)

WEIGHTS = (4, 2, 1)
"""Of high, normal and low."""


class Lane(Generic[E]):
    """First in, first out; made with the first message, and a deque for the second: an empty one costs 760 bytes."""

    __slots__ = ("_rest", "credit", "first", "priority")

    def __init__(self, first: E) -> None:
        self.first: E | None = first
        """The head; None once the lane is empty, and about to be dropped."""
        self._rest: deque[E] | None = None
        self.priority = first.priority
        self.credit = 0

    def __len__(self) -> int:
        return (self.first is not None) + (len(self._rest) if self._rest else 0)

    def __iter__(self) -> Iterator[E]:
        if self.first is not None:
            yield self.first
        yield from self._rest or ()

    def put(self, envelope: E) -> None:
        if self._rest is None:
            self._rest = deque()
        self._rest.append(envelope)

    def put_back(self, envelope: E) -> None:
        """To the head."""
        if self.first is not None:
            if self._rest is None:
                self._rest = deque()
            self._rest.appendleft(self.first)
        self.first = envelope

    def take(self) -> E | None:
        envelope = self.first
        self.first = self._rest.popleft() if self._rest else None
        return envelope

    def keep(self, envelopes: list[E]) -> None:
        """Hold these and nothing else."""
        self.first = envelopes[0] if envelopes else None
        self._rest = deque(envelopes[1:]) if len(envelopes) > 1 else None

    def copy(self) -> "Lane[E]":
        copy = Lane(self.head)
        copy.keep(list(self))
        copy.credit = self.credit
        return copy

    @property
    def head(self) -> E:
        assert self.first is not None, "a lane without a message"
        return self.first


class Mailbox(Generic[E]):
    """Messages of one actor that wait. It exists only while there are some, or the actor is suspended."""

    __slots__ = ("_lanes", "depth", "earliest", "is_suspended")

    def __init__(self) -> None:
        self._lanes: list[Lane[E]] = []
        """Those that hold something, the first of them first served."""
        self.depth = 0
        """Messages that count against the bound: those of users."""
        self.earliest = inf
        """No message has a deadline before this; a scan below it would find nothing."""
        self.is_suspended = False
        """Only control is taken."""

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes)

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def __iter__(self) -> Iterator[E]:
        """Lane by lane, which is not the order in which they would run."""
        for lane in self._lanes:
            yield from lane

    @property
    def has_next(self) -> bool:
        """`take` would give something."""
        return bool(self._lanes) and (not self.is_suspended or self._lanes[0].priority == CONTROL)

    def put(self, envelope: E) -> None:
        """Behind those of its priority."""
        if (lane := self._find(envelope.priority)) is None:
            self._add_lane(envelope)
        else:
            lane.put(envelope)
        self._count(envelope)

    def put_back(self, envelope: E) -> None:
        """Ahead of those of its priority."""
        if (lane := self._find(envelope.priority)) is None:
            self._add_lane(envelope)
        else:
            lane.put_back(envelope)
        self._count(envelope)

    def take(self) -> E | None:
        """The next message; None when nothing waits, or nothing that may run."""
        lanes = self._lanes
        if not lanes:
            return None
        lane = lanes[0]
        if lane.priority != CONTROL:
            if self.is_suspended:
                return None
            self.depth -= 1
            if len(lanes) > 1:
                lane = self._choose()
        envelope = lane.take()
        if lane.first is None:
            lanes.remove(lane)
        return envelope

    def withdraw(self, envelope: E) -> bool:
        """Take out this one. False: it does not wait here."""
        lane = self._find(envelope.priority)
        if lane is None:
            return False
        others = [other for other in lane if other is not envelope]
        if len(others) == len(lane):
            return False
        self._keep(lane, others)
        return True

    def take_expired(self, now: float) -> list[E]:
        """Take out every message whose deadline is not after `now`."""
        expired = [envelope for envelope in self if envelope.deadline <= now]
        for lane in tuple(self._lanes):
            self._keep(lane, [envelope for envelope in lane if envelope.deadline > now])
        self.earliest = min((envelope.deadline for envelope in self), default=inf)
        return expired

    def oldest(self) -> E | None:
        """The message of a user that was accepted first, of those of one moment the one that matters least."""
        heads = [lane.head for lane in self._lanes if lane.priority != CONTROL]
        return min(heads, key=lambda head: (head.accepted_at, -head.priority), default=None)

    def in_order(self) -> list[E]:
        """Everything, in the order in which it would run if nothing else came."""
        copy = Mailbox[E]()
        copy._lanes = [lane.copy() for lane in self._lanes]
        return [envelope for _ in range(len(self)) if (envelope := copy.take()) is not None]

    def _find(self, priority: int) -> Lane[E] | None:
        for lane in self._lanes:
            if lane.priority == priority:
                return lane
        return None

    def _add_lane(self, envelope: E) -> None:
        assert CONTROL <= envelope.priority <= LOW, f"no such priority: {envelope.priority}"
        self._lanes.append(Lane(envelope))
        if len(self._lanes) > 1:
            self._lanes.sort(key=lambda lane: lane.priority)

    def _count(self, envelope: E) -> None:
        if envelope.priority != CONTROL:
            self.depth += 1
        if envelope.deadline < self.earliest:
            self.earliest = envelope.deadline

    def _choose(self) -> Lane[E]:
        weights, best = 0, self._lanes[0]
        for lane in self._lanes:
            weight = WEIGHTS[lane.priority]
            weights += weight
            lane.credit += weight
            if lane.credit > best.credit:
                best = lane
        best.credit -= weights
        return best

    def _keep(self, lane: Lane[E], envelopes: list[E]) -> None:
        if lane.priority != CONTROL:
            self.depth -= len(lane) - len(envelopes)
        lane.keep(envelopes)
        if not envelopes:
            self._lanes.remove(lane)
