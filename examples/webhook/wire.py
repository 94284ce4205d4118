"""What goes over the pipes between platform and bot, in the place of HTTP: one JSON object a line."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, TypeAdapter


class Update(BaseModel):
    """A webhook request."""

    kind: Literal["update"] = "update"
    request: int
    update: int
    chat: str
    text: str


class Sent(BaseModel):
    """The platform's response to a Send."""

    kind: Literal["sent"] = "sent"
    call: int
    ok: bool


class Ready(BaseModel):
    kind: Literal["ready"] = "ready"


class Answered(BaseModel):
    """The response to a webhook request: 200, or 503 if `ok` is false, and then the platform sends it again."""

    kind: Literal["answered"] = "answered"
    request: int
    ok: bool


class Send(BaseModel):
    """A call of the platform's API: show this text in that chat."""

    kind: Literal["send"] = "send"
    call: int
    key: str
    """The platform shows a text once, however often it is sent under one key."""
    update: int
    text: str


ToBot: TypeAlias = Update | Sent
ToPlatform: TypeAlias = Ready | Answered | Send

TO_BOT: TypeAdapter[ToBot] = TypeAdapter(Annotated[ToBot, Field(discriminator="kind")])
TO_PLATFORM: TypeAdapter[ToPlatform] = TypeAdapter(Annotated[ToPlatform, Field(discriminator="kind")])


def to_line(message: ToBot | ToPlatform) -> bytes:
    return message.model_dump_json().encode() + b"\n"
