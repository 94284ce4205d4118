"""The README's first example: a bot that remembers, through a restart too."""

import anyio

from salon import ChatLine, Message, Runtime, Session, receive


async def my_agent(lines: list[ChatLine]) -> str:  # yours: LangGraph, Agents SDK, a bare model call
    await anyio.sleep(1)
    return f"I have read {len(lines)} lines."


class Say(Message[str], name="say"):  # a request; its reply is a str
    text: str


class Chat(Session, name="chat"):  # one actor per conversation
    @receive
    async def say(self, message: Say) -> str:
        self.state.add("user", message.text)
        reply = await my_agent(self.state.messages.tail(20))
        self.state.add("assistant", reply)
        return reply  # leaves when both lines are on disk; there is no save()


async def main() -> None:
    async with Runtime(Chat, store="sqlite:///chat.db") as runtime:
        chat = await runtime.get_or_create(Chat, name="alice")
        await chat.tell(Say(text="I am Alice."))  # two messages at once: two turns, in order
        print(await chat.ask(Say(text="Who am I?")))  # I have read 3 lines; run it again: 7


anyio.run(main)  # kill -9 it at any moment: what was answered is on disk, once
