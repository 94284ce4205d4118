"""Where the sessions of a test are kept: the same place again for each Runtime that it opens."""

from pathlib import Path
from typing import Literal

from salon import SystemChance, SystemClock
from salon.info import microseconds
from salon.settings import Durability
from salon_persistence.memory import MemoryFile, MemoryStore
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Store

Kind = Literal["sqlite", "memory"]


def wall_us() -> int:
    return microseconds(SystemClock().wall())


class Place:
    """A file on disk, or one in memory."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind: Kind = kind
        self.path = folder / "chat.db"
        self._memory = MemoryFile()

    def store(self, durability: Durability = "full") -> Store:
        """A store of its own over what is kept here."""
        random_bytes = SystemChance().random_bytes
        if self.kind == "memory":
            return MemoryStore(self._memory, wall_us=wall_us, random_bytes=random_bytes)
        return SqliteStore(self.path, durability=durability, wall_us=wall_us, random_bytes=random_bytes)
