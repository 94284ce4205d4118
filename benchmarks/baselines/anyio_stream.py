"""What one would write with anyio: a task and a memory stream per actor, an event per ask."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup


class Question:
    __slots__ = ("answer", "answered", "message")

    def __init__(self, message: object) -> None:
        self.message = message
        self.answered = anyio.Event()
        self.answer: object = None


class StreamActor:
    def __init__(self, group: TaskGroup, handler: Callable[[Any], Awaitable[Any]]) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Question](64)
        self._handler = handler
        group.start_soon(self._run)

    async def ask(self, message: object) -> object:
        question = Question(message)
        self._send.send_nowait(question)
        await question.answered.wait()
        return question.answer

    async def _run(self) -> None:
        with self._receive, self._send:
            async for question in self._receive:
                question.answer = await self._handler(question.message)
                question.answered.set()
