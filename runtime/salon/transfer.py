"""Transfers: what a turn has staged for others becomes rows of its own commit, and reaches them after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from salon import errors
from salon.closing import StagedRows
from salon.deliver import deliverer_for
from salon.staging import Going, Staged, StagedChild, StagedTell
from salon.turn_id import turn_id
from salon_persistence.records import DeadLetterRow, InboxRow, TurnRecord
from salon_persistence.store import ByPublicId

if TYPE_CHECKING:
    from pydantic import BaseModel

    from salon.activation import Residents
    from salon.creation import Creation
    from salon.door import Door
    from salon.frame import Frame
    from salon.identity import Principal
    from salon.info import SessionFacts
    from salon.keys import SessionKeys
    from salon.limits import Limits
    from salon.message import Message
    from salon.message_codec import MessageCodec
    from salon.metrics import Counters
    from salon.outbox import Outbox
    from salon.outgoing import Outgoing
    from salon.resident import Resident
    from salon.restoring import Restoring
    from salon.session import Session
    from salon_actors import Clock, HostLoop, Scheduler
    from salon_persistence.store import Applied

logger = logging.getLogger("salon")

UNUSABLE = (
    errors.Corrupt,
    errors.SchemaTooNew,
    errors.StateInvalid,
    errors.SessionParked,
    errors.TurnFailed,
    errors.ConfigurationError,
)
"""What keeps a receiver from coming into memory, other than the store: it is not the sender's fault."""


class Transfers:
    """From one session's turn to the inbox of another, to sessions that come to be, and out of the process."""

    def __init__(
        self,
        host: HostLoop,
        door: Door,
        residents: Residents,
        creation: Creation,
        restoring: Restoring,
        outbox: Outbox,
        scheduler: Scheduler[Any, Any],
        limits: Limits,
        clock: Clock,
        types: Mapping[str, type[Session[Any, Any]]],
        numbers: Callable[[], int],
        counters: Counters,
    ) -> None:
        self._host = host
        self._door = door
        self._residents = residents
        self._creation = creation
        self._restoring = restoring
        self._outbox = outbox
        self._scheduler = scheduler
        self._limits = limits
        self._monotonic = clock.monotonic
        self._codecs = _codecs(types)
        self._numbers = numbers
        self._counters = counters

    # While the turn runs

    def tell(
        self,
        frame: Frame,
        cls: type[Session[Any, Any]] | None,
        address: ByPublicId,
        principal: Principal,
        message: Message[Any],
    ) -> None:
        """Raises NoHandler and MessageInvalid at once; what else can go wrong makes a dead letter."""
        known = self._codecs if cls is None else _codecs({"": cls})
        message_codec = known.get(type(message))
        if message_codec is None:
            who = "No session type of this runtime" if cls is None else cls.__name__
            raise errors.NoHandler(f"{who} handles {type(message).__name__}.")
        frame.staging().tells.append(StagedTell(address, principal, message, message_codec.encode(message)))

    def post(self, frame: Frame, outgoing: Outgoing) -> None:
        """Raises ConfigurationError when nothing of its class carries such a thing; MessageInvalid."""
        cls = frame.resident.cls
        deliverer = deliverer_for(cls.__name__, cls.salon_type.deliveries, outgoing)
        posts = frame.staging().posts
        posts.append(deliverer.row(outgoing, 0, f"{frame.envelope.turn_id}/{len(posts) + 1}"))

    def create(
        self,
        frame: Frame,
        cls: type[Session[Any, Any]],
        keys: SessionKeys,
        facts: SessionFacts,
        state: BaseModel | None,
    ) -> str:
        """Stages a new session, and returns its id. Raises CapacityExceeded, StateInvalid, ValueError."""
        self._creation.check_room(len(frame.staging().children) + 1)
        record = self._creation.record(cls, keys, facts, state)
        child = StagedChild(cls, record)
        frame.staging().children.append(child)
        return child.public_id

    # When it ends

    async def resolve(self, staged: Staged, sender: Resident) -> None:
        """Find the receivers; one that cannot take its message makes a dead letter, and the sender's turn stands.

        Raises:
            StoreUnavailable, Draining: One could not be looked for.
        """
        going = Going()
        for tell in staged.tells:
            tell.child = staged.child_of(tell.address.public_id)
            try:
                if tell.child is None:
                    tell.receiver = await self._door.enter(None, tell.address, tell.principal)
            except errors.SessionNotFound:
                tell.lost = "receiver_gone"
            except UNUSABLE as error:
                tell.lost = f"receiver_unusable: {type(error).__name__}"
            else:
                tell.lost = self._refusal(_class_of(staged, tell), tell, going)

    def _refusal(self, cls: type[Session[Any, Any]], tell: StagedTell, going: Going) -> str | None:
        """Why it cannot take the message, beside those of this turn that go there too."""
        if type(tell.message) not in cls.salon_type.handlers:
            return "receiver_without_handler"
        size, receiver = len(tell.body), tell.receiver
        depth, waiting_bytes = going.to(tell.address)
        age_s = 0.0
        if receiver is not None:
            depth, waiting_bytes = depth + receiver.depth, waiting_bytes + receiver.waiting_bytes
            age_s = self._scheduler.oldest_age(receiver, self._monotonic())
        if self._limits.mailbox(size, depth, waiting_bytes, age_s) is not None:
            return "receiver_full"
        going.add(tell.address, size)
        return None

    def rows(self, staged: Staged, sender: Resident, record: TurnRecord) -> StagedRows:
        """What the record takes along. Numbers are given now, so that their order is that of the commits."""
        tells: list[InboxRow] = []
        letters: list[DeadLetterRow] = []
        for tell in staged.tells:
            number = self._numbers()
            if tell.lost is not None:
                self._counters.dead_lettered += 1
                letters.append(_letter(tell, number, record))
            else:
                tells.append(_row(tell, number, record.at_us))
        staged.posts = [replace(post, number=self._numbers()) for post in staged.posts]
        staged.rows = tells
        return StagedRows(tells, staged.posts, [child.record for child in staged.children], letters)

    def committed(self, staged: Staged, sender: Resident, applied: Applied) -> None:
        """It is durable: now it leaves."""
        if staged.posts:
            self._outbox.take(sender, staged.posts)
        children = [
            self._creation.created(child.cls, child.record, sid)
            for child, sid in zip(staged.children, applied.children, strict=True)
        ]
        for tell, row in zip([tell for tell in staged.tells if tell.lost is None], staged.rows, strict=True):
            if row.number in applied.undelivered:
                continue  # its receiver was gone by then, and the store has made a letter of it
            receiver = tell.receiver if tell.child is None else children[tell.child]
            assert receiver is not None
            self._hand_over(receiver, replace(row, sid=receiver.sid))

    def _hand_over(self, receiver: Resident, row: InboxRow) -> None:
        if self._residents.at_hand(receiver.public_id) is receiver:
            self._restoring.arrived(receiver, row)
        else:
            self._host.spawn(self._bring_in, receiver.public_id)

    async def _bring_in(self, public_id: str) -> None:
        """It has left memory meanwhile: whoever brings it back finds the row in its inbox."""
        try:
            await self._residents.find(ByPublicId(public_id))
        except errors.SalonError as error:
            logger.warning("salon: a session with messages could not be read: %s", error)


def _class_of(staged: Staged, tell: StagedTell) -> type[Session[Any, Any]]:
    if tell.child is not None:
        return staged.children[tell.child].cls
    assert tell.receiver is not None
    return tell.receiver.cls


def _codecs(types: Mapping[str, type[Session[Any, Any]]]) -> dict[type[Message[Any]], MessageCodec[Any]]:
    return {kind: handler.codec for cls in types.values() for kind, handler in cls.salon_type.handlers.items()}


def _row(tell: StagedTell, number: int, at_us: int) -> InboxRow:
    if tell.child is not None:
        sid = -(tell.child + 1)
    else:
        assert tell.receiver is not None
        sid = tell.receiver.sid
    name = type(tell.message).salon_name
    return InboxRow(number, sid, 1, name.name, name.schema_version, tell.body, accepted_us=at_us)


def _letter(tell: StagedTell, number: int, record: TurnRecord) -> DeadLetterRow:
    name = type(tell.message).salon_name
    return DeadLetterRow(
        id=turn_id(number),
        kind="message",
        reason=tell.lost or "",
        message=name.name,
        schema_version=name.schema_version,
        body=tell.body,
        at_us=record.at_us,
        attempts=0,
        state_version=record.version,
    )
