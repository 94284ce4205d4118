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


def check_keys(**keys: str | None) -> None:
    """Raises ValueError for a key that would not be found again: no text, empty, or not encodable.

    A number would be, in this process; after a restart it is text.
    """
    for name, value in keys.items():
        if value is not None and not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{name} must be text; it is {type(value).__name__}.")
        if value is not None and (not value or not _is_encodable(value)):
            raise ValueError(f"{name} is empty, or is no Unicode text.")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
