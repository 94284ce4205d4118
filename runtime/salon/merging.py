"""Merging: quick messages wait for each other and become one turn.

A group takes messages until it has been quiet for `window_s`, or its first message has waited for `wait_max_s`,
or it is full; then its turn waits in the mailbox like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salon.overlap import Merge
from salon.turn_envelope import TurnEnvelope

if TYPE_CHECKING:
    from salon.intake import Intake
    from salon.message import Message
    from salon.resident import Resident
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
        self, host: HostLoop, scheduler: Scheduler[Resident, TurnEnvelope], clock: Clock, intake: Intake
    ) -> None:
        self._host = host
        self._scheduler = scheduler
        self._clock = clock
        self._intake = intake
        self._open: dict[MergeGroup, tuple[Resident, type[Message[Any]]]] = {}

    def add(self, resident: Resident, envelope: TurnEnvelope, policy: Merge, *, bounded: bool = True) -> None:
        """Into the group that is open, or a new one."""
        inbox = self._intake.inbox_of(resident)
        kind, now = envelope.handler.message, self._clock.monotonic()
        group = inbox.merging.get(kind)
        if group is None:
            group = inbox.merging[kind] = MergeGroup(policy, now)
            self._open[group] = resident, kind
            self._host.spawn(self._close_in_time, resident, kind, group)
        group.add(envelope, now)
        sending, leader = envelope.sending, group.members[0].sending
        assert sending is not None
        assert leader is not None
        if leader is not sending:
            sending.ticket.merge_into(leader.ticket)
        if group.is_full:
            self._close(resident, kind, group)

    def alone(self, envelope: TurnEnvelope) -> None:
        """A message of a handler that takes lists, in a turn of its own."""
        if envelope.handler.is_list:
            envelope.message = [envelope.message]

    def flush(self) -> None:
        """The runtime drains: nothing more will come, so nothing is waited for."""
        for group, (resident, kind) in tuple(self._open.items()):
            self._close(resident, kind, group)

    def withdraw(self, resident: Resident, envelope: TurnEnvelope) -> bool:
        """Take a message out of a group that is open. False: it is in none."""
        inbox = resident.inbox
        for group in inbox.merging.values() if inbox is not None else ():
            if envelope in group.members and len(group.members) > 1 and group.members[0] is not envelope:
                group.members.remove(envelope)
                return True
        return False

    async def _close_in_time(self, resident: Resident, kind: type[Message[Any]], group: MergeGroup) -> None:
        while not group.is_full and (left_s := group.closes_at - self._clock.monotonic()) > 0:
            await self._clock.sleep(left_s)
        self._close(resident, kind, group)

    def _close(self, resident: Resident, kind: type[Message[Any]], group: MergeGroup) -> None:
        inbox = resident.inbox
        if inbox is None or inbox.merging.get(kind) is not group:
            return  # closed already, when it was full
        del inbox.merging[kind]
        del self._open[group]
        leader = group.members[0]
        assert leader.sending is not None
        leader.sending.members = tuple(group.members)
        leader.message = [member.message for member in group.members]
        leader.deadline = max(member.deadline for member in group.members)
        leader.size_bytes = sum(member.size_bytes for member in group.members)
        leader.priority = min(member.priority for member in group.members)
        self._intake.submit_accepted(resident, leader)
