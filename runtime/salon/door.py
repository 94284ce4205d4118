"""The door: the one function through which every verb finds its session."""

from __future__ import annotations

from typing import Any

from salon.activation import Residents
from salon.errors import SessionNotFound
from salon.identity import Principal
from salon.resident import Resident
from salon.session import Session
from salon_persistence.store import Address, ByPublicId


class Door:
    """Resolves (session, principal). Missing, foreign and of another type cannot be told apart from outside."""

    def __init__(self, residents: Residents) -> None:
        self._residents = residents

    async def enter(self, cls: type[Session[Any, Any]] | None, address: Address, principal: Principal) -> Resident:
        """The session behind an address, in memory.

        Raises:
            SessionNotFound: There is none, it is somebody else's, or it is of another type than `cls`.
            Corrupt, SchemaTooNew, StoreUnavailable: It could not be read.
        """
        resident = self._residents.at_hand(address.public_id) if isinstance(address, ByPublicId) else None
        if resident is None:
            resident = await self._residents.find(address)
        if resident is None or (cls is not None and resident.cls is not cls):
            raise SessionNotFound
        if not principal.may_use(resident.row.user_id):
            raise SessionNotFound
        return resident
