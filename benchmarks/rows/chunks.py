"""A turn of 10 000 chunks, asked and told, without a reader and with five, on SQLite; per chunk.

Against it: as many sends into one anyio memory stream, which its task reads afterwards; with five readers into five
streams, one for each, that are read meanwhile. They are sent without waiting, and the sender lets others run as often
as `emit` does, or it would pay for a step of the loop with each chunk, and we should not.

Sketch: a chunk is checked, kept twice (for readers, and for `on_interrupted`) and numbered: 3 µs. A reader gets each as
an event with a cursor, a pydantic model that readers share, and is woken once for many: 3 µs a reader.
Of a told message chunks are durable before they are seen: many are one row, and one commit; 1 µs a chunk.
The slowest resource is the interpreter. Replays hold the newest 10 000 chunks or 1 MB, so memory does not grow.

Does not show: a model's pauses between chunks, in which nothing costs anything; readers that come back with a cursor.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from benchmarks.bench import Bench
from benchmarks.bots import Nothing
from benchmarks.meter import Sample, on, take_turns
from benchmarks.place import fresh_folder, sqlite_url
from benchmarks.spent import Spent
from salon import Chunk, Message, Runtime, Session, SessionHandle, receive

CHUNKS = 10_000
READERS = (0, 5)
CHUNK = "a few words "
REST_EVERY = 64
"""Chunks after which `emit` lets others run."""
WAYS = ("asked", "told")
BARE = "anyio streams"


class Recite(Message[int], name="recite"):
    chunks: int


@dataclass
class Stage:
    """The turn waits here until those who will read it have attached."""

    turn: str = ""
    entered: anyio.Event = field(default_factory=anyio.Event)
    seated: anyio.Event = field(default_factory=anyio.Event)


class Reciter(Session[Nothing, Stage], name="reciter"):
    @receive
    async def recite(self, message: Recite) -> int:
        stage = self.deps
        stage.turn = self.turn.id
        stage.entered.set()
        await stage.seated.wait()
        for _ in range(message.chunks):
            await self.turn.emit(CHUNK)
        return message.chunks


def run(bench: Bench) -> None:
    chunks = bench.effort.count(CHUNKS)
    with fresh_folder(bench.folder) as folder:
        cells: dict[tuple[str, str, int], Callable[[], Sample]] = {}
        for backend in bench.backends:
            for readers in READERS:
                cells[backend, BARE, readers] = partial(on, backend, partial(streamed, chunks, readers))
                for way in WAYS:
                    cells[backend, way, readers] = partial(in_folder, folder, backend, way, chunks, readers)
        found = take_turns(bench.report, "chunks", bench.effort, cells)
    for backend in bench.backends:
        for way in WAYS:
            for readers in READERS:
                ours, bare = found[backend, way, readers], found[backend, BARE, readers]
                case = f"{CHUNKS} chunks, {way}, {f'{readers} readers' if readers else 'no reader'}"
                bench.less_is_better(backend, case, "µs CPU a chunk", ours["cpu_us"], against=BARE, bare=bare["cpu_us"])


def in_folder(parent: Path, backend: str, way: str, chunks: int, readers: int) -> Sample:
    with fresh_folder(parent) as folder:
        return on(backend, partial(recited, folder, way, chunks, readers))


async def recited(folder: Path, way: str, chunks: int, readers: int) -> Sample:
    stage, seen, spent = Stage(), [0] * readers, Spent()
    async with Runtime(Reciter, store=sqlite_url(folder), deps=stage) as runtime:
        handle = await runtime.create(Reciter)
        async with anyio.create_task_group() as group:
            group.start_soon(sent, handle, way, chunks)
            await stage.entered.wait()
            for number in range(readers):
                group.start_soon(read, handle, stage.turn, seen, number)
            await anyio.sleep(0.02)  # They have attached and wait.
            spent.restart()
            stage.seated.set()
        assert seen == [chunks] * readers
        return spent.each(chunks)


async def sent(handle: SessionHandle[Nothing], way: str, chunks: int) -> None:
    message = Recite(chunks=chunks)
    reply = await handle.ask(message) if way == "asked" else await (await handle.tell(message)).wait()
    assert reply == chunks


async def read(handle: SessionHandle[Nothing], turn: str, seen: list[int], number: int) -> None:
    async with handle.attach(turn) as events:
        async for event in events:
            seen[number] += isinstance(event, Chunk)


async def streamed(chunks: int, readers: int) -> Sample:
    """One stream that is read afterwards, or one for each reader."""
    streams = [anyio.create_memory_object_stream[str](chunks) for _ in range(max(1, readers))]
    seen, spent = [0] * len(streams), Spent()

    async def take(number: int, source: Any) -> None:
        async with source:
            async for _ in source:
                seen[number] += 1

    async with anyio.create_task_group() as group:
        if readers:
            for number, (_, source) in enumerate(streams):
                group.start_soon(take, number, source)
        await anyio.sleep(0.01)
        spent.restart()
        for number in range(1, chunks + 1):
            for target, _ in streams:
                target.send_nowait(CHUNK)
            if number % REST_EVERY == 0:
                await checkpoint()
        for target, _ in streams:
            target.close()
        if not readers:
            await take(0, streams[0][1])
    assert seen == [chunks] * len(streams)
    return spent.each(chunks)
