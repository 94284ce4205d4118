"""Staging: what a turn does beyond its own session, kept until its commit and dropped with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from salon.identity import Principal
from salon_persistence.records import InboxRow, OutboxRow, TurnRecord
from salon_persistence.store import ByPublicId

if TYPE_CHECKING:
    from salon.message import Message
    from salon.resident import Resident
    from salon.session import Session


@dataclass(slots=True)
class StagedTell:
    """A message for another session, or for this one after the turn."""

    address: ByPublicId
    principal: Principal
    message: Message[Any]
    body: bytes
    receiver: Resident | None = None
    """Found when the turn ends; None: there is none, or it is created by this very turn."""
    child: int | None = None
    """Which of the sessions that this turn creates."""
    lost: str | None = None
    """Why it cannot be delivered, if it cannot."""


class Going:
    """How much of one turn goes to each receiver."""

    def __init__(self) -> None:
        self._to: dict[ByPublicId, tuple[int, int]] = {}

    def to(self, address: ByPublicId) -> tuple[int, int]:
        """Messages, and their bytes."""
        return self._to.get(address, (0, 0))

    def add(self, address: ByPublicId, size_bytes: int) -> None:
        messages, known_bytes = self.to(address)
        self._to[address] = messages + 1, known_bytes + size_bytes


@dataclass(slots=True)
class StagedChild:
    """A session that comes to be with this turn."""

    cls: type[Session[Any, Any]]
    record: TurnRecord

    @property
    def public_id(self) -> str:
        assert self.record.created is not None
        return self.record.created.public_id


@dataclass(slots=True)
class Staged:
    """Everything that one turn has staged so far, in order."""

    tells: list[StagedTell] = field(default_factory=list[StagedTell])
    posts: list[OutboxRow] = field(default_factory=list[OutboxRow])
    children: list[StagedChild] = field(default_factory=list[StagedChild])
    rows: Sequence[InboxRow] = ()
    """Of the tells that are not lost, once they have numbers."""

    def child_of(self, public_id: str) -> int | None:
        """Which of the children has this id."""
        return next((n for n, child in enumerate(self.children) if child.public_id == public_id), None)
