"""SessionHandle: what a caller holds to reach a session. An address, never the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pydantic import BaseModel

from salon.identity import Principal
from salon.info import SessionInfo
from salon.log import Log
from salon.message import Message
from salon.page import Page
from salon.resident import Resident
from salon.view import SessionView
from salon_persistence.store import ByPublicId

if TYPE_CHECKING:
    from salon.machinery import Machinery
    from salon.session import Session

R = TypeVar("R")
S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


class SessionHandle(Generic[S]):
    """Reaches one session on behalf of whoever got it. May be kept and shared; survives passivation.

    It belongs to the event loop on which its Runtime was opened.
    """

    __slots__ = ("_address", "_cls", "_machinery", "_principal")

    def __init__(
        self, machinery: Machinery, cls: type[Session[Any, Any]], session_id: str, principal: Principal
    ) -> None:
        self._machinery = machinery
        self._cls = cls
        self._address = ByPublicId(session_id)
        self._principal = principal

    @property
    def session_id(self) -> str:
        """What `Runtime.get` finds it by. Not a credential."""
        return self._address.public_id

    async def ask(self, message: Message[R], *, timeout_s: float | None = None) -> R:
        """Send `message` and wait for the reply, which arrives only once its turn is durable.

        Args:
            message: Sent by value; what is done to it afterwards reaches nobody.
            timeout_s: Seconds, > 0: the message's deadline for queueing, running and committing together.
                When it passes, the turn is cancelled and rolled back. Default `Settings.turn_timeout_s`.
                From when the store has the turn nothing cancels it; if the store hangs, OutcomeUnknown says so.
                Inside a turn never more than what is left of that turn's time.

        Raises:
            NoHandler: The session's type does not take such messages.
            MailboxFull: `mailbox_messages_max` messages waited; this one was not accepted.
            PayloadTooLarge: The message is larger than `message_bytes_max`.
            Refused: The handler said no; nothing was applied.
            TurnTimeout: The deadline passed; nothing was applied.
            TurnFailed: The handler raised; nothing was applied.
            StateInvalid: The handler left a state that cannot be stored; nothing was applied.
            NotApplied: The store did not take the turn.
            OutcomeUnknown: The store could not say; look at the session before asking again.
            StoreUnavailable, Fenced, Draining, RuntimeNotRunning, SessionNotFound: It was not accepted.

        Cancellation: only the waiting stops; the turn goes on.
        """
        machinery = self._machinery
        machinery.check_running()
        resident = machinery.door.at_hand(self._cls, self._address, self._principal) or await self._enter()
        return cast(R, await machinery.admission.admit(resident, message, timeout_s).promise)

    async def peek(self) -> SessionView[S]:
        """The last committed state, at once, also during a long turn; a copy of the caller's own."""
        self._machinery.check_running()
        return SessionView(await self._enter_to_read())

    async def history(self, log: Callable[[S], Log[T]], *, before: str | None = None, limit: int = 50) -> Page[T]:
        """Committed items of one log, oldest first: the newest `limit` (1 to 1000), or those before a cursor.

        Args:
            log: Picks it, as in `lambda state: state.lines`.
            before: `Page.next` of the page before; None for the newest items.

        Raises:
            ValueError: `before` is no cursor, or `limit` is out of bounds.
        """
        view = await self.peek()
        return await log(view.state).page(before=before, limit=limit)

    async def info(self) -> SessionInfo:
        """Who and what the session is, as of the last commit."""
        self._machinery.check_running()
        return (await self._enter_to_read()).info()

    async def _enter(self) -> Resident:
        resident = await self._machinery.door.enter(self._cls, self._address, self._principal)
        self._machinery.check_running()  # it may have begun to close while the session was activated
        return resident

    async def _enter_to_read(self) -> Resident:
        """What was committed is asked of the store, when memory cannot know."""
        resident = await self._enter()
        if resident.is_stale or resident.is_short:
            await self._machinery.residents.refresh(resident)
        return resident

    def __repr__(self) -> str:
        return f"<SessionHandle of a {self._cls.salon_type.name}>"
