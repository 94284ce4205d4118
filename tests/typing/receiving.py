# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""`@receive(Say)` lets the type checker compare the handler with its message. Checked, and never run."""

from typing import assert_type

from salon import Message, Session, Turn, receive


class Say(Message[str], name="say"):
    text: str


class Count(Message[int], name="count"):
    pass


class Forms(Session, name="forms"):
    @receive
    async def bare(self, message: Say) -> str:
        assert_type(self.turn, Turn)
        return message.text

    @receive(timeout_s=5)
    async def with_options(self, message: Count) -> int:
        return self.state.message_count


class Checked(Session, name="checked"):
    @receive(Say)
    async def say(self, message: Say) -> str:
        return message.text

    @receive(Count, timeout_s=1)
    async def count(self, message: Count) -> int:
        return 1


class Mistaken(Session, name="mistaken"):
    @receive(Count)  # type: ignore[arg-type]
    async def another_message(self, message: Say) -> str:
        return message.text

    @receive(Say)  # type: ignore[arg-type]
    async def another_reply(self, message: Say) -> int:
        return 1

    @receive(Say)  # type: ignore[arg-type]
    def not_async(self, message: Say) -> str:
        return message.text

    @receive  # type: ignore[type-var]
    def plain(self, message: Say) -> str:
        return message.text


async def callable_as_before(forms: Forms, checked: Checked) -> None:
    assert_type(await forms.bare(Say(text="hi")), str)
    assert_type(await checked.count(Count()), int)
