"""One life of the bot process, as the platform sees it: a place to send updates to, which calls back."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import Process, TaskGroup

from examples.demo.wire import Lines
from examples.webhook.wire import TO_PLATFORM, Answered, Ready, Send, ToBot, Update, to_line

ROOT = Path(__file__).parent.parent.parent


class Died(Exception):
    """The process ended before it answered."""


@dataclass
class Request:
    answered: anyio.Event = field(default_factory=anyio.Event)
    ok: bool | None = None


class Hook:
    """Made by `start_hook`."""

    def __init__(self, process: Process, called: Callable[["Hook", Send], None]) -> None:
        self.was_killed = False
        self._process = process
        self._called = called
        self._ready = anyio.Event()
        self._ended = anyio.Event()
        self._requests: dict[int, Request] = {}
        self._sending = anyio.Lock()

    async def request(self, update: Update) -> bool:
        """Whether the bot has taken it. Raises Died."""
        request = self._requests[update.request] = Request()
        await self.send(update)
        if not self._ended.is_set():
            await request.answered.wait()
        if request.ok is None:
            raise Died
        return request.ok

    async def send(self, message: ToBot) -> None:
        """To a process that has ended it goes nowhere."""
        if self.was_killed:
            return
        try:
            async with self._sending:
                assert self._process.stdin is not None
                await self._process.stdin.send(to_line(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass  # What it said before is still being read.

    async def listen(self) -> None:
        """Until the process ends; those who still wait are told then."""
        assert self._process.stdout is not None
        lines = Lines()
        try:
            async for data in self._process.stdout:
                for line in lines.feed(data):
                    self._hear(line)
        except BaseException:
            self._process.kill()
            raise
        finally:
            self._ended.set()
            self._ready.set()
            for request in self._requests.values():
                request.answered.set()

    def _hear(self, line: bytes) -> None:
        match TO_PLATFORM.validate_json(line):
            case Ready():
                self._ready.set()
            case Answered() as answer:
                request = self._requests.pop(answer.request)
                request.ok = answer.ok
                request.answered.set()
            case Send() as call:
                self._called(self, call)

    async def wait_ready(self) -> None:
        await self._ready.wait()
        if self._ended.is_set():
            raise RuntimeError("The bot process ended before it was ready.")

    async def kill(self) -> None:
        self.was_killed = True
        self._process.kill()
        await self._ended.wait()
        await self._process.wait()

    async def close(self) -> None:
        """Ends it in good order."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        if status := await self._process.wait():
            raise RuntimeError(f"The bot process ended with status {status}.")


async def start_hook(tasks: TaskGroup, words: list[str], called: Callable[[Hook, Send], None]) -> Hook:
    """A new process, ready for updates; it is killed when the task group is cancelled."""
    command = [sys.executable, "-m", "examples.webhook.server", *words]
    hook = Hook(await anyio.open_process(command, cwd=ROOT, stderr=None), called)
    tasks.start_soon(hook.listen)
    await hook.wait_ready()
    return hook
