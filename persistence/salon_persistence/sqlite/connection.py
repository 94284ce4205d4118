"""A connection on which a whole errand is one call.

aiosqlite gives each of its connections a thread and runs each method call there.
A batch of a hundred statements would cross between threads a hundred times.
So a function takes the place of the parameters:
the connection that the factory made runs it on its own thread, in one crossing.
"""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import aiosqlite

T = TypeVar("T")


class Errand(Generic[T]):
    """A function that is given the connection on its own thread, and what it returned."""

    __slots__ = ("_function", "_returned")

    def __init__(self, function: Callable[[sqlite3.Connection], T]) -> None:
        self._function = function
        self._returned: list[T] = []

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(())

    def run(self, connection: sqlite3.Connection) -> None:
        self._returned.append(self._function(connection))

    @property
    def returned(self) -> T:
        return self._returned[0]


class ErrandConnection(sqlite3.Connection):
    """A connection that runs errands; else an ordinary one."""

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        if isinstance(parameters, Errand):
            parameters.run(self)  # pyright: ignore[reportUnknownMemberType]
            return self.cursor()
        return super().executemany(sql, parameters)


async def run(database: aiosqlite.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    """Run `function` on the connection's thread. Cancelling the caller does not stop it there."""
    errand = Errand(function)
    await database.executemany("", errand)
    return errand.returned
