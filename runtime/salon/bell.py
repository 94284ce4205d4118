"""A bell: tells all who wait that there is something new, and keeps nothing for those who do not."""

from __future__ import annotations

from salon_actors import HostLoop, Reply


class Bell:
    """Rung as often as one likes, for those who listen at that moment; they look for themselves what is new.

    Whoever was woken listens again only when he has run, so ringing costs once for each step of the loop.
    """

    __slots__ = ("_host", "_listeners")

    def __init__(self, host: HostLoop) -> None:
        self._host = host
        self._listeners: set[Reply[None]] = set()

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def ring(self) -> None:
        if self._listeners:
            listeners = self._listeners
            self._listeners = set()
            for listener in listeners:
                if not listener.done():  # Done when its task was cancelled.
                    listener.set_result(None)

    async def heard(self) -> None:
        """Wait for the next ring.

        Cancellation: the listener leaves, nothing else changes.
        """
        listener: Reply[None] = self._host.reply()
        self._listeners.add(listener)
        try:
            await listener
        finally:
            self._listeners.discard(listener)
