"""A durable tell: the message is in the inbox when `tell` returns, and its turn runs later; SQLite, `synchronous=FULL`.

"each waited for": a caller tells and waits for the outcome before the next, so that a message costs two commits:
one puts it into the inbox, marked as begun because the session is idle, the other ends its turn and takes it out.
"16 ahead": a caller tells sixteen and waits for the last. Those that find the session at work are marked in a commit
of their own, because what has begun must be known before the handler is.

Sketch: an ask is one commit. Alone, every commit waits for a flush, so that telling has a half to a third of its rate.
With 100 sessions a commit is shared, and the interpreter is the slowest resource: two or three records for one, a row
of the inbox (encoded, inserted, deleted), a ticket and a ledger entry: 2 to 2.5 times the CPU of an ask.
Measured on a busy machine: a half of the rate alone, as sketched; with 100 sessions 3 to 5 times the CPU.

Does not show: a mailbox that is full, a restart with messages in the inbox, senders that come in bursts.
"accepted" is how long `tell` itself takes, which is all that a webhook has to wait for.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks.bench import Bench
from benchmarks.bots import Note, Notebook, Write
from benchmarks.meter import Ask, Sample, latency, on, take_turns, timed
from benchmarks.place import fresh_folder, sqlite_url
from benchmarks.rows.durable_ask import asking, texts
from salon import Receipt, Runtime, SessionHandle

SESSIONS = (1, 100)
AHEAD = 16
"""A quarter of what a mailbox takes by default."""

Sending: TypeAlias = Callable[[SessionHandle[Note], list[float]], Ask]


def run(bench: Bench) -> None:
    with fresh_folder(bench.folder) as folder:
        cells: dict[tuple[str, str, int], Callable[[], Sample]] = {
            (backend, way, n): partial(in_folder, folder, backend, way, n, bench.effort.seconds)
            for backend in bench.backends
            for way in WAYS
            for n in SESSIONS
        }
        found = take_turns(bench.report, "durable tells", bench.effort, cells)
    for backend in bench.backends:
        for n in SESSIONS:
            bare = found[backend, "ask", n]
            for way in (WAITED, FAR):
                ours, case = found[backend, way, n], f"{sessions_said(n)}, {way}"
                bench.more_is_better(
                    backend, case, "messages/s", ours["per_s"], against="durable ask", bare=bare["per_s"]
                )
                bench.less_is_better(
                    backend, case, "µs CPU", ours["cpu_us"], against="durable ask", bare=bare["cpu_us"]
                )
                bench.less_is_better(
                    backend, case, "ms p50 accepted", ours["accepted_ms"], against="durable ask", bare=bare["p50_ms"]
                )


def sessions_said(n: int) -> str:
    return f"{n} sessions" if n > 1 else "1 session"


def in_folder(parent: Path, backend: str, way: str, sessions: int, seconds: float) -> Sample:
    with fresh_folder(parent) as folder:
        return on(backend, partial(measured, folder, way, sessions, seconds))


async def measured(folder: Path, way: str, sessions: int, seconds: float) -> Sample:
    sending, messages = WAYS[way]
    accepted: list[float] = []
    async with Runtime(Notebook, store=sqlite_url(folder)) as runtime:
        handles = [await runtime.create(Notebook) for _ in range(sessions)]
        found = await timed([sending(handle, accepted) for handle in handles], seconds)
        stats = runtime.stats()
    assert stats["turns_failed"] == 0
    return {
        **found,
        "per_s": found["per_s"] * messages,
        "cpu_us": found["cpu_us"] / messages,
        "accepted_ms": latency(accepted)["p50_ms"] if accepted else found["p50_ms"],
    }


def only_asking(handle: SessionHandle[Note], accepted: list[float]) -> Ask:
    return asking(handle)


def waiting(handle: SessionHandle[Note], accepted: list[float]) -> Ask:
    return ahead(handle, accepted, 1)


def ahead(handle: SessionHandle[Note], accepted: list[float], messages: int = AHEAD) -> Ask:
    text, now = texts(), time.perf_counter

    async def tell() -> None:
        receipts: list[Receipt[None]] = []
        for _ in range(messages):
            began = now()
            receipts.append(await handle.tell(Write(text=next(text))))
            accepted.append(now() - began)
        await receipts[-1].wait()

    return tell


WAITED, FAR = "each waited for", f"{AHEAD} ahead"
WAYS: dict[str, tuple[Sending, int]] = {"ask": (only_asking, 1), WAITED: (waiting, 1), FAR: (ahead, AHEAD)}
