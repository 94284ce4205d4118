"""Log: an append-only list of immutable items, stored as it grows and resident only at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from salon.errors import ConfigurationError
from salon.log_stage import LogStage
from salon.page import Page, check_limit

T = TypeVar("T")

SCAN_ITEMS = 256


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

    __slots__ = ("_stage", "former_names", "name", "resident", "schema_version")
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
        self._stage: LogStage[T] = LogStage()

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
        self._stage.check_open()
        return self._stage.length

    def __bool__(self) -> bool:
        return len(self) > 0

    async def page(self, *, before: str | None = None, limit: int = 50) -> Page[T]:
        """`limit` items (1 to 1000), oldest first, that precede the cursor `before`; without one, the newest.

        Raises:
            ValueError: `before` is no cursor of ours, or `limit` is out of bounds.
        """
        check_limit(limit)
        stage = self._open_stage()
        found = await stage.read(stage.next if before is None else _number_of(before), limit + 1)
        following = _cursor(found[-limit][0]) if len(found) > limit else None
        return Page([item for _, item in found[-limit:]], following)

    async def scan(self, *, after: int | None = None) -> AsyncIterator[T]:
        """Every item in order, from the one behind number `after`; what was there when the scan began."""
        stage = self._open_stage()
        start = stage.first if after is None else max(after + 1, stage.first)
        end = stage.next
        while start < end:
            upto = min(start + SCAN_ITEMS, end)
            for number, item in await self._open_stage().read(upto, SCAN_ITEMS):
                if number >= start:
                    yield item
            start = upto

    # To change

    def append(self, item: T, *, key: str | None = None) -> int:
        """Adds an item and returns its number. With a `key` it is added once, while that item is resident.

        Raises:
            StateInvalid: The item is not of the log's type, or would not be read back as it is.
        """
        stage = self._open_stage()
        known = stage.number_of_key(key) if key is not None else None
        return stage.append(item, key) if known is None else known

    def extend(self, items: Sequence[T]) -> None:
        for item in items:
            self.append(item)

    def rewind(self, to: int) -> None:
        """Drops what follows number `to`; `to` itself stays.

        Raises:
            ValueError: No item has or had this number.
        """
        stage = self._open_stage()
        if not stage.first - 1 <= to < stage.next:
            raise ValueError(f"rewind({to}): the numbers are {stage.first} to {stage.next - 1}.")
        stage.cut(to + 1, stage.next)

    def truncate_before(self, n: int) -> None:
        """Drops what precedes number `n`.

        Raises:
            ValueError: `n` lies beyond the next number.
        """
        stage = self._open_stage()
        if n > stage.next:
            raise ValueError(f"truncate_before({n}): the next number is {stage.next}.")
        stage.drop_before(n)

    def pop(self) -> T:
        """Drops the newest item and returns it.

        Raises:
            IndexError: The log is empty.
        """
        stage = self._open_stage()
        newest = stage.newest(1)
        if not newest:
            raise IndexError("pop from an empty Log")
        stage.cut(newest[0][0], stage.next)
        return newest[0][1]

    def clear(self) -> None:
        """Drops every item."""
        self.truncate_before(self._stage.next)

    def redact(self, index: int, replacement: T) -> None:
        """Replaces the item with number `index`; from then on nobody is shown the old one.

        Its old bytes leave the file later: with the page that held it, which the next snapshot writes anew, and with
        the turn that appended it, which is deleted once two snapshots have followed. SQLite may keep them in pages
        that it has not used again.

        Raises:
            IndexError: No living item has this number.
        """
        stage = self._open_stage()
        if not stage.is_living(index):
            raise IndexError(f"No item has number {index}.")
        stage.redact(index, replacement)

    def _open_stage(self) -> LogStage[T]:
        self._stage.check_open()
        return self._stage

    def _newest(self, n: int) -> list[T]:
        found = self._open_stage().newest(n)
        if len(found) < min(n, self._stage.length):
            raise ValueError(f"tail({n}): a rewind of this turn left {len(found)} in memory; use page().")
        return [item for _, item in reversed(found)]

    def __deepcopy__(self, memo: Mapping[int, object] | None = None) -> Log[T]:
        return over(self, self._stage.copy())

    def __copy__(self) -> Log[T]:
        return self.__deepcopy__()

    def __repr__(self) -> str:
        """Never its items: a repr ends in logs."""
        return f"<Log of {self._stage.length} items>"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not get_args(source):
            raise ConfigurationError("Write the type of a Log's items: Log[Line].")
        return core_schema.is_instance_schema(
            Log, serialization=core_schema.plain_serializer_function_ser_schema(_not_dumped)
        )


def over(template: Log[T], stage: LogStage[T]) -> Log[T]:
    """A log like `template`, to read and change what is on `stage`."""
    log = cast("Log[T]", object.__new__(Log))
    log.resident, log.name = template.resident, template.name
    log.former_names, log.schema_version = template.former_names, template.schema_version
    log._stage = stage  # pyright: ignore[reportPrivateUsage]  # of this module
    return log


def stage_of(log: Log[T]) -> LogStage[T]:
    """For the session that takes over what somebody put into a log."""
    return log._stage  # pyright: ignore[reportPrivateUsage]  # of this module


def _not_dumped(_: object) -> None:
    """A log is stored item by item, never with the rest of its state."""


def _cursor(number: int) -> str:
    return f"n{number}"


def _number_of(cursor: str) -> int:
    if cursor[:1] != "n" or not cursor[1:].isdecimal():
        raise ValueError("This is not a cursor of a Log.")
    return int(cursor[1:])
