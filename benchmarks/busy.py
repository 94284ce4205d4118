"""A saturated loop: tasks that do other work all the time, in loop turns of about a third of a millisecond."""

import time
from dataclasses import dataclass

import anyio
from anyio.lowlevel import checkpoint

TASKS = 50
TURN_S = 0.0003


@dataclass(slots=True)
class Spinning:
    """What the tasks have done, and how much each does at a time."""

    work: int
    spins: int = 0
    is_over: bool = False

    async def spin(self) -> None:
        while not self.is_over:
            sum(range(self.work))
            self.spins += 1
            await checkpoint()


async def calibrated() -> tuple[Spinning, float]:
    """Tasks for a loop turn of `TURN_S` on this machine, and their spins a second while nothing else runs."""
    work, rate = 50, 0.0
    for _ in range(4):
        rate = await _rate_alone(work, 0.1)
        work = max(1, int(work * TURN_S / (TASKS / rate)))
    return Spinning(work), await _rate_alone(work, 0.3)


async def _rate_alone(work: int, seconds: float) -> float:
    spinning, began = Spinning(work), time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(TASKS):
            group.start_soon(spinning.spin)
        await anyio.sleep(seconds)
        spinning.is_over = True
    return spinning.spins / (time.perf_counter() - began)
