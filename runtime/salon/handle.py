"""SessionHandle: what a caller holds to reach a session. An address, never the state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, cast, overload

from pydantic import BaseModel

from salon.admission import How
from salon.errors import ConfigurationError
from salon.events import Outcome, TurnEvent
from salon.frame import RUNNING, is_in_turn_with
from salon.identity import Principal, check_keys
from salon.info import SessionInfo
from salon.log import Log
from salon.message import Message
from salon.overlap import Overlap
from salon.page import Page
from salon.reader import Reader
from salon.receipt import Receipt
from salon.recorded import Recorded
from salon.resident import Resident
from salon.stream import TurnStream
from salon.ticket import Ticket
from salon.turn_id import turn_number
from salon.view import SessionView
from salon.whereabouts import SessionTurns
from salon_persistence.store import ByPublicId

if TYPE_CHECKING:
    from salon.machinery import Machinery
    from salon.session import Session

R = TypeVar("R")
S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")

Priority: TypeAlias = Literal["high", "normal", "low"]
PRIORITIES: Mapping[str, int] = MappingProxyType({"high": 0, "normal": 1, "low": 2})


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

    async def ask(
        self,
        message: Message[R],
        *,
        timeout_s: float | None = None,
        key: str | None = None,
        priority: Priority = "normal",
        overlap: Overlap | None = None,
    ) -> R:
        """Send `message` and wait for the reply, which arrives only once its turn is durable.

        An ask is not in the durable inbox: after a crash its sender asks again, under the same key.

        Args:
            message: Sent by value; what is done to it afterwards reaches nobody.
            timeout_s: Seconds, > 0: the message's deadline for queueing, running and committing together.
                When it passes, the turn is cancelled and rolled back. Default `Settings.turn_timeout_s`.
                From when the store has the turn nothing cancels it; if the store hangs, OutcomeUnknown says so.
                Inside a turn never more than what is left of that turn's time.
            key: Names this very request: whoever sends it again gets the outcome of the first time, and joins it
                while it waits or runs. Recorded for `Settings.idempotency_age_s`; a failure that was rolled back is
                not, and runs again.
            priority: Taken at admission; `high`, `normal` and `low` share a session's turns 4 : 2 : 1.
            overlap: What becomes of it when the session has something to do; default what its handler says.

        Raises:
            NoHandler, MessageInvalid, PayloadTooLarge, ConfigurationError: It can never be accepted as it is.
            MailboxFull, CapacityExceeded, RateLimited, SessionBusy, SessionParked: It was not accepted now.
            IdempotencyConflict: The key was used for a message with other content.
            DeadlockError: In a turn: the session waits, itself or through others, for the one that asks.
            Refused: The handler said no; nothing was applied.
            TurnTimeout: The deadline passed; nothing was applied.
            TurnFailed: The handler raised; nothing was applied.
            TurnStopped, TurnInterrupted: The turn was cut; what it had put into a checkpoint is kept.
            TurnSuperseded: A later message took its place; nothing was applied.
            StateInvalid: The handler left a state that cannot be stored; nothing was applied.
            NotApplied: The store did not take the turn.
            OutcomeUnknown: The store could not say; with a key, ask again.
            StoreUnavailable, Fenced, Draining, RuntimeNotRunning, SessionNotFound: It was not accepted.

        Cancellation: only the waiting stops; the turn goes on.
        """
        machinery = self._machinery
        machinery.check_running()
        resident = machinery.door.at_hand(self._cls, self._address, self._principal) or await self._enter()
        if RUNNING.get(None) is not None:
            return cast(
                R, await machinery.asking.within_turn(resident, message, _how(timeout_s, key, priority, overlap))
            )
        if key is None and overlap is None and priority == "normal":
            envelope = machinery.admission.admit(resident, message, timeout_s)
            if envelope is not None:
                reply: R = await envelope.promise
                return reply
        return cast(R, await machinery.asking.ask(resident, message, _how(timeout_s, key, priority, overlap)))

    async def tell(
        self,
        message: Message[R],
        *,
        timeout_s: float | None = None,
        key: str | None = None,
        priority: Priority = "normal",
        overlap: Overlap | None = None,
    ) -> Receipt[R]:
        """Put `message` into the session's durable inbox, and return when it is there: its turn will run.

        Inside a turn use `turn.tell`: what a turn sends is part of its own commit, and has no receipt before that.

        Args:
            timeout_s: Seconds, > 0: its deadline, from now to its commit, restarts included; past it, it is a dead
                letter if it has not begun. Default: none while it waits, `Settings.turn_timeout_s` once it has begun.
            message, key, priority, overlap: As for `ask`.

        Raises: What `ask` raises for a message that was not accepted, and
            NotApplied: The store did not take it.
            OutcomeUnknown: The store could not say; with a key, tell again.
            ConfigurationError: Called inside a turn.

        Cancellation: it may have been accepted; with a key, tell again.
        """
        ticket = await self._told(message, _how(timeout_s, key, priority, overlap))
        position = ticket.position if isinstance(ticket, Ticket) else 0
        return Receipt(ticket.turn, position, self._turns(), self._machinery.clock)

    def stream(
        self,
        message: Message[R],
        *,
        timeout_s: float | None = None,
        key: str | None = None,
        priority: Priority = "normal",
        overlap: Overlap | None = None,
    ) -> TurnStream[R]:
        """Tell `message`, and follow its turn: `async with handle.stream(…) as events`.

        It is sent when the stream is opened. Leaving the stream stops the reading, never the turn: `stop` does.
        Arguments and errors are those of `tell`; `attach` follows the same turn again, from a cursor on.
        """
        how = _how(timeout_s, key, priority, overlap)

        async def opening() -> Reader:
            return (await self._told(message, how)).read()

        return TurnStream(opening)

    def attach(self, turn: str, *, after: str | None = None) -> TurnStream[Any]:
        """Follow a turn that somebody has begun: what is kept of its events behind the cursor, then what comes.

        Args:
            turn: `Receipt.turn`, `Turn.id`, or `turn` of an event.
            after: `id` of the last event that was seen; None for all of them.

        Raises (when it is opened):
            ValueError: The text was never the id of a turn, or the cursor is none of this turn.
            NotApplied: There is no such turn in this session, and there will be none.
            OutcomeUnknown: It is too old: how it ended is not kept any more.
        """

        async def opening() -> Reader:
            return (await self._turns().find(turn)).read(after)

        return TurnStream(opening)

    @overload
    async def receipt(self, *, turn: str) -> Receipt[Any]: ...
    @overload
    async def receipt(self, *, key: str) -> Receipt[Any]: ...
    async def receipt(self, *, turn: str | None = None, key: str | None = None) -> Receipt[Any]:
        """The receipt of a message that was sent before, in this process or an earlier one, by its turn or its key.

        Raises:
            NotApplied: There is no such message, and no record of one.
            OutcomeUnknown: It is too old: how it ended is not kept any more.
            ValueError: Both were given, or neither, or the text was never the id of a turn.
        """
        if (turn is None) == (key is None):
            raise ValueError("Give either turn= or key=.")
        self._machinery.check_running()
        turns = self._turns()
        found = await turns.find(turn) if turn is not None else await turns.find_key(key or "")
        position = found.position if isinstance(found, Ticket) else 0
        return Receipt(found.turn, position, turns, self._machinery.clock)

    async def outcome(self, turn: str) -> Outcome[Any] | None:
        """How the turn ended, as its last event; None while it waits or runs.

        Raises:
            NotApplied, OutcomeUnknown, ValueError: As `attach`.
        """
        self._machinery.check_running()
        found = await self._turns().find(turn)
        ending = found.ending if isinstance(found, Recorded) else found.leader.ending
        return None if ending is None else ending.outcome

    async def stop(self, turn: str | None = None) -> None:
        """Cut a turn; without an id the one that runs. Its callers get TurnStopped, once that is durable.

        One that waits ends without having begun. One that has ended, or whose commit is under way, is not touched:
        stopping again does nothing. What the turn had put into a checkpoint is kept, see `Session.on_interrupted`.

        Raises:
            ValueError: The text was never the id of a turn.
        """
        machinery = self._machinery
        machinery.check_running()
        number = None if turn is None else turn_number(turn)
        machinery.asking.stop(await self._enter(), number, self._turns())

    def watch(self, *, after: int | None = None) -> AsyncIterator[TurnEvent[Any]]:
        """The events of all turns of the session, for several devices: outcomes that are still kept, then what comes.

        Args:
            after: A version of the session, as `SessionView.version`: what was committed up to it is passed over.
                None: what is under way now, and what comes.

        Raises (while iterating):
            ReplayIncomplete: Outcomes behind `after` are not kept any more: read the history, and watch anew.
            SalonError: The runtime closes, or the session cannot be reached.
        """
        return self._machinery.intake.watch(self._enter_to_watch, after)

    async def _enter_to_watch(self) -> Resident:
        self._machinery.check_running()
        return await self._enter()

    async def _told(self, message: Message[Any], how: How) -> Ticket | Recorded:
        machinery = self._machinery
        machinery.check_running()
        if RUNNING.get(None) is not None and is_in_turn_with(machinery.tools):
            raise ConfigurationError("Inside a turn, stage it with `self.turn.tell(session, message)`.")
        return await machinery.admission.send(await self._enter(), message, how, told=True)

    def _turns(self) -> SessionTurns:
        return SessionTurns(self._machinery, self._enter)

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


def address_of(handle: SessionHandle[Any]) -> tuple[type[Session[Any, Any]], ByPublicId, Principal]:
    """For turns that reach out: which session this is, and on whose behalf."""
    return handle._cls, handle._address, handle._principal  # pyright: ignore[reportPrivateUsage]


def _how(timeout_s: float | None, key: str | None, priority: str, overlap: Overlap | None) -> How:
    """Raises ValueError for what cannot be meant."""
    check_keys(key=key)
    if priority not in PRIORITIES:
        raise ValueError(f"priority={priority!r}: it is 'high', 'normal' or 'low'.")
    return How(timeout_s, key, PRIORITIES[priority], overlap)
