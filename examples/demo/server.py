"""The chatbot process: embeds a Runtime and serves many conversations at a time, over its standard input and output.

Run by the parent: python -m examples.demo.server STORE THINK_S BACKEND PLANT
"""

import logging
import os
import sys
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio

from examples.demo.bot import Bot, Deps, Memory, Say
from examples.demo.history import whole_history
from examples.demo.wire import REQUEST, Ask, Began, Failed, Lines, Ready, Recalled, Replied, Report, Request, to_line
from salon import Runtime, SalonError, SessionHandle

PLANTED_EVERY = 10


def report(message: Report) -> None:
    sys.stdout.buffer.write(to_line(message))
    sys.stdout.buffer.flush()


def think_time_s(mark: str, mean_s: float) -> float:
    """From half the mean to one and a half of it, always the same for one message."""
    return mean_s * (0.5 + zlib.crc32(mark.encode()) / (1 << 32))


async def requests() -> AsyncIterator[Request]:
    lines = Lines()
    while data := await anyio.to_thread.run_sync(os.read, sys.stdin.fileno(), 1 << 16):
        for line in lines.feed(data):
            yield REQUEST.validate_json(line)


@dataclass
class Server:
    runtime: Runtime
    plant: str = ""
    """`lost`, `doubled` or `foreign`: break it in every tenth turn, to show that the checker finds that."""
    _seen: list[str] = field(default_factory=list[str])

    async def serve(self) -> None:
        """Until standard input ends."""
        report(Ready())
        async with anyio.create_task_group() as tasks:
            async for request in requests():
                tasks.start_soon(self._answer, request)

    async def _answer(self, request: Request) -> None:
        try:
            chat = await self.runtime.get_or_create(Bot, name=request.conversation)
            if isinstance(request, Ask):
                reply = await self._ask(chat, request)
                report(Replied(id=request.id, session_id=chat.session_id, mark=request.mark, text=reply))
            else:
                report(Recalled(id=request.id, session_id=chat.session_id, lines=await whole_history(chat)))
        except SalonError as error:
            report(Failed(id=request.id, error=f"{type(error).__name__}: {error}"))

    async def _ask(self, chat: SessionHandle[Memory], request: Ask) -> str:
        message = Say(text=request.text, mark=request.mark)
        if self.plant and request.id % PLANTED_EVERY == PLANTED_EVERY - 1:
            return await self._ask_badly(chat, message, request.conversation)
        self._seen = [request.conversation, *self._seen[:1]]
        return await chat.ask(message)

    async def _ask_badly(self, chat: SessionHandle[Memory], message: Say, conversation: str) -> str:
        if self.plant == "lost":
            report(Began(mark=message.mark))
            return "An answer that no session has given."
        if self.plant == "doubled":
            await chat.ask(message)
        if self.plant == "foreign":
            other = next((name for name in self._seen if name != conversation), "nobody")
            await (await self.runtime.get_or_create(Bot, name=other)).ask(message)
        return await chat.ask(message)


async def main(store: str, mean_s: float, plant: str) -> None:
    async def think(message: Say) -> None:
        report(Began(mark=message.mark))
        await anyio.sleep(think_time_s(message.mark, mean_s))

    async with Runtime(Bot, store=store, deps=Deps(think)) as runtime:
        await Server(runtime, plant).serve()


if __name__ == "__main__":
    logging.getLogger("salon").setLevel(logging.ERROR)  # The terminal belongs to the parent's progress bar.
    STORE, THINK_S, BACKEND, PLANT = sys.argv[1:]
    anyio.run(main, STORE, float(THINK_S), PLANT, backend=BACKEND)
