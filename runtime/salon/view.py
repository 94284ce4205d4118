"""SessionView: a private copy of the last committed state."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

from pydantic import BaseModel

from salon.draft import Draft
from salon.resident import Resident

S = TypeVar("S", bound=BaseModel)


class SessionView(Generic[S]):
    """What was committed when it was taken; changing it changes nothing else."""

    __slots__ = ("_state", "_version")

    def __init__(self, resident: Resident) -> None:
        cores = {name: core.pinned() for name, core in resident.cores.items()}
        self._state = Draft.over(resident.cls.salon_type.states, resident.image, cores).state
        self._version = resident.image.version

    @property
    def state(self) -> S:
        return cast(S, self._state)

    @property
    def version(self) -> int:
        """Turns that had been committed."""
        return self._version

    def __repr__(self) -> str:
        return f"<SessionView of version {self._version}>"
