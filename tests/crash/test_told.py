"""SIGKILL at any instant: what was told is handled once or is a dead letter, never neither, never twice."""

import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from salon import Runtime, SessionHandle, Settings, TurnInterrupted
from salon.testing import SeededChance
from tests.crash.killer import BACKENDS, DELAY_S, LIFE_S_MAX, ROOT
from tests.crash.notes import Lines, session_of
from tests.crash.post_office import Counterhand, Letter, PostOffice, Registered, Shelf
from tests.effort import effort

HEARD_MIN, HEARD_MAX = 60, 600


@dataclass
class Sent:
    """One message, as its sender and the world have seen it."""

    verb: str
    kind: str
    takes_s: float
    turn: str | None = None
    """Once it was accepted."""
    answered: int | None = None
    runs: int = 0


@dataclass
class Post:
    """Kills in rounds, all on one file. `problems` stays empty if every promise was kept."""

    path: Path
    chance: SeededChance
    sent: dict[str, Sent] = field(default_factory=dict[str, Sent])
    """Of all rounds."""
    met: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])

    def round(self, number: int) -> None:
        new = self._live_and_die(number)
        self.sent |= new
        anyio.run(self._look, new, backend=BACKENDS[(number // 2) % 2])

    def _live_and_die(self, number: int) -> dict[str, Sent]:
        new: dict[str, Sent] = {}
        words = [f"sqlite:///{self.path}", BACKENDS[number % 2], number, self.chance.below(1 << 32)]
        command = [sys.executable, "-m", "tests.crash.doomed_senders", *map(str, words)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            lines = Lines()
            self._listen(child.stdout.fileno(), lines, new)
            time.sleep(self.chance.uniform() * DELAY_S)
            os.kill(child.pid, signal.SIGKILL)
            for words_ in lines.feed(child.stdout.read()):
                _hear(words_, new)
        assert child.returncode == -signal.SIGKILL, "The process ended before it was killed."
        return new

    def _listen(self, pipe: int, lines: Lines, new: dict[str, Sent]) -> None:
        heard, enough = 0, HEARD_MIN + self.chance.below(HEARD_MAX - HEARD_MIN)
        end = time.monotonic() + LIFE_S_MAX
        while heard < enough and (left_s := end - time.monotonic()) > 0:
            if select.select([pipe], [], [], left_s)[0]:
                data = os.read(pipe, 1 << 12)
                assert data, "The process ended before it was killed."
                for words in lines.feed(data):
                    heard += 1
                    _hear(words, new)
        assert heard >= enough, f"Only {heard} lines in {LIFE_S_MAX} s."

    async def _look(self, new: dict[str, Sent]) -> None:
        """The next life: what waits runs to its end, and what was not answered is sent again under its key."""

        def began(element: str, attempt: int) -> None:
            self.sent[element].runs += 1

        settings = Settings(crash_budget=1_000_000)
        hand = Counterhand(anyio.sleep, began)
        async with Runtime(PostOffice, store=f"sqlite:///{self.path}", deps=hand, settings=settings) as runtime:
            offices = {
                name: await runtime.get_or_create(PostOffice, name=name) for name in {*map(session_of, self.sent)}
            }
            with anyio.fail_after(60):
                for element, sent in new.items():
                    await self._settle(offices[session_of(element)], element, sent)
            restored = runtime.stats()["messages_restored"]
            assert isinstance(restored, int)
            self.met["found in the inbox"] += restored
            await self._compare(runtime, offices)

    async def _settle(self, office: SessionHandle[Shelf], element: str, sent: Sent) -> None:
        if sent.answered is not None:
            return
        if sent.turn is not None:  # its sender has a receipt, and asks what became of it
            try:
                sent.answered = await (await office.receipt(turn=sent.turn)).wait()
            except TurnInterrupted:
                self.met["interrupted"] += 1
            else:
                self.met["answered by its receipt"] += 1
            return
        try:  # its sender knows nothing of it, and sends it again
            sent.answered = await _send_again(office, element, sent)
            self.met["sent again"] += 1
        except TurnInterrupted:
            self.met["interrupted, and then sent again"] += 1

    async def _compare(self, runtime: Runtime, offices: dict[str, SessionHandle[Shelf]]) -> None:
        letters: Counter[str] = Counter()
        after: str | None = None
        while True:
            page = await runtime.dead_letters().list(limit=1000, after=after)
            for letter in page.items:
                if letter.reason not in ("interrupted", "crashed"):
                    self.problems.append(f"a dead letter because of {letter.reason}")
                opened = await runtime.dead_letters().inspect(letter.id)
                assert isinstance(opened.message, Letter | Registered)
                letters[opened.message.element] += 1
            if (after := page.next) is None:
                break
        shelves: Counter[str] = Counter()
        cut: Counter[str] = Counter()
        for office in offices.values():
            state = (await office.peek()).state
            shelves.update([element async for element in state.letters.scan()])
            cut.update([element async for element in state.cut.scan()])
        for element, sent in self.sent.items():
            self._judge(element, sent, shelves[element], letters[element], cut[element])
        if unknown := (shelves.keys() | letters.keys()) - self.sent.keys():
            self.problems.append(f"nobody sent {sorted(unknown)}")
        self.met["applied"], self.met["dead letters"] = shelves.total(), letters.total()

    def _judge(self, element: str, sent: Sent, applied: int, letters: int, cut: int) -> None:
        what = f"{sent.verb} {sent.kind} {element}"
        if applied + letters != 1:
            self.problems.append(f"{what} was handled {applied} times, and is {letters} dead letters")
        if sent.answered is not None and not applied:
            self.problems.append(f"{what} was answered, and is not there")
        if letters != cut:
            self.problems.append(f"{what} is {letters} dead letters, and on_interrupted has run {cut} times")
        if letters and sent.kind == "registered":
            self.problems.append(f"{what} was not tried again")
        if sent.kind == "letter" and sent.verb != "ask" and sent.runs > 1:
            self.problems.append(f"{what} ran {sent.runs} times")


async def _send_again(office: SessionHandle[Shelf], element: str, sent: Sent) -> int:
    kind = Letter if sent.kind == "letter" else Registered
    message = kind(element=element, takes_s=sent.takes_s)
    if sent.verb == "ask":
        return await office.ask(message, key=element)
    return await (await office.tell(message, key=element)).wait()


def _hear(words: list[str], new: dict[str, Sent]) -> None:
    match words:
        case ["ready"]:
            pass
        case ["b", verb, element, kind, takes_s]:
            new[element] = Sent(verb, kind, float(takes_s))
        case ["d", element, turn]:
            new[element].turn = turn
        case ["r", element, _]:
            new[element].runs += 1
        case ["a", element, place]:
            new[element].answered = int(place)
        case _:
            raise AssertionError(words)


def kill(folder: Path, rounds: int, seed: int) -> None:
    post = Post(folder / "chat.db", SeededChance(seed))
    for number in range(rounds):
        post.round(number)

        assert post.problems == [], f"round {number} of seed {seed}"
    sys.stdout.write(f"{rounds} kills, {len(post.sent)} sent: {dict(sorted(post.met.items()))}\n")

    assert post.met["found in the inbox"] >= rounds
    assert post.met["answered by its receipt"] >= rounds
    assert post.met["sent again"] >= 1
    assert post.met["dead letters"] >= rounds // 5
    assert any(sent.runs > 1 for sent in post.sent.values() if sent.kind == "registered")


@pytest.mark.timeout(120)
def test_kills_neither_lose_nor_double_what_was_told(tmp_path: Path) -> None:
    kill(tmp_path, 5, seed=6)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_hundred_kills_neither_lose_nor_double_what_was_told(tmp_path: Path) -> None:
    kill(tmp_path, effort(12, 100), seed=100)
