"""Named models: what is stored of a class is a name and a schema version, never its path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from salon.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class StoredName:
    """What is stored of a class of models."""

    name: str
    former_names: tuple[str, ...]
    schema_version: int

    @property
    def all(self) -> tuple[str, ...]:
        """Every name under which one of them may be stored."""
        return self.name, *self.former_names


class Named(BaseModel):
    """The base of messages and of what leaves the process."""

    salon_name: ClassVar[StoredName] = StoredName("Named", (), 1)

    def __init_subclass__(
        cls, *, name: str | None = None, former_names: Sequence[str] = (), schema_version: int = 1, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        check_names(cls.__name__, name, former_names)
        if schema_version < 1:
            raise ConfigurationError(f"{cls.__name__}: schema_version is {schema_version}; it starts at 1.")
        cls.salon_name = StoredName(name or cls.__name__, tuple(former_names), schema_version)


def check_names(owner: str, name: str | None, former_names: Sequence[str]) -> None:
    """Raises ConfigurationError for names that could not be stored: no text, empty, or one text for a list of them."""
    if isinstance(former_names, str):
        raise ConfigurationError(f"{owner}: former_names is one text; write ({former_names!r},).")
    for stored in (*former_names, *(() if name is None else (name,))):
        if not isinstance(stored, str) or not stored:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"{owner}: {stored!r} is no name.")


def by_stored_name(classes: Iterable[type[Named]], what: str) -> dict[str, type[Named]]:
    """Each class under all its names.

    Args:
        what: How the sentence calls them, such as "messages".

    Raises:
        ConfigurationError: Two classes share a name, of today or of before.
    """
    found: dict[str, type[Named]] = {}
    for cls in classes:
        for name in cls.salon_name.all:
            if found.setdefault(name, cls) is not cls:
                raise ConfigurationError(f"Two classes of {what} are or were stored as {name!r}.")
    return found
