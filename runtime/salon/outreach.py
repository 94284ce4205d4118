"""Outreach: how a turn reaches other sessions, and the world outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, JsonValue

from salon.handle import SessionHandle, address_of
from salon.identity import Principal, check_session_id
from salon_persistence.store import ByPublicId

if TYPE_CHECKING:
    from salon.frame import Frame
    from salon.keys import SessionKeys
    from salon.machinery import Machinery
    from salon.message import Message
    from salon.outgoing import Outgoing
    from salon.session import Session

R = TypeVar("R")


class Outreach:
    """What the verbs of a turn do that go beyond its session. A session is named by its handle, or by its id.

    By an id the host's own code speaks, so that owners are not compared.
    """

    def __init__(self, machinery: Machinery) -> None:
        self._machinery = machinery

    def tell(self, frame: Frame, session: SessionHandle[Any] | str, message: Message[Any]) -> None:
        if isinstance(session, SessionHandle):
            cls, address, principal = address_of(session)
        else:
            cls, address, principal = None, ByPublicId(check_session_id(session)), Principal(trusted=True)
        self._machinery.transfers.tell(frame, cls, address, principal, message)

    async def ask(
        self, session: SessionHandle[Any] | str, message: Message[R], timeout_s: float | None, key: str | None
    ) -> R:
        machinery = self._machinery
        if isinstance(session, SessionHandle):
            return await session.ask(message, timeout_s=timeout_s, key=key)
        address = ByPublicId(check_session_id(session))
        resident = await machinery.door.enter(None, address, Principal(trusted=True))
        handle: SessionHandle[Any] = SessionHandle(machinery, resident.cls, session, Principal(trusted=True))
        return await handle.ask(message, timeout_s=timeout_s, key=key)

    def create(
        self,
        frame: Frame,
        cls: type[Session[Any, Any]],
        keys: SessionKeys,
        language: str | None,
        metadata: Mapping[str, JsonValue] | None,
        state: BaseModel | None,
        idle_timeout_s: float | None,
        absolute_ttl_s: float | None,
    ) -> SessionHandle[Any]:
        machinery = self._machinery
        machinery.residents.check_type(cls)
        facts = machinery.creation.facts(keys, language, metadata, idle_timeout_s, absolute_ttl_s)
        public_id = machinery.transfers.create(frame, cls, keys, facts, state)
        return SessionHandle(machinery, cls, public_id, Principal(keys.user_id))

    def post(self, frame: Frame, outgoing: Outgoing) -> None:
        self._machinery.transfers.post(frame, outgoing)
