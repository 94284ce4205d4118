"""Talk to the demo's bot in the terminal; leave, come back, it remembers.

Run: python -m examples.chat [--name NAME] [--store FILE]
"""

import argparse
import logging
import os
import sys
from pathlib import Path

import anyio

from examples.demo.bot import Bot, Deps, Line, Memory, Say
from examples.demo.wire import Lines
from salon import Runtime, SessionHandle

SHOWN = 6
THINK_S = 0.3


async def think(message: Say) -> None:
    await anyio.sleep(THINK_S)


class Typed:
    """Lines from the terminal. Read without a thread, which would keep a program that is interrupted from ending."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._ready: list[bytes] = []

    async def line(self, prompt: str) -> str:
        """Without its end; empty at the end of the input."""
        print(prompt, end="", flush=True)
        while not self._ready:
            await self._wait()
            data = os.read(sys.stdin.fileno(), 1 << 12)
            self._ready = self._lines.feed(data or b"\n")
        return self._ready.pop(0).decode(errors="replace").strip()

    async def _wait(self) -> None:
        try:
            await anyio.wait_readable(sys.stdin)
        except PermissionError:
            pass  # A file, which is always ready.


def show(line: Line) -> None:
    print(f"{'you' if line.role == 'user' else 'bot'}: {line.content}")


async def greet(chat: SessionHandle[Memory]) -> None:
    lines = (await chat.history(lambda state: state.lines, limit=SHOWN)).items
    if not lines:
        print("We have not talked before. Leave with an empty line or Ctrl-D, and come back: I remember.")
        return
    print(f"You are back; you have told me {(await chat.peek()).state.heard} things. The last lines were:")
    for line in lines:
        show(line)


async def talk(name: str, store: str) -> None:
    async with Runtime(Bot, store=store, deps=Deps(think)) as runtime:
        chat = await runtime.get_or_create(Bot, name=name)
        await greet(chat)
        typed = Typed()
        while text := await typed.line("you: "):
            print("bot:", await chat.ask(Say(text=text)))
    print("\nUntil next time.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.chat", description="Talk to a bot that remembers.")
    parser.add_argument("--name", default="you", help="whose conversation (default: you)")
    parser.add_argument("--store", type=Path, default=Path("chat.db"), help="where it is kept (default: chat.db)")
    options = parser.parse_args()
    logging.getLogger("salon").setLevel(logging.ERROR)  # This terminal is for talking.
    try:
        anyio.run(talk, options.name, f"sqlite:///{options.store.resolve()}")
    except KeyboardInterrupt:
        print("\nUntil next time; what was answered is kept.")


if __name__ == "__main__":
    main()
