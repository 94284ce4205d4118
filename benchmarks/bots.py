"""The sessions that are measured: small ones, with handlers that do no work of their own."""

from pydantic import BaseModel

from salon import ChatLine, Log, Message, Session, receive


class Count(BaseModel):
    count: int = 0


class Bump(Message[int], name="bump"):
    by: int = 1


class Counter(Session[Count], name="counter"):
    """A turn changes one number."""

    @receive
    async def bump(self, message: Bump) -> int:
        self.state.count += message.by
        return self.state.count


class Nothing(BaseModel):
    """A state without a field."""


class Touch(Message[None], name="touch"):
    """Changes nothing."""


class Bare(Session[Nothing], name="bare"):
    @receive
    async def touch(self, message: Touch) -> None:
        return None


class Note(BaseModel):
    text: str = ""


class Write(Message[None], name="write"):
    text: str


class Notebook(Session[Note], name="notebook"):
    """A turn replaces one text: its delta is as long as the message."""

    @receive
    async def write(self, message: Write) -> None:
        self.state.text = message.text


class Chat(BaseModel):
    messages: Log[ChatLine] = Log(resident=20)


class Turn(Message[int], name="turn"):
    """What the user says and what the bot answers, so that no model is measured."""

    said: str
    answered: str


class Talk(Session[Chat], name="talk"):
    """A turn appends what the user said and what the bot answered."""

    @receive
    async def turn_(self, message: Turn) -> int:
        self.state.messages.append(ChatLine(role="user", content=message.said))
        self.state.messages.append(ChatLine(role="assistant", content=message.answered))
        return len(self.state.messages)


SAID = "x" * 60
ANSWERED = "y" * 120
