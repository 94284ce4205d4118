"""The bot process: answers webhooks as soon as their updates are in the durable inbox.

Run by the platform: python -m examples.webhook.server STORE THINK_S BACKEND WITHOUT
"""

import itertools
import logging
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio

from examples.demo.wire import Lines
from examples.webhook.bot import Chat, Deps, Say, Text
from examples.webhook.wire import TO_BOT, Answered, Ready, Send, Sent, ToBot, ToPlatform, Update, to_line
from salon import Runtime, SalonError, Settings

SETTINGS = Settings(delivery_first_s=0.05, delivery_max_s=0.5)  # The platform is patient, the person who looks is not.


def say(message: ToPlatform) -> None:
    sys.stdout.buffer.write(to_line(message))
    sys.stdout.buffer.flush()


async def said() -> AsyncIterator[ToBot]:
    lines = Lines()
    while data := await anyio.to_thread.run_sync(os.read, sys.stdin.fileno(), 1 << 16):
        for line in lines.feed(data):
            yield TO_BOT.validate_json(line)


@dataclass
class Call:
    ended: anyio.Event = field(default_factory=anyio.Event)
    ok: bool = False


class Api:
    """The platform's API, as the bot calls it."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._numbers = itertools.count(1)

    async def send(self, text: Text, key: str) -> None:
        """Raises ConnectionError when the platform did not say that it has shown it."""
        number, call = next(self._numbers), Call()
        self._calls[number] = call
        say(Send(call=number, key=key, update=text.update, text=text.text))
        try:
            await call.ended.wait()
        finally:
            del self._calls[number]
        if not call.ok:
            raise ConnectionError("503")

    def close(self) -> None:
        """The platform is gone: nobody will answer any more."""
        for call in self._calls.values():
            call.ended.set()

    def sent(self, response: Sent) -> None:
        call = self._calls.get(response.call)
        if call is not None:
            call.ok = response.ok
            call.ended.set()


@dataclass
class Server:
    runtime: Runtime
    api: Api
    without: str = ""
    """`key`, `inbox` or `outbox`: do not use it, to show what becomes of that."""

    async def serve(self) -> None:
        """Until standard input ends."""
        say(Ready())
        async with anyio.create_task_group() as tasks:
            async for message in said():
                if isinstance(message, Sent):
                    self.api.sent(message)
                else:
                    tasks.start_soon(self._webhook, message)
        self.api.close()

    async def _webhook(self, update: Update) -> None:
        """What a web framework would call."""
        if self.without == "inbox":
            say(Answered(request=update.request, ok=True))
            await self._ask(update)
            return
        try:
            await self._tell(update)
        except SalonError as error:
            print(f"Update {update.update} is not accepted now: {type(error).__name__}", file=sys.stderr)
            say(Answered(request=update.request, ok=False))
        else:
            say(Answered(request=update.request, ok=True))

    async def _tell(self, update: Update) -> None:
        chat = await self.runtime.get_or_create(Chat, name=f"platform:{update.chat}")
        key = None if self.without == "key" else f"update-{update.update}"
        await chat.tell(Say(update=update.update, text=update.text), key=key)

    async def _ask(self, update: Update) -> None:
        """As it is often written: say yes at once, and work in the background."""
        chat = await self.runtime.get_or_create(Chat, name=f"platform:{update.chat}")
        await chat.ask(Say(update=update.update, text=update.text), key=f"update-{update.update}")


async def main(store: str, think_s: float, without: str) -> None:
    async def think(message: Say) -> None:
        await anyio.sleep(think_s)

    api = Api()
    deps = Deps(think, api.send, uses_outbox=without != "outbox")
    async with Runtime(Chat, store=store, deps=deps, settings=SETTINGS) as runtime:
        await Server(runtime, api, without).serve()


if __name__ == "__main__":
    logging.getLogger("salon").setLevel(logging.CRITICAL)  # The terminal belongs to the platform's progress bar.
    STORE, THINK_S, BACKEND, WITHOUT = sys.argv[1:]
    anyio.run(main, STORE, float(THINK_S), WITHOUT, backend=BACKEND)
