"""The machinery of one open Runtime: its parts, and their life from `open` to `close`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio

from salon.backoff import Backoff
from salon.chance import Chance
from salon.errors import ConfigurationError, Draining, RuntimeNotRunning, SalonError
from salon.frame import is_in_turn_with
from salon.parts import Parts
from salon.session import Session
from salon.settings import Settings
from salon_actors import Clock, HostLoop, Promise
from salon_persistence import errors as store_errors
from salon_persistence.bridge import Bridge
from salon_persistence.files import process_id
from salon_persistence.store import ByPublicId, StoreInfo

logger = logging.getLogger("salon")

STORE_CLOSE_S = 0.5
"""Seconds that the store gets to close, however short the drain: one that is well needs milliseconds."""
BROUGHT_IN_AT_ONCE = 16
"""Sessions that are read at the same time after a restart: the reading connection serves one at a time."""

BROUGHT_IN_AGAIN_S_MAX = 300.0
"""Seconds between two looks for those that could not be read."""


class Machinery(Parts):
    """Lives from `open` to `close`; handles hold on to it."""

    def __init__(
        self,
        host: HostLoop,
        bridge: Bridge,
        store: StoreInfo,
        types: dict[str, type[Session[Any, Any]]],
        deps: Any,
        clock: Clock,
        chance: Chance,
        settings: Settings,
        ready: Any,
    ) -> None:
        self.host = host
        self.bridge = bridge
        self.store = store
        self.clock = clock
        self.chance = chance
        self.settings = settings
        super().__init__(self, host, bridge, store, types, deps, clock, chance, settings, ready)
        self._refusal: type[RuntimeNotRunning | Draining] | None = None
        self._stopped: Promise[None] | None = None
        self._process = process_id()

    async def start(self) -> None:
        await self.scheduler.open()
        shown = self.settings.shown()
        logger.info(
            "salon open: %s, format %d, %s, durability %s, epoch %d, %s, settings %s",
            self.store.store,
            self.store.format,
            self.store.engine,
            self.store.durability,
            self.store.epoch,
            "closed cleanly before" if self.store.clean else "new, or not closed cleanly before",
            shown,
        )
        for warning in self.store.warnings:
            logger.warning("salon store: %s", warning)
        self.bridge.watch(self.stalls.watchdog.look, self.stalls.every_s)
        self.host.spawn(self._bring_in)

    async def _bring_in(self) -> None:
        """Sessions with messages that wait, or with things that have to leave, come into memory by themselves."""
        rests = Backoff(self.settings.breaker_open_s, BROUGHT_IN_AGAIN_S_MAX)
        tries = 0
        while not await self._all_brought_in():
            tries += 1
            await self.clock.sleep(rests.equal_s(tries, self.chance))

    async def _all_brought_in(self) -> bool:
        """False: some could not be read for a reason that may pass."""
        after, brought = 0, list[bool]()
        try:
            while waiting := await self.bridge.mail_waits(after, BROUGHT_IN_AT_ONCE):
                async with anyio.create_task_group() as group:
                    for _, public_id in waiting:
                        group.start_soon(self._bring_in_one, public_id, brought)
                after = waiting[-1][0]
        except store_errors.StoreError as error:
            logger.error("salon could not look for messages that wait: %s", error)
            brought.append(isinstance(error, store_errors.StoreFailed))
        return all(brought)

    async def _bring_in_one(self, public_id: str, brought: list[bool]) -> None:
        try:
            await self.residents.find(ByPublicId(public_id))
        except SalonError as error:
            logger.error("salon: a session with messages that wait could not be read: %s", error)
            brought.append(not error.retryable)

    def check_running(self) -> None:
        """Raises unless the runtime is open and the caller is on its loop.

        While it drains, a turn that was accepted may still ask others: that is part of finishing it.
        """
        if self._refusal is not None and not (self._refusal is Draining and is_in_turn_with(self.tools)):
            raise self._refusal("The runtime is closed, or closing: nothing more is admitted.")
        if self._process != process_id():
            raise RuntimeNotRunning(f"Process {self._process} opened the runtime; a forked child must open its own.")
        if not self.host.is_current():
            raise ConfigurationError(
                f"This handle lives on the event loop of thread {self.host.thread_name}; it was called from elsewhere."
            )

    async def stop(self) -> None:
        """Admits nothing more, finishes what was accepted, and closes the store; whoever comes second waits for it."""
        if is_in_turn_with(self.tools):
            raise ConfigurationError("close() waits for the turn that calls it. Leave the handler first.")
        if self._stopped is not None:
            await self._stopped
            return
        self._stopped = self.host.promise()
        self._refusal = Draining
        with anyio.CancelScope(shield=True):
            async with AsyncExitStack() as stack:  # each step, whatever becomes of those before it
                stack.push_async_callback(self.host.close)
                stack.callback(self._end)
                stack.callback(self.intake.close)  # when the store has answered for what it had
                stack.push_async_callback(self._close_store)
                stack.push_async_callback(self._in_time, self.outbox.close)
                stack.push_async_callback(self.scheduler.close)
                self.merging.flush()
                await self._in_time(self.scheduler.wait_idle)

    async def _close_store(self) -> None:
        if not await self._in_time(self.bridge.close, at_least_s=STORE_CLOSE_S):
            logger.error("salon leaves a store that does not answer; what became of its turns is unknown")
            self.gate.abandon()

    def _end(self) -> None:
        self._refusal = RuntimeNotRunning
        if self._stopped is not None:
            self._stopped.set_result(None)

    async def _in_time(self, wait: Callable[[], Awaitable[None]], at_least_s: float = 0.0) -> bool:
        """Whether it ended within `drain_deadline_s`, by the runtime's clock."""
        ended = False
        seconds = max(at_least_s, self.settings.drain_deadline_s)
        async with anyio.create_task_group() as group:
            group.start_soon(self._hurry, group.cancel_scope, seconds)
            await wait()
            ended = True
            group.cancel_scope.cancel()
        return ended

    async def _hurry(self, scope: anyio.CancelScope, seconds: float) -> None:
        await self.clock.sleep(seconds)
        scope.cancel()
