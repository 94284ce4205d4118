"""What the peers have in common: so many sessions, one turn in flight each, for so many seconds.

Imported in an interpreter without salon, so it knows the standard library only.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

SAID = "x" * 60
ANSWERED = "y" * 120
READ_BACK = 20


class Task(NamedTuple):
    folder: Path
    sessions: int
    history: int
    seconds: float


def task() -> Task:
    folder, sessions, history, seconds = sys.argv[1:]
    return Task(Path(folder), int(sessions), int(history), float(seconds))


async def chat(asked: Task, turn: Callable[[int], Awaitable[object]]) -> None:
    """Prints turns per second as JSON; `turn(session)` is one whole turn."""
    done = 0
    began = time.perf_counter()

    async def session(number: int) -> None:
        nonlocal done
        while time.perf_counter() - began < asked.seconds:
            await turn(number)
            done += 1

    await asyncio.gather(*(session(number) for number in range(asked.sessions)))
    print(json.dumps({"per_s": done / (time.perf_counter() - began)}))
