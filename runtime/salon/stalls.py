"""Stalls: something blocks the event loop, and another thread says so, with the place where the loop stands."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING

from salon_actors import Watchdog

if TYPE_CHECKING:
    from salon.metrics import Counters
    from salon.settings import Settings

logger = logging.getLogger("salon")

TICKS = 4
"""A tick that is a little late is no stall."""


class Stalls:
    """To be made on the thread of the loop; `watchdog` is told the ticks there, and looks on another thread."""

    def __init__(
        self, monotonic: Callable[[], float], thread_name: str, counters: Counters, settings: Settings
    ) -> None:
        self._thread_name = thread_name
        self._counters = counters
        limit_s = max(settings.loop_stall_s, TICKS * settings.tick_s)
        self.watchdog = Watchdog(monotonic, get_ident(), self._report, limit_s)
        self.every_s = limit_s / 2
        """Seconds between two looks."""

    def _report(self, stalled_s: float, stack: str) -> None:
        """On the thread that looks, which alone counts them."""
        self._counters.loop_stalls += 1
        logger.error(
            "salon: the event loop of thread %s has stood still for %.1f s, here (innermost call last):\n%s",
            self._thread_name,
            stalled_s,
            stack,
        )
