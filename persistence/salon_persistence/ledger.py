"""The ledger of one session: how its messages ended, for senders who ask again.

There may be ten thousand of them, and few are ever asked for: those that are in pages are kept encoded.
Measured with a key of 16 bytes and a reply of 40, each takes 260 to 300 bytes of memory, 380 before it is in a page,
and 130 in the file; ten thousand are loaded in 7 ms.
Like the items of a log they move, once, from the journal into pages, so that a snapshot does not write them again.
"""

from collections.abc import Mapping, Sequence

from msgpack import packb, unpackb

from salon_persistence.journal import from_entry, to_entry
from salon_persistence.log_image import in_pages
from salon_persistence.records import LEDGER, LedgerEntry, LogPage, LogShape
from salon_persistence.turn_number import number_of


class Ledger:
    """Entries in the order in which they were recorded; of two with one key the later counts."""

    __slots__ = ("_by_key", "_by_turn", "_entries", "_first", "_paged", "forgotten")

    def __init__(self, shape: LogShape | None = None, forgotten: int = 0) -> None:
        self.forgotten = forgotten
        """The highest number of a turn whose entry was dropped: no entry, and a lower number, may be one of those."""
        self._first, self._paged = (shape.first, shape.paged) if shape else (0, 0)
        self._entries: list[LedgerEntry | bytes] = []
        """From number `_first` on; bytes are encoded ones."""
        self._by_key: dict[str, int] = {}
        self._by_turn: dict[str, int] | None = None
        """Made when it is asked for first, which is when a receipt outlives its process."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: LedgerEntry) -> None:
        number = self._first + len(self._entries)
        self._entries.append(entry)
        if entry.key is not None:
            self._by_key[entry.key] = number
        if self._by_turn is not None:
            self._by_turn[entry.turn] = number

    @property
    def oldest_us(self) -> int | None:
        """When the oldest entry was recorded; None when there is none."""
        return _decoded(self._entries[0]).at_us if self._entries else None

    def of_key(self, key: str) -> LedgerEntry | None:
        return self._entry(self._by_key.get(key))

    def of_turn(self, turn: str) -> LedgerEntry | None:
        if self._by_turn is None:
            turns = map(_turn_of, self._entries)
            self._by_turn = {turn: number for number, turn in enumerate(turns, start=self._first)}
        return self._entry(self._by_turn.get(turn))

    def forget(self, before_us: int, entries_max: int | None = None) -> int:
        """Drop the entries from before that time; how many those were.

        With `entries_max`, also younger ones that have no key, until no more than so many are left.
        They are dropped from the front, so that one behind a younger entry stays until that goes too.
        It becomes durable with the next snapshot; until then a restart brings them back.
        """
        dropped = 0
        for kept in self._entries:
            entry = _decoded(kept)
            is_spare = entry.key is None and entries_max is not None and len(self._entries) - dropped > entries_max
            if entry.at_us >= before_us and not is_spare:
                break
            self._forget_names(self._first + dropped, entry)
            dropped += 1
        del self._entries[:dropped]
        self._first += dropped
        return dropped

    def shape(self) -> LogShape:
        """As it is when all entries are in pages."""
        behind = self._first + len(self._entries)
        return LogShape(self._first, behind, behind)

    def pages(self) -> list[LogPage]:
        """The entries that are in no page yet; from now on they are kept as their pages have them."""
        start = max(self._paged, self._first)
        entries = list(map(_decoded, self._entries[start - self._first :]))
        self._entries[start - self._first :] = encoded = [packb(from_entry(entry)) for entry in entries]
        keys = {entry.key: number for number, entry in enumerate(entries, start=start) if entry.key is not None}
        return [LogPage(LEDGER, chunk, _keys_among(keys, chunk)) for chunk in in_pages(enumerate(encoded, start=start))]

    def paged_until(self, paged: int) -> None:
        """A snapshot is durable: entries below `paged` are in pages."""
        self._paged = paged

    def read_back(self, pages: Sequence[LogPage]) -> None:
        """Its entries from pages, once, before any is added.

        Pages that a newer, damaged snapshot has dropped are missed; then what was in them counts as forgotten.
        """
        items = [item for page in sorted(pages, key=_first_of) for item in page.items if item[0] >= self._first]
        if items and items[0][0] > self._first:
            self._first = items[0][0]
            self.forgotten = max(self.forgotten, number_of(_turn_of(items[0][1])))
        self._entries = [encoded for _, encoded in items]
        for page in sorted(pages, key=_first_of):
            self._by_key.update(page.keys)
        if pages and min(map(_first_of, pages)) < self._first:
            self._by_key = {key: number for key, number in self._by_key.items() if number >= self._first}

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
