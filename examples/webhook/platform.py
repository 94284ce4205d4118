"""The messaging platform: impatient, forgetful, and not always in order."""

import itertools
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio
from anyio.abc import TaskGroup

from examples.demo.dialogues import Conversation
from examples.webhook.books import Books, Sent
from examples.webhook.hook import Died, Hook
from examples.webhook.wire import Send, Update
from examples.webhook.wire import Sent as SentResponse

LATE_EVERY = 10
"""Of so many updates, the second copy of one comes when everything else is over."""
SWAPPED = 0.15
"""Share of neighbours that come in the wrong order."""
FAILS_EVERY = 20
"""Of so many calls, one fails; every second one of these after the text was shown."""
TYPING_S = 0.05
CALL_S = 0.01
QUIET_S = 1.5
"""Seconds without any news after which answers that are missing are not waited for."""
SETTLED_S = 0.2
"""Seconds without any news when nothing is missing."""

Start = Callable[[TaskGroup, Callable[[Hook, Send], None]], Awaitable[Hook]]


class Platform:
    """One performance.

    Args:
        start: Starts a bot process.
        at_once: Chats that are typed in at a time.
        kill_after: Updates that the bot has accepted before it is killed.
        watch: Called at each piece of news, and with a sentence about each event.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        start: Start,
        *,
        at_once: int,
        kill_after: int,
        watch: Callable[[str | None], None],
        seed: int = 1,
    ) -> None:
        self.books = Books()
        self._start = start
        self._at_once = at_once
        self._kill_after = kill_after
        self._watch = watch
        self._chance = random.Random(seed)
        says = [(each.id, text) for each in conversations for text in each.says]
        self.books.updates = {number: Sent(number, *said) for number, said in enumerate(says, 1)}
        self._chats = iter([list(sents) for _, sents in itertools.groupby(self.books.updates.values(), _chat_of)])
        self._requests = itertools.count(1)
        self._news = anyio.Event()
        self._hook: Hook
        self._is_started = anyio.Event()

    async def run(self) -> Books:
        """Raises RuntimeError when the bot fails, or nothing waited in it when it was to be killed."""
        async with anyio.create_task_group() as lives:
            self._tasks = lives
            await self._begin_life()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._kill_in_the_middle)
                for _ in range(self._at_once):
                    tasks.start_soon(self._type_in_chats)
            await self._send_all(sent for sent in self.books.updates.values() if _is_late(sent))
            await self._wait_for_answers()
            await self._hook.close()
        return self.books

    async def _begin_life(self) -> None:
        self._hook = await self._start(self._tasks, self._called)
        self._is_started.set()

    # Updates

    async def _type_in_chats(self) -> None:
        for sents in self._chats:
            for sent in self._out_of_order(sents):
                copies = [sent] if _is_late(sent) else [sent, sent]
                await self._send_all(copies)
                await anyio.sleep(TYPING_S * self._chance.random())

    def _out_of_order(self, sents: list[Sent]) -> list[Sent]:
        for n in range(1, len(sents)):
            if self._chance.random() < SWAPPED:
                sents[n - 1], sents[n] = sents[n], sents[n - 1]
        return sents

    async def _send_all(self, sents: Iterable[Sent]) -> None:
        async with anyio.create_task_group() as tasks:
            for sent in sents:
                tasks.start_soon(self._send, sent)

    async def _send(self, sent: Sent) -> None:
        """Until the bot has said that it has it, as platforms do."""
        while not await self._is_taken(sent):  # noqa: ASYNC110  # platforms ask again and again
            await anyio.sleep(TYPING_S)
        self.books.accepts(sent)
        self._tell(None)

    async def _is_taken(self, sent: Sent) -> bool:
        await self._is_started.wait()
        self.books.sends(sent)
        update = Update(request=next(self._requests), update=sent.update, chat=sent.chat, text=sent.text)
        hook = self._hook
        try:
            is_taken = await hook.request(update)
        except Died:
            if not hook.was_killed:
                raise RuntimeError("The bot process died, and nobody had killed it.") from None
            self.books.broken += 1
            return False
        self.books.refused += not is_taken
        return is_taken

    # Answers

    def _called(self, hook: Hook, call: Send) -> None:
        self._tasks.start_soon(self._answer, hook, call)

    async def _answer(self, hook: Hook, call: Send) -> None:
        self.books.calls += 1
        self.books.owed.add(call.key)
        fails = self.books.calls % FAILS_EVERY == 0
        if not fails or self.books.calls % (2 * FAILS_EVERY) == 0:
            self.books.shows(call.key, call.update, call.text)
        self.books.calls_failed += fails
        self._tell(None)
        await anyio.sleep(CALL_S)
        if not (fails or hook.was_killed):
            self.books.owed.discard(call.key)
        await hook.send(SentResponse(call=call.call, ok=not fails))

    async def _wait_for_answers(self) -> None:
        """Until each update has its answer and its sender knows; or until nothing comes any more."""
        while self.books.answered < len(self.books.updates) or self.books.owed:
            if not await self._has_news(QUIET_S):
                return
        while await self._has_news(SETTLED_S):
            pass  # Answers that are too many.

    async def _has_news(self, within_s: float) -> bool:
        with anyio.move_on_after(within_s):
            await self._news.wait()
            return True
        return False

    # The killer

    async def _kill_in_the_middle(self) -> None:
        """While accepted updates wait for their answers."""
        while self.books.accepted < self._kill_after or not self.books.waiting:
            if self.books.accepted == len(self.books.updates):
                raise RuntimeError("Every update was accepted before a kill could leave one unanswered.")
            await self._news.wait()
        self._is_started = anyio.Event()
        await self._hook.kill()
        self.books.waiting_at_kill = self.books.waiting
        self._tell(f"SIGKILL: {self.books.waiting} updates were accepted and are not answered; starting again")
        await self._begin_life()

    def _tell(self, event: str | None) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()
        self._watch(event)


def _chat_of(sent: Sent) -> str:
    return sent.chat


def _is_late(sent: Sent) -> bool:
    return sent.update % LATE_EVERY == 0
