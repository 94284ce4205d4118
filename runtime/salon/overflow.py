"""Overflow: what becomes of a message whose session has as many waiting as it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from salon.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Wait:
    """Its sender waits for room, up to `seconds` (> 0) or the message's own deadline, and is then refused."""

    seconds: float

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise ConfigurationError(f"{self}: it must be above 0 seconds.")


WhenFull: TypeAlias = Literal["reject", "drop_oldest"] | Wait


def check_when_full(given: object) -> None:
    """Raises ConfigurationError for what is no such policy."""
    if not isinstance(given, Wait) and given not in ("reject", "drop_oldest"):
        raise ConfigurationError(f"when_full={given!r}: it is 'reject', 'drop_oldest' or a Wait(seconds).")
