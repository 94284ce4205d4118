"""Where a Runtime keeps its sessions, as a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.chance import Chance
from salon.errors import ConfigurationError
from salon.info import microseconds
from salon_actors import Clock
from salon_persistence.memory import MemoryStore
from salon_persistence.sqlite import SqliteStore
from salon_persistence.store import Store

if TYPE_CHECKING:
    from salon.settings import Durability

SQLITE = "sqlite:///"


def store_of(url: str, durability: Durability, clock: Clock, chance: Chance) -> Store:
    """`sqlite:///chat.db` (four slashes for an absolute path) or `memory://`.

    Raises:
        ConfigurationError: It is neither.
    """

    def wall_us() -> int:
        return microseconds(clock.wall())

    if url == "memory://":
        return MemoryStore(wall_us=wall_us, random_bytes=chance.random_bytes)
    path = url.removeprefix(SQLITE)
    if path == url or not path:
        raise ConfigurationError(f"No such store: {url!r}. Use 'sqlite:///chat.db' or 'memory://'.")
    return SqliteStore(path, durability=durability, wall_us=wall_us, random_bytes=chance.random_bytes)
