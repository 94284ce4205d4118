"""Plays many conversations at a time, kills the chatbot in the middle of them, starts it again and goes on.

`ask` returns once its turn is durable. For a message without an answer at the kill nobody can know whether its turn
was kept; so the player looks at the history first, and asks again only what is not there.
"""

import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup
from pydantic import BaseModel

from examples.demo.child import Child, Died
from examples.demo.dialogues import Conversation
from examples.demo.wire import Recalled


class Acknowledged(BaseModel):
    """A turn whose answer has reached this process: it must be in the file from then on."""

    session_id: str
    mark: str
    text: str
    reply: str
    seconds: float
    """From the first time of asking, a restart in between included."""


@dataclass
class Played:
    acknowledged: list[Acknowledged] = field(default_factory=list[Acknowledged])
    in_flight: int = 0
    """Turns that ran at the kill."""
    kept: int = 0
    """Messages without an answer at the kill that the history held."""
    asked_again: int = 0
    restart_s: float = 0.0
    """From the start of the new process to its first answer."""
    seconds: float = 0.0


class Play:
    """One performance.

    Args:
        start: Starts a chatbot process.
        at_once: Conversations played at a time.
        kill_after: Acknowledged turns before the kill.
        watch: Called after each acknowledged turn, and with a sentence about each event.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        start: Callable[[TaskGroup], Awaitable[Child]],
        *,
        at_once: int,
        kill_after: int,
        watch: Callable[[str | None], None],
    ) -> None:
        self.played = Played()
        self._start = start
        self._at_once = at_once
        self._kill_after = kill_after
        self._watch = watch
        self._waiting: Iterator[Conversation] = iter(conversations)
        self._turns = sum(len(conversation.says) for conversation in conversations)
        self._ids = itertools.count(1)
        self._changed = anyio.Event()
        self._is_killing = False

    async def run(self) -> Played:
        """Raises RuntimeError when the chatbot fails, or no turn could be caught in flight."""
        async with anyio.create_task_group() as lives:
            self._child = await self._start(lives)
            began = time.monotonic()
            async with anyio.create_task_group() as players:
                players.start_soon(self._kill_in_the_middle, lives)
                for _ in range(self._at_once):
                    players.start_soon(self._play_conversations)
            self.played.seconds = time.monotonic() - began
            await self._child.close()
        return self.played

    # The players

    async def _play_conversations(self) -> None:
        for conversation in self._waiting:
            for number, text in enumerate(conversation.says):
                await self._play_turn(conversation.id, f"{conversation.id}#{number}", text)

    async def _play_turn(self, conversation: str, mark: str, text: str) -> None:
        began = time.monotonic()
        is_sent = False
        while True:
            child = self._child
            try:
                known = await self._known(child, conversation, mark) if is_sent else None
                if known is None:
                    self.played.asked_again += is_sent
                    is_sent = True
                    replied = await child.ask(next(self._ids), conversation, text, mark)
                    known = replied.session_id, replied.text
                break
            except Died:
                await self._next_child(child)
        session_id, reply = known
        seconds = time.monotonic() - began
        self.played.acknowledged.append(
            Acknowledged(session_id=session_id, mark=mark, text=text, reply=reply, seconds=seconds)
        )
        self._tell(None)

    async def _known(self, child: Child, conversation: str, mark: str) -> tuple[str, str] | None:
        """Session and answer of a turn that was kept although its answer did not arrive."""
        recalled = await child.recall(next(self._ids), conversation)
        reply = kept_reply(recalled, mark)
        self.played.kept += reply is not None
        return None if reply is None else (recalled.session_id, reply)

    async def _next_child(self, child: Child) -> None:
        if not self._is_killing and self._child is child:
            raise RuntimeError("The chatbot process died, and nobody had killed it.")
        while self._child is child:
            await self._changed.wait()

    # The killer

    async def _kill_in_the_middle(self, lives: TaskGroup) -> None:
        """Kills until turns were in flight. It must succeed before the last turn."""
        while not self.played.in_flight:
            while len(self.played.acknowledged) < self._kill_after or not self._child.running:
                if len(self.played.acknowledged) == self._turns:
                    raise RuntimeError("Everything was said before a kill caught a turn in flight.")
                await self._changed.wait()
            await self._kill_and_start(lives)

    async def _kill_and_start(self, lives: TaskGroup) -> None:
        self._is_killing = True
        self.played.in_flight = await self._child.kill()
        self._tell(f"SIGKILL with {self.played.in_flight} turns in flight; starting again")
        child = await self._start(lives)
        self._child, self._is_killing = child, False
        self._tell(None)
        while child.first_reply_s is None:
            await self._changed.wait()
        self.played.restart_s = child.first_reply_s
        self._tell(f"first answer {child.first_reply_s:.2f} s after the restart")

    def _tell(self, event: str | None) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
        self._watch(event)


def kept_reply(recalled: Recalled, mark: str) -> str | None:
    """Raises RuntimeError when half a turn was kept."""
    kept = [line for line in recalled.lines if line.mark == mark]
    if not kept:
        return None
    if kept[-1].role != "assistant":
        raise RuntimeError(f"Half of turn {mark} was kept: {kept}")
    return kept[-1].content
