"""Nesting: a turn that waits for a turn of another session is an edge of the wait-for graph, and lends out its slot.

It waits so in an ask, and as well in `receipt.wait` and between two events of a stream.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from salon.frame import RUNNING

if TYPE_CHECKING:
    from salon.frame import Frame
    from salon.resident import Resident
    from salon.turn_envelope import TurnEnvelope
    from salon.waits import Waits
    from salon_actors import HostLoop, Scheduler


class Nesting:
    """For all turns of a runtime."""

    def __init__(self, host: HostLoop, scheduler: Scheduler[Resident, TurnEnvelope], waits: Waits) -> None:
        self.host = host
        self._scheduler = scheduler
        self._waits = waits

    @contextmanager
    def waiting(self, frame: Frame, asked: int) -> Generator[None]:
        """The turn of this frame waits for the session `asked` inside the block.

        Raises:
            DeadlockError: That one waits for it, itself or through others.
        """
        envelope = frame.envelope
        with self._waits.begin(frame.resident.sid, asked, envelope.turn_id, envelope.handler.name):
            self._scheduler.give_up_slot(frame.resident)
            try:
                yield
            finally:
                if not frame.over:
                    self._scheduler.regain_slot(frame.resident)

    def over(self, resident: Resident) -> None:
        """Its turn has returned: what a task that it left behind still waits for holds nobody up."""
        if self._waits:
            self._waits.turn_over(resident.sid)


def nested(host: HostLoop, asked: int) -> AbstractContextManager[None]:
    """As `Nesting.waiting`, if a turn runs here that is of the runtime on `host`; else nothing."""
    frame = RUNNING.get(None)
    if frame is None or frame.over or frame.tools.nesting.host is not host:
        return nullcontext()
    return frame.tools.nesting.waiting(frame, asked)
