"""The bridge to a store that may block: an asyncio loop on a thread of its own.

    host loop                              storage thread
    commit(record, done)  -> queue ->      takes what has gathered, one batch
                                           await store.commit(batch)
    answers each `done`   <- one post <-   takes what has gathered since

A store that lends its writer is spared the middle: its own thread sleeps at the queue, writes, and posts the answers.

**The trap.** A busy host loop lets go of the GIL too briefly for the storage thread to take it: 50 commits a second,
two seconds each. So, while a batch is under way, the host loop waits once per millisecond for at most 0.2 ms
on a semaphore that the storage thread releases at the end of each batch; measured, 17 000 a second, 9 ms.
An idle loop waits for nothing.

Nothing of the caller's context comes along: it would say `trio` to a library that asks which loop it runs on,
and carry one session's variables to the next.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar, cast

from salon_persistence import files
from salon_persistence.commit_queue import Batch, CommitQueue, Commits, Done, answer
from salon_persistence.errors import StoreError, StoreFailed
from salon_persistence.host import HostPort, Promise, settle, settle_error
from salon_persistence.records import LogPage, Record, SessionRow, SnapshotRecord, StoredSession
from salon_persistence.spool import Spool
from salon_persistence.store import (
    Address,
    BlockingWriter,
    LendsItsWriter,
    LetterQuery,
    Outcome,
    Refused,
    SessionQuery,
    Store,
    StoredLetter,
    StoreInfo,
    Unknown,
)

T = TypeVar("T")

ASSIST_EVERY_S = 0.001
ASSIST_AT_MOST_S = 0.0002
JOIN_AT_MOST_S = 1.0


class StorageThread:
    """See `Bridge`.

    The thread is a daemon: a host that dies without `close` leaves an unclean end, not a process that hangs.
    """

    def __init__(self, store: Store, host: HostPort, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._host = host
        self._monotonic = monotonic
        self._process = files.process_id()
        # Touched on the host loop only.
        self._stopped: StoreError | None = StoreFailed("The store is not open.")
        self._since: deque[float] = deque()
        self._assisting = False
        self._rousing = False
        self._asking: set[Promise] = set()
        self._opened = host.promise()
        self._ended = host.promise()
        # Shared with the thread.
        self._queue = CommitQueue()
        self._flight: Batch | None = None
        self._batch_done = threading.Semaphore(0)
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._spool = Spool(self._queue)
        self._lender = store if isinstance(store, LendsItsWriter) else None
        self._reads: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=Context().run, args=(self._run,), name="salon-storage", daemon=True)

    async def open(self) -> StoreInfo:
        self._thread.start()
        try:
            info: StoreInfo = await self._opened
        except BaseException:
            self._end()  # Whoever waits may be cancelled; the thread then closes what it has opened.
            raise
        self._stopped = None
        return info

    def commit(self, record: Record, done: Done) -> None:
        if self._refuses(done):
            return
        self._queue.add(record, done)
        self._since.append(self._monotonic())
        self._rouse()
        if not self._assisting:
            self._assisting = True
            self._host.later(ASSIST_EVERY_S, self._assist)

    def keep(self, snapshot: SnapshotRecord, done: Done) -> None:
        if not self._refuses(done):
            self._queue.add_snapshot(snapshot, done)
            self._rouse()

    async def load(self, address: Address, windows: Mapping[str, Mapping[str, int]]) -> StoredSession | None:
        return await self._ask(lambda: self._store.load(address, windows))

    async def find(self, query: SessionQuery) -> Sequence[SessionRow]:
        return await self._ask(lambda: self._store.find(query))

    async def read_pages(self, sid: int, field: str, before: int, items: int) -> Sequence[LogPage]:
        return await self._ask(lambda: self._store.read_pages(sid, field, before, items))

    async def mail_waits(self, after_sid: int, limit: int) -> Sequence[tuple[int, str]]:
        return await self._ask(lambda: self._store.mail_waits(after_sid, limit))

    async def letters(self, query: LetterQuery) -> Sequence[StoredLetter]:
        return await self._ask(lambda: self._store.letters(query))

    async def letter(self, id: str) -> StoredLetter | None:
        return await self._ask(lambda: self._store.letter(id))

    async def probe(self) -> None:
        await self._ask(self._probe)

    def watch(self, look: Callable[[], object], every_s: float) -> bool:
        self._tell_thread(self._look_again, look, every_s)
        return True

    async def close(self) -> None:
        if self._thread.ident is None:
            return
        if self._stopped is None:
            self._stopped = StoreFailed("The store is closed.")
            self._end()
        await self._ended
        self._thread.join(JOIN_AT_MOST_S)

    def pending_since(self) -> float | None:
        return self._since[0] if self._since else None

    def _refuses(self, done: Done) -> bool:
        if self._process != files.process_id():
            raise StoreFailed(f"The store was opened by process {self._process}; a forked child must not use it.")
        if self._stopped is not None:
            self._host.post(done, Refused(self._stopped))
        return self._stopped is not None

    async def _ask(self, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._process != files.process_id():
            raise StoreFailed(f"The store was opened by process {self._process}; a forked child must not use it.")
        if self._stopped is not None:
            raise self._stopped
        reply = self._host.promise()
        self._asking.add(reply)
        self._tell_thread(self._begin, read, reply)
        try:
            return cast(T, await reply)
        finally:
            self._asking.discard(reply)

    def _rouse(self) -> None:
        """Wake the thread when the host loop has made its step: what is handed over in one step is one batch.

        Each wake-up is a system call that lets go of the GIL; one per commit made batches of a few rows.
        """
        if not self._rousing:
            self._rousing = True
            self._host.later(0, self._roused)

    def _roused(self) -> None:
        self._rousing = False
        if self._lender is not None:
            self._spool.ring()
        else:
            # The thread clears the event before it looks at the queue, so an event that is set here will be seen.
            self._tell_thread(self._wake.set)

    def _end(self) -> None:
        self._closing = True
        self._spool.close()
        self._tell_thread(self._wake.set)

    def _tell_thread(self, fn: Callable[..., object], *args: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # The loop is closed: the thread ended, and `_crashed` is on its way.
                self._loop.call_soon_threadsafe(fn, *args, context=Context())

    def _assist(self) -> None:
        """Let the storage thread have the GIL, unless a batch got through by itself since the last look."""
        if not self._since:
            self._assisting = False
            return
        got_through = False
        while self._batch_done.acquire(blocking=False):
            got_through = True
        if not got_through:
            self._batch_done.acquire(timeout=ASSIST_AT_MOST_S)
        self._host.later(ASSIST_EVERY_S, self._assist)

    def _answer(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        if isinstance(batch, Commits):
            for _ in batch.records:
                self._since.popleft()
        answer(batch, outcomes)

    def _crashed(self, error: BaseException) -> None:
        """What was under way may have been written; what was still queued was not."""
        self._stopped = stopped = StoreFailed(f"The storage thread ended: {type(error).__name__}: {error}.")
        settle_error(self._opened, stopped)
        for waiting in tuple(self._asking):
            settle_error(waiting, stopped)
        if self._flight is not None:
            self._answer(self._flight, [Unknown(stopped)] * len(self._flight.records))
        while batch := self._queue.next():
            self._answer(batch, [Refused(stopped)] * len(batch.records))

    # From here on: the storage thread.

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001  # There is nobody above to hear of it; the host does.
            self._host.post(self._crashed, error)
        finally:
            self._host.post(settle, self._ended, None)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            info = await self._store.open()
        except Exception as error:  # noqa: BLE001  # It goes to whoever waits.
            self._host.post(settle_error, self._opened, error)
            return
        self._host.post(settle, self._opened, info)
        try:
            await self._serve()
            await asyncio.gather(*self._reads)
        finally:
            await self._store.close()

    async def _serve(self) -> None:
        while self._lender is not None and not self._spool.is_finished:
            await self._lender.lend(self._write)
        while (batch := self._queue.next()) or not self._closing:
            if batch is None:
                await self._wake.wait()
                self._wake.clear()
                continue
            self._flight = batch
            self._written(batch, await batch.write(self._store))

    def _write(self, writer: BlockingWriter) -> None:
        """On the store's own thread, until somebody else wants it."""
        while batch := self._spool.take():
            self._flight = batch
            self._written(batch, batch.write_now(writer))

    def _written(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        self._flight = None
        self._batch_done.release()
        self._host.post(self._answer, batch, outcomes)

    def _look_again(self, look: Callable[[], object], every_s: float) -> None:
        """The writing thread may be lent; the loop of this one is always free."""

        def looked() -> None:
            look()
            self._look_again(look, every_s)

        asyncio.get_running_loop().call_later(every_s, looked, context=Context())

    async def _probe(self) -> None:
        probe = asyncio.create_task(self._store.probe())
        await asyncio.sleep(0)  # It has asked for the thread now, and is next when the writer leaves it.
        self._spool.interrupt()
        await probe

    def _begin(self, read: Callable[[], Coroutine[Any, Any, T]], reply: Promise) -> None:
        task = asyncio.get_running_loop().create_task(self._read(read, reply))
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _read(self, read: Callable[[], Coroutine[Any, Any, T]], reply: Promise) -> None:
        try:
            value = await read()
        except Exception as error:  # noqa: BLE001  # It goes to whoever waits.
            self._host.post(settle_error, reply, error)
        else:
            self._host.post(settle, reply, value)
