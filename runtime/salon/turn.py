"""Turn: what a handler may ask about the turn it runs in, and do beyond its state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from pydantic import BaseModel, JsonValue

from salon.keys import SessionKeys

if TYPE_CHECKING:
    from salon.frame import Frame
    from salon.handle import SessionHandle
    from salon.message import Message
    from salon.outgoing import Outgoing
    from salon.session import Session

R = TypeVar("R")
S = TypeVar("S", bound=BaseModel)


class Turn:
    """The running turn; raises TurnOver when it is used afterwards."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @property
    def id(self) -> str:
        """Unique in its store; the same on every attempt."""
        return self._checked().envelope.turn_id

    @property
    def key(self) -> str | None:
        """The idempotency key under which the message was sent, if it was."""
        sending = self._checked().envelope.sending
        return None if sending is None else sending.key

    @property
    def attempt(self) -> int:
        """1 the first time."""
        sending = self._checked().envelope.sending
        return 1 if sending is None else sending.attempt

    @property
    def resumed(self) -> bool:
        """An earlier attempt of this message has begun, in this process or before."""
        return self.attempt > 1

    @property
    def deadline(self) -> datetime:
        """When the turn is cancelled and rolled back, in UTC, as the clocks stand now."""
        return self._frame.deadline()

    async def emit(self, chunk: JsonValue | BaseModel) -> None:
        """Show a chunk to whoever follows the turn; it stays provisional until the commit.

        Of a told or streamed message a chunk is seen once it is on disk, a moment later, so that after a crash
        everything is known that anybody has seen; of an ask at once. It waits only when the store is far behind.
        Over a Conversation the first chunk makes a checkpoint, if there is none.

        Args:
            chunk: What JSON can hold, or a model, which becomes that; kept by value.

        Raises:
            PayloadTooLarge: The chunk is larger than `message_bytes_max`, or all of them than `state_bytes_max`.
            ValueError: JSON cannot hold it.
            TurnOver: The turn has ended.
        """
        frame = self._checked()
        await frame.tools.progress.emit(frame, chunk)

    async def checkpoint(self) -> None:
        """Keep the draft as it is now for a stop, an interruption or a crash. It is not a commit: nobody sees it.

        A later one replaces it; the end of the turn deletes it. Of an ask it is kept in memory, because a crash ends
        an ask without a trace.

        Raises:
            StateInvalid: The draft cannot be stored.
            NotApplied, OutcomeUnknown, Fenced: The store did not take it.
        """
        frame = self._checked()
        await frame.tools.progress.checkpoint(frame)

    def grace(self) -> anyio.CancelScope:
        """`with turn.grace():` shields from cancellation, for at most `interrupt_grace_s` from this call on.

        A turn that is not being cut is not bounded by it: its block goes on.
        """
        return self._checked().tools.grace.scope()

    def tell(self, session: SessionHandle[Any] | str, message: Message[Any]) -> None:
        """Send `message` to another session, or to this one for afterwards, exactly once, if this turn commits.

        A receiver that is gone, full or unable makes a dead letter of this session; this turn stands.

        Raises:
            NoHandler, MessageInvalid, InvalidSessionId: Nothing was staged.
        """
        frame = self._checked()
        frame.tools.outreach.tell(frame, session, message)

    async def ask(
        self,
        session: SessionHandle[Any] | str,
        message: Message[R],
        *,
        timeout_s: float | None = None,
        key: str | None = None,
    ) -> R:
        """Ask another session and wait. Its effect is a transaction of its own and stays if this turn fails.

        Raises:
            DeadlockError: It waits for this session, itself or through others.
            SalonError: What `SessionHandle.ask` raises.
        """
        frame = self._checked()
        return await frame.tools.outreach.ask(session, message, timeout_s, key)

    async def create(
        self,
        type: type[Session[S, Any]],
        /,
        *,
        name: str | None = None,
        user_id: str | None = None,
        tenant: str | None = None,
        conversation_id: str | None = None,
        device_id: str | None = None,
        language: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        state: S | None = None,
        idle_timeout_s: float | None = None,
        absolute_ttl_s: float | None = None,
    ) -> SessionHandle[S]:
        """A new session that comes to be with this turn's commit: tell it at once, ask it from the next turn on.

        Arguments and errors are those of `Runtime.create`; a name that is taken when the turn ends makes the turn
        NotApplied.
        """
        frame = self._checked()
        keys = SessionKeys(
            name=name, user_id=user_id, tenant=tenant, conversation_id=conversation_id, device_id=device_id
        )
        return frame.tools.outreach.create(frame, type, keys, language, metadata, state, idle_timeout_s, absolute_ttl_s)

    def post(self, outgoing: Outgoing) -> None:
        """Stage something for its `@deliver` method: durable with this turn, carried outside after it.

        Raises:
            ConfigurationError: No method of the class delivers this kind.
            MessageInvalid: It cannot be stored.
        """
        frame = self._checked()
        frame.tools.outreach.post(frame, outgoing)

    async def once(self, key: str, fn: Callable[[], Awaitable[R]], *, result: type[R]) -> R:
        """Run `fn`, and on a retry of this turn answer with what it returned then; durable before this returns.

        Of a keyed message the result is kept for its key, until a turn of that key is recorded.
        If the process dies after `fn` and before its result is durable, it runs again: give it `token(key)`.

        Args:
            key: Names the step within the turn.
            fn: Called without arguments, at most once per attempt.
            result: The type of what it returns, by which it is stored and read back.

        Raises:
            TurnFailed: What `fn` returned is not of that type.
            NotApplied, OutcomeUnknown, Fenced: The store did not take the result.
        """
        frame = self._checked()
        return await frame.tools.progress.once(frame, key, fn, result)

    def token(self, step: str) -> str:
        """An idempotency key for a tool's own call: 32 hexadecimal digits, the same on every attempt."""
        frame = self._checked()
        return frame.tools.progress.token(frame, step)

    def _checked(self) -> Frame:
        self._frame.check("self.turn")
        return self._frame

    def __repr__(self) -> str:
        return f"<Turn {self._frame.envelope.turn_id}{' (over)' if self._frame.over else ''}>"
