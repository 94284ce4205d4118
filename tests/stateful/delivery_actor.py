"""The session that the delivery machine talks to: each of its turns leaves traces that say what became of whom.

began   put into a checkpoint at once: nobody may see it alone
done    the handler came to its end
cut     written by `on_interrupted`, with the reason and with how many chunks there were
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from salon import InterruptedTurn, Log, Merge, Message, Refused, Retry, Session, receive

Ends = Literal["well", "refused", "raised", "raised once"]
ATTEMPTS_MAX = 2
MERGED_MAX = 3


class Traces(BaseModel):
    lines: Log[str] = Log(resident=200)


class Plain(Message[str], name="plain"):
    """Fails when it fails; a crash makes a dead letter of it."""

    element: str
    chunks: int = 0
    takes_s: float = 0
    ends: Ends = "well"


class Again(Message[str], name="again"):
    """Is tried again after a failure and after a crash."""

    element: str
    chunks: int = 0
    takes_s: float = 0
    ends: Ends = "well"


class Aside(Message[str], name="aside"):
    """Is put aside when it fails."""

    element: str
    chunks: int = 0
    takes_s: float = 0
    ends: Ends = "well"


class Quick(Message[str], name="quick"):
    """Becomes one turn with those that follow it."""

    element: str
    chunks: int = 0
    takes_s: float = 0
    ends: Ends = "well"


Job = Plain | Again | Aside | Quick
KINDS: dict[str, type[Job]] = {"plain": Plain, "again": Again, "aside": Aside, "quick": Quick}


@dataclass(frozen=True)
class Desk:
    """How handlers take their time, and who hears that one begins: (session, turn, attempt)."""

    sleep: Callable[[float], Awaitable[None]]
    begins: Callable[[str, str, int], None]
    ends: Callable[[str], None]


class Office(Session[Traces, Desk], name="office"):
    @receive
    async def plain(self, message: Plain) -> str:
        return await self._work(message)

    @receive(
        on_error=Retry(attempts_max=ATTEMPTS_MAX, backoff_s=1), on_crash=Retry(attempts_max=ATTEMPTS_MAX, backoff_s=1)
    )
    async def again(self, message: Again) -> str:
        return await self._work(message)

    @receive(on_error="quarantine")
    async def aside(self, message: Aside) -> str:
        return await self._work(message)

    @receive(overlap=Merge(window_s=1, wait_max_s=3, messages_max=MERGED_MAX))
    async def quick(self, messages: list[Quick]) -> str:
        desk, session = self.deps, self.info.session_id  # which a turn that is over does not tell any more
        desk.begins(session, self.turn.id, self.turn.attempt)
        try:
            for message in messages:
                self._trace(message.element, "done")
            await desk.sleep(max(message.takes_s for message in messages))
            for message in messages:
                self._end(message)
            return " ".join(message.element for message in messages)
        finally:
            desk.ends(session)

    async def on_interrupted(self, turn: InterruptedTurn) -> None:
        message = turn.message
        assert isinstance(message, Job)
        self._trace(message.element, f"cut {turn.reason} {turn.attempt} {len(turn.chunks)}")

    async def _work(self, message: Job) -> str:
        desk, session, attempt = self.deps, self.info.session_id, self.turn.attempt
        desk.begins(session, self.turn.id, attempt)
        try:
            self._trace(message.element, "began")
            await self.turn.checkpoint()
            for number in range(1, message.chunks + 1):
                await self.turn.emit(f"{message.element}.{attempt}.{number}")
            await desk.sleep(message.takes_s)
            self._end(message)
            self._trace(message.element, "done")
            return message.element
        finally:
            desk.ends(session)

    def _trace(self, element: str, what: str) -> None:
        self.state.lines.append(f"{self.turn.id} {element} {what}")

    def _end(self, message: Job) -> None:
        if message.ends == "refused":
            raise Refused("no")
        if message.ends == "raised" or (message.ends == "raised once" and self.turn.attempt == 1):
            raise RuntimeError("no")
