"""Who asks, and what an id looks like."""

from __future__ import annotations

import re
from dataclasses import dataclass

from salon.errors import InvalidSessionId

SESSION_ID = re.compile(r"s_[A-Za-z0-9_-]{22}\Z")


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf a verb is called, as the host has authenticated it."""

    user_id: str | None = None
    trusted: bool = False
    """The host itself: owners are not compared."""

    def may_use(self, owner: str | None) -> bool:
        """A session without an owner is open to whoever knows its id."""
        return owner is None or self.trusted or self.user_id == owner


def check_session_id(text: str) -> str:
    """Raises InvalidSessionId for a text that was never an id of ours, before anything is searched."""
    if not isinstance(text, str) or not SESSION_ID.match(text):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSessionId
    return text
