"""Live actors under many clients on a virtual clock: the checker lets the right one pass and catches the faulty ones.

Each faulty actor has one mistake that real ones have had; a checker that let it pass would be worth nothing.
"""

from collections import defaultdict
from collections.abc import Callable

import anyio
import pytest

from salon.testing import Append, History, Kind, SeededChance, VirtualClock, check

SESSIONS = 3
CLIENTS_PER_SESSION = 4
OPERATIONS_PER_CLIENT = 30


class NotApplied(Exception):
    """Nothing happened."""


class OutcomeUnknown(Exception):
    """Nobody can say what happened."""


class Sessions:
    """Right: one turn at a time, no element twice, a reply leaves after its write, reads see what is written."""

    def __init__(self, clock: VirtualClock, chance: SeededChance) -> None:
        self.clock = clock
        self.chance = chance
        self.written = defaultdict[str, list[str]](list)
        self.locks = defaultdict[str, anyio.Lock](anyio.Lock)

    async def pause(self) -> None:
        await self.clock.sleep(0.001 + self.chance.uniform())

    async def append(self, session: str, element: str) -> int:
        async with self.locks[session]:
            await self.pause()
            index = self.write(session, element)
            if self.chance.below(8) == 0:
                raise OutcomeUnknown
        await self.pause()
        return index

    def write(self, session: str, element: str) -> int:
        there = self.written[session]
        if element not in there:
            if self.chance.below(8) == 0:
                raise NotApplied
            there.append(element)
        return there.index(element)

    async def read(self, session: str) -> list[str]:
        await self.pause()
        seen = list(self.written[session])
        await self.pause()
        return seen


class WritesARetryAgain(Sessions):
    def write(self, session: str, element: str) -> int:
        self.written[session].append(element)
        return len(self.written[session]) - 1


class AnswersBeforeItWrites(Sessions):
    """And now and then the write comes to nothing."""

    async def append(self, session: str, element: str) -> int:
        if self.chance.below(5) == 0:
            return len(self.written[session])
        return await super().append(session, element)


class HasNoTurns(Sessions):
    """Reads, thinks and writes back, over what others have written meanwhile."""

    async def append(self, session: str, element: str) -> int:
        draft = list(self.written[session])
        await self.pause()
        self.written[session] = [*draft, element]
        return len(draft)


class CountsWrongly(Sessions):
    async def append(self, session: str, element: str) -> int:
        return await super().append(session, element) + self.chance.below(2)


class WritesLaterInWhateverOrder(Sessions):
    """Answers at once, for the buffer's sake, and writes the buffer last in, first out."""

    def __init__(self, clock: VirtualClock, chance: SeededChance) -> None:
        super().__init__(clock, chance)
        self.buffers = defaultdict[str, list[str]](list)

    async def append(self, session: str, element: str) -> int:
        buffer = self.buffers[session]
        buffer.insert(0, element)
        await self.pause()
        if len(buffer) >= 4:
            self.flush(session)
        return -1

    def flush(self, session: str) -> None:
        self.written[session] += self.buffers[session]
        self.buffers[session].clear()

    async def read(self, session: str) -> list[str]:
        self.flush(session)
        return await super().read(session)


class SharesADefault(Sessions):
    """Every so often a message lands in whichever session was served last."""

    last = ""

    async def append(self, session: str, element: str) -> int:
        served, self.last = self.last or session, session
        return await super().append(served if self.chance.below(4) == 0 else session, element)


class SaysNoAndDoesIt(Sessions):
    def write(self, session: str, element: str) -> int:
        index = super().write(session, element)
        if self.chance.below(6) == 0:
            raise NotApplied
        return index


class ShowsItsDraft(Sessions):
    """Readers see what a turn has only thought of, and what is then rolled back."""

    async def append(self, session: str, element: str) -> int:
        async with self.locks[session]:
            self.written[session].append(element)
            await self.pause()
            if self.chance.below(2) == 0:
                self.written[session].remove(element)
                raise NotApplied
            return self.written[session].index(element)


class KeepsACache(Sessions):
    def __init__(self, clock: VirtualClock, chance: SeededChance) -> None:
        super().__init__(clock, chance)
        self.cache: dict[str, list[str]] = {}

    async def read(self, session: str) -> list[str]:
        if self.chance.below(3) == 0:
            self.cache.pop(session, None)
        return self.cache.setdefault(session, await super().read(session))


class AsksReplicas(Sessions):
    """One of two copies answers, and the second one gets what is written only with a later write."""

    def __init__(self, clock: VirtualClock, chance: SeededChance) -> None:
        super().__init__(clock, chance)
        self.copies = defaultdict[str, list[str]](list)

    def write(self, session: str, element: str) -> int:
        if self.chance.below(3) == 0:
            self.copies[session] = list(self.written[session])
        return super().write(session, element)

    async def read(self, session: str) -> list[str]:
        copy = self.copies if self.chance.below(2) else self.written
        await self.pause()
        return list(copy[session])


class GuessesTheNextMessage(Sessions):
    """Writes down what this client will surely say next."""

    def write(self, session: str, element: str) -> int:
        index = super().write(session, element)
        client, number = element.rsplit("-", 1)
        super().write(session, f"{client}-{int(number) + 1}")
        return index


class ForgetsToAnswer(Sessions):
    async def append(self, session: str, element: str) -> int:
        if self.chance.below(9) == 0:
            await anyio.sleep_forever()
        return await super().append(session, element)


class RefusesAll(Sessions):
    def write(self, session: str, element: str) -> int:
        raise NotApplied


class Client:
    """Appends and reads, one after the other; tries again, with the same element, what nobody could say of."""

    def __init__(self, sessions: Sessions, history: History, session: str, name: str, *, says_places: bool) -> None:
        self.sessions = sessions
        self.history = history
        self.session = session
        self.name = name
        self.says_places = says_places

    async def run(self) -> None:
        for number in range(OPERATIONS_PER_CLIENT):
            if number % 3 == 2:
                await self.read()
            elif not await self.append(f"{self.name}-{number}"):
                await self.append(f"{self.name}-{number}")

    async def append(self, element: str) -> bool:
        """Whether it is known what became of it."""
        append = self.history.append(self.session, element)
        try:
            index = await self.sessions.append(self.session, element)
        except NotApplied:
            append.not_applied()
        except OutcomeUnknown:
            append.unknown()
        else:
            append.acknowledged(index if self.says_places else None)
        return append.fate != "unknown"

    async def read(self) -> None:
        read = self.history.read(self.session)
        read.returned(await self.sessions.read(self.session))


async def played(
    make: Callable[[VirtualClock, SeededChance], Sessions], seed: int, *, says_places: bool = True
) -> History:
    """The history of all clients, played to the end; who then still waits was abandoned."""
    clock, history = VirtualClock(), History()
    sessions = make(clock, SeededChance(seed))
    names = [f"s{number}" for number in range(SESSIONS)]
    async with anyio.create_task_group() as group:
        for name in names:
            for number in range(CLIENTS_PER_SESSION):
                client = Client(sessions, history, name, f"{name}c{number}", says_places=says_places)
                group.start_soon(client.run)
                await clock.advance(0)  # One after the other, for trio starts those of one moment in any order.
        await clock.advance(1000)
        assert clock.sleeping == 0
        group.cancel_scope.cancel()
    for name in names:
        history.final(name, sessions.written[name])
    return history


def acknowledged(history: History) -> list[Append]:
    return [append for append in history.appends if append.fate == "acknowledged"]


@pytest.mark.parametrize("seed", range(10))
async def test_a_right_actor_passes_whatever_its_clients_run_into(seed: int) -> None:
    history = await played(Sessions, seed)

    assert check(history, acknowledged_min=100) == []
    assert {append.fate for append in history.appends} == {"acknowledged", "not_applied", "unknown"}
    assert len(history.reads) == SESSIONS * CLIENTS_PER_SESSION * OPERATIONS_PER_CLIENT // 3


FAULTY: list[tuple[type[Sessions], Kind]] = [
    (WritesARetryAgain, "duplicate"),
    (AnswersBeforeItWrites, "lost"),
    (HasNoTurns, "lost"),
    (CountsWrongly, "misplaced"),
    (WritesLaterInWhateverOrder, "order"),
    (SharesADefault, "foreign"),
    (SaysNoAndDoesIt, "not_applied"),
    (ShowsItsDraft, "prefix"),
    (KeepsACache, "stale"),
    (AsksReplicas, "backward"),
    (GuessesTheNextMessage, "early"),
    (ForgetsToAnswer, "abandoned"),
    (RefusesAll, "no_progress"),
]


@pytest.mark.parametrize(("faulty", "kind"), FAULTY)
async def test_a_faulty_actor_is_caught(faulty: type[Sessions], kind: Kind) -> None:
    for seed in range(5):
        history = await played(faulty, seed, says_places=faulty is not WritesLaterInWhateverOrder)

        assert kind in {violation.kind for violation in check(history)}, (faulty, seed)
        assert bool(acknowledged(history)) == (faulty is not RefusesAll)


async def test_a_seed_plays_the_same_history_again() -> None:
    first, second = await played(Sessions, 7), await played(Sessions, 7)

    assert [(a.element, a.began, a.ended, a.fate, a.index) for a in first.appends] == [
        (a.element, a.began, a.ended, a.fate, a.index) for a in second.appends
    ]
    assert [(r.began, r.ended, r.elements) for r in first.reads] == [
        (r.began, r.ended, r.elements) for r in second.reads
    ]
