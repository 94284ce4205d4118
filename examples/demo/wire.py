"""What goes over the pipes between parent and chatbot process: one JSON object a line."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, TypeAdapter

from examples.demo.bot import Line


class Ask(BaseModel):
    kind: Literal["ask"] = "ask"
    id: int
    conversation: str
    text: str
    mark: str


class Recall(BaseModel):
    """What does the conversation hold? Asked after a crash, before a message is sent again."""

    kind: Literal["recall"] = "recall"
    id: int
    conversation: str


class Ready(BaseModel):
    kind: Literal["ready"] = "ready"


class Began(BaseModel):
    """The handler of this message runs."""

    kind: Literal["began"] = "began"
    mark: str


class Replied(BaseModel):
    kind: Literal["replied"] = "replied"
    id: int
    session_id: str
    mark: str
    text: str


class Recalled(BaseModel):
    kind: Literal["recalled"] = "recalled"
    id: int
    session_id: str
    lines: list[Line]


class Failed(BaseModel):
    kind: Literal["failed"] = "failed"
    id: int
    error: str


Request: TypeAlias = Ask | Recall
Answer: TypeAlias = Replied | Recalled | Failed
Report: TypeAlias = Ready | Began | Answer

REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def to_line(message: Request | Report) -> bytes:
    return message.model_dump_json().encode() + b"\n"


class Lines:
    """Cuts a stream of bytes into lines; a line without its end is not one."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines
