"""The ledger of one session: how its messages ended, for senders who ask again.

There may be ten thousand of them, and few are ever asked for: those that are in pages are kept encoded.
Measured with a key of 16 bytes and a reply of 40, each takes 260 to 300 bytes of memory, 380 before it is in a page,
and 130 in the file; ten thousand are loaded in 7 ms.
Like the items of a log they move, once, from the journal into pages, so that a snapshot does not write them again.
Those without a key are fewer promises: they go in between, and leave an empty place until what is before them went.
"""

from collections.abc import Iterator, Mapping, Sequence

from msgpack import packb, unpackb

from salon_persistence.journal import from_entry, to_entry
from salon_persistence.log_image import Cut, in_pages, is_cut
from salon_persistence.records import LEDGER, LedgerEntry, LogPage, LogShape
from salon_persistence.turn_number import number_of

GONE = b""
"""In the place of an entry that was dropped from between others."""


class Ledger:
    """Entries in the order in which they were recorded; of two with one key the later counts."""

    __slots__ = ("_by_key", "_by_turn", "_cuts", "_entries", "_first", "_gone", "_paged", "_swept", "forgotten")

    def __init__(self, shape: LogShape | None = None, forgotten: int = 0) -> None:
        self.forgotten = forgotten
        """The highest number of a turn whose entry was dropped: no entry, and a lower number, may be one of those."""
        self._first, self._paged = (shape.first, shape.paged) if shape else (0, 0)
        self._cuts: Sequence[Cut] = shape.cuts if shape else ()
        """Until the pages were read: numbers that are gone."""
        self._entries: list[LedgerEntry | bytes] = []
        """From number `_first` on; bytes are encoded ones."""
        self._gone = 0
        """Places that are empty."""
        self._swept = self._first
        """Below this number each place is empty, or its entry is the one of a key."""
        self._by_key: dict[str, int] = {}
        self._by_turn: dict[str, int] | None = None
        """Made when it is asked for first, which is when a receipt outlives its process."""

    def __len__(self) -> int:
        return len(self._entries) - self._gone

    @property
    def keyed(self) -> int:
        """Entries that are found by their keys."""
        return len(self._by_key)

    def add(self, entry: LedgerEntry) -> None:
        number = self._first + len(self._entries)
        self._entries.append(entry)
        if entry.key is not None:
            self._by_key[entry.key] = number
        if self._by_turn is not None:
            self._by_turn[entry.turn] = number

    @property
    def oldest_us(self) -> int | None:
        """When the oldest entry with a key was recorded; None when there is none."""
        if not self._by_key:
            return None
        oldest = min(self._by_key.values())
        return _decoded(self._entries[oldest - self._first]).at_us

    def of_key(self, key: str) -> LedgerEntry | None:
        return self._entry(self._by_key.get(key))

    def of_turn(self, turn: str) -> LedgerEntry | None:
        if self._by_turn is None:
            places = enumerate(self._entries, start=self._first)
            self._by_turn = {_turn_of(kept): number for number, kept in places if kept != GONE}
        return self._entry(self._by_turn.get(turn))

    def forget(self, before_us: int, unkeyed_max: int | None = None) -> int:
        """Drop the entries from before that time; how many those were.

        They are dropped from the front, so that one behind a younger entry stays until that goes too.
        With `unkeyed_max`, also younger ones that no key finds, the oldest first, until no more than so many are left.
        It becomes durable with the next snapshot; until then a restart brings them back.
        """
        before = len(self)
        self._forget_old(before_us)
        if unkeyed_max is not None:
            self._forget_unkeyed(unkeyed_max)
        return before - len(self)

    def _forget_old(self, before_us: int) -> None:
        places = 0
        for number, kept in enumerate(self._entries, start=self._first):
            if kept != GONE:
                entry = _decoded(kept)
                if entry.at_us >= before_us:
                    break
                self._forget_names(number, entry)
            else:
                self._gone -= 1
            places += 1
        del self._entries[:places]
        self._first += places
        self._swept = max(self._swept, self._first)

    def _forget_unkeyed(self, unkeyed_max: int) -> None:
        while len(self) - self.keyed > unkeyed_max:
            number, place = self._swept, self._swept - self._first
            self._swept += 1
            kept = self._entries[place]
            if kept == GONE:
                continue
            entry = _decoded(kept)
            if entry.key is None or self._by_key.get(entry.key) != number:
                self._forget_names(number, entry)
                self._entries[place] = GONE
                self._gone += 1

    def shape(self) -> LogShape:
        """As it is when all entries are in pages."""
        behind = self._first + len(self._entries)
        return LogShape(self._first, behind, behind, tuple(self._empty()))

    def _empty(self) -> Iterator[Cut]:
        """The ranges of empty places."""
        if not self._gone:
            return
        start: int | None = None
        for number, kept in enumerate(self._entries, start=self._first):
            if kept == GONE and start is None:
                start = number
            elif kept != GONE and start is not None:
                yield start, number
                start = None
        if start is not None:
            yield start, self._first + len(self._entries)

    def pages(self) -> list[LogPage]:
        """The entries that are in no page yet; from now on they are kept as their pages have them."""
        entries = dict(self._unpaged())
        encoded = {number: packb(from_entry(entry)) for number, entry in entries.items()}
        for number, data in encoded.items():
            self._entries[number - self._first] = data
        keys = {entry.key: number for number, entry in entries.items() if entry.key is not None}
        return [LogPage(LEDGER, chunk, _keys_among(keys, chunk)) for chunk in in_pages(encoded.items())]

    def _unpaged(self) -> Iterator[tuple[int, LedgerEntry]]:
        start = max(self._paged, self._first)
        for number, kept in enumerate(self._entries[start - self._first :], start=start):
            if kept != GONE:
                yield number, _decoded(kept)

    def paged_until(self, paged: int) -> None:
        """A snapshot is durable: entries below `paged` are in pages."""
        self._paged = paged

    def read_back(self, pages: Sequence[LogPage]) -> None:
        """Its entries from pages, once, before any is added.

        Pages that a newer, damaged snapshot has dropped are missed; then what was in them counts as forgotten.
        """
        ordered = sorted(pages, key=_first_of)
        items = {number: data for page in ordered for number, data in page.items}
        for number in sorted(items):
            if self._first <= number < self._paged:  # those behind come again with the tail
                self._fill(number, items[number])
        self._fill_up(self._paged)
        for page in ordered:
            self._by_key.update(page.keys)
        self._by_key = {key: number for key, number in self._by_key.items() if self._is_here(number)}
        self._swept, self._cuts = self._first, ()

    def _fill(self, number: int, encoded: bytes) -> None:
        """The next one that there is; those between are gone, perhaps without a word of this snapshot."""
        missed = self._first + len(self._entries)
        if missed < number and not is_cut(self._cuts, missed):
            self.forgotten = max(self.forgotten, number_of(_turn_of(encoded)))
        self._fill_up(number)
        is_gone = is_cut(self._cuts, number)
        self._entries.append(GONE if is_gone else encoded)
        self._gone += is_gone

    def _fill_up(self, until: int) -> None:
        empty = max(until - self._first - len(self._entries), 0)
        self._entries += [GONE] * empty
        self._gone += empty

    def _is_here(self, number: int) -> bool:
        return self._first <= number < self._paged and self._entries[number - self._first] != GONE

    def _entry(self, number: int | None) -> LedgerEntry | None:
        return None if number is None else _decoded(self._entries[number - self._first])

    def _forget_names(self, number: int, entry: LedgerEntry) -> None:
        self.forgotten = max(self.forgotten, number_of(entry.turn))
        if entry.key is not None and self._by_key.get(entry.key) == number:
            del self._by_key[entry.key]
        if self._by_turn is not None and self._by_turn.get(entry.turn) == number:
            del self._by_turn[entry.turn]


def _decoded(kept: LedgerEntry | bytes) -> LedgerEntry:
    return to_entry(unpackb(kept)) if isinstance(kept, bytes) else kept


def _turn_of(kept: LedgerEntry | bytes) -> str:
    return _decoded(kept).turn


def _keys_among(keys: Mapping[str, int], chunk: Sequence[tuple[int, bytes]]) -> dict[str, int]:
    first, last = chunk[0][0], chunk[-1][0]
    return {key: number for key, number in keys.items() if first <= number <= last}


def _first_of(page: LogPage) -> int:
    return page.first
