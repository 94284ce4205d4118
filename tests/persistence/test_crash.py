"""A process that is killed at any moment loses nothing that it was told is durable."""

import random
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from salon_persistence.image import replay
from salon_persistence.store import ByPublicId
from tests.effort import effort
from tests.persistence.conformance import opened
from tests.persistence.crashing import SESSIONS, number_of
from tests.persistence.mail_conformance import message
from tests.persistence.places import SqlitePlace
from tests.persistence.sessions import said

WINDOWS = {"chat": {"lines": 1_000_000}}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def killed_after(path: Path, answers: int) -> list[str]:
    """Let the process write until so many answers have come, kill it, and return every answer that it gave."""
    command = [sys.executable, "-m", "tests.persistence.crashing", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(answers)]
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -9
    assert all(line.endswith("\n") for line in lines[:answers])
    return [line for line in lines if line.endswith("\n")]


async def check(place: SqlitePlace, durable: Counter[int], told: Counter[int]) -> Counter[int]:
    """Everything that was answered is there, in order, and at most the one turn more that was under way.

    A message that was accepted waits, whole, until the turn that settles it is there too.
    """
    found: Counter[int] = Counter()
    async with opened(place) as store:
        for number in range(1, SESSIONS + 1):
            stored = await store.load(ByPublicId(f"public-{number}"), WINDOWS)
            assert stored is not None
            image = replay(stored)
            sid, version = stored.row.sid, image.version
            assert durable[sid] <= version <= durable[sid] + 1
            assert image.log("lines").items == [(line, said(line + 2)) for line in range(version - 1)]
            found[sid] = version
            waiting = [row.number for row in stored.inbox]
            assert waiting in ([], [number_of(sid, version)])
            assert waiting or told[sid] < number_of(sid, version)
            assert stored.inbox == tuple(message(number, sid, attempts=sid % 2) for number in waiting)
            assert len(stored.progress) == len(waiting) * (sid % 2)
    connection = sqlite3.connect(place.path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    return found


async def killed_again_and_again(place: SqlitePlace, rounds: int) -> None:
    chance = random.Random(rounds)
    durable: Counter[int] = Counter()
    told: Counter[int] = Counter()
    for number in range(rounds):
        answers = killed_after(place.path, chance.randrange(2 * SESSIONS + 1, 120 * SESSIONS))
        for words in map(str.split, answers):
            if words[0] == "told":
                told[int(words[1])] = int(words[2])
                continue
            sid, version = (int(words[1]), 1) if words[0] == "created" else (int(words[0]), int(words[1]))
            durable[sid] = max(durable[sid], version)
        before = durable
        durable = await check(place, durable, told)

        assert len(durable) == SESSIONS, number
        assert len(told) == SESSIONS, number
        assert sum(durable.values()) >= sum(before.values()) > 0


@pytest.mark.timeout(120)
@pytest.mark.blocks_loop("it waits for a process")
async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    await killed_again_and_again(SqlitePlace(tmp_path), 3)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.blocks_loop("it waits for a process")
async def test_what_was_answered_survives_many_kills(tmp_path: Path) -> None:
    await killed_again_and_again(SqlitePlace(tmp_path), effort(short=10, long=100))
