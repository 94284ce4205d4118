"""Dead letters: messages that will not run, outgoing ones that will not leave: to look at, send again or drop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from salon.deliver import Deliverer
from salon.errors import (
    Corrupt,
    DeadLetterNotFound,
    MessageInvalid,
    NoHandler,
    SalonError,
    SchemaTooNew,
    SessionNotFound,
)
from salon.info import moment
from salon.message import Message
from salon.message_codec import MessageCodec
from salon.metrics import Counters
from salon.outbox import Outbox
from salon.outgoing import Outgoing
from salon.page import Page, check_limit
from salon.resident import Resident
from salon.session import Session
from salon.translation import translated
from salon_actors import HostLoop, Promise
from salon_persistence.bridge import Bridge
from salon_persistence.errors import CorruptRecord, StoreError
from salon_persistence.records import InboxRow, Mail, NoteRecord, OutboxRow
from salon_persistence.store import Applied, LetterQuery, Outcome, StoredLetter, Unknown

RECEIVER_GONE = "receiver_gone"
"""The reason of a letter that the store itself has written: the message was for another session than the letter's."""
RECEIVER = "receiver_"
"""What the reasons of all such letters begin with."""

PLACE_MAX = (1 << 63) - 1

Refusal: TypeAlias = Callable[[Resident | None, Any], SalonError]


class DeadLetter(BaseModel, frozen=True):
    """What is known of a dead letter without opening it: nothing of what was said."""

    id: str
    session_id: str
    """Empty: the session was deleted."""
    type: str
    """Of the session, as it is stored."""
    kind: Literal["message", "outgoing"]
    reason: str
    """Such as `attempts_exhausted`."""
    message: str
    """Stored name of the message, or of the outgoing one."""
    at: datetime
    """When it died."""
    attempts: int
    """How often it was begun."""
    cause: str
    """Class of the error that the last attempt ended with; empty when there was none."""
    state_version: int
    """Turns that the session had committed when it died."""


@dataclass(frozen=True, slots=True)
class OpenedLetter:
    """A dead letter with what it says."""

    letter: DeadLetter
    message: Message[Any] | Outgoing | None
    """None: no class of today's code reads it."""
    body: bytes
    """As it is stored."""
    key: str | None
    """Of a message its idempotency key, of an outgoing one its delivery's."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where a letter goes that is sent again."""

    find: Callable[[str], Awaitable[Resident]]
    """The session of this public id; raises SessionNotFound."""
    number: Callable[[], int]
    """One that was never used in this store."""
    accept: Callable[[Resident, InboxRow], None]
    """Takes a message that is in the durable inbox; called on the host loop."""
    outbox: Outbox
    refusal: Refusal
    """What to raise when the store has not taken a note."""
    look_again: Callable[[Resident], None]
    """Reads a session back of which nobody knows what the store has."""


class DeadLetters:
    """Those of one Runtime, for its host: owners of sessions are not compared."""

    def __init__(
        self,
        bridge: Bridge,
        host: HostLoop,
        now_us: Callable[[], int],
        types: Mapping[str, type[Session[Any, Any]]],
        deliverers: Mapping[type[Any], Mapping[str, Deliverer]],
        doors: Doors,
        counters: Counters,
    ) -> None:
        """One for each Runtime, so that no letter is sent twice by two who ask at a time.

        Args:
            types: By all their stored names.
            deliverers: Of each session class, by all stored names of the kind.
        """
        self._bridge = bridge
        self._host = host
        self._now_us = now_us
        self._types = types
        self._deliverers = deliverers
        self._doors = doors
        self._counters = counters
        self._under_way: set[str] = set()

    async def list(self, *, after: str | None = None, limit: int = 50) -> Page[DeadLetter]:
        """Letters of all sessions, oldest first.

        Args:
            after: `Page.next` of the page before.
            limit: 1 to 1000.

        Raises:
            ValueError: An argument is out of its bounds.
            StoreUnavailable, Corrupt: They cannot be read.
        """
        query = LetterQuery(after=None if after is None else _place(after), limit=check_limit(limit) + 1)
        try:
            found = await self._bridge.letters(query)
        except StoreError as error:
            raise translated(error) from error
        following = str(found[limit - 1].place) if len(found) > limit else None
        return Page([_shown(stored) for stored in found[:limit]], following)

    async def inspect(self, id: str) -> OpenedLetter:
        """One letter, opened: the only verb that shows what was said.

        Raises:
            DeadLetterNotFound: There is none of this id, or no more.
        """
        stored = await self._stored(id)
        message: Message[Any] | Outgoing | None = None
        try:
            message = self._read(stored)
        except (Corrupt, MessageInvalid, NoHandler, SchemaTooNew):
            pass  # that is why it is here, perhaps
        return OpenedLetter(_shown(stored), message, stored.row.body, stored.row.key)

    async def redrive(self, id: str) -> None:
        """Send it again, behind what waits now; durable when this returns, and the letter is gone.

        A message goes to its session's inbox as a new turn, without its key; an outgoing one to the outbox, under the
        key that its receiver may know.

        Raises:
            DeadLetterNotFound: There is none of this id, or no more, or somebody else deals with it right now.
            SessionNotFound: The session that it was for is gone.
            NoHandler, MessageInvalid, SchemaTooNew, Corrupt: It would die again: today's code does not take it.
            NotApplied, OutcomeUnknown, Fenced, StoreUnavailable: The store has not taken it; look before you repeat.
                After OutcomeUnknown the session is read back: the letter is there still, or its message runs.

        Cancellation: only the waiting stops once the store has it.
        """
        await self._deal(id, self._redriven)

    async def drop(self, id: str) -> None:
        """Forget it; durable when this returns.

        Raises:
            DeadLetterNotFound: There is none of this id, or no more, or somebody else deals with it right now.
            NotApplied, OutcomeUnknown, Fenced, StoreUnavailable: The store has not taken it.

        Cancellation: only the waiting stops once the store has it.
        """
        await self._deal(id, self._dropped)

    async def _deal(self, id: str, deal: Callable[[StoredLetter], Awaitable[Promise[Outcome]]]) -> None:
        if id in self._under_way:
            raise DeadLetterNotFound
        self._under_way.add(id)
        try:
            handed_over = await deal(await self._stored(id))
        except BaseException:
            self._under_way.discard(id)
            raise
        outcome = await handed_over
        if not isinstance(outcome, Applied):
            raise self._doors.refusal(None, outcome)

    async def _dropped(self, stored: StoredLetter) -> Promise[Outcome]:
        def then() -> None:
            self._counters.dead_letters_dropped += 1

        return self._note(stored, 0, Mail(dead_letters_dropped=[stored.row.id]), then)

    async def _redriven(self, stored: StoredLetter) -> Promise[Outcome]:
        if stored.row.reason.startswith(RECEIVER) or not stored.public_id:
            raise SessionNotFound
        self._read(stored)
        resident = await self._doors.find(stored.public_id)
        if stored.row.kind == "outgoing":
            return self._posted(stored, resident)
        return self._accepted(stored, resident)

    def _posted(self, stored: StoredLetter, resident: Resident) -> Promise[Outcome]:
        letter = stored.row
        row = OutboxRow(
            number=self._doors.number(),
            key=letter.key or letter.id,
            kind=letter.message,
            schema_version=letter.schema_version,
            body=letter.body,
        )

        def then() -> None:
            self._counters.dead_letters_redriven += 1
            self._doors.outbox.take(resident, [row])

        mail = Mail(dead_letters_dropped=[letter.id], outbox_added=[row])
        return self._note(stored, resident.generation, mail, then, resident)

    def _accepted(self, stored: StoredLetter, resident: Resident) -> Promise[Outcome]:
        letter = stored.row
        row = InboxRow(
            number=self._doors.number(),
            sid=stored.sid,
            priority=letter.priority,
            message=letter.message,
            schema_version=letter.schema_version,
            body=letter.body,
            accepted_us=self._now_us(),
        )

        def then() -> None:
            self._counters.dead_letters_redriven += 1
            self._doors.accept(resident, row)

        mail = Mail(dead_letters_dropped=[letter.id], inbox_added=[row])
        return self._note(stored, resident.generation, mail, then, resident)

    def _note(
        self,
        stored: StoredLetter,
        generation: int,
        mail: Mail,
        then: Callable[[], None],
        receiver: Resident | None = None,
    ) -> Promise[Outcome]:
        promise: Promise[Outcome] = self._host.promise()

        def done(outcome: Outcome) -> None:
            self._under_way.discard(stored.row.id)
            try:
                if isinstance(outcome, Applied):
                    then()
                elif isinstance(outcome, Unknown) and receiver is not None:
                    receiver.doubt()
                    self._doors.look_again(receiver)
            finally:
                promise.set_result(outcome)

        self._bridge.commit(NoteRecord(sid=stored.sid, generation=generation, mail=mail), done)
        return promise

    async def _stored(self, id: str) -> StoredLetter:
        try:
            stored = await self._bridge.letter(id)
        except StoreError as error:
            raise translated(error) from error
        if stored is None:
            raise DeadLetterNotFound
        return stored

    def _read(self, stored: StoredLetter) -> Message[Any] | Outgoing:
        """What it says, if today's code reads it."""
        row = stored.row
        codec = self._codec(stored)
        if codec is None:
            raise NoHandler(f"Sessions of type {stored.type!r} do not take {row.message!r}.")
        try:
            message: Message[Any] | Outgoing = codec.decode(row.body, row.schema_version)
        except CorruptRecord as error:
            raise translated(error) from error
        return message

    def _codec(self, stored: StoredLetter) -> MessageCodec[Any] | None:
        cls = self._types.get(stored.type)
        if cls is None:
            return None
        if stored.row.kind == "outgoing":
            deliverer = self._deliverers.get(cls, {}).get(stored.row.message)
            return None if deliverer is None else deliverer.codec
        for message, handler in cls.salon_type.handlers.items():
            if stored.row.message in message.salon_name.all:
                return handler.codec
        return None


def _shown(stored: StoredLetter) -> DeadLetter:
    row = stored.row
    return DeadLetter(
        id=row.id,
        session_id=stored.public_id,
        type=stored.type,
        kind=row.kind,
        reason=row.reason,
        message=row.message,
        at=moment(row.at_us),
        attempts=row.attempts,
        cause=row.cause,
        state_version=row.state_version,
    )


def _place(cursor: str) -> int:
    if not cursor.isdecimal() or len(cursor) > 19 or int(cursor) > PLACE_MAX:
        raise ValueError("This is not a cursor of the dead letters.")
    return int(cursor)
