"""The slots: how many turns may be under way at once, over all actors.

Only a turn that has suspended is under way: one that never does is over before anybody can look, and costs nothing.
Whoever looks for room looks before a turn begins, so that a turn that has begun always finds its slot.

    begins -> suspends: enter -> give_up, while it waits for another session -> regain, at once -> ends: leave
"""

from collections.abc import Callable
from math import inf
from typing import Any, final

from salon_actors.worker import Worker


@final
class Slots:
    """One scheduler's.

    Args:
        turns_max: How many turns; None: as many as there are.
    """

    __slots__ = ("_turns_max", "is_full", "on_room", "taken")

    on_room: Callable[[], object]
    """Called when a turn has given up its slot and another could begin; the crew's."""

    def __init__(self, turns_max: int | None) -> None:
        assert turns_max is None or turns_max > 0, "no turn could ever run"
        self._turns_max = inf if turns_max is None else turns_max
        self.taken = 0
        """May exceed the bound: who regains a slot never waits for it."""
        self.is_full = False
        """No turn may begin."""

    def enter(self, worker: Worker[Any, Any]) -> None:
        """The worker's turn has suspended for the first time."""
        worker.is_under_way = True
        if not worker.absences:
            self._set(worker, has_slot=True)

    def leave(self, worker: Worker[Any, Any]) -> None:
        """The turn has returned. Its worker goes on, or says that it does not: nobody else is told of the room."""
        worker.is_under_way = False
        worker.absences = 0
        self._set(worker, has_slot=False)

    def give_up(self, worker: Worker[Any, Any]) -> None:
        worker.absences += 1
        if worker.has_slot:
            self._set(worker, has_slot=False)
            if not self.is_full:
                self.on_room()

    def regain(self, worker: Worker[Any, Any]) -> None:
        """The last of as many calls as there were of `give_up` takes the slot back."""
        if worker.absences:
            worker.absences -= 1
            if worker.is_under_way and not worker.absences:
                self._set(worker, has_slot=True)

    def _set(self, worker: Worker[Any, Any], *, has_slot: bool) -> None:
        self.taken += has_slot - worker.has_slot
        worker.has_slot = has_slot
        self.is_full = self.taken >= self._turns_max
