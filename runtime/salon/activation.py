"""Activation: a session comes into memory when its first message arrives, once, however many ask at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from salon import errors
from salon.breaker import Breaker, is_of_its_type
from salon.metrics import Counters
from salon.resident import Resident, windows_of
from salon.session import Session
from salon.settings import Settings
from salon.translation import translated
from salon_actors import Clock, HostLoop, Phase, Promise
from salon_persistence import errors as store_errors
from salon_persistence.bridge import Bridge
from salon_persistence.image import SessionImage, replay
from salon_persistence.records import LogPage, StoredSession
from salon_persistence.store import Address, ByPublicId

logger = logging.getLogger("salon")


def _is_current(resident: Resident, stored: StoredSession, image: SessionImage) -> bool:
    return (image.version, stored.row.generation) == (resident.image.version, resident.generation)


def _unwired(resident: Resident, stored: StoredSession) -> None:
    """Before there is anybody to tell."""


class Residents:
    """The sessions in memory. The registry of all others is the store."""

    def __init__(
        self,
        host: HostLoop,
        bridge: Bridge,
        types: dict[str, type[Session[Any, Any]]],
        clock: Clock,
        counters: Counters,
        settings: Settings,
    ) -> None:
        self._host = host
        self._bridge = bridge
        self._types = types
        self._monotonic = clock.monotonic
        self._sleep = clock.sleep
        self._probe_interval_s = settings.probe_interval_s
        self._counters = counters
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_window_s, settings.breaker_open_s)
        self._windows = {name: windows_of(cls) for name, cls in types.items()}
        self._by_id: dict[str, Resident] = {}
        self.restored: Callable[[Resident, StoredSession], None] = _unwired
        """Told of every session that comes into memory or is read back, with what the store held of it."""
        self._activating: dict[Address, Promise[Resident | None]] = {}
        self._reloading: dict[int, Promise[None]] = {}

    def __iter__(self) -> Iterator[Resident]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def check_type(self, cls: type[Session[Any, Any]]) -> None:
        """Raises ConfigurationError for a class that is none of this runtime's."""
        if cls not in self._types.values():
            raise errors.ConfigurationError(
                f"{getattr(cls, '__name__', cls)} is not among the session types of this runtime."
            )

    def at_hand(self, public_id: str) -> Resident | None:
        return self._by_id.get(public_id)

    def add(self, resident: Resident) -> Resident:
        """A session that was just created, or loaded; of two loads of one session the first stays."""
        return self._by_id.setdefault(resident.public_id, resident)

    async def find(self, address: Address, cls: type[Session[Any, Any]] | None = None) -> Resident | None:
        """The session, activated if need be; None when there is none.

        Args:
            cls: What it should be, if anybody knows: while none of these is activated, it is not even read.

        Raises:
            SessionParked: The last activations of its type have all failed.

        Cancellation: only the waiting stops, the activation goes on for whoever else waits.
        """
        if isinstance(address, ByPublicId) and (resident := self._by_id.get(address.public_id)) is not None:
            return resident
        promise = self._activating.get(address)
        if promise is None:
            promise = self._activating[address] = self._host.promise()
            self._host.spawn(self._activate, address, cls, promise)
        return await promise

    async def _activate(
        self, address: Address, cls: type[Session[Any, Any]] | None, promise: Promise[Resident | None]
    ) -> None:
        try:
            resident = await self._read(address, cls)
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to those who wait
            promise.set_exception(translated(error))
        except BaseException:  # the host's loop ends, or the runtime closes
            promise.set_exception(errors.Draining("The runtime closed before the session was read."))
            raise
        else:
            promise.set_result(resident)
        finally:
            del self._activating[address]

    async def _read(self, address: Address, expected: type[Session[Any, Any]] | None) -> Resident | None:
        if expected is not None:
            self._enter(expected)
        cls = expected
        try:
            stored = await self._bridge.load(address, self._windows)
            if stored is None:
                return None
            cls = self._class_of(stored)
            known = self._by_id.get(stored.row.public_id)
            if known is not None:
                return known
            if cls is not expected:
                self._enter(cls)
            resident = await self._restored(cls, stored)
        except Exception as error:
            self._note_failure(cls, translated(error))
            raise
        self.breaker.succeeded(cls.salon_type.name)
        return resident

    def _class_of(self, stored: StoredSession) -> type[Session[Any, Any]]:
        cls = self._types.get(stored.row.type)
        if cls is None:
            raise errors.ConfigurationError(f"The store holds a session of type {stored.row.type!r}; pass its class.")
        return cls

    def _enter(self, cls: type[Session[Any, Any]]) -> None:
        rest_s = self.breaker.enter(cls.salon_type.name, self._monotonic())
        if rest_s is not None:
            self._counters.activations_refused += 1
            raise errors.SessionParked(rest_s)

    def _note_failure(self, cls: type[Session[Any, Any]] | None, error: Exception) -> None:
        if cls is None or not (isinstance(error, errors.SalonError) and is_of_its_type(error)):
            return
        name, now = cls.salon_type.name, self._monotonic()
        self._counters.activations_failed += 1
        self.breaker.failed(name, now)
        if (open_s := self.breaker.open_types(now).get(name)) is not None:
            logger.error("salon activates no session of type %s for %.1f s: all of the last ones failed", name, open_s)

    async def _restored(self, cls: type[Session[Any, Any]], stored: StoredSession) -> Resident:
        image = replay(stored)
        await self._fill_windows(cls, stored.row.sid, image)
        resident = Resident(cls, stored.row, image, self.read_pages)
        resident.begin().close("t0-0")  # what does not decode is told now, before a message is accepted
        self._counters.activations += 1
        first = self.add(resident)
        if first is resident:
            self.restored(resident, stored)
        return first

    async def _fill_windows(self, cls: type[Session[Any, Any]], sid: int, image: SessionImage) -> None:
        """Items that were cut leave a window shorter than asked for; older pages fill it."""
        for field, window in self._windows[cls.salon_type.name].items():
            log = image.logs.get(field)
            before = log.window_start if log is not None else 0
            while log is not None and len(log.items) < min(window, len(log)):
                pages = await self._bridge.read_pages(sid, field, before, window)
                if not pages:
                    raise store_errors.CorruptRecord(f"session {sid} lacks pages of its log")
                for page in pages:
                    log.read_back(page)
                before = pages[-1].first  # and not the window's: all that was read may have been cut

    async def refresh(self, resident: Resident) -> None:
        """Make memory what the store says, and its windows whole. Raises as `reload` does."""
        if resident.is_stale:
            await self.reload(resident)
        try:
            await self._fill_windows(resident.cls, resident.sid, resident.image)
        except store_errors.StoreError as error:
            raise translated(error) from error
        resident.is_short = False

    async def reload(self, resident: Resident) -> None:
        """Read back a session whose last commit has an unknown outcome, or was another's; once, however many wait.

        What the store says counts only if nothing has changed since it was asked: otherwise it is asked again, for
        as long as a turn is under way that would be set back in time.

        Raises:
            StoreUnavailable, Corrupt, SessionNotFound: It stays as it is, and is tried again when it is next used.

        Cancellation: only the waiting stops.
        """
        promise = self._reloading.get(resident.sid)
        if promise is None:
            promise = self._reloading[resident.sid] = self._host.promise()
            self._host.spawn(self._reload, resident, promise)
        await promise

    async def _reload(self, resident: Resident, promise: Promise[None]) -> None:
        self._counters.reloads += 1
        try:
            while not await self._read_back(resident):
                if resident.is_under_way:
                    await self._sleep(self._probe_interval_s)
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to those who wait
            promise.set_exception(translated(error))
        except BaseException:
            promise.set_exception(errors.Draining("The runtime closed before the session was read back."))
            raise
        else:
            promise.set_result(None)
        finally:
            del self._reloading[resident.sid]

    async def _read_back(self, resident: Resident) -> bool:
        """False: what the store said is of no use, because the session has gone on since then."""
        known = resident.doubts, resident.image.version
        stored = await self._bridge.load(ByPublicId(resident.public_id), self._windows)
        if stored is None:
            raise errors.SessionNotFound
        image = replay(stored)
        await self._fill_windows(resident.cls, resident.sid, image)
        if known != (resident.doubts, resident.image.version):
            return False
        if not resident.is_under_way:
            resident.restore(stored.row, image)
        elif resident.phase is Phase.HELD or not _is_current(resident, stored, image):
            return False
        else:
            resident.is_stale = False  # a turn runs upon the same version, and only the inbox was in doubt
        self.restored(resident, stored)
        return True

    async def read_pages(self, sid: int, field: str, before: int, items: int) -> Sequence[LogPage]:
        """Older items of a log, for its drafts and views."""
        try:
            return await self._bridge.read_pages(sid, field, before, items)
        except store_errors.StoreError as error:
            raise translated(error) from error
