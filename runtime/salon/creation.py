"""Creation: a new session's row and first state, in one commit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from salon.activation import Residents
from salon.chance import Chance, session_id
from salon.draft import Draft
from salon.gate import Gate
from salon.identity import check_keys
from salon.info import SessionFacts, deadline_us
from salon.keys import SessionKeys
from salon.limits import Limits
from salon.metrics import Counters
from salon.resident import Resident
from salon.session import Session
from salon.settings import Settings
from salon.translation import translated
from salon.wall import Wall
from salon_actors import Clock, HostLoop, Promise
from salon_persistence import errors as store_errors
from salon_persistence.bridge import Bridge
from salon_persistence.image import SessionImage
from salon_persistence.records import SessionRow, TurnRecord
from salon_persistence.store import Applied, ByName, Outcome, Refused


class Creation:
    """Creates sessions; each is durable before anybody gets its id."""

    def __init__(
        self,
        host: HostLoop,
        bridge: Bridge,
        gate: Gate,
        residents: Residents,
        clock: Clock,
        wall: Wall,
        chance: Chance,
        counters: Counters,
        settings: Settings,
        limits: Limits,
        sessions: int,
    ) -> None:
        """`sessions` is how many active ones the store held when it was opened."""
        self._host = host
        self._bridge = bridge
        self._gate = gate
        self._residents = residents
        self._clock = clock
        self._wall = wall
        self._chance = chance
        self._counters = counters
        self._settings = settings
        self._limits = limits
        self._sessions = sessions
        """Active ones, and those that are being created right now."""
        self._under_way: dict[ByName, Promise[None]] = {}

    @asynccontextmanager
    async def alone(self, name: ByName) -> AsyncGenerator[None]:
        """One caller at a time for each name, so that of many who find no session one creates it."""
        while name in self._under_way:
            await self._under_way[name]
        promise = self._under_way[name] = self._host.promise()
        try:
            yield
        finally:
            del self._under_way[name]
            promise.set_result(None)

    def facts(
        self,
        keys: SessionKeys,
        language: str | None,
        metadata: Mapping[str, JsonValue] | None,
        idle_timeout_s: float | None,
        absolute_ttl_s: float | None,
    ) -> SessionFacts:
        """Raises ValueError for a key that is none, metadata that is no JSON, or a time that is not above 0."""
        check_keys(
            name=keys.name,
            user_id=keys.user_id,
            tenant=keys.tenant,
            conversation_id=keys.conversation_id,
            device_id=keys.device_id,
        )
        idle = self._settings.idle_timeout_s if idle_timeout_s is None else idle_timeout_s
        absolute = self._settings.absolute_ttl_s if absolute_ttl_s is None else absolute_ttl_s
        for name, seconds in (("idle_timeout_s", idle), ("absolute_ttl_s", absolute)):
            if not 0 < seconds < float("inf"):
                raise ValueError(f"{name} is {seconds}; it must be above 0.")
        try:
            return SessionFacts(
                language=language, metadata=dict(metadata or {}), idle_timeout_s=idle, absolute_ttl_s=absolute
            )
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, part["loc"][:2])) for part in error.errors(include_input=False))
            raise ValueError(f"Not storable as JSON: {wrong}.") from None

    async def create(
        self, cls: type[Session[Any, Any]], keys: SessionKeys, facts: SessionFacts, state: BaseModel | None
    ) -> Resident:
        """Commits a new session.

        Raises:
            CapacityExceeded: There are `sessions_max`.
            NameTaken, StateInvalid, NotApplied, OutcomeUnknown, StoreUnavailable, Fenced: There is no new session
                (after OutcomeUnknown there may be one).

        Cancellation: only the waiting stops; the session may come to be.
        """
        self.check_room(1)
        record = self.record(cls, keys, facts, state)
        promise = self._host.promise()
        self._sessions += 1
        self._bridge.commit(record, partial(self._answered, promise))
        outcome = await promise
        if isinstance(outcome, Refused) and isinstance(outcome.error, store_errors.NameTaken):
            raise translated(outcome.error)
        if not isinstance(outcome, Applied):
            raise self._gate.refusal(None, outcome)
        return self.created(cls, record, outcome.sid, outcome.lsn)

    def _answered(self, promise: Promise[Outcome], outcome: Outcome) -> None:
        """`created` counts it, if it is there."""
        self._sessions -= 1
        promise.set_result(outcome)

    def check_room(self, more: int) -> None:
        """Raises CapacityExceeded when there is no room for so many more."""
        full = self._limits.sessions(self._sessions + more - 1)
        if full is not None:
            self._counters.over_capacity += 1
            raise full

    def record(
        self, cls: type[Session[Any, Any]], keys: SessionKeys, facts: SessionFacts, state: BaseModel | None
    ) -> TurnRecord:
        """What creates it, in a commit of its own or with another session's turn. Raises StateInvalid, ValueError."""
        now_us = self._wall.now_us(self._clock.monotonic())
        row = SessionRow(
            uid=self._chance.random_bytes(16),
            public_id=session_id(self._chance),
            type=cls.salon_type.name,
            deadline_us=deadline_us(facts, now_us, now_us),
            created_us=now_us,
            activity_us=now_us,
            facts=facts.encode(),
            name=keys.name,
            user_id=keys.user_id,
            tenant=keys.tenant or "",
            conversation_id=keys.conversation_id,
            device_id=keys.device_id,
        )
        return self._record(cls, row, state, now_us)

    def _record(
        self, cls: type[Session[Any, Any]], row: SessionRow, state: BaseModel | None, now_us: int
    ) -> TurnRecord:
        states = cls.salon_type.states
        if state is not None and not isinstance(state, states.model):
            raise ValueError(f"{cls.__name__} keeps a {states.model.__name__}, not a {type(state).__name__}.")
        empty = Resident(cls, row, SessionImage(), self._residents.read_pages)
        draft = Draft.of_new(states, empty.image, empty.cores, states.new() if state is None else state)
        changes = draft.changes(self._settings.state_bytes_max)
        return TurnRecord(
            sid=0,
            version=1,
            schema_version=cls.salon_type.schema_version,
            at_us=now_us,
            whole=True,
            state=changes.fields if changes else {},
            logs=changes.logs if changes else (),
            created=row,
        )

    def created(self, cls: type[Session[Any, Any]], record: TurnRecord, sid: int, lsn: int = 0) -> Resident:
        """It is durable. `lsn` 0: its journal row is found by its version."""
        assert record.created is not None
        self._counters.created += 1
        self._sessions += 1
        image = SessionImage()
        image.apply(record)
        image.lsn = lsn
        stored = replace(record.created, sid=sid, version=1, head_lsn=lsn)
        return self._residents.add(Resident(cls, stored, image, self._residents.read_pages))
