"""The parent that survives: starts the process, kills it at a random moment, and looks at what it left behind."""

import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from salon import Durability, Runtime
from salon.testing import Append, History, SeededChance, check
from tests.consistency.notebook import Desk, Notebook, digest_of
from tests.crash.notes import Lines, session_of

LIFE_S_MAX = 30.0
HEARD_MIN, HEARD_MAX = 40, 1500
"""Lines after which the kill comes: counted, so that a slow machine is killed in the middle of its work too."""
DELAY_S = 0.004
"""And at most so much later, so that it comes between any two instructions."""
ROOT = Path(__file__).parents[2]
BACKENDS = ("asyncio", "trio")


@dataclass
class Life:
    """What was heard of one life of the process."""

    history: History = field(default_factory=History)
    is_ready: bool = False
    running: set[str] = field(default_factory=set[str])
    """Elements whose handlers had begun and whose senders were not answered."""
    created: set[str] = field(default_factory=set[str])
    pending: dict[str, Append] = field(default_factory=dict[str, Append])
    heard: int = 0
    acknowledged: int = 0
    not_applied: int = 0

    def hear(self, words: list[str], lengths: Mapping[str, int]) -> None:
        self.heard += 1
        match words:
            case ["ready"]:
                self.is_ready = True
            case ["s", name]:
                self.created.add(name)
            case ["b", element]:
                self.pending[element] = self.history.append(session_of(element), element)
            case ["r", element]:
                self.running.add(element)
            case ["a", element, place]:
                # The history of a life begins where the one before has ended.
                self._answered(element).acknowledged(int(place) - lengths.get(session_of(element), 0))
                self.acknowledged += 1
            case ["n", element]:
                self._answered(element).not_applied()
                self.not_applied += 1
            case _:
                raise AssertionError(words)

    def _answered(self, element: str) -> Append:
        self.running.discard(element)
        return self.pending.pop(element)


@dataclass
class Known:
    """One session as it was found after the last kill."""

    session_id: str
    elements: list[str] = field(default_factory=list[str])
    digest: int = 0


@dataclass
class Killer:
    """Kills in rounds, all on one file. `problems` stays empty if every promise was kept."""

    path: Path
    chance: SeededChance
    durabilities: Sequence[Durability] = ("full", "full", "normal")
    """Of one life after the other."""
    problems: list[str] = field(default_factory=list[str])
    sessions: dict[str, Known] = field(default_factory=dict[str, Known])
    lives: list[Life] = field(default_factory=list[Life])
    in_flight: list[int] = field(default_factory=list[int])
    """Per round: turns that ran and were not answered when the kill came."""

    @property
    def is_early(self) -> bool:
        """Every tenth life ends about when it opens its store."""
        return len(self.lives) % 10 == 9

    def round(self) -> None:
        number = len(self.lives)
        life = self._live_and_die(number)
        self.lives.append(life)
        self.in_flight.append(len(life.running))
        life.history.process_died()
        is_even = number % 2 == 0
        if is_even:
            self._check_integrity()  # Of what the dead has left, before anybody mends it.
        anyio.run(self._look, life, backend=BACKENDS[(number // 2) % 2])
        if not is_even:
            self._check_integrity()

    def _live_and_die(self, number: int) -> Life:
        life, lines = Life(), Lines()
        lengths = {name: len(known.elements) for name, known in self.sessions.items()}
        durability = self.durabilities[number % len(self.durabilities)]
        words = [f"sqlite:///{self.path}", durability, BACKENDS[number % 2], number, self.chance.below(1 << 32)]
        command = [sys.executable, "-m", "tests.crash.doomed", *map(str, words)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            self._listen(child.stdout.fileno(), life, lines, lengths)
            time.sleep(self.chance.uniform() * DELAY_S)
            os.kill(child.pid, signal.SIGKILL)
            for heard in lines.feed(child.stdout.read()):
                life.hear(heard, lengths)
        assert child.returncode == -signal.SIGKILL, "The process ended before it was killed."
        return life

    def _listen(self, pipe: int, life: Life, lines: Lines, lengths: Mapping[str, int]) -> None:
        """Until the moment has come."""
        enough = HEARD_MIN + self.chance.below(HEARD_MAX - HEARD_MIN)
        end = time.monotonic() + (0.2 + self.chance.uniform() if self.is_early else LIFE_S_MAX)
        while life.heard < enough and (left_s := end - time.monotonic()) > 0:
            if select.select([pipe], [], [], left_s)[0]:
                data = os.read(pipe, 1 << 12)
                assert data, "The process ended before it was killed."
                for heard in lines.feed(data):
                    life.hear(heard, lengths)
        assert life.heard >= enough or self.is_early, f"Only {life.heard} lines in {LIFE_S_MAX} s."

    def _check_integrity(self) -> None:
        with sqlite3.connect(self.path) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchall()
        connection.close()
        if found != [("ok",)]:
            self.problems.append(f"integrity_check: {found}")

    async def _look(self, life: Life) -> None:
        async with Runtime(Notebook, store=f"sqlite:///{self.path}", deps=Desk(anyio.sleep)) as runtime:
            found = await self._names(runtime)
            if missing := (life.created | self.sessions.keys()) - found.keys():
                self.problems.append(f"sessions that were there are gone: {sorted(missing)}")
            for name, session_id in found.items():
                known = self.sessions.setdefault(name, Known(session_id))
                if known.session_id != session_id:
                    self.problems.append(f"{name} is another session now")
                await self._look_at(runtime, name, known, life)
        for append in life.history.appends:
            if append.session not in found and append.session not in life.history.finals:
                life.history.final(append.session, [])
        self.problems += map(str, check(life.history, acknowledged_min=0))

    async def _names(self, runtime: Runtime) -> dict[str, str]:
        names: dict[str, str] = {}
        after: str | None = None
        while True:
            page = await runtime.find(limit=1000, after=after)
            for info in page.items:
                assert info.name is not None
                if names.setdefault(info.name, info.session_id) != info.session_id:
                    self.problems.append(f"two sessions are called {info.name}")
            if (after := page.next) is None:
                return names

    async def _look_at(self, runtime: Runtime, name: str, known: Known, life: Life) -> None:
        """What was there must be there still, and behind it only what this life may have added."""
        state = (await (await runtime.get(Notebook, known.session_id)).peek()).state
        is_whole = len(self.lives) % 10 == 0
        length = len(known.elements)
        elements = [element async for element in state.lines.scan(after=None if is_whole else length - 1)]
        if is_whole and elements[:length] != known.elements:
            self.problems.append(f"{name} does not begin as it did")
        new = elements[length:] if is_whole else elements
        known.elements += new
        known.digest = digest_of(new, known.digest)
        if (state.count, state.digest) != (len(known.elements), known.digest):
            self.problems.append(f"{name}: count and digest are not those of its {len(known.elements)} elements")
        if state.cover and state.cover.partition(b":")[0].decode() not in known.elements:
            self.problems.append(f"{name} has the cover of another session: {state.cover[:40]!r}")
        life.history.final(name, new)

    def stored(self) -> dict[str, int]:
        """Rows of each table; `left` are those of the journal that the session with the most turns still has."""
        connection = sqlite3.connect(self.path)
        try:
            tables = ("session", "journal", "snapshot", "page")
            rows = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
            longest = "SELECT sid FROM session ORDER BY version DESC LIMIT 1"
            left = connection.execute(f"SELECT count(*) FROM journal WHERE sid = ({longest})").fetchone()
            return {**rows, "left": left[0]}
        finally:
            connection.close()
