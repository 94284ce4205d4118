"""The wait-for graph of sessions: who asked whom from within a turn, and has no answer yet.

    turn of A asks B:   begin(A, B) ── waits for the reply ── end(A, B)
    B, meanwhile:       begin(B, A) raises DeadlockError, since A waits for B

An edge means "the turn that A runs waits for a turn of B, queued or running". Both last equally long for A, because
the turn that B runs has to end first; so a circle of edges is a deadlock, and no circle comes to be in another way
than by an edge that is added. That is why it is looked for at each ask, and found before anybody waits.
"""

from __future__ import annotations

from types import TracebackType

from salon.errors import DeadlockError


class Waits:
    """Sessions by their internal numbers; empty, and without cost, while no turn waits for another session."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[int, dict[int, int]] = {}
        """Who waits for whom, and how many times: a turn may ask one session several times at once."""

    def __len__(self) -> int:
        """Asks under way, counted one by one."""
        return sum(count for asked in self._asked.values() for count in asked.values())

    def begin(self, asker: int, asked: int, turn: str, handler: str) -> None:
        """The running turn of `asker` waits for `asked` from now on; `end` must follow, however the waiting ends.

        Args:
            turn: The id of the turn that asks, for the error's text; `handler`, such as "Chat.say", likewise.

        Raises:
            DeadlockError: `asked` is `asker`, or waits for it, itself or through others. Nothing was changed.
        """
        self.check(asker, asked, turn, handler)
        waits = self._asked.setdefault(asker, {})
        waits[asked] = waits.get(asked, 0) + 1

    def end(self, asker: int, asked: int) -> None:
        """One ask of `asker` to `asked` is over: answered, failed, or given up by the turn that made it."""
        waits = self._asked[asker]
        left = waits[asked] - 1
        if left:
            waits[asked] = left
            return
        del waits[asked]
        if not waits:
            del self._asked[asker]

    def waiting(self, asker: int, asked: int, turn: str, handler: str) -> Waiting:
        """`with waits.waiting(...):` around the ask. Raises as `begin` does; a cancellation ends the edge too."""
        return Waiting(self, asker, asked, turn, handler)

    def is_waiting(self, asker: int) -> bool:
        """Whether the turn that this session runs waits for another one."""
        return asker in self._asked

    def check(self, asker: int, asked: int, turn: str, handler: str) -> None:
        """Raises DeadlockError if `asker` must not ask `asked` now; changes nothing."""
        path = self._path(asked, asker)
        if path is not None:
            raise DeadlockError(turn, handler, (asker, *path))

    def _path(self, start: int, goal: int) -> tuple[int, ...] | None:
        """A shortest chain of waiting sessions from `start` to `goal`; None if there is none."""
        if start == goal:
            return (start,)
        if start not in self._asked:
            return None
        came_from: dict[int, int] = {start: start}
        nearest = [start]
        for session in nearest:  # grows while it is walked: nearest first
            for next_one in self._asked.get(session, ()):
                if next_one not in came_from:
                    came_from[next_one] = session
                    nearest.append(next_one)
                    if next_one == goal:
                        return _walked_back(came_from, goal)
        return None


class Waiting:
    """One ask under way, as a context manager; entered once."""

    __slots__ = ("_asked", "_asker", "_handler", "_turn", "_waits")

    def __init__(self, waits: Waits, asker: int, asked: int, turn: str, handler: str) -> None:
        self._waits, self._asker, self._asked, self._turn, self._handler = waits, asker, asked, turn, handler

    def __enter__(self) -> None:
        self._waits.begin(self._asker, self._asked, self._turn, self._handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waits.end(self._asker, self._asked)


def _walked_back(came_from: dict[int, int], goal: int) -> tuple[int, ...]:
    path = [goal]
    while came_from[path[-1]] != path[-1]:
        path.append(came_from[path[-1]])
    return tuple(reversed(path))
