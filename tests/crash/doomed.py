"""The process that is killed: a Runtime with many sessions and many clients, busy until the end.

Run by the parent: python -m tests.crash.doomed STORE DURABILITY BACKEND ROUND SEED, with the pipe as standard output.
"""

import logging
import sys
from itertools import count

import anyio
import anyio.lowlevel

from salon import Refused, Runtime, SessionHandle, Settings, TurnFailed
from salon.testing import SeededChance
from salon_persistence.sqlite import pruning
from tests.consistency.notebook import Append, Desk, Lines, Notebook
from tests.crash.notes import Pipe

SESSIONS = 24
"""That live through all rounds; the first of them are asked most, and become long."""
CLIENTS = 48


class Doomed:
    def __init__(self, runtime: Runtime, pipe: Pipe, round_: int, chance: SeededChance) -> None:
        self._runtime = runtime
        self._pipe = pipe
        self._round = round_
        self._chance = chance
        self._handles: dict[str, SessionHandle[Lines]] = {}

    async def live(self) -> None:
        self._pipe.tell("ready")
        async with anyio.create_task_group() as group:
            for client in range(CLIENTS):
                group.start_soon(self._client, client)

    async def _client(self, client: int) -> None:
        for step in count():
            name = self._name(client, step)
            handle = await self._session(name)
            await self._append(handle, f"{name}/{self._round}.{client}.{step}")
            await anyio.lowlevel.checkpoint()

    def _name(self, client: int, step: int) -> str:
        """Some sessions are asked by many at a time, some by few, and some are made in this very round."""
        if client % 12 == 0 and step % 8 == 0:
            return f"new-{self._round}-{client}-{step}"
        return f"s{int(SESSIONS * self._chance.uniform() ** 3)}"

    async def _session(self, name: str) -> SessionHandle[Lines]:
        if name not in self._handles:
            self._handles[name] = await self._runtime.get_or_create(Notebook, name=name)
            self._pipe.tell("s", name)
        return self._handles[name]

    def _cover_bytes(self) -> int:
        """Every second life writes so much that kills fall into checkpoints of the write-ahead log."""
        return self._chance.below(100_000) if self._round % 2 else 0

    async def _append(self, handle: SessionHandle[Lines], element: str) -> None:
        ends = ("refused", "raised", "well", "well", "well", "well", "well", "well")[self._chance.below(8)]
        takes_s = (0.0, 0.0, 0.0, 0.001, 0.003)[self._chance.below(5)]
        message = {"element": element, "takes_s": takes_s, "ends": ends, "cover_bytes": self._cover_bytes()}
        self._pipe.tell("b", element)
        try:
            place = await handle.ask(Append.model_validate(message))
        except (Refused, TurnFailed):
            self._pipe.tell("n", element)
        else:
            self._pipe.tell("a", element, place)


def free_the_journal_often() -> None:
    """After some dozen turns instead of some thousand, so that kills fall into it."""
    setattr(pruning, "GATHERED_ROWS_MIN", 64)  # noqa: B010  # By name, for a constant is not assigned to.


async def main(store: str, durability: str, round_: int, seed: int) -> None:
    pipe = Pipe(sys.stdout.fileno())
    desk = Desk(anyio.sleep, lambda element: pipe.tell("r", element))
    # Its handlers raise on purpose, again and again: sessions must not be parked for it.
    settings = Settings.model_validate(
        {"mailbox_messages_max": 1000, "durability": durability, "crash_budget": 1_000_000}
    )
    async with Runtime(Notebook, store=store, deps=desk, settings=settings) as runtime:
        await Doomed(runtime, pipe, round_, SeededChance(seed)).live()


if __name__ == "__main__":
    logging.getLogger("salon").setLevel(logging.ERROR)
    free_the_journal_often()
    STORE, DURABILITY, BACKEND, ROUND, SEED = sys.argv[1:]
    anyio.run(main, STORE, DURABILITY, int(ROUND), int(SEED), backend=BACKEND)
