# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""A reply has the type that its message promises, without a cast. Checked, and never run."""

from typing import assert_type

from pydantic import BaseModel

from salon import ChatLine, Conversation, Log, Message, Page, Runtime, Session, SessionHandle, SessionView, receive


class Say(Message[str], name="say"):
    text: str


class Count(Message[int], name="count"):
    pass


class Maybe(Message[str | None], name="maybe"):
    pass


class Bye(Message, name="bye"):
    pass


class Line(BaseModel, frozen=True):
    text: str


class Notes(BaseModel):
    lines: Log[Line] = Log()
    titles: dict[str, int] = {}


class Chat(Session, name="chat"):
    @receive
    async def say(self, message: Say) -> str:
        return message.text


class Book(Session[Notes], name="book"):
    @receive
    async def count(self, message: Count) -> int:
        return len(self.state.lines)


async def replies(runtime: Runtime) -> None:
    chat = await runtime.get_or_create(Chat, name="a")
    assert_type(chat, SessionHandle[Conversation])
    assert_type(await chat.ask(Say(text="hi")), str)
    assert_type(await chat.ask(Count(), timeout_s=1), int)
    assert_type(await chat.ask(Maybe()), str | None)
    assert_type(await chat.ask(Bye()), None)


async def states(runtime: Runtime) -> None:
    book = await runtime.create(Book, state=Notes())
    assert_type(book, SessionHandle[Notes])
    assert_type(await book.peek(), SessionView[Notes])
    assert_type((await book.peek()).state.titles, dict[str, int])
    assert_type(await book.history(lambda notes: notes.lines), Page[Line])
    assert_type((await book.peek()).state.lines.tail(3), list[Line])
    chat = await runtime.get(Chat, "s_", trusted=True)
    assert_type((await chat.history(lambda state: state.messages)).items[0], ChatLine)


async def mistakes(runtime: Runtime, chat: SessionHandle[Conversation], book: SessionHandle[Notes]) -> None:
    await chat.ask("hi")  # type: ignore[arg-type]
    await chat.ask(Line(text="hi"))  # type: ignore[arg-type]
    await chat.ask(Say(text=1))  # type: ignore[arg-type]
    await chat.ask(Say)  # type: ignore[arg-type]
    await chat.ask(Say(text="hi"), 3)  # type: ignore[call-arg]
    await book.history(lambda notes: notes.titles)  # type: ignore[arg-type, return-value]
    await runtime.create(Book, state=Conversation())  # type: ignore[misc]
    await runtime.get_or_create(Line, name="a")  # type: ignore[arg-type]
    _: int = await chat.ask(Say(text="hi"))  # type: ignore[arg-type]
