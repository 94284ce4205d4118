"""The places where stores under test keep what they keep."""

import sqlite3
from pathlib import Path

from salon_persistence.memory import MemoryFile, MemoryStore
from salon_persistence.sqlite import Durability, SqliteStore
from tests.persistence.sessions import NOW_US


class Ticks:
    """A clock that moves a little whenever it is looked at, and chance that repeats."""

    def __init__(self) -> None:
        self.now_us = NOW_US

    def wall_us(self) -> int:
        self.now_us += 1
        return self.now_us

    def random_bytes(self, count: int) -> bytes:
        return bytes(range(count))


class MemoryPlace:
    def __init__(self) -> None:
        self.file = MemoryFile()
        self.ticks = Ticks()

    def store(self) -> MemoryStore:
        return MemoryStore(self.file, wall_us=self.ticks.wall_us, random_bytes=self.ticks.random_bytes)

    def unlock(self) -> None:
        self.file.owner = None


class SqlitePlace:
    def __init__(self, folder: Path, durability: Durability = "normal") -> None:
        self.path = folder / "chat.db"
        self.ticks = Ticks()
        self._durability: Durability = durability

    def store(self) -> SqliteStore:
        ticks = self.ticks
        return SqliteStore(
            self.path, durability=self._durability, wall_us=ticks.wall_us, random_bytes=ticks.random_bytes
        )

    def execute(self, sql: str) -> None:
        """On the file itself, while no store has it."""
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(sql)
        connection.close()

    def unlock(self) -> None:
        self.path.with_name(self.path.name + ".lock").unlink()
