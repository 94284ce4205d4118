"""Retry: how often a message that failed is tried again, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from salon.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again, at the head of the session's queue, with a back-off that doubles; then it is a dead letter.

    Args:
        attempts_max: Attempts in all, the first included; >= 2.
        backoff_s: Seconds before the second one; > 0. They double, up to a minute, with jitter.
    """

    attempts_max: int = 3
    backoff_s: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts_max < 2 or not 0 < self.backoff_s < float("inf"):
            raise ConfigurationError(f"{self}: attempts_max is at least 2, and backoff_s above 0.")


OnError: TypeAlias = Literal["fail", "retry", "quarantine"] | Retry
OnCrash: TypeAlias = Literal["fail"] | Retry


def on_error_of(given: object) -> Retry | Literal["fail", "quarantine"]:
    """What `@receive(on_error=…)` means. Raises ConfigurationError for anything else."""
    if given == "retry":
        return Retry()
    if isinstance(given, Retry):
        return given
    if given == "fail":
        return "fail"
    if given == "quarantine":
        return "quarantine"
    raise ConfigurationError(f"on_error={given!r}: it is 'fail', 'retry', 'quarantine' or a Retry(…).")


def on_crash_of(given: object) -> Retry | None:
    """What `@receive(on_crash=…)` means; None: it fails. Raises ConfigurationError for anything else."""
    if isinstance(given, Retry):
        return given
    if given == "fail":
        return None
    raise ConfigurationError(f"on_crash={given!r}: it is 'fail' or a Retry(…).")
