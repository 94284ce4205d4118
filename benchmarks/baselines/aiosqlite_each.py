"""What one would write with aiosqlite: a transaction per update, `synchronous=FULL`. asyncio only."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import aiosqlite

UPSERT = """INSERT INTO session (sid, text) VALUES (?, ?)
    ON CONFLICT (sid) DO UPDATE SET text = excluded.text"""


class EachItsOwn:
    """One connection. BEGIN, upsert and COMMIT as three calls would be slower still, and mix with one another's."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "each.db"

    async def __aenter__(self) -> Self:
        self._database = await aiosqlite.connect(self._path, isolation_level=None)
        await self._database.execute("PRAGMA journal_mode = WAL")
        await self._database.execute("PRAGMA synchronous = FULL")
        await self._database.execute("CREATE TABLE session (sid INTEGER PRIMARY KEY, text TEXT)")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._database.close()

    async def write(self, sid: int, texts: Iterator[str]) -> None:
        """A durable update. The statement is a transaction of its own, and crosses to the thread once."""
        await self._database.execute_insert(UPSERT, (sid, next(texts)))
