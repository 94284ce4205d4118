"""Stores that break one promise each about mail. The suite must catch every one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from salon_persistence.memory import MemoryStore
from salon_persistence.memory_mail import Posting
from salon_persistence.parcel import LetterLine
from salon_persistence.records import Mail, NoteRecord, Record, StoredSession
from salon_persistence.store import Address, Applied, ByPublicId, Outcome, StoredLetter
from salon_persistence.write import Extras, Write


def without(record: Record, **parts: Any) -> Record:
    """The record without these parts of its mail."""
    return record if record.mail is None else replace(record, mail=replace(record.mail, **parts))


class LosesNotes(MemoryStore):
    """Says that they are durable, and forgets them."""

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        written = iter(await super().commit([record for record in batch if not isinstance(record, NoteRecord)]))
        return [Applied(r.sid, 0) if isinstance(r, NoteRecord) else next(written) for r in batch]


class SettlesNothing(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        return await super().commit([without(record, inbox_settled=()) for record in batch])


class StartsNothing(MemoryStore):
    """A mark is not durable when the handler begins."""

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        return await super().commit([without(record, inbox_started=()) for record in batch])


class ForgetsSteps(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        return await super().commit([without(record, steps=()) for record in batch])


class PostsTheMailOfAStaleTurn(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        outcomes = await super().commit(batch)
        for record, outcome in zip(batch, outcomes, strict=True):
            if not isinstance(outcome, Applied) and record.mail is not None:
                await super().commit([NoteRecord(sid=record.sid, mail=record.mail)])
        return outcomes


class LetsANotePassALostEpoch(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        if batch and all(isinstance(record, NoteRecord) for record in batch):
            self._epoch, self._stopped = self.file.epoch, None
        return await super().commit(batch)


class ReceivesForTheDead(MemoryStore):
    def _note(self, note: NoteRecord, extras: Extras | None) -> Any:
        assert extras is not None
        assert extras.parcel is not None
        self.file.mail.put([Posting(extras.parcel)])
        return Applied(note.sid, 0)


class LosesWhatHasNoReceiver(MemoryStore):
    def _addressed(self, write: Write) -> list[Posting]:
        postings = super()._addressed(write)
        for posting in postings:
            posting.letters.clear()
        return postings


class KeepsChildrenOfARefusedTurn(MemoryStore):
    def _as_before(self, sid: int) -> Callable[[], None]:
        return lambda: None


class SharesInboxes(MemoryStore):
    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]], /) -> StoredSession | None:
        stored = await super().load(address, windows)
        if stored is None or stored.inbox:
            return stored
        others = [await super(SharesInboxes, self).load(address, windows) for address in self._others(stored)]
        return replace(stored, inbox=[row for other in others if other for row in other.inbox])

    def _others(self, stored: StoredSession) -> list[Address]:
        return [ByPublicId(name) for name, sid in self.file.public_ids.items() if sid != stored.row.sid]


class TouchesTheMailOfOthers(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        outcomes = await super().commit(batch)
        for record, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Applied) and record.mail is not None:
                for sid in self.file.sessions:
                    await super().commit([NoteRecord(sid=sid, mail=Mail(outbox_settled=record.mail.outbox_settled))])
        return outcomes


class ListsMailOfTheEnded(MemoryStore):
    async def mail_waits(self, after_sid: int, limit: int, /) -> Sequence[tuple[int, str]]:
        sids = sorted({*self.file.mail.inbox.sids(), *self.file.mail.outbox.sids()})
        return [(s, self.file.sessions[s].row.public_id) for s in sids if s > after_sid][:limit]


class ForgetsTheOutboxThatWaits(MemoryStore):
    async def mail_waits(self, after_sid: int, limit: int, /) -> Sequence[tuple[int, str]]:
        sids = set(self.file.mail.inbox.sids())
        return [found for found in await super().mail_waits(after_sid, limit) if found[0] in sids]


class GivesThePlaceOfADroppedLetterAgain(MemoryStore):
    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        mail = self.file.mail
        mail._place = max((place for place, _ in mail.letters()), default=0)  # pyright: ignore[reportPrivateUsage]
        return await super().commit(batch)


class ForgetsWhoseALetterIs(MemoryStore):
    def _letter(self, place: int, line: LetterLine) -> StoredLetter:
        return replace(super()._letter(place, line), sid=0)


BROKEN_MAIL: tuple[type[MemoryStore], ...] = (
    LosesNotes,
    SettlesNothing,
    StartsNothing,
    ForgetsSteps,
    PostsTheMailOfAStaleTurn,
    LetsANotePassALostEpoch,
    ReceivesForTheDead,
    LosesWhatHasNoReceiver,
    KeepsChildrenOfARefusedTurn,
    SharesInboxes,
    TouchesTheMailOfOthers,
    ListsMailOfTheEnded,
    ForgetsTheOutboxThatWaits,
    GivesThePlaceOfADroppedLetterAgain,
    ForgetsWhoseALetterIs,
)
