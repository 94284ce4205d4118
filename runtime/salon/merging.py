"""Merging: quick messages wait for each other and become one turn.

A group takes messages until it has been quiet for `window_s`, or its first message has waited for `wait_max_s`,
or it is full; then its turn waits in the mailbox like any other. Until that turn begins each message may still leave
alone, because it was stopped or is too late; once it runs they share what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from salon.alarm import Alarm, Call
from salon.overlap import Merge
from salon.turn_envelope import TurnEnvelope

if TYPE_CHECKING:
    from salon.intake import Intake
    from salon.message import Message
    from salon.resident import Resident
    from salon.sending import Sending
    from salon.ticket import Ticket
    from salon_actors import Clock, HostLoop, Scheduler


class MergeGroup:
    """Messages of one class that become one turn."""

    __slots__ = ("closes_at", "first_at", "is_full", "members", "policy")

    def __init__(self, policy: Merge, now: float) -> None:
        self.policy = policy
        self.first_at = now
        self.closes_at = now
        self.is_full = False
        self.members: list[TurnEnvelope] = []

    def add(self, envelope: TurnEnvelope, now: float) -> None:
        self.members.append(envelope)
        self.closes_at = min(now + self.policy.window_s, self.first_at + self.policy.wait_max_s)
        self.is_full = len(self.members) >= self.policy.messages_max


class Merging:
    """Groups of all sessions of a runtime; one task for each group that is open."""

    def __init__(
        self,
        host: HostLoop,
        scheduler: Scheduler[Resident, TurnEnvelope],
        clock: Clock,
        intake: Intake,
        expire: Callable[[Resident, TurnEnvelope, bool], None],
    ) -> None:
        """Of one runtime.

        Args:
            expire: Told of a message whose deadline has passed before its turn began.
        """
        self._host = host
        self._scheduler = scheduler
        self._clock = clock
        self._intake = intake
        self._expire = expire
        self._alarm = Alarm(host, clock)
        self._open: dict[MergeGroup, tuple[Resident, type[Message[Any]]]] = {}
        self.messages = 0
        """In groups that are open, of all sessions."""
        self.size_bytes = 0
        """Of those messages."""
        self._is_draining = False

    def add(self, resident: Resident, envelope: TurnEnvelope, policy: Merge) -> None:
        """Into the group that is open, or a new one."""
        inbox = self._intake.inbox_of(resident)
        kind, now = envelope.handler.message, self._clock.monotonic()
        group = inbox.merging.get(kind)
        if group is None:
            group = inbox.merging[kind] = MergeGroup(policy, now)
            self._open[group] = resident, kind
            self._host.spawn(self._close_in_time, resident, kind, group)
        group.add(envelope, now)
        self._count(envelope, 1)
        _follow(group.members[0], group.members)
        self._expire_in_time(resident, envelope)
        if group.is_full or self._is_draining:
            self._close(resident, kind, group)

    def alone(self, envelope: TurnEnvelope) -> None:
        """A message of a handler that takes lists, in a turn of its own."""
        if envelope.handler.is_list:
            envelope.message = [envelope.message]

    def waiting(self, resident: Resident) -> tuple[int, int]:
        """Messages that wait in groups and do not count in its mailbox, and the bytes of those that are not in it."""
        if resident.inbox is None:
            return 0, 0
        members = [member for group in self._groups_of(resident) for member in group.members]
        merged = sum(len(waiting.members) - 1 for waiting in self._scheduler.waiting(resident))
        return len(members) + merged, sum(member.size_bytes for member in members)

    def close(self, resident: Resident, kind: type[Message[Any]]) -> None:
        """What comes now is not merged: the group that is open takes its place in the mailbox before it."""
        if resident.inbox is not None and (group := resident.inbox.merging.get(kind)) is not None:
            self._close(resident, kind, group)

    def flush(self) -> None:
        """The runtime drains: from now on nothing is waited for."""
        self._is_draining = True
        for group, (resident, kind) in tuple(self._open.items()):
            self._close(resident, kind, group)

    # Out of a group

    def leave(self, resident: Resident, envelope: TurnEnvelope) -> bool:
        """Take a message out, alone, before the turn of its group begins. False: it is in none, or the turn runs."""
        for group in self._groups_of(resident):
            if envelope in group.members:
                self._take_out(resident, group, envelope)
                return True
        for waiting in self._scheduler.waiting(resident):
            if len(waiting.members) > 1 and envelope in waiting.members:
                self._split_off(resident, waiting, envelope)
                return True
        return False

    def _groups_of(self, resident: Resident) -> Sequence[MergeGroup]:
        return () if resident.inbox is None else tuple(resident.inbox.merging.values())

    def _take_out(self, resident: Resident, group: MergeGroup, envelope: TurnEnvelope) -> None:
        """Out of a group that is open."""
        group.members.remove(envelope)
        self._count(envelope, -1)
        if group.members:
            _follow(group.members[0], group.members)
        else:
            self._forget(resident, envelope.handler.message, group)
        _ticket(envelope).lead()

    def _split_off(self, resident: Resident, waiting: TurnEnvelope, envelope: TurnEnvelope) -> None:
        """Out of a turn that waits in the mailbox."""
        rest = [member for member in waiting.members if member is not envelope]
        leader = waiting if envelope is not waiting else _leader(rest)
        _unite(leader, rest)
        if leader is not waiting:
            _alone(waiting)
            self._exchange(resident, waiting, leader)
        _ticket(envelope).lead()

    def _exchange(self, resident: Resident, old: TurnEnvelope, new: TurnEnvelope) -> None:
        """`new` takes the place of `old`: all of that priority leave the mailbox, and come back in their order."""
        new.deadline, new.priority = old.deadline, old.priority
        waiting = [each for each in self._scheduler.waiting(resident) if each.priority == old.priority]
        for each in waiting:
            self._scheduler.withdraw(resident, each)
        for each in waiting:
            self._intake.submit_accepted(resident, new if each is old else each)

    def _count(self, envelope: TurnEnvelope, messages: int) -> None:
        self.messages += messages
        self.size_bytes += messages * envelope.size_bytes

    def _expire_in_time(self, resident: Resident, envelope: TurnEnvelope) -> None:
        """At its own deadline, in the group and in the mailbox: the turn waits as long as one of them has time."""
        sending = envelope.sending
        assert sending is not None
        if sending.row is None:
            sending.deadline = envelope.deadline
        self._remind(resident, envelope, sending)

    def _remind(self, resident: Resident, envelope: TurnEnvelope, sending: Sending) -> None:
        left_s = min(sending.deadline, sending.too_old_at) - self._clock.monotonic()
        if left_s < inf:
            on_end = sending.on_end
            call = self._alarm.call_in(left_s, partial(self._late, resident, envelope, sending, on_end))
            sending.on_end = partial(_over, call, on_end)

    def _late(
        self,
        resident: Resident,
        envelope: TurnEnvelope,
        sending: Sending,
        on_end: Callable[[TurnEnvelope], None] | None,
    ) -> None:
        sending.on_end = on_end
        if min(sending.deadline, sending.too_old_at) > self._clock.monotonic():
            self._remind(resident, envelope, sending)  # who joined it gave it more time
        elif self.leave(resident, envelope):
            self._expire(resident, envelope, False)

    # To its turn

    async def _close_in_time(self, resident: Resident, kind: type[Message[Any]], group: MergeGroup) -> None:
        while group in self._open and (left_s := group.closes_at - self._clock.monotonic()) > 0:
            await self._clock.sleep(left_s)
        self._close(resident, kind, group)

    def _close(self, resident: Resident, kind: type[Message[Any]], group: MergeGroup) -> None:
        if group not in self._open:
            return  # it was full, or empty
        self._forget(resident, kind, group)
        for member in group.members:
            self._count(member, -1)
        leader = _leader(group.members)
        _follow(leader, group.members)
        _unite(leader, group.members)
        leader.deadline = max(member.deadline for member in group.members)
        leader.size_bytes = sum(member.size_bytes for member in group.members)
        leader.priority = min(member.priority for member in group.members)
        self._intake.submit_accepted(resident, leader)

    def _forget(self, resident: Resident, kind: type[Message[Any]], group: MergeGroup) -> None:
        del self._open[group]
        if resident.inbox is not None and resident.inbox.merging.get(kind) is group:
            del resident.inbox.merging[kind]


def _over(call: Call, on_end: Callable[[TurnEnvelope], None] | None, envelope: TurnEnvelope) -> None:
    call.cancel()
    if on_end is not None:
        on_end(envelope)


def _leader(members: Sequence[TurnEnvelope]) -> TurnEnvelope:
    """Whose turn it is: what is kept of it is kept under this message, so that it has to be one that is kept itself."""
    told = (member for member in members if member.sending is not None and member.sending.row is not None)
    keyed = (member for member in members if member.sending is not None and member.sending.key is not None)
    return next(told, None) or next(keyed, None) or members[0]


def _unite(leader: TurnEnvelope, members: Sequence[TurnEnvelope]) -> None:
    """One turn about all of them, in the order in which they were admitted."""
    assert leader.sending is not None
    leader.sending.members = tuple(members)
    leader.message = [member.sent for member in sorted(members, key=lambda member: member.order)]
    _follow(leader, members)


def _alone(envelope: TurnEnvelope) -> None:
    assert envelope.sending is not None
    envelope.sending.members = ()
    envelope.message = [envelope.sent]


def _follow(leader: TurnEnvelope, members: Sequence[TurnEnvelope]) -> None:
    """Whoever asks after one of them hears of the leader's turn."""
    lead = _ticket(leader)
    if lead.merged_into is not None:
        lead.lead()
    for member in members:
        ticket = _ticket(member)
        if ticket is not lead and ticket.merged_into is not lead:
            ticket.merge_into(lead)


def _ticket(envelope: TurnEnvelope) -> Ticket:
    assert envelope.sending is not None
    return envelope.sending.ticket
