"""Health of the store as the runtime knows it: whether new messages may be admitted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from salon.errors import Fenced, SalonError, StoreUnavailable
from salon_actors import Clock, HostLoop
from salon_persistence import errors as store_errors

logger = logging.getLogger("salon")


class Health:
    """Open, unavailable (it is probed until it heals), or ended for this runtime (failed, fenced)."""

    def __init__(self, host: HostLoop, clock: Clock, probe: Callable[[], Awaitable[None]], interval_s: float) -> None:
        self._host = host
        self._clock = clock
        self._probe = probe
        self._interval_s = interval_s
        self._trouble: Callable[[], SalonError] | None = None

    def check(self) -> None:
        """Raises what a new message is refused with; nothing while all is well."""
        if self._trouble is not None:
            raise self._trouble()

    @property
    def is_well(self) -> bool:
        return self._trouble is None

    def note(self, error: store_errors.StoreError) -> None:
        """A commit was refused or its outcome is unknown, for this reason."""
        if isinstance(error, store_errors.StoreFailed):
            self._end(_failed, error)
        elif isinstance(error, store_errors.StoreUnavailable) and self._trouble is None:
            logger.warning("salon store unavailable, probing every %s s: %s", self._interval_s, error)
            self._trouble = self._unavailable
            self._host.spawn(self._heal)

    def fenced(self) -> None:
        """Another runtime owns the store: nothing of this one will ever be written again."""
        if self._trouble is not _fenced:
            self._end(_fenced, None)

    def _well_again(self) -> None:
        if self._trouble == self._unavailable:  # and not fenced while the probe was under way
            logger.info("salon store available again")
            self._trouble = None

    def _end(self, trouble: Callable[[], SalonError], error: Exception | None) -> None:
        logger.error("salon store ended for this runtime: %s", error or trouble())
        self._trouble = trouble

    def _unavailable(self) -> SalonError:
        trouble = StoreUnavailable("The store cannot be written now; it is probed.")
        trouble.retry_after_s = self._interval_s
        return trouble

    async def _heal(self) -> None:
        """Until it works again, or is known never to; ends with the host loop."""
        while self._trouble == self._unavailable:
            await self._clock.sleep(self._interval_s)
            try:
                await self._probe()
            except store_errors.StoreFailed as error:
                self.note(error)
            except store_errors.StoreError as error:
                logger.debug("salon store is still unavailable: %s", error)
            else:
                self._well_again()


def _failed() -> SalonError:
    trouble = StoreUnavailable("The store has failed: close the runtime and open it again.")
    trouble.retryable = False  # not in this runtime
    return trouble


def _fenced() -> SalonError:
    return Fenced("Another runtime owns the store now.")
