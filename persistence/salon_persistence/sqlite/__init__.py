"""The store in a SQLite file."""

from salon_persistence.sqlite.opening import Durability as Durability
from salon_persistence.sqlite.store import SqliteStore as SqliteStore

__all__ = ["Durability", "SqliteStore"]
