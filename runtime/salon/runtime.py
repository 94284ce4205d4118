"""Runtime: what a chatbot process opens once, and through which it reaches every session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import anyio
from pydantic import BaseModel, JsonValue

from salon.chance import Chance, SystemChance
from salon.dead_letters import DeadLetters
from salon.deliver import kinds_by_name
from salon.errors import ConfigurationError, NameTaken, RuntimeNotRunning
from salon.handle import SessionHandle
from salon.identity import Principal, check_keys, check_session_id
from salon.info import SessionInfo, info_of
from salon.keys import SessionKeys
from salon.machinery import Machinery
from salon.named import by_stored_name
from salon.page import Page, check_limit
from salon.report import explain, stats
from salon.session import Session
from salon.settings import Settings
from salon.store_url import store_of
from salon.translation import translated
from salon_actors import Clock, HostLoop, Ready, SystemClock, current_host_loop
from salon_persistence import errors as store_errors
from salon_persistence.bridge import Bridge, bridge_for
from salon_persistence.records import Lifecycle
from salon_persistence.store import Address, ByName, ByPublicId, SessionQuery, Store

S = TypeVar("S", bound=BaseModel)
D = TypeVar("D")


class Runtime:
    """Sessions of some types, kept in one store. An async context manager; several may live in one process.

    Args:
        session_types: The classes whose sessions it runs; their names must differ.
        store: `sqlite:///chat.db`, `memory://`, or a Store.
        deps: What handlers find as `self.deps`.
        settings: Default `Settings()`. The environment is never read by itself: `Settings.from_env(os.environ)`.
        clock, chance, ready: Time, chance and the choice among ready sessions, for tests and simulation.
    """

    @overload
    def __init__(
        self,
        *session_types: type[Session[Any, None]],
        store: str | Store,
        settings: Settings | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        ready: Callable[[], Ready[Any]] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *session_types: type[Session[Any, D] | Session[Any, None]],
        store: str | Store,
        deps: D,
        settings: Settings | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        ready: Callable[[], Ready[Any]] | None = None,
    ) -> None: ...
    def __init__(
        self,
        *session_types: type[Session[Any, Any]],
        store: str | Store,
        deps: Any = None,
        settings: Settings | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        ready: Callable[[], Ready[Any]] | None = None,
    ) -> None:
        self._types = _by_name(session_types)
        self._settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._chance = chance or SystemChance()
        self._ready = ready
        self._deps = deps
        self._store = store
        self._machinery: Machinery | None = None
        self._is_opening = False

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.close()

    async def open(self) -> Self:
        """Takes the store and begins to admit; no session is read before its first message.

        Raises:
            StoreInUse: Another runtime, of this process or another one, owns the store.
            StoreUnavailable, Corrupt, SchemaTooNew: It cannot be opened; nothing in it was changed.
            RuntimeNotRunning: This runtime is open already.
        """
        if self._machinery is not None or self._is_opening:
            raise RuntimeNotRunning("The runtime is open already; one Runtime is opened once at a time.")
        self._is_opening = True
        try:
            self._machinery = await self._opened()
        finally:
            self._is_opening = False
        return self

    async def _opened(self) -> Machinery:
        store = self._store
        if isinstance(store, str):
            store = store_of(store, self._settings.durability, self._clock, self._chance)
        host = current_host_loop()
        bridge = bridge_for(store, host, self._clock.monotonic)
        try:
            return await self._started(host, bridge)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await bridge.close()
                await host.close()
            if isinstance(error, store_errors.StoreError):
                raise translated(error) from error
            raise

    async def _started(self, host: HostLoop, bridge: Bridge) -> Machinery:
        info = await bridge.open()
        ready = self._ready() if self._ready is not None else None
        machinery = Machinery(
            host, bridge, info, self._types, self._deps, self._clock, self._chance, self._settings, ready
        )
        await machinery.start()
        return machinery

    async def close(self) -> None:
        """Admits nothing more, waits `drain_deadline_s` for accepted turns, cancels the rest, and gives up the store.

        Closing a closed runtime does nothing. Runs to its end also when the caller is cancelled.
        """
        if self._machinery is not None:
            await self._machinery.stop()
            self._machinery = None

    def _running(self) -> Machinery:
        if self._machinery is None:
            raise RuntimeNotRunning("The runtime is not open: use `async with runtime`, or `await runtime.open()`.")
        self._machinery.check_running()
        return self._machinery

    async def create(
        self,
        type: type[Session[S, Any]],
        /,
        *,
        name: str | None = None,
        user_id: str | None = None,
        tenant: str | None = None,
        conversation_id: str | None = None,
        device_id: str | None = None,
        language: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        state: S | None = None,
        idle_timeout_s: float | None = None,
        absolute_ttl_s: float | None = None,
    ) -> SessionHandle[S]:
        """A new session, durable when this returns.

        Args:
            type: One of the runtime's session types.
            name: A natural key, unique among live sessions of (tenant, type).
            user_id: Its owner; None leaves it open to whoever knows its id.
            tenant, conversation_id, device_id, language, metadata: Recorded, and shown by `info`.
            state: Its first state, by value; default the state's defaults.
            idle_timeout_s, absolute_ttl_s: Seconds > 0, instead of the settings'.

        Raises:
            NameTaken: A live session has this name.
            CapacityExceeded: The store holds `sessions_max` active sessions.
            StateInvalid, ValueError: What was given cannot be stored.
            NotApplied, OutcomeUnknown, StoreUnavailable, Fenced: The store did not take it.

        Cancellation: only the waiting stops; the session may come to be.
        """
        machinery = self._running()
        machinery.residents.check_type(type)
        keys = SessionKeys(
            name=name, user_id=user_id, tenant=tenant, conversation_id=conversation_id, device_id=device_id
        )
        facts = machinery.creation.facts(keys, language, metadata, idle_timeout_s, absolute_ttl_s)
        machinery.admission.check_store(self._clock.monotonic())
        # Sessions under a former type name are not created any more, so that no other call can come in between.
        former = type.salon_type.former_names
        if name is not None and former and await self._address(machinery, type, tenant, name) is not None:
            raise NameTaken("A live session of this tenant and type has the name.")
        resident = await machinery.creation.create(type, keys, facts, state)
        return SessionHandle(machinery, type, resident.public_id, Principal(user_id))

    async def get(
        self, type: type[Session[S, Any]], session_id: str, /, *, user_id: str | None = None, trusted: bool = False
    ) -> SessionHandle[S]:
        """An existing session.

        Args:
            type: Its class.
            session_id: As `SessionHandle.session_id` gave it.
            user_id: The user as the host has authenticated them; needed for a session that has an owner.
            trusted: The host acts for itself; owners are not compared.

        Raises:
            InvalidSessionId: The text was never a session id.
            SessionNotFound: There is none, or it is somebody else's: the two cannot be told apart.
        """
        machinery = self._running()
        machinery.residents.check_type(type)
        check_keys(user_id=user_id)
        address = ByPublicId(check_session_id(session_id))
        return await self._handle(machinery, type, address, Principal(user_id, trusted))

    async def get_or_create(
        self,
        type: type[Session[S, Any]],
        /,
        *,
        name: str,
        user_id: str | None = None,
        tenant: str | None = None,
        state: S | None = None,
    ) -> SessionHandle[S]:
        """The live session with this name, created if there is none; concurrent calls create once.

        Args:
            name: Made by the host from what its platform authenticates, never sent by a client.
            user_id: Its owner, when it is created; who asks, when it exists.
            state: Its first state, when it is created.

        Raises:
            SessionNotFound: It exists and is somebody else's.
        """
        machinery = self._running()
        machinery.residents.check_type(type)
        check_keys(name=name, user_id=user_id, tenant=tenant)
        principal = Principal(user_id)
        address = await self._address(machinery, type, tenant, name)
        if address is None:
            newest = ByName(tenant or "", type.salon_type.name, name)
            async with machinery.creation.alone(newest):
                address = await self._address(machinery, type, tenant, name)
                if address is None:
                    try:
                        return await self.create(type, name=name, user_id=user_id, tenant=tenant, state=state)
                    except NameTaken:
                        address = newest  # create() was called for this name beside us
        return await self._handle(machinery, type, address, principal)

    async def _address(
        self, machinery: Machinery, type: type[Session[Any, Any]], tenant: str | None, name: str
    ) -> Address | None:
        """Where the live session of this name is, stored under today's name of its type or a former one."""
        for stored in (type.salon_type.name, *type.salon_type.former_names):
            address = ByName(tenant or "", stored, name)
            if await machinery.residents.find(address, type) is not None:
                return address
        return None

    async def _handle(
        self, machinery: Machinery, type: type[Session[S, Any]], address: Address, principal: Principal
    ) -> SessionHandle[S]:
        resident = await machinery.door.enter(type, address, principal)
        return SessionHandle(machinery, type, resident.public_id, principal)

    async def find(
        self,
        *,
        user_id: str | None = None,
        tenant: str | None = None,
        lifecycle: Lifecycle | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[SessionInfo]:
        """Sessions that match every key given, newest activity first; for the host, so owners are not compared.

        Args:
            after: `Page.next` of the page before.
            limit: 1 to 1000.
        """
        machinery = self._running()
        check_keys(user_id=user_id, tenant=tenant)
        query = SessionQuery(
            tenant=tenant or "",
            user_id=user_id,
            lifecycle=lifecycle,
            after=_place(after) if after is not None else None,
            limit=check_limit(limit) + 1,
        )
        try:
            rows = await machinery.bridge.find(query)
        except store_errors.StoreError as error:
            raise translated(error) from error
        following = f"{rows[limit - 1].activity_us}-{rows[limit - 1].sid}" if len(rows) > limit else None
        return Page([self._info(machinery, row) for row in rows[:limit]], following)

    def _info(self, machinery: Machinery, row: Any) -> SessionInfo:
        resident = machinery.residents.at_hand(row.public_id)
        return info_of(row, row.activity_us) if resident is None else resident.info()

    def dead_letters(self) -> DeadLetters:
        """Messages that will not run, and things that could not leave, of all sessions; for the host."""
        return self._running().dead_letters

    async def resume(self, session_id: str, /) -> None:
        """Wake a parked session at once, and forget its crashes: their cause was mended. Harmless when it is not.

        Raises:
            InvalidSessionId, SessionNotFound: There is no such session.
        """
        machinery = self._running()
        address = ByPublicId(check_session_id(session_id))
        machinery.mishaps.resume(await machinery.door.enter(None, address, Principal(trusted=True)))

    def stats(self) -> Mapping[str, JsonValue]:
        """Counters since `open`, and how things stand now."""
        return stats(self._running())

    async def explain(self, session_id: str, /) -> Mapping[str, JsonValue]:
        """What one session is doing and waiting for; for the host, so owners are not compared.

        Raises:
            InvalidSessionId, SessionNotFound: There is no such session.
        """
        machinery = self._running()
        address = ByPublicId(check_session_id(session_id))
        return explain(machinery, await machinery.door.enter(None, address, Principal(trusted=True)))


def _by_name(types: tuple[type[Session[Any, Any]], ...]) -> dict[str, type[Session[Any, Any]]]:
    """Raises ConfigurationError when there are none, or two share a stored name."""
    if not types:
        raise ConfigurationError("A Runtime needs at least one session type.")
    found: dict[str, type[Session[Any, Any]]] = {}
    for cls in types:
        for name in (cls.salon_type.name, *cls.salon_type.former_names):
            if found.setdefault(name, cls) is not cls:
                raise ConfigurationError(f"{found[name].__name__} and {cls.__name__} are both stored as {name!r}.")
    by_stored_name((message for cls in types for message in cls.salon_type.handlers), "messages")
    kinds_by_name(kind for cls in types for kind in cls.salon_type.deliveries)
    return found


def _place(cursor: str) -> tuple[int, int]:
    activity, _, sid = cursor.partition("-")
    if not (activity.isdecimal() and sid.isdecimal()):
        raise ValueError("This is not a cursor of find().")
    place = int(activity), int(sid)
    if max(place) >= 1 << 63:
        raise ValueError("This is not a cursor of find().")
    return place
