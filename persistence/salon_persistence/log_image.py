"""The committed image of one log: where its numbers stand, and the bytes of its newest items."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from salon_persistence.records import LogDelta, LogPage, LogShape

PAGE_ITEMS_MAX = 64
PAGE_BYTES_MAX = 16 * 1024

Cut = tuple[int, int]


def merge_cuts(cuts: Iterable[Cut], first: int) -> tuple[Cut, ...]:
    """Half-open ranges in order, without overlap, and without what `first` drops anyway."""
    merged: list[Cut] = []
    for start, end in sorted(cuts):
        start = max(start, first)
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif start < end:
            merged.append((start, end))
    return tuple(merged)


def is_cut(cuts: Sequence[Cut], number: int) -> bool:
    """Whether one of `cuts`, which are merged, holds the number."""
    place = bisect_right(cuts, number, key=_start) - 1
    return place >= 0 and number < cuts[place][1]


def _start(cut: Cut) -> int:
    return cut[0]


def dead_pages(shape: LogShape, firsts: Sequence[int]) -> list[int]:
    """Those of the pages, by their first numbers in order, that hold nothing which is still there at `shape`.

    The number behind a dropped range is living, so that it begins a page if it is not in the range's last one.
    An older snapshot does not miss them: with the turns after it, every load ends at `shape` or beyond.
    """
    dead: list[int] = []
    for start, end in merge_cuts(((0, shape.first), *shape.cuts), 0):
        inside = firsts[bisect_left(firsts, start) : (behind := bisect_left(firsts, end))]
        following = firsts[behind] if behind < len(firsts) else shape.paged
        dead += inside if following <= end else inside[:-1]
    return dead


def in_pages(items: Iterable[tuple[int, bytes]]) -> Iterator[tuple[tuple[int, bytes], ...]]:
    """The items in chunks of at most 64 items and 16 KB."""
    chunk: list[tuple[int, bytes]] = []
    size = 0
    for item in items:
        length = len(item[1])
        if chunk and (len(chunk) == PAGE_ITEMS_MAX or size + length > PAGE_BYTES_MAX):
            yield tuple(chunk)
            chunk, size = [], 0
        chunk.append(item)
        size += length
    if chunk:
        yield tuple(chunk)


@dataclass(frozen=True, slots=True)
class Mended:
    """Older pages with the bytes that their redacted items have now."""

    pages: list[LogPage]
    dropped: list[int]
    """First numbers of pages that are not to be found under them any more."""
    left: Mapping[int, bytes]
    """Redactions whose page was not among them."""


class LogImage:
    """One log at the last committed version.

    `items` are the living ones that are not in pages yet, and of those that are, the newest, as a window to read
    without I/O. A list, not a deque: an empty deque costs 760 bytes, and it is trimmed once per snapshot.
    """

    __slots__ = ("cuts", "first", "items", "keys", "next", "paged", "paging", "redactions")

    def __init__(self, shape: LogShape | None = None) -> None:
        self.first, self.next, self.paged = (shape.first, shape.next, shape.paged) if shape else (0, 0, 0)
        self.paging = self.paged
        """Items below it are in pages, or in those of a snapshot under way, which has their bytes of before."""
        self.cuts: tuple[Cut, ...] = tuple(shape.cuts) if shape else ()
        self.redactions: Mapping[int, bytes] = shape.redactions if shape else {}
        self.items: list[tuple[int, bytes]] = []
        self.keys: dict[str, int] | None = None

    def __len__(self) -> int:
        return self.next - self.first - sum(end - start for start, end in self.cuts)

    def is_living(self, number: int) -> bool:
        return self.first <= number < self.next and not is_cut(self.cuts, number)

    @property
    def window_start(self) -> int:
        """Every living item from this number on is in `items`."""
        return self.items[0][0] if self.items else self.next

    def apply(self, delta: LogDelta) -> None:
        """What a committed turn did; the same whether it happens now or is read from the journal."""
        if delta.cuts or delta.first != self.first:
            self._drop(delta)
        if delta.redactions:
            self._redact(delta.redactions)
        self.items.extend(delta.items)
        if delta.keys:
            self.keys = {**(self.keys or {}), **delta.keys}
        self.next = delta.next

    def _drop(self, delta: LogDelta) -> None:
        self.first = delta.first
        self.cuts = merge_cuts((*self.cuts, *delta.cuts), self.first)
        self.items = [item for item in self.items if self.is_living(item[0])]
        self.redactions = {number: data for number, data in self.redactions.items() if self.is_living(number)}
        self._forget_keys()

    def _redact(self, redactions: Mapping[int, bytes]) -> None:
        self.items = [(number, redactions.get(number, data)) for number, data in self.items]
        in_pages = {number: data for number, data in redactions.items() if number < self.paging}
        self.redactions = {**self.redactions, **in_pages}

    def begin_paging(self) -> None:
        """A snapshot takes the items as they are now. What was redacted beside one that failed is among them."""
        self.redactions = {number: data for number, data in self.redactions.items() if number < self.paged}
        self.paging = self.next

    def shape(self, *, paged: int, redactions: Mapping[int, bytes]) -> LogShape:
        return LogShape(self.first, self.next, paged, self.cuts, dict(redactions))

    def pages(self, field: str) -> list[LogPage]:
        """The living items that are in no page yet, in pages of at most 64 items and 16 KB."""
        unpaged = (item for item in self.items if item[0] >= self.paged)
        return [self._page(field, chunk) for chunk in in_pages(unpaged)]

    def _page(self, field: str, items: Sequence[tuple[int, bytes]]) -> LogPage:
        numbers = {number for number, _ in items}
        keys = {key: number for key, number in (self.keys or {}).items() if number in numbers}
        return LogPage(field, items, keys)

    def mended(self, field: str, old: Sequence[LogPage]) -> Mended:
        pages: list[LogPage] = []
        dropped: list[int] = []
        left = dict(self.redactions)
        for page in old:
            if page.first >= self.paged:
                continue  # Of a snapshot that was lost: its items come with the new pages.
            living = self.living(page)
            if not living or living[0][0] != page.first:
                dropped.append(page.first)
            if living:
                pages.append(LogPage(field, living, page.keys))
            for number, _ in page.items:
                left.pop(number, None)
        return Mended(pages, dropped, left)

    def written(self, page: LogPage) -> None:
        """A page is durable: redactions that are in it need not be kept beside it."""
        if self.redactions:
            in_page = dict(page.items)
            self.redactions = {n: data for n, data in self.redactions.items() if in_page.get(n) != data}

    def read_back(self, page: LogPage) -> None:
        """Put the living items of an older page in front of the window."""
        start = self.window_start
        self.items[:0] = [item for item in self.living(page) if item[0] < start]
        if page.keys:
            self.keys = {**page.keys, **(self.keys or {})}
            self._forget_keys()

    def living(self, page: LogPage) -> list[tuple[int, bytes]]:
        """The items of a page that are still there, with the bytes they have now."""
        return [(number, self.redactions.get(number, data)) for number, data in page.items if self.is_living(number)]

    def paged_until(self, paged: int, keep: int) -> None:
        """A snapshot is durable: items below `paged` are in pages; of them, the newest `keep` stay in the window."""
        self.paged = paged
        living = len(self.items)
        unpaged = sum(1 for number, _ in self.items if number >= paged)
        surplus = living - max(keep, unpaged)
        if surplus > 0:
            self.items = self.items[surplus:]  # not in place: a running draft reads the list that it began with
            self._forget_keys()

    def _forget_keys(self) -> None:
        if self.keys:
            start = self.window_start
            self.keys = {key: n for key, n in self.keys.items() if n >= start and self.is_living(n)} or None
