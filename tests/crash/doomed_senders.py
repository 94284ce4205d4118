"""The process that is killed: senders who tell, stream and ask with keys, to sessions that handle it meanwhile.

Run by the parent: python -m tests.crash.doomed_senders STORE BACKEND ROUND SEED, with the pipe as standard output:

    ready                        the runtime is open
    b VERB ELEMENT KIND SECONDS  a send leaves its client, under the element as its key
    d ELEMENT TURN               it is accepted: told ones are durable
    r ELEMENT ATTEMPT            its handler runs
    a ELEMENT PLACE              it was answered
"""

import logging
import sys
from itertools import count

import anyio

from salon import Runtime, SessionHandle, Settings
from salon.testing import SeededChance
from tests.crash.notes import Pipe
from tests.crash.post_office import Counterhand, Letter, PostOffice, Registered, Shelf

OFFICES = 8
CLIENTS = 24
TAKES_S = (0.0, 0.0, 0.0, 0.001, 0.004)


class Sender:
    """One client: it sends, and sometimes waits for what becomes of it."""

    def __init__(self, runtime: Runtime, pipe: Pipe, name: str, chance: SeededChance) -> None:
        self._runtime = runtime
        self._pipe = pipe
        self._name = name
        self._chance = chance

    async def live(self) -> None:
        for step in count():
            office = f"o{self._chance.below(OFFICES)}"
            handle = await self._runtime.get_or_create(PostOffice, name=office)
            verb = ("tell", "tell", "stream", "ask")[self._chance.below(4)]
            kind = (Letter, Registered)[self._chance.below(2)]
            takes_s = TAKES_S[self._chance.below(len(TAKES_S))]
            message = kind(element=f"{office}/{self._name}.{step}", takes_s=takes_s)
            self._pipe.tell("b", verb, message.element, kind.salon_name.name, takes_s)
            place = await self._send(handle, verb, message)
            if place is not None:
                self._pipe.tell("a", message.element, place)

    async def _send(self, handle: SessionHandle[Shelf], verb: str, message: Letter | Registered) -> int | None:
        if verb == "ask":
            return await handle.ask(message, key=message.element)
        if verb == "stream":
            async with handle.stream(message, key=message.element) as events:
                self._pipe.tell("d", message.element, (await anext(aiter(events))).turn)
                return await events.reply()
        receipt = await handle.tell(message, key=message.element)
        self._pipe.tell("d", message.element, receipt.turn)
        return await receipt.wait() if self._chance.below(2) else None


async def main(store: str, round_: int, seed: int) -> None:
    pipe, chance = Pipe(sys.stdout.fileno()), SeededChance(seed)
    hand = Counterhand(anyio.sleep, lambda element, attempt: pipe.tell("r", element, attempt))
    settings = Settings(mailbox_messages_max=1000)
    async with Runtime(PostOffice, store=store, deps=hand, settings=settings) as runtime:
        pipe.tell("ready")
        async with anyio.create_task_group() as group:
            for client in range(CLIENTS):
                group.start_soon(Sender(runtime, pipe, f"{round_}.{client}", chance).live)


if __name__ == "__main__":
    logging.getLogger("salon").setLevel(logging.CRITICAL)
    STORE, BACKEND, ROUND, SEED = sys.argv[1:]
    anyio.run(main, STORE, int(ROUND), int(SEED), backend=BACKEND)
