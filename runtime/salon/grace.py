"""Grace: a moment in which a turn that is cut may finish what it cannot leave half done."""

from __future__ import annotations

from functools import partial

import anyio

from salon.alarm import Alarm
from salon_actors import Clock, HostLoop


class Grace:
    """Makes shields that open by themselves."""

    def __init__(self, host: HostLoop, clock: Clock, seconds: float) -> None:
        self._alarm = Alarm(host, clock)
        self._seconds = seconds

    def scope(self) -> anyio.CancelScope:
        """Shields whoever enters it, for `seconds` of the runtime's clock from now on.

        Then it shields no more: a turn that is being cut ends where it stands, and any other one just goes on.
        """
        scope = anyio.CancelScope(shield=True)
        self._alarm.call_in(self._seconds, partial(_open, scope))
        return scope


def _open(scope: anyio.CancelScope) -> None:
    scope.shield = False
