"""The stage of a log: what one turn does to it and sees of it, before anything is committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from salon.errors import TurnOver
from salon.log_core import LogCore
from salon_persistence.log_image import Cut, is_cut, merge_cuts
from salon_persistence.records import LogDelta

T = TypeVar("T")


class LogStage(Generic[T]):
    """Over the committed image of a core, or over nothing while a state is made.

    Numbers are given in order and never used again, also when what they were given to is dropped.
    """

    __slots__ = ("_base", "_core", "_over", "appended", "cuts", "first", "keys", "next", "redactions")

    def __init__(self, core: LogCore[T] | None = None) -> None:
        self._core = core
        self._over: str | None = None
        self._base: Sequence[tuple[int, bytes]] = core.image.items if core else ()
        self.first, self.next = (core.image.first, core.image.next) if core else (0, 0)
        self.cuts: tuple[Cut, ...] = core.image.cuts if core else ()
        self.appended: list[tuple[int, bytes, T]] = []
        self.redactions: dict[int, tuple[bytes, T]] = {}
        self.keys: dict[str, int] = {}

    def check_open(self) -> None:
        """Raises TurnOver when its turn has ended."""
        if self._over is not None:
            raise TurnOver(self._over, "a Log of its state")

    @property
    def length(self) -> int:
        return self.next - self.first - sum(end - start for start, end in self.cuts)

    def is_living(self, number: int) -> bool:
        return self.first <= number < self.next and not (self.cuts and is_cut(self.cuts, number))

    # To read

    def newest(self, n: int, below: int | None = None) -> list[tuple[int, T]]:
        """At most `n` living items that are in memory, below number `below`, newest first."""
        end = self.next if below is None else below
        found = [(number, item) for number, _, item in reversed(self.appended) if number < end][:n]
        core = self._core
        if core is None:
            return found
        for number, data in reversed(self._base):
            if len(found) >= n:
                break
            if number < end and self.is_living(number):
                redacted = self.redactions.get(number)
                found.append((number, redacted[1] if redacted else core.decoded(number, data)))
        return found

    async def read(self, end: int, n: int) -> list[tuple[int, T]]:
        """At most `n` living items below number `end`, oldest first; from pages, where memory does not reach."""
        found = self.newest(n, below=end)[::-1]
        core = self._core
        upto = min(end, self._memory_start)
        while core is not None and len(found) < n and upto > self.first:
            pages = await core.read_pages(core.field, upto, n - len(found))
            older = [item for page in reversed(pages) for item in page.items if item[0] < upto]
            if not older:
                break
            found[:0] = [self._as_staged(number, data) for number, data in older if self.is_living(number)]
            upto = older[0][0]
        return found[-n:]

    @property
    def _memory_start(self) -> int:
        if self._base:
            return self._base[0][0]
        return self.appended[0][0] if self.appended else self.next

    def _as_staged(self, number: int, data: bytes) -> tuple[int, T]:
        assert self._core is not None
        redacted = self.redactions.get(number)
        return number, redacted[1] if redacted else self._core.as_of_now(number, data)

    def number_of_key(self, key: str) -> int | None:
        number = self.keys.get(key)
        if number is None and self._core is not None and self._core.image.keys is not None:
            number = self._core.image.keys.get(key)
        return number if number is not None and self.is_living(number) else None

    # To change

    def append(self, item: T, key: str | None) -> int:
        number = self.next
        self.appended.append((number, *self._encoded(item)))
        self.next = number + 1
        if key is not None:
            self.keys[key] = number
        return number

    def cut(self, start: int, end: int) -> None:
        """Drop the items with numbers from `start` up to but not including `end`."""
        self.cuts = merge_cuts((*self.cuts, (start, end)), self.first)
        self.appended = [entry for entry in self.appended if self.is_living(entry[0])]
        self.keys = {key: number for key, number in self.keys.items() if self.is_living(number)}

    def drop_before(self, n: int) -> None:
        self.first = max(self.first, n)
        self.cut(self.first, self.first)

    def redact(self, number: int, replacement: T) -> None:
        data, restored = self._encoded(replacement)
        for place, entry in enumerate(self.appended):
            if entry[0] == number:
                self.appended[place] = (number, data, restored)
                return
        self.redactions[number] = (data, restored)

    def _encoded(self, item: T) -> tuple[bytes, T]:
        return self._core.items.encode(item) if self._core else (b"", item)

    # For the session that owns the log

    def adopt(self, other: LogStage[T]) -> None:
        """Stage everything that one over nothing holds: the first commit of a session."""
        keys = {number: key for key, number in other.keys.items()}
        for number, _, item in other.appended:
            self.append(item, keys.get(number))

    @property
    def field(self) -> str:
        """The name under which its session stores the log."""
        return self._core.field if self._core is not None else ""

    def resume(self, delta: LogDelta) -> None:
        """Stage what a turn over the same image had staged."""
        assert self._core is not None
        decode = self._core.items.decode
        self.first, self.next = delta.first, delta.next
        self.cuts = merge_cuts((*self.cuts, *delta.cuts), self.first)
        self.appended = [(number, data, decode(data)) for number, data in delta.items]
        self.redactions = {number: (data, decode(data)) for number, data in delta.redactions.items()}
        self.keys = dict(delta.keys)

    def copy(self) -> LogStage[T]:
        """Over the same, with all that is staged; what is done to one is not done to the other."""
        copied: LogStage[T] = LogStage(self._core)
        copied._base, copied._over = self._base, self._over
        copied.become(self)
        return copied

    def become(self, other: LogStage[T]) -> None:
        """Stage what `other`, over the same, has staged."""
        self.first, self.next, self.cuts = other.first, other.next, other.cuts
        self.appended, self.keys, self.redactions = other.appended.copy(), other.keys.copy(), other.redactions.copy()

    def is_over(self, other: LogStage[T]) -> bool:
        """Whether both are over the same committed image, in turns that still run."""
        return self._core is other._core and self._over is None and other._over is None

    @property
    def is_free(self) -> bool:
        """Over nothing: a log that somebody made."""
        return self._core is None

    def close(self, turn: str) -> None:
        """The turn is over; whoever still holds the log is told so."""
        self._over = turn

    def delta(self) -> LogDelta | None:
        """What the turn did to the log; None when it did nothing."""
        assert self._core is not None
        image = self._core.image
        is_same = (self.first, self.next, self.cuts) == (image.first, image.next, image.cuts)
        if is_same and not self.redactions:
            return None
        return LogDelta(
            self._core.field,
            self.first,
            self.next,
            [(number, data) for number, data, _ in self.appended],
            self._new_cuts() if self.cuts != image.cuts else (),
            {number: data for number, (data, _) in self.redactions.items() if self.is_living(number)},
            self.keys.copy(),
        )

    def _new_cuts(self) -> Sequence[Cut]:
        """Those that are not committed yet, or reach farther: the image merges them with its own."""
        assert self._core is not None
        known = frozenset(self._core.image.cuts)
        return tuple(cut for cut in self.cuts if cut not in known)

    def committed(self) -> None:
        """After the image took the delta: what was decoded anyway need not be decoded again."""
        core = self._core
        assert core is not None
        gone = [number for number in core.cache or () if not core.image.is_living(number)] if self.cuts else []
        fresh = {number: item for number, _, item in self.appended}
        fresh.update({number: item for number, (_, item) in self.redactions.items()})
        core.remember(fresh, gone)
