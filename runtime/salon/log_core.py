"""One log of one session, for the session that owns it: its committed image, decoded items, the way to its pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar

from salon.log_item import LogItems
from salon_persistence.log_image import LogImage
from salon_persistence.records import LogPage, LogShape

T = TypeVar("T")

SLACK = 64
"""Items kept beyond `resident`, so that a rewind of a few leaves enough to read without I/O."""

ReadPages: TypeAlias = Callable[[str, int, int], Awaitable[Sequence[LogPage]]]
"""(field, below which number, how many items) -> pages, newest first."""


class LogCore(Generic[T]):
    """What all drafts of one log share; a view has one of its own."""

    __slots__ = ("cache", "field", "image", "items", "read_pages")

    def __init__(self, items: LogItems[T], field: str, image: LogImage, read_pages: ReadPages) -> None:
        self.items = items
        self.field = field
        """The name under which this session stores it."""
        self.image = image
        self.read_pages = read_pages
        self.cache: dict[int, T] | None = None

    def pinned(self) -> LogCore[T]:
        """The log as it is now, for a view: later turns change nothing in it, and it shares no item with them."""
        now = self.image
        image = LogImage(LogShape(now.first, now.next, now.paged, now.cuts, now.redactions))
        image.items, image.keys = now.items.copy(), now.keys
        return LogCore(self.items, self.field, image, self.read_pages)

    def decoded(self, number: int, data: bytes) -> T:
        """Items are immutable, so that sharing them between turns shares nothing that can change."""
        if self.cache is None:
            self.cache = {}
        if number not in self.cache:
            self.cache[number] = self.items.decode(data)
        return self.cache[number]

    def as_of_now(self, number: int, data: bytes) -> T:
        """An item that was read from a page, with what was redacted since."""
        return self.items.decode(self.image.redactions.get(number, data))

    def remember(self, decoded: Mapping[int, T], forgotten: Sequence[int]) -> None:
        """After a commit: what it appended, and what it changed or dropped."""
        if self.cache is None:
            self.cache = {}
        self.cache.update(decoded)
        for number in forgotten:
            self.cache.pop(number, None)
        if len(self.cache) > 2 * (self.items.resident + SLACK):
            start = self.image.next - self.items.resident - SLACK  # the newest half, or it would be rebuilt each time
            self.cache = {number: item for number, item in self.cache.items() if number >= start}
