"""Grace: a moment in which a turn that is cut may finish what it cannot leave half done."""

from __future__ import annotations

import anyio

from salon_actors import Clock, HostLoop


class Grace:
    """Makes shields that open by themselves."""

    def __init__(self, host: HostLoop, clock: Clock, seconds: float) -> None:
        self._host = host
        self._clock = clock
        self._seconds = seconds

    def scope(self) -> anyio.CancelScope:
        """Shields whoever enters it, for `seconds` of the runtime's clock from now on.

        Then it shields no more: a turn that is being cut ends where it stands, and any other one just goes on.
        """
        scope = anyio.CancelScope(shield=True)
        self._host.spawn(self._end, scope)
        return scope

    async def _end(self, scope: anyio.CancelScope) -> None:
        await self._clock.sleep(self._seconds)
        scope.shield = False
