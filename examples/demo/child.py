"""One life of the chatbot process, seen by the parent."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import Process, TaskGroup

from examples.demo.wire import (
    REPORT,
    Answer,
    Ask,
    Began,
    Failed,
    Lines,
    Ready,
    Recall,
    Recalled,
    Replied,
    Request,
    to_line,
)

ROOT = Path(__file__).parent.parent.parent


class Died(Exception):
    """The process ended before it answered."""


@dataclass
class Waiting:
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: Answer | None = None


class Child:
    """Asks the process, and knows which turns run in it. Made by `start_child`."""

    def __init__(self, process: Process) -> None:
        self.running: set[str] = set()
        """Marks of the turns that have begun and are not answered."""
        self.ended = anyio.Event()
        """Set when the last thing that it said has been read."""
        self.first_reply_s: float | None = None
        self._began_at = time.monotonic()
        self._process = process
        self._ready = anyio.Event()
        self._waiting: dict[int, Waiting] = {}
        self._sending = anyio.Lock()

    async def ask(self, id: int, conversation: str, text: str, mark: str) -> Replied:
        answer = await self._request(Ask(id=id, conversation=conversation, text=text, mark=mark))
        assert isinstance(answer, Replied)
        return answer

    async def recall(self, id: int, conversation: str) -> Recalled:
        answer = await self._request(Recall(id=id, conversation=conversation))
        assert isinstance(answer, Recalled)
        return answer

    async def _request(self, request: Request) -> Answer:
        if self.ended.is_set():
            raise Died
        waiting = self._waiting[request.id] = Waiting()
        try:
            async with self._sending:
                assert self._process.stdin is not None
                await self._process.stdin.send(to_line(request))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass  # It is dead; what it said before is still being read.
        await waiting.answered.wait()
        if waiting.answer is None:
            raise Died
        if isinstance(waiting.answer, Failed):
            raise RuntimeError(f"The chatbot failed: {waiting.answer.error}")
        return waiting.answer

    async def listen(self) -> None:
        """Reads what the process says until it ends, and then tells those who still wait."""
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
            self.ended.set()
            self._ready.set()
            for waiting in self._waiting.values():
                waiting.answered.set()

    def _hear(self, line: bytes) -> None:
        match REPORT.validate_json(line):
            case Ready():
                self._ready.set()
            case Began(mark=mark):
                self.running.add(mark)
            case Replied() | Recalled() | Failed() as answer:
                self._settle(answer)

    def _settle(self, answer: Answer) -> None:
        if isinstance(answer, Replied):
            self.running.discard(answer.mark)
            self.first_reply_s = self.first_reply_s or time.monotonic() - self._began_at
        waiting = self._waiting.pop(answer.id)
        waiting.answer = answer
        waiting.answered.set()

    async def wait_ready(self) -> None:
        await self._ready.wait()
        if self.ended.is_set():
            raise RuntimeError("The chatbot process ended before it was ready.")

    async def kill(self) -> int:
        """SIGKILL; returns how many turns ran in it and were not answered."""
        self._process.kill()
        await self.ended.wait()
        await self._process.wait()
        return len(self.running)

    async def close(self) -> None:
        """Ends it in good order."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        if status := await self._process.wait():
            raise RuntimeError(f"The chatbot process ended with status {status}.")


async def start_child(tasks: TaskGroup, store: str, think_s: float, backend: str, plant: str) -> Child:
    """A new process, ready to be asked; it is killed when the task group is cancelled."""
    command = [sys.executable, "-m", "examples.demo.server", store, str(think_s), backend, plant]
    child = Child(await anyio.open_process(command, cwd=ROOT, stderr=None))
    tasks.start_soon(child.listen)
    await child.wait_ready()
    return child
