"""What a session can be found by, besides its id."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKeys:
    """What a session can be found by, besides its id."""

    name: str | None
    user_id: str | None
    tenant: str | None
    conversation_id: str | None = None
    device_id: str | None = None
