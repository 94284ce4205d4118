"""The wait-for graph of sessions: who asked whom from within a turn, and has no answer yet.

    turn of A asks B:   with waits.begin(A, B): ... the ask, from admission to its answer
    B, meanwhile:       begin(B, A) raises DeadlockError, since A waits for B
    turn of A is over:  turn_over(A), if waits

An edge means "the turn that A runs waits for a turn of B, queued or running". Both last equally long for A, because
the turn that B runs has to end first; so a circle of edges is a deadlock, and no circle comes to be in another way
than by an edge that is added. That is why it is looked for at each ask, and found before anybody waits; a turn that
begins later finds nothing new, since its session has no edges then.
"""

from __future__ import annotations

from salon.errors import DeadlockError


class Waits:
    """Sessions by their internal numbers; empty, and without cost, while no turn waits for another session."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[int, dict[int, int]] = {}
        """Whom the running turn of a session waits for, and how many times: it may ask one several times at once."""

    def __bool__(self) -> bool:
        """Whether any turn waits for another session."""
        return bool(self._asked)

    def __len__(self) -> int:
        """Asks under way, counted one by one."""
        return sum(count for asked in self._asked.values() for count in asked.values())

    def begin(self, asker: int, asked: int, turn: str, handler: str) -> Ask:
        """The running turn of `asker` waits for `asked` until the ask that is returned has ended, however it ends.

        Args:
            turn: The id of the turn that asks, for the error's text; `handler`, such as "Chat.say", likewise.

        Raises:
            DeadlockError: `asked` is `asker`, or waits for it, itself or through others. Nothing was changed.
        """
        self.check(asker, asked, turn, handler)
        waits = self._asked.setdefault(asker, {})
        waits[asked] = waits.get(asked, 0) + 1
        return Ask(self, asker, asked, waits)

    def end(self, asker: int, asked: int, waits: dict[int, int]) -> None:
        """The ask's own; of a turn that is over nothing is left to end."""
        if self._asked.get(asker) is not waits:
            return
        waits[asked] -= 1
        if not waits[asked]:
            del waits[asked]
        if not waits:
            del self._asked[asker]

    def turn_over(self, asker: int) -> None:
        """The turn of `asker` has returned: what a task that it left behind still waits for holds nobody up."""
        self._asked.pop(asker, None)

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


class Ask:
    """One ask under way; leaving it as a context manager ends it, also by an error or a cancellation."""

    __slots__ = ("_asked", "_asker", "_graph", "_waits")

    def __init__(self, graph: Waits, asker: int, asked: int, waits: dict[int, int]) -> None:
        self._graph: Waits | None = graph
        self._asker, self._asked, self._waits = asker, asked, waits

    def end(self) -> None:
        """Answered, failed, or given up. Once is enough; more does nothing."""
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.end(self._asker, self._asked, self._waits)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.end()


def _walked_back(came_from: dict[int, int], goal: int) -> tuple[int, ...]:
    path = [goal]
    while came_from[path[-1]] != path[-1]:
        path.append(came_from[path[-1]])
    return tuple(reversed(path))
