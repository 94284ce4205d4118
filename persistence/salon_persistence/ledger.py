"""The ledger of one session: how its messages ended, for senders who ask again."""

from collections import deque
from collections.abc import Iterable, Iterator

from salon_persistence.records import LedgerEntry
from salon_persistence.turn_number import number_of


class Ledger:
    """Entries in the order in which they were recorded; of two with one key the later counts."""

    __slots__ = ("_by_key", "_by_turn", "_entries", "forgotten")

    def __init__(self, entries: Iterable[LedgerEntry] = (), forgotten: int = 0) -> None:
        self.forgotten = forgotten
        """The highest number of a turn whose entry was dropped: no entry, and a lower number, may be one of those."""
        self._entries: deque[LedgerEntry] = deque()
        self._by_turn: dict[str, LedgerEntry] = {}
        self._by_key: dict[str, LedgerEntry] = {}
        for entry in entries:
            self.add(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LedgerEntry]:
        return iter(self._entries)

    def add(self, entry: LedgerEntry) -> None:
        self._entries.append(entry)
        self._by_turn[entry.turn] = entry
        if entry.key is not None:
            self._by_key[entry.key] = entry

    def of_turn(self, turn: str) -> LedgerEntry | None:
        return self._by_turn.get(turn)

    def of_key(self, key: str) -> LedgerEntry | None:
        return self._by_key.get(key)

    def forget(self, before_us: int) -> int:
        """Drop the entries from before that time; how many those were.

        They are dropped from the front, so that one behind a younger entry stays until that goes too.
        """
        dropped = 0
        while self._entries and self._entries[0].at_us < before_us:
            self._drop(self._entries.popleft())
            dropped += 1
        return dropped

    def _drop(self, entry: LedgerEntry) -> None:
        self.forgotten = max(self.forgotten, number_of(entry.turn))
        if self._by_turn.get(entry.turn) is entry:
            del self._by_turn[entry.turn]
        if entry.key is not None and self._by_key.get(entry.key) is entry:
            del self._by_key[entry.key]
