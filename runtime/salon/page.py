"""A page of something that may be long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

PAGE_LIMIT_MAX = 1000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and where the following page begins."""

    items: Sequence[T]
    next: str | None
    """Cursor of the following page; None at the end."""


def check_limit(limit: int) -> int:
    """Raises ValueError unless 1 <= limit <= 1000."""
    if not 1 <= limit <= PAGE_LIMIT_MAX:
        raise ValueError(f"limit is {limit}; it must be 1 to {PAGE_LIMIT_MAX}.")
    return limit
