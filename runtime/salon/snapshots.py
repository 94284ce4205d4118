"""Snapshots: a whole session at one version, kept off the reply path, so that its journal need not be read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from salon.metrics import Counters
from salon.resident import Resident
from salon_actors import HostLoop
from salon_persistence.bridge import Bridge
from salon_persistence.image import SessionImage
from salon_persistence.records import LogPage, SnapshotRecord
from salon_persistence.store import Applied, Outcome

logger = logging.getLogger("salon")


class Snapshots:
    """One per session at a time; while it is written the session's turns go on."""

    def __init__(self, bridge: Bridge, host: HostLoop, counters: Counters) -> None:
        self._bridge = bridge
        self._host = host
        self._counters = counters

    def take(self, resident: Resident) -> None:
        """Begin one. What the store does not keep is tried again after the session's next turn."""
        resident.is_snapshotting = True
        redacted = {field: log.redactions for field, log in resident.image.logs.items() if log.redactions}
        if redacted:
            self._host.spawn(self._rewrite, resident, {field: sorted(numbers) for field, numbers in redacted.items()})
        else:
            self._keep(resident, {})

    async def _rewrite(self, resident: Resident, redacted: dict[str, list[int]]) -> None:
        """Old bytes of redacted items leave the file with the pages that held them."""
        try:
            pages: dict[str, list[LogPage]] = {}
            for field, numbers in redacted.items():
                pages[field] = await self._pages_of(resident, field, numbers)
        except Exception as error:  # noqa: BLE001  # a snapshot may fail; the journal holds everything
            logger.warning("salon could not read pages to redact: %s", type(error).__name__)
            resident.is_snapshotting = False
        else:
            self._keep(resident, pages)

    async def _pages_of(self, resident: Resident, field: str, numbers: Sequence[int]) -> list[LogPage]:
        found: dict[int, LogPage] = {}
        for number in numbers:
            for page in await self._bridge.read_pages(resident.sid, field, number + 1, 1):
                found[page.first] = page
        return list(found.values())

    def _keep(self, resident: Resident, pages: dict[str, list[LogPage]]) -> None:
        image = resident.image
        snapshot = image.snapshot(resident.sid, pages)
        self._bridge.keep(snapshot, partial(self._kept, resident, image, snapshot))

    def _kept(self, resident: Resident, image: SessionImage, snapshot: SnapshotRecord, outcome: Outcome) -> None:
        resident.is_snapshotting = False
        if isinstance(outcome, Applied):
            self._counters.snapshots += 1
            if resident.image is image:
                image.snapshotted(snapshot, resident.windows)
        else:
            # Nothing is lost: the journal still holds what the snapshot would have folded. The next turn tries again.
            self._counters.snapshots_failed += 1
            logger.warning("salon snapshot of session %d was not kept: %s", snapshot.sid, type(outcome).__name__)
