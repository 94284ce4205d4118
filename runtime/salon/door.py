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

    def at_hand(self, cls: type[Session[Any, Any]], address: ByPublicId, principal: Principal) -> Resident | None:
        """The session if it is in memory; None when it must be activated first. Raises as `enter` does."""
        resident = self._residents.at_hand(address.public_id)
        return None if resident is None else _admitted(resident, cls, principal)

    async def enter(self, cls: type[Session[Any, Any]] | None, address: Address, principal: Principal) -> Resident:
        """The session behind an address, in memory.

        Raises:
            SessionNotFound: There is none, it is somebody else's, or it is of another type than `cls`.
            Corrupt, SchemaTooNew, StateInvalid, StoreUnavailable: It could not be read.
            SessionParked: Sessions of its type have failed to be read too often, and are not tried for a while.
        """
        return _admitted(await self._residents.find(address, cls), cls, principal)


def _admitted(resident: Resident | None, cls: type[Session[Any, Any]] | None, principal: Principal) -> Resident:
    if resident is None or (cls is not None and resident.cls is not cls):
        raise SessionNotFound
    if not principal.may_use(resident.user_id):
        raise SessionNotFound
    return resident
