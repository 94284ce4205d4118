"""SessionInfo: who and what a session is, for its host; and the facts that only it stores."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from pydantic import BaseModel, JsonValue

from salon_persistence import codec
from salon_persistence.records import Lifecycle, SessionRow

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FACTS: Mapping[int, str] = MappingProxyType({1: "language", 2: "metadata", 3: "idle_timeout_s", 4: "absolute_ttl_s"})
"""What is stored for the name of a fact; never to change, only to grow."""


class SessionFacts(BaseModel, frozen=True):
    """What no search looks for: stored as one value of the session's row."""

    language: str | None = None
    metadata: dict[str, JsonValue] = {}
    idle_timeout_s: float
    absolute_ttl_s: float

    def encode(self) -> bytes:
        """A map with the numbers of `FACTS` for keys; what is not there is left out."""
        return codec.pack({key: value for key, name in FACTS.items() if (value := getattr(self, name))})

    @classmethod
    def decode(cls, data: bytes) -> SessionFacts:
        """Facts of a newer release are passed over."""
        return cls.model_validate({FACTS[key]: value for key, value in codec.unpack(data).items() if key in FACTS})


class SessionInfo(BaseModel, frozen=True):
    """A session as its host sees it: a copy, as of the last commit."""

    session_id: str
    type: str
    name: str | None
    user_id: str | None
    tenant: str | None
    conversation_id: str | None
    device_id: str | None
    language: str | None
    metadata: Mapping[str, JsonValue]
    lifecycle: Lifecycle
    reason: str | None
    """Why it is no longer active."""
    created_at: datetime
    last_activity_at: datetime
    """When its last turn was committed; may lag behind for a session that is not in memory."""
    expires_at: datetime
    """When it is due: its idle timeout after the last turn or its absolute limit, whichever comes first."""


def info_of(row: SessionRow, activity_us: int) -> SessionInfo:
    facts = SessionFacts.decode(row.facts)
    return SessionInfo(
        session_id=row.public_id,
        type=row.type,
        name=row.name,
        user_id=row.user_id,
        tenant=row.tenant or None,
        conversation_id=row.conversation_id,
        device_id=row.device_id,
        language=facts.language,
        metadata=facts.metadata,
        lifecycle=row.lifecycle,
        reason=row.reason,
        created_at=moment(row.created_us),
        last_activity_at=moment(activity_us),
        expires_at=moment(deadline_us(facts, row.created_us, activity_us)),
    )


def deadline_us(facts: SessionFacts, created_us: int, activity_us: int) -> int:
    """When the session is due, in microseconds since 1970."""
    idle = activity_us + int(facts.idle_timeout_s * 1_000_000)
    return min(idle, created_us + int(facts.absolute_ttl_s * 1_000_000))


def moment(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def microseconds(moment: datetime) -> int:
    """Since 1970, UTC; exact, as no float is."""
    return (moment - EPOCH) // timedelta(microseconds=1)
