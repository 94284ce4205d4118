"""A whole chat turn: append what the user said and what the bot answered, durably, then read the newest 20 lines back.

100 sessions, with 10, 200 and 1000 lines of history each; 180 bytes a turn; one in flight per session.
Each session has 64 turns, so its history grows by 128 lines meanwhile.

Sketch: a durable ask (20 µs of CPU) with two log items more (2 × 2 µs), and a history page of 20 lines that are in
memory (10 µs): 35 µs, or 25 000 a second. Nothing in it depends on the length of the history: items older than the
window are in pages that nobody reads. Of the file, a flush shared by all.

Peers (only with an interpreter that has them, see `benchmarks.peers`): openai-agents SQLiteSession, langgraph
AsyncSqliteSaver, google-adk DatabaseSessionService, each by its own API with default settings, on the same disk.
Does not show: reading far back (see `long_session`), a model, and what those libraries do besides storing.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.bots import ANSWERED, SAID, Chat, Talk, Turn
from benchmarks.figure import ratio_at_least, ratio_at_most
from benchmarks.meter import Ask, Sample, on, single, take_turns, timed_count
from benchmarks.place import fresh_folder, sqlite_url
from salon import Runtime, SessionHandle

SESSIONS = 100
HISTORY = (10, 200, 1000)
TURNS = 64
"""Of each session: a snapshot's whole cycle, so that each cell pays for one snapshot a session, wherever it begins."""
READ_BACK = 20
FLAT = 1.3
PEERS = {"openai-agents": 5, "langgraph": 30, "google-adk": 60}


def run(bench: Bench) -> None:
    effort = bench.effort
    lines = {history: effort.count(history, 10) for history in HISTORY}
    turns = effort.count(TURNS, 5)
    cells: dict[tuple[str, int], Callable[[], Sample]] = {
        (backend, history): partial(in_folder, bench.folder, backend, lines[history], turns)
        for backend in bench.backends
        for history in HISTORY
    }
    found = take_turns(bench.report, "chat turns", effort, cells)
    for backend in bench.backends:
        shortest = found[backend, HISTORY[0]]
        for history in HISTORY:
            ours, case = found[backend, history], f"{SESSIONS} sessions, history of {history}"
            bench.more_is_better(backend, case, "turns/s", ours["per_s"])
            bench.less_is_better(backend, case, "ms p99", ours["p99_ms"])
            bench.less_is_better(backend, case, "µs CPU", ours["cpu_us"])
        longest, case = found[backend, HISTORY[-1]], f"history of {HISTORY[-1]} to {HISTORY[0]}"
        for unit, quantity in (("µs CPU", "cpu_us"), ("ms wall", "each_ms")):
            bench.growth(backend, case, unit, longest[quantity], shortest[quantity], target=ratio_at_most(FLAT))
    for peer, bound in PEERS.items() if "asyncio" in bench.backends else ():
        for history in HISTORY:
            compare(bench, peer, bound, history, found["asyncio", history]["per_s"].median)


def compare(bench: Bench, peer: str, bound: float, history: int, ours: float) -> None:
    case = f"{SESSIONS} sessions, history of {history}"
    target = ratio_at_least(bound)
    try:
        theirs = peer_per_s(bench, peer, history)
    except peers.PeerFailed as failed:
        bench.not_run("asyncio", case, "turns/s", peer, target, str(failed))
    else:
        bench.more_is_better("asyncio", case, "turns/s", single(ours), against=peer, bare=single(theirs), target=target)


def peer_per_s(bench: Bench, peer: str, history: int) -> float:
    if bench.peers_python is None:
        raise peers.PeerFailed("see --peers")
    with fresh_folder(bench.folder) as folder:
        return peers.turns_per_s(bench.peers_python, peer, folder, SESSIONS, history, bench.effort.seconds)


def in_folder(parent: Path, backend: str, lines: int, turns: int) -> Sample:
    with fresh_folder(parent) as folder:
        return on(backend, partial(measured, folder, lines, turns))


async def measured(folder: Path, lines: int, turns: int) -> Sample:
    async with Runtime(Talk, store=sqlite_url(folder)) as runtime:
        handles = [await runtime.create(Talk) for _ in range(SESSIONS)]
        async with anyio.create_task_group() as group:
            for handle in handles:
                group.start_soon(remember, handle, lines)
        return await timed_count([chatting(handle) for handle in handles], turns)


async def remember(handle: SessionHandle[Any], lines: int) -> None:
    for _ in range(lines // 2):
        await handle.ask(Turn(said=SAID, answered=ANSWERED))


def chatting(handle: SessionHandle[Chat]) -> Ask:
    async def turn() -> None:
        length = await handle.ask(Turn(said=SAID, answered=ANSWERED))
        page = await handle.history(lambda state: state.messages, limit=READ_BACK)
        assert len(page.items) == min(length, READ_BACK)

    return turn
