"""The envelope: a message, and what the engine must know to carry it."""

from math import inf
from typing import Any

from salon_actors.park import Reply


class Envelope:
    """One message on its way to one actor. The runtime subclasses it; `__slots__` keep it small."""

    __slots__ = ("deadline", "message", "promise", "size_bytes")

    def __init__(self, message: object, promise: Reply[Any], deadline: float = inf, size_bytes: int = 0) -> None:
        self.message = message
        self.promise = promise
        """The reply; the engine never settles it, the behaviour does."""
        self.deadline = deadline
        """Seconds of `Clock.monotonic`, infinite when there is none; may be moved later, never earlier."""
        self.size_bytes = size_bytes
