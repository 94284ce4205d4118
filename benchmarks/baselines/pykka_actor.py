"""pykka's ThreadingActor, one in flight per actor; of three ways to call it, whichever is cheapest."""

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pykka

THREADS_MAX = 100
"""More than this that all want to run at a time would measure the operating system."""


class Echo(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


class Bumper(pykka.ThreadingActor):
    """Has a state, as the whole Runtime has: one number."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: Any) -> int:
        self.count += message
        return self.count


Ref = pykka.ActorRef[Any]


@contextmanager
def actors(kind: type[pykka.ThreadingActor], n: int) -> Generator[list[Ref]]:
    """Started once, because a thread takes longer to start than a hundred asks."""
    refs: list[Ref] = [kind.start() for _ in range(n)]
    try:
        yield refs
    finally:
        pykka.ActorRegistry.stop_all()


def cpu_us(refs: Sequence[Ref], message: object, each: int) -> float:
    """Microseconds of CPU per ask, of all threads together."""
    if len(refs) <= THREADS_MAX:
        ways = [_one_caller_asks_each, _one_caller_asks_all, _a_caller_each]
    else:
        ways = [_one_caller_asks_each]
    costs: list[float] = []
    for way in ways:
        began = time.process_time()
        way(refs, message, each)
        costs.append(time.process_time() - began)
    return min(costs) / (each * len(refs)) * 1e6


def _one_caller_asks_each(refs: Sequence[Ref], message: object, each: int) -> None:
    for _ in range(each):
        for ref in refs:
            ref.ask(message)


def _one_caller_asks_all(refs: Sequence[Ref], message: object, each: int) -> None:
    for _ in range(each):
        for future in [ref.ask(message, block=False) for ref in refs]:
            future.get()


def _a_caller_each(refs: Sequence[Ref], message: object, each: int) -> None:
    def call(ref: Ref) -> None:
        for _ in range(each):
            ref.ask(message)

    threads = [threading.Thread(target=call, args=(ref,)) for ref in refs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
