"""Cancel scopes of a worker's task: did a turn leave them as it found them?

A worker runs turns of many sessions in one task, so what one turn leaves behind (an abandoned async generator that
holds a cancel scope, a cancellation that nobody took back) would hit the next session's turn.
Looking takes private attributes of anyio and trio; where they are missing a worker retires after every turn.
"""

from typing import Protocol, final


class Watch(Protocol):
    @property
    def is_fast(self) -> bool:
        """False: this version of the backend does not let us look, and `is_clean` never says yes."""
        ...

    def is_clean(self) -> bool:
        """True: the task's innermost scope is the watched one, and no cancellation is pending from elsewhere."""
        ...

    async def unwind(self) -> None:
        """Cancel and close whatever was opened inside the watched scope and never closed."""
        ...


@final
class BlindWatch:
    """For a backend whose private attributes are not where we know them."""

    __slots__ = ()
    is_fast = False

    def is_clean(self) -> bool:
        return False

    async def unwind(self) -> None:
        return
