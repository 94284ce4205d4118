"""A resident: one session in memory, an actor that owns its committed image and its next draft."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel

from salon.card import carded, row_on
from salon.draft import Draft
from salon.errors import SchemaTooNew
from salon.info import SessionInfo, info_of
from salon.log_core import SLACK, LogCore
from salon.log_item import LogItems
from salon.turn_envelope import TurnEnvelope
from salon_actors import Actor, Phase
from salon_persistence.image import SessionImage
from salon_persistence.records import LogPage, SessionRow

if TYPE_CHECKING:
    from salon.inbox import Inbox
    from salon.session import Session

ReadSessionPages: TypeAlias = Callable[[int, str, int, int], Awaitable[Sequence[LogPage]]]

NO_CORES: Mapping[str, LogCore[Any]] = MappingProxyType({})


class Resident(Actor[TurnEnvelope]):
    """What one session keeps in memory between turns. Only its own turns and its gate touch it."""

    __slots__ = (
        "_card",
        "_ready",
        "activity_us",
        "cache",
        "cls",
        "cores",
        "doubts",
        "generation",
        "image",
        "inbox",
        "is_short",
        "is_snapshotting",
        "is_stale",
        "public_id",
        "sid",
        "stored_activity_us",
        "user_id",
    )

    def __init__(
        self, cls: type[Session[Any, Any]], row: SessionRow, image: SessionImage, read_pages: ReadSessionPages
    ) -> None:
        super().__init__()
        self.cls = cls
        self.cache: dict[str, Any] | None = None
        """Attributes with an underscore that handlers have set; lost with this object."""
        self.is_snapshotting = False
        self.doubts = 0
        """Grows with whatever makes an answer too old that the store is about to give: see `doubt`."""
        self.sid = row.sid
        self.public_id = row.public_id
        self.image = image
        self.inbox: Inbox | None = None
        """Accepted messages that have not ended; None while there are none that anybody could ask after."""
        self.cores = self._cores(read_pages) if cls.salon_type.states.logs else NO_CORES
        self.restore(row, image)

    def _cores(self, read_pages: ReadSessionPages) -> Mapping[str, LogCore[Any]]:
        async def read(field: str, before: int, items: int) -> Sequence[LogPage]:
            return await read_pages(self.sid, field, before, items)

        found: dict[str, LogCore[Any]] = {}
        for name, items in self.cls.salon_type.states.logs.items():
            field = _stored_name(items, self.image)
            found[name] = LogCore(items, field, self.image.log(field), read)
        return found

    def restore(self, row: SessionRow, image: SessionImage) -> None:
        """Stand where the store says; what was in memory is forgotten.

        Raises:
            SchemaTooNew: The state was written by newer code.
        """
        known = self.cls.salon_type.schema_version
        if image.schema_version > known:
            raise SchemaTooNew(f"{row.type} was written under schema {image.schema_version}; this code knows {known}.")
        self.user_id = row.user_id
        self.generation = row.generation
        self._card = carded(row)
        self.image = image
        self.activity_us = self.stored_activity_us = row.activity_us
        self.is_stale = False
        self.is_short = False
        """A turn has cut items: the window of a log may hold less than a tail may ask for."""
        self.cache = None
        self._ready: BaseModel | None = None
        for core in self.cores.values():
            core.image = image.log(core.field)
            core.cache = None

    def begin(self) -> Draft:
        """A draft for the next turn, equal to the last committed state."""
        ready, self._ready = self._ready, None
        return Draft.over(self.cls.salon_type.states, self.image, self.cores, ready)

    def committed(self, draft: Draft, restored: BaseModel | None) -> None:
        if draft.logs:
            draft.committed()
        self._ready = restored

    def doubt(self) -> None:
        """Memory does not know what the store has; nor does whoever is reading that already."""
        self.is_stale = True
        self.doubts += 1

    @property
    def running(self) -> TurnEnvelope | None:
        """Whose turn runs, if a message's does; of merged ones the first."""
        envelope = self.worker.envelope if self.worker is not None else None
        return envelope if envelope is not None and envelope.mark is None else None

    def runs(self, envelope: TurnEnvelope) -> bool:
        """Whether the turn of this message runs, be it alone or with others."""
        running = self.running
        return running is not None and any(member is envelope for member in running.members)

    @property
    def is_under_way(self) -> bool:
        """A handler runs on its draft, or the store has its turn: what is in memory may not be exchanged."""
        if self.phase is Phase.HELD:
            return True
        return self.worker is not None and self.worker.envelope is not None and self.worker.envelope.frame is not None

    @property
    def windows(self) -> Mapping[str, int]:
        """Items of each log that stay in memory when they are in pages."""
        return windows_of(self.cls)

    def info(self) -> SessionInfo:
        return info_of(self.row(), self.activity_us)

    def row(self) -> SessionRow:
        """Its row as of the last commit, but for the stored deadline and the epoch of its owner."""
        return row_on(
            self._card,
            sid=self.sid,
            public_id=self.public_id,
            type=self.cls.salon_type.name,
            user_id=self.user_id,
            generation=self.generation,
            version=self.image.version,
            head_lsn=self.image.lsn,
            activity_us=self.activity_us,
        )


def windows_of(cls: type[Session[Any, Any]]) -> dict[str, int]:
    logs = cls.salon_type.states.logs.values()
    return {field: items.resident + SLACK for items in logs for field in (items.field, *items.former)}


def _stored_name(items: LogItems[Any], image: SessionImage) -> str:
    """Under which of its names this session stores a log."""
    return next((name for name in (items.field, *items.former) if name in image.logs), items.field)
