"""An ask under an idempotency key against the same ask without, 100 sessions, on `memory://` and on SQLite.

Sketch: a key costs a ticket and a sending (2 µs), a fingerprint (a dump and a hash, 3 µs), a look into the ledger, and
a ledger entry in the turn's own journal row (60 bytes and the reply, 2 µs): no row and no flush of its own, so that
four fifths of the rate are left. A table of its own with an index would have cost eight times as much.
The slowest resource is the interpreter.
Measured on a busy machine: 0.4 to 0.7 of an ask without a key, and the target of 0.8 is missed. The path of a key is
that of everything that is more than a plain ask: ticket, sending, inbox, a second promise, an ending by value.

"asked again" is a key whose outcome is recorded: no turn runs, and nothing is written. Such an ask never suspends, so
that all three are measured from before their callers start, which `counted` does not do.
Does not show: ledgers near `idempotency_records_max`, an activation that has to read one back.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeAlias

from benchmarks.bench import Bench
from benchmarks.bots import Bump, Count, Counter
from benchmarks.figure import ratio_at_least
from benchmarks.meter import Ask, Sample, on, take_turns, timed_count
from benchmarks.place import fresh_folder, sqlite_url
from salon import Runtime, SessionHandle

SESSIONS = 100
ASKS = 100
KEYED = 0.8

STORES = ("memory://", "SQLite")
Asking: TypeAlias = Callable[[SessionHandle[Count]], Ask]


def run(bench: Bench) -> None:
    sessions, asks = bench.effort.count(SESSIONS, 20), bench.effort.count(ASKS, 5)
    with fresh_folder(bench.folder) as folder:
        cells: dict[tuple[str, str, str], Callable[[], Sample]] = {
            (backend, store, way): partial(in_folder, folder, backend, store, way, sessions, asks)
            for backend in bench.backends
            for store in STORES
            for way in WAYS
        }
        found = take_turns(bench.report, "keyed asks", bench.effort, cells)
    for backend in bench.backends:
        for store in STORES:
            bare = found[backend, store, "without a key"]
            for way, target in (("keyed", ratio_at_least(KEYED)), ("keyed, asked again", None)):
                ours, case = found[backend, store, way], f"{SESSIONS} sessions, {store}, {way}"
                bench.less_is_better(
                    backend, case, "µs CPU", ours["cpu_us"], against="no key", bare=bare["cpu_us"], target=target
                )
                bench.more_is_better(backend, case, "asks/s", ours["per_s"], against="no key", bare=bare["per_s"])


def in_folder(parent: Path, backend: str, store: str, way: str, sessions: int, asks: int) -> Sample:
    with fresh_folder(parent) as folder:
        url = sqlite_url(folder) if store == "SQLite" else store
        return on(backend, partial(measured, url, WAYS[way], sessions, asks))


async def measured(url: str, asking: Asking, sessions: int, asks: int) -> Sample:
    async with Runtime(Counter, store=url) as runtime:
        handles = [await runtime.create(Counter) for _ in range(sessions)]
        callers = [asking(handle) for handle in handles]
        await timed_count(callers, 1)
        found = await timed_count(callers, asks)
        assert runtime.stats()["turns_done"] == sessions * (1 if asking is again else asks + 1)
        return found


def plain(handle: SessionHandle[Count]) -> Ask:
    return partial(handle.ask, Bump())


def keyed(handle: SessionHandle[Count]) -> Ask:
    bump, numbers = Bump(), count()

    async def ask() -> None:
        await handle.ask(bump, key=f"update-{next(numbers)}")

    return ask


def again(handle: SessionHandle[Count]) -> Ask:
    return partial(handle.ask, Bump(), key="update-17")


WAYS: dict[str, Asking] = {"without a key": plain, "keyed": keyed, "keyed, asked again": again}
