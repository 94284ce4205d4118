"""Three messages at once to each of 100 sessions, under each overlap policy, against `queue`; `memory://`, small state.

| Policy | Of three messages |
| --- | --- |
| queue | three turns |
| reject | one turn, two refusals |
| interrupt | one turn; two begin and are cut, and there is nothing of them to keep |
| rollback | one turn; two never begin |
| Merge | one turn about three messages |

Sketch: an ask with a policy of its own is followed by a ticket, which costs 5 µs; a turn that suspends costs 40.
One that is refused or superseded costs an exception instead, 10 µs; one that is cut costs that, a turn, and a new
worker, because one that was cancelled is not used again: 100 µs.
Merge has a third of the turns, and a task for each group.
Measured on a busy machine, three times dearer: `queue` 140 to 170 µs; interrupting costs 1.7 to 2.3 times as much.
The slowest resource is the interpreter.

Does not show: handlers that take long before they notice that they were cut, checkpoints and `on_interrupted`, a disk,
the time in which Merge waits for more (its group is full here).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from benchmarks.bench import Bench
from benchmarks.bots import Count
from benchmarks.meter import Ask, Sample, counted, on, take_turns
from salon import Merge, Message, Runtime, Session, SessionBusy, SessionHandle, TurnInterrupted, TurnSuperseded, receive

SESSIONS = 100
BURSTS = 30
AT_ONCE = 3
SUSPENSIONS = 3
"""Steps of the loop until a turn that is cut has heard of it, at most."""
QUEUE = "queue"


class Queued(Message[int], name="queued"):
    """Waits for its turn."""


class Rejected(Message[int], name="rejected"):
    """Is refused when it would have to wait."""


class Interrupting(Message[int], name="interrupting"):
    """Cuts what runs."""


class RollingBack(Message[int], name="rolling_back"):
    """Takes the place of what runs."""


class Merged(Message[int], name="merged"):
    """Becomes one turn with the others."""


class Busy(Session[Count], name="busy"):
    """A turn changes one number, and suspends for long enough to be cut."""

    @receive
    async def queued(self, message: Queued) -> int:
        return await self.count()

    @receive(overlap="reject")
    async def rejected(self, message: Rejected) -> int:
        return await self.count()

    @receive(overlap="interrupt")
    async def interrupting(self, message: Interrupting) -> int:
        return await self.count()

    @receive(overlap="rollback")
    async def rolling_back(self, message: RollingBack) -> int:
        return await self.count()

    @receive(overlap=Merge(window_s=1, wait_max_s=1, messages_max=AT_ONCE))
    async def merged(self, messages: list[Merged]) -> int:
        return await self.count()

    async def count(self) -> int:
        self.state.count += 1
        for _ in range(SUSPENSIONS):
            await checkpoint()
        return self.state.count


POLICIES: dict[str, tuple[Callable[[], Message[int]], int]] = {
    QUEUE: (Queued, AT_ONCE),
    "reject": (Rejected, 1),
    "interrupt": (Interrupting, 1),
    "rollback": (RollingBack, 1),
    "Merge": (Merged, 1),
}
"""What is sent, and how many of three change the state."""


def run(bench: Bench) -> None:
    sessions, bursts = bench.effort.count(SESSIONS, 5), bench.effort.count(BURSTS, 2)
    cells: dict[tuple[str, str], Callable[[], Sample]] = {
        (backend, policy): partial(on, backend, partial(measured, policy, sessions, bursts))
        for backend in bench.backends
        for policy in POLICIES
    }
    found = take_turns(bench.report, "overlapping messages", bench.effort, cells)
    for backend in bench.backends:
        bare = found[backend, QUEUE]["cpu_us"]
        for policy in POLICIES:
            ours, case = found[backend, policy]["cpu_us"], f"{SESSIONS} sessions, {AT_ONCE} at once, {policy}"
            if policy == QUEUE:
                bench.less_is_better(backend, case, "µs CPU a message", ours)
            else:
                bench.less_is_better(backend, case, "µs CPU a message", ours, against=QUEUE, bare=bare)


async def measured(policy: str, sessions: int, bursts: int) -> Sample:
    message, turns = POLICIES[policy]
    async with Runtime(Busy, store="memory://") as runtime:
        handles = [await runtime.create(Busy) for _ in range(sessions)]
        asks = [partial(burst, handle, message()) for handle in handles]
        await counted(asks, 1)
        found = await counted(asks, bursts)
        for handle in handles:  # Nothing else was cut, refused or merged than was meant to be.
            assert (await handle.peek()).state.count == turns * (bursts + 1)
    return {name: value / AT_ONCE if name == "cpu_us" else value * AT_ONCE for name, value in found.items()}


async def burst(handle: SessionHandle[Count], message: Message[Any]) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(settled, partial(handle.ask, message))


async def settled(ask: Ask) -> None:
    """However it ends."""
    try:
        await ask()
    except (SessionBusy, TurnInterrupted, TurnSuperseded):
        pass
