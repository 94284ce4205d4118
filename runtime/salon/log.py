"""Log: an append-only list of immutable items, stored as it grows and resident only at its end.

One noun in two classes: a bot's author sees the Log, the session that owns it the LogCore, which reaches into it.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from salon.errors import ConfigurationError, TurnOver
from salon.log_item import LogItems
from salon.page import Page, check_limit
from salon_persistence.log_image import Cut, LogImage, is_cut, merge_cuts
from salon_persistence.records import LogDelta, LogPage

T = TypeVar("T")

SLACK = 64
"""Items kept beyond `resident`, so that a rewind of a few leaves enough to read without I/O."""
SCAN_ITEMS = 256

ReadPages = Callable[[str, int, int], Awaitable[Sequence[LogPage]]]
"""(field, below which number, how many items) -> pages, newest first."""


class Log(Generic[T]):
    """An append-only list of immutable items, a top-level field of a state.

    Numbers start at 0, are given in order and never used again. What a turn does to a log is staged
    like the rest of its draft, and seen by that turn at once. `tail` and `last` never do I/O; `page` and `scan` may.

    Args:
        resident: Items >= 1 at the end that can be read without I/O. Default 200.
        name: What is stored; default the field's name.
        former_names: Names it had in older releases.
        schema_version: 1 to 127, of the items.
    """

    __slots__ = (
        "_appended",
        "_base",
        "_core",
        "_cuts",
        "_first",
        "_keys",
        "_next",
        "_over",
        "_redactions",
        "former_names",
        "name",
        "resident",
        "schema_version",
    )
    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # pydantic would share a hashable default

    def __init__(
        self,
        *,
        resident: int = 200,
        name: str | None = None,
        former_names: Sequence[str] = (),
        schema_version: int = 1,
    ) -> None:
        if resident < 1:
            raise ConfigurationError(f"Log(resident={resident}): it must be at least 1.")
        self.resident = resident
        self.name = name
        self.former_names = tuple(former_names)
        self.schema_version = schema_version
        self._core: LogCore[T] | None = None
        self._base: Sequence[tuple[int, bytes]] = ()
        self._over: str | None = None
        self._begin(0, 0, ())

    def _begin(self, first: int, next_: int, cuts: tuple[Cut, ...]) -> None:
        self._first = first
        self._next = next_
        self._cuts = cuts
        self._appended: list[tuple[int, bytes, T]] = []
        self._redactions: dict[int, tuple[bytes, T]] = {}
        self._keys: dict[str, int] = {}

    # To read

    def tail(self, n: int) -> list[T]:
        """The last `n` items, oldest first, without I/O.

        Raises:
            ValueError: n is negative or above `resident`, even while the log is short, so that nothing breaks only
                when a conversation grows; or a rewind of this turn reached so far back that I/O would be needed: use
                `page`.
        """
        if not 0 <= n <= self.resident:
            raise ValueError(f"tail({n}): at most resident={self.resident} items; use page() for more.")
        return self._newest(n)

    @property
    def last(self) -> T | None:
        """The newest item; None when there is none."""
        newest = self._newest(1)
        return newest[0] if newest else None

    def __len__(self) -> int:
        """All items, resident or not."""
        self._check_open()
        return self._next - self._first - sum(end - start for start, end in self._cuts)

    def __bool__(self) -> bool:
        return len(self) > 0

    async def page(self, *, before: str | None = None, limit: int = 50) -> Page[T]:
        """`limit` items (1 to 1000), oldest first, that precede the cursor `before`; without one, the newest.

        Raises:
            ValueError: `before` is no cursor of ours, or `limit` is out of bounds.
        """
        check_limit(limit)
        end = self._next if before is None else _number_of(before)
        found = await self._read(end, limit + 1)
        items = [item for _, item in found[-limit:]]
        following = _cursor(found[-limit][0]) if len(found) > limit else None
        return Page(items, following)

    async def scan(self, *, after: int | None = None) -> AsyncIterator[T]:
        """Every item in order, from the one behind number `after`; what was there when the scan began."""
        start = self._first if after is None else max(after + 1, self._first)
        end = self._next
        while start < end:
            upto = min(start + SCAN_ITEMS, end)
            for number, item in await self._read(upto, SCAN_ITEMS):
                if number >= start:
                    yield item
            start = upto

    # To change

    def append(self, item: T, *, key: str | None = None) -> int:
        """Adds an item and returns its number. With a `key` it is added once, while that item is resident.

        Raises:
            StateInvalid: The item is not of the log's type, or would not be read back as it is.
        """
        self._check_open()
        if key is not None and (known := self._number_of_key(key)) is not None:
            return known
        number = self._next
        data, restored = self._core.items.encode(item) if self._core else (b"", item)
        self._appended.append((number, data, restored))
        self._next = number + 1
        if key is not None:
            self._keys[key] = number
        return number

    def extend(self, items: Sequence[T]) -> None:
        for item in items:
            self.append(item)

    def rewind(self, to: int) -> None:
        """Drops what follows number `to`; `to` itself stays.

        Raises:
            ValueError: No item has or had this number.
        """
        self._check_open()
        if not self._first - 1 <= to < self._next:
            raise ValueError(f"rewind({to}): the numbers are {self._first} to {self._next - 1}.")
        self._cut(to + 1, self._next)

    def truncate_before(self, n: int) -> None:
        """Drops what precedes number `n`.

        Raises:
            ValueError: `n` lies beyond the next number.
        """
        self._check_open()
        if n > self._next:
            raise ValueError(f"truncate_before({n}): the next number is {self._next}.")
        self._first = max(self._first, n)
        self._cut(self._first, self._first)

    def pop(self) -> T:
        """Drops the newest item and returns it.

        Raises:
            IndexError: The log is empty.
        """
        newest = self._living_from_the_end(1)
        if not newest:
            raise IndexError("pop from an empty Log")
        number, item = newest[0]
        self._cut(number, self._next)
        return item

    def clear(self) -> None:
        """Drops every item."""
        self.truncate_before(self._next)

    def redact(self, index: int, replacement: T) -> None:
        """Replaces the item with number `index`; its old bytes leave the file when the log is next put into pages.

        Raises:
            IndexError: No living item has this number.
        """
        self._check_open()
        if not self._first <= index < self._next or is_cut(self._cuts, index):
            raise IndexError(f"No item has number {index}.")
        data, restored = self._core.items.encode(replacement) if self._core else (b"", replacement)
        for place, (number, _, _) in enumerate(self._appended):
            if number == index:
                self._appended[place] = (number, data, restored)
                return
        self._redactions[index] = (data, restored)

    # Inside

    def _check_open(self) -> None:
        if self._over is not None:
            raise TurnOver(self._over, "a Log of its state")

    def _cut(self, start: int, end: int) -> None:
        self._cuts = merge_cuts((*self._cuts, (start, end)), self._first)
        self._appended = [entry for entry in self._appended if self._is_living(entry[0])]
        self._keys = {key: number for key, number in self._keys.items() if self._is_living(number)}

    def _is_living(self, number: int) -> bool:
        return number >= self._first and not is_cut(self._cuts, number)

    def _number_of_key(self, key: str) -> int | None:
        number = self._keys.get(key)
        if number is None and self._core is not None and self._core.image.keys is not None:
            number = self._core.image.keys.get(key)
            if number is not None and not self._is_living(number):
                return None
        return number

    def _newest(self, n: int) -> list[T]:
        self._check_open()
        found = self._living_from_the_end(n)
        if len(found) < min(n, len(self)):
            raise ValueError(f"tail({n}): a rewind of this turn left {len(found)} in memory; use page().")
        return [item for _, item in reversed(found)]

    def _living_from_the_end(self, n: int) -> list[tuple[int, T]]:
        """Newest first."""
        found: list[tuple[int, T]] = [(number, item) for number, _, item in reversed(self._appended[-n:] if n else [])]
        core = self._core
        if core is None:
            return found
        for number, data in reversed(self._base):
            if len(found) >= n:
                break
            if self._is_living(number):
                redacted = self._redactions.get(number)
                found.append((number, redacted[1] if redacted else core.decoded(number, data)))
        return found

    async def _read(self, end: int, n: int) -> list[tuple[int, T]]:
        """At most `n` living items below number `end`, oldest first."""
        self._check_open()
        found = [(number, item) for number, item in reversed(self._living_from_the_end(len(self))) if number < end][-n:]
        core = self._core
        start = self._base[0][0] if self._base else (self._appended[0][0] if self._appended else self._next)
        upto = min(end, start)
        while core is not None and len(found) < n and upto > self._first:
            pages = await core.read_pages(core.field, upto, n - len(found))
            older = [item for page in reversed(pages) for item in page.items if item[0] < upto]
            if not older:
                break
            found[:0] = [self._as_of_now(number, data) for number, data in older if self._is_living(number)]
            upto = older[0][0]
        return found[-n:]

    def _as_of_now(self, number: int, data: bytes) -> tuple[int, T]:
        core = self._core
        assert core is not None
        if number in self._redactions:
            return number, self._redactions[number][1]
        return number, core.items.decode(core.image.redactions.get(number, data))

    def __deepcopy__(self, memo: Mapping[int, object] | None = None) -> Log[T]:
        copied: Log[T] = Log(
            resident=self.resident,
            name=self.name,
            former_names=self.former_names,
            schema_version=self.schema_version,
        )
        copied._appended, copied._next, copied._keys = list(self._appended), self._next, dict(self._keys)
        copied._first, copied._cuts = self._first, self._cuts
        return copied

    def __copy__(self) -> Log[T]:
        return self.__deepcopy__()

    def __repr__(self) -> str:
        """Never its items: a repr ends in logs."""
        return f"<Log of {self._next - self._first - sum(end - start for start, end in self._cuts)} items>"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not get_args(source):
            raise ConfigurationError("Write the type of a Log's items: Log[Line].")
        return core_schema.is_instance_schema(
            Log, serialization=core_schema.plain_serializer_function_ser_schema(_not_dumped)
        )


class LogCore(Generic[T]):
    """One log of one session, for those who own it: its committed image, the decoded items, the way to its pages.

    Drafts and views of it are `Log`s that it binds; what they did comes back as a delta.
    """

    __slots__ = ("cache", "field", "image", "items", "read_pages")

    def __init__(self, items: LogItems[T], field: str, image: LogImage, read_pages: ReadPages) -> None:
        self.items = items
        self.field = field
        """The name under which this session stores it."""
        self.image = image
        self.read_pages = read_pages
        self.cache: dict[int, T] | None = None

    def decoded(self, number: int, data: bytes) -> T:
        """Items are immutable, so that sharing them between turns and views shares nothing that can change."""
        if self.cache is None:
            self.cache = {}
        if number not in self.cache:
            self.cache[number] = self.items.decode(data)
        return self.cache[number]

    def bind(self, template: Log[T]) -> Log[T]:
        """A log over the committed image, to read and to stage changes in."""
        log = cast("Log[T]", object.__new__(Log))
        log.resident, log.name = template.resident, template.name
        log.former_names, log.schema_version = template.former_names, template.schema_version
        log._core = self
        log._base = self.image.items
        log._over = None
        log._begin(self.image.first, self.image.next, self.image.cuts)
        return log

    def pin(self, log: Log[T]) -> None:
        """Keep what is seen now, whatever later turns do: for views."""
        log._base = list(log._base)

    def close(self, log: Log[T], turn: str) -> None:
        """The turn is over; whoever still holds this log is told so."""
        log._over = turn

    def adopt(self, log: Log[T], other: Log[T]) -> None:
        """Stage everything that an unbound log holds: the first commit of a session."""
        keys = {number: key for key, number in other._keys.items()}
        for number, _, item in other._appended:
            log.append(item, key=keys.get(number))

    def delta(self, log: Log[T]) -> LogDelta | None:
        """What a turn did to the log; None when it did nothing."""
        image = self.image
        is_same = (log._first, log._next, log._cuts) == (image.first, image.next, image.cuts)
        if is_same and not log._redactions:
            return None
        return LogDelta(
            self.field,
            log._first,
            log._next,
            [(number, data) for number, data, _ in log._appended],
            log._cuts if log._cuts != image.cuts else (),
            {number: data for number, (data, _) in log._redactions.items() if log._is_living(number)},
            dict(log._keys),
        )

    def committed(self, log: Log[T]) -> None:
        """After the image took the delta: what was decoded anyway need not be decoded again."""
        gone = [number for number in self.cache or () if not self.image.is_living(number)] if log._cuts else []
        fresh = {number: item for number, _, item in log._appended}
        fresh.update({number: item for number, (_, item) in log._redactions.items()})
        self._remember(fresh, gone)

    def _remember(self, decoded: Mapping[int, T], forgotten: Sequence[int]) -> None:
        if self.cache is None:
            self.cache = {}
        self.cache.update(decoded)
        for number in forgotten:
            self.cache.pop(number, None)
        if len(self.cache) > 2 * (self.items.resident + SLACK):
            start = self.image.window_start
            self.cache = {number: item for number, item in self.cache.items() if number >= start}


def _not_dumped(_: object) -> None:
    """A log is stored item by item, never with the rest of its state."""


def _cursor(number: int) -> str:
    return f"n{number}"


def _number_of(cursor: str) -> int:
    if cursor[:1] != "n" or not cursor[1:].isdecimal():
        raise ValueError("This is not a cursor of a Log.")
    return int(cursor[1:])
