"""Forgetting: what is remembered of sessions and users for a while goes in time, also when nobody sends any more."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from salon_actors import Clock, HostLoop


class Memory(Sized, Protocol):
    """What forgets when it is told to; its length is what it still remembers."""

    def forget(self, now: float, /) -> None:
        """Drop what is old enough; `now` is the monotonic clock, in seconds."""
        ...


class Forgetting:
    """One task while there is anything to forget, and none otherwise: an idle runtime is not woken."""

    __slots__ = ("_clock", "_every_s", "_host", "_is_awake", "_memory")

    def __init__(self, host: HostLoop, clock: Clock, memory: Memory, every_s: float) -> None:
        self._host = host
        self._clock = clock
        self._memory = memory
        self._every_s = every_s
        self._is_awake = False

    def remember(self) -> None:
        """Something was added to the memory."""
        if not self._is_awake:
            self._is_awake = True
            self._host.spawn(self._forget)

    async def _forget(self) -> None:
        while len(self._memory):
            await self._clock.sleep(self._every_s)
            self._memory.forget(self._clock.monotonic())
        self._is_awake = False
