"""The bare group commit: a thread, sqlite3 of the standard library, a row per update; whoever waits is told at once.

No fence, no session row, no loop of its own: what a storage thread could do if it did nothing but insert. asyncio only.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

INSERT = "INSERT INTO journal (sid, text) VALUES (?, ?)"


class GroupCommit:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "group.db"
        self._waiting = deque[tuple[int, str, asyncio.Future[None]]]()
        self._wake = threading.Event()
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve)

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._wake.set()
        self._thread.join()

    async def write(self, sid: int, texts: Iterator[str]) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((sid, next(texts), done))
        self._wake.set()
        await done

    def _serve(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE journal (lsn INTEGER PRIMARY KEY, sid INTEGER, text TEXT)")
        while not self._is_over:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                database.execute("BEGIN IMMEDIATE")
                database.executemany(INSERT, [(sid, text) for sid, text, _ in batch])
                database.execute("COMMIT")
                self._loop.call_soon_threadsafe(_tell, [done for _, _, done in batch])
        database.close()


def _tell(waiting: Sequence[asyncio.Future[None]]) -> None:
    for done in waiting:
        if not done.done():
            done.set_result(None)
