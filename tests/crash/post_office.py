"""The session that the told messages of the proofs go to: it writes down what it handles, and what was cut."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel

from salon import InterruptedTurn, Log, Message, Retry, Session, receive


@dataclass(frozen=True)
class Counterhand:
    """What handlers need: a way to take their time, and somebody who hears which of them run."""

    sleep: Callable[[float], Awaitable[None]]
    began: Callable[[str, int], None]


class Shelf(BaseModel):
    letters: Log[str] = Log(resident=8)
    cut: Log[str] = Log(resident=8)


class Letter(Message[int], name="letter"):
    """Replies with the place of the element. A crash makes it a dead letter."""

    element: str
    takes_s: float = 0


class Registered(Message[int], name="registered"):
    """As a letter; a crash does not keep it from being tried again."""

    element: str
    takes_s: float = 0


class PostOffice(Session[Shelf, Counterhand], name="post_office"):
    @receive
    async def letter(self, message: Letter) -> int:
        return await self._take(message)

    @receive(on_crash=Retry(attempts_max=50, backoff_s=0.001))
    async def registered(self, message: Registered) -> int:
        return await self._take(message)

    async def _take(self, message: Letter | Registered) -> int:
        self.deps.began(message.element, self.turn.attempt)
        place = self.state.letters.append(message.element)
        if message.takes_s:
            await self.turn.emit(message.element)
            await self.deps.sleep(message.takes_s)
        return place

    async def on_interrupted(self, turn: InterruptedTurn) -> None:
        assert isinstance(turn.message, Letter | Registered)
        self.state.cut.append(turn.message.element)
